"""Where names of the last release stand now, by the module that they stood in."""

# A plain network bore the name that a wiring has in ncps.
_AUTO_NCP = (
    "cells.wired_elman.plain_auto_ncp; is rnn_zoo.cells.WiredElmanCell(rnn_zoo.wiring.AutoNCPMap("
    "input_size, units, output_size), key=key) now, and the wiring that ncps calls AutoNCP is "
    "rnn_zoo.wiring.AutoNCPMap(input_size, units, output_size)"
)
_NCP = (
    "cells.WiredElmanCell; is rnn_zoo.cells.WiredElmanCell now, and the wiring that ncps calls NCP "
    "is rnn_zoo.wiring.NCPMap"
)
ROOT = {
    "AbstractLayer": "layers.AbstractLayer",
    "AffineMap": "linear.AffineMap",
    "AntisymmetricCell": "cells.AntisymmetricCell",
    "AutoNCP": _AUTO_NCP,
    "AutoNCPMap": "wiring.AutoNCPMap",
    "Backward": "layers.Backward",
    "Block2x2": "linear.Block2x2",
    "Cascade": "layers.Cascade",
    "CfCCell": "cells.CfCCell",
    "ClockworkCell": "cells.ClockworkCell",
    "ClockworkState": "cells.ClockworkState",
    "CoRNNCell": "cells.CoRNNCell",
    "Dense": "equinox.nn:Linear",
    "Diagonal": "linear.Diagonal",
    "EchoStateCell": "cells.EchoStateCell",
    "ElmanCell": "cells.ElmanCell",
    "ExpRNNCell": "cells.ExpRNNCell",
    "FrozenBatchNorm": "layers.FrozenBatchNorm",
    "FullyConnectedMap": "wiring.FullyConnectedMap",
    "GRUCell": "cells.GRUCell",
    "GatedAntisymmetricCell": "cells.GatedAntisymmetricCell",
    "GriffinBlock": "layers.GriffinBlock",
    "HCoRNNCell": "cells.HCoRNNCell",
    "IndRNNCell": "cells.IndRNNCell",
    "LEMCell": "cells.LEMCell",
    "LRUCell": "cells.LRUCell",
    "LSTMCell": "cells.LSTMCell",
    "LSTMPCell": "cells.LSTMPCell",
    "LSTMState": "cells.LSTMState",
    "LTCCell": "cells.LTCCell",
    "LeCunTanh": "cells.LeCunTanh",
    "LeakyElmanCell": "cells.LeakyElmanCell",
    "LinOSSCell": "cells.LinOSSCell",
    "LinearIndRNNCell": "cells.LinearIndRNNCell",
    "LipschitzCell": "cells.LipschitzCell",
    "MGUCell": "cells.MGUCell",
    "MambaBlock": "layers.MambaBlock",
    "MambaCell": "cells.MambaCell",
    "MessagePassingState": "graphs.MessagePassingState",
    "MinGRUCell": "cells.MinGRUCell",
    "MinLSTMCell": "cells.MinLSTMCell",
    "MixedMemoryState": "wrappers.MixedMemoryState",
    "ModelSpace": "reservoir.ModelSpace",
    "ModularState": "graphs.ModularState",
    "NCP": _NCP,
    "NCPCell": "cells.WiredElmanCell",
    "NCPMap": "wiring.NCPMap",
    "NeuronMap": "wiring.NeuronMap",
    "OscillatorState": "cells.OscillatorState",
    "Parallel": "layers.Parallel",
    "Pointwise": "layers.Pointwise",
    "RGLRUCell": "cells.RGLRUCell",
    "RandomMap": "wiring.RandomMap",
    "S4DCell": "cells.S4DCell",
    "S5Cell": "cells.S5Cell",
    "Sample": "models.Sample",
    "Sequential": "equinox.nn:Sequential",
    "ShortConv": "cells.ShortConv",
    "StrideAwareCfC": "wrappers.StrideAwareCfC",
    "StrideAwareWiredCfCCell": "wrappers.StrideAwareWiredCfCCell",
    "StridedState": "wrappers.StridedState",
    "UnICORNNCell": "cells.UnICORNNCell",
    "UnitaryCell": "cells.UnitaryCell",
    "VariationalDropoutState": "wrappers.VariationalDropoutState",
    "WilsonCowanCell": "cells.WilsonCowanCell",
    "WiredCfCCell": "cells.WiredCfCCell",
    "as_reservoir": "reservoir.as_reservoir",
    "auto_ncp": "wiring.AutoNCPMap",
    "half_squares": "reservoir.half_squares",
    "lecun_tanh": "cells.lecun_tanh",
    "random_oscillators": "reservoir.random_oscillators",
    "readout": "reservoir",
    "ssm": "cells",
}
LAYERS = {
    "Bidirectional": "Bidirectional",
    "Block": "Block",
    "CfC": "CfC",
    "GRU": "GRU",
    "LRU": "LRU",
    "LSTM": "LSTM",
    "LTC": "LTC",
    "Mamba": "Mamba",
    "RNN": "RNN",
    "Recurrent": "Recurrent",
    "S5": "S5",
    "Stacked": "Stacked",
    "batch": "batch",
}
MODELS = {
    "Autoregressive": "Autoregressive",
    "EchoStateNetwork": "EchoStateNetwork",
    "SequenceModel": "SequenceModel",
    "make_model": "make_model",
    "ModelSpace": "reservoir.ModelSpace",
    "half_squares": "reservoir.half_squares",
}
CELLS = {
    "AutoNCP": _AUTO_NCP,
    "NCP": _NCP,
    "NCPCell": "cells.WiredElmanCell",
    "Frozen": "Frozen",
    "LayerNormed": "LayerNormed",
    "LearnedInitialState": "LearnedInitialState",
    "MessagePassing": "MessagePassing",
    "MixedMemory": "MixedMemory",
    "Modular": "Modular",
    "Residual": "Residual",
    "Strided": "Strided",
    "VariationalDropout": "VariationalDropout",
    "Zoneout": "Zoneout",
    "MessagePassingState": "graphs.MessagePassingState",
    "MixedMemoryState": "wrappers.MixedMemoryState",
    "ModularState": "graphs.ModularState",
    "StrideAwareCfC": "wrappers.StrideAwareCfC",
    "StrideAwareWiredCfCCell": "wrappers.StrideAwareWiredCfCCell",
    "StridedState": "wrappers.StridedState",
    "VariationalDropoutState": "wrappers.VariationalDropoutState",
    "as_reservoir": "reservoir.as_reservoir",
    "random_oscillators": "reservoir.random_oscillators",
}
INTEROP = {
    "adopt": "adopt",
}
SCAN = {
    "elapsed": "elapsed",
    "lengths_to_mask": "lengths_to_mask",
}
WIRING = {
    "auto_ncp": "wiring.AutoNCPMap",
}
INIT = {
    "check_choice": "_common.checks.check_choice; is private now",
    "check_positive": "_common.checks.check_positive; is private now",
    "check_sizes": "_common.checks.check_sizes; is private now",
    "check_traced": "_common.checks.check_traced; is private now",
}

# Rooms that are gone, with all that stood in them.
ROOMS = {
    "readout": {
        "AbstractOnlineRule": "reservoir.AbstractOnlineRule",
        "LeastMeanSquares": "reservoir.LeastMeanSquares",
        "NormalEquations": "reservoir.NormalEquations",
        "OnlineReadout": "reservoir.OnlineReadout",
        "RecursiveLeastSquares": "reservoir.RecursiveLeastSquares",
        "ridge": "reservoir.ridge",
    },
    "ssm": {
        "LRUCell": "cells.LRUCell",
        "LinOSSCell": "cells.LinOSSCell",
        "MambaCell": "cells.MambaCell",
        "RGLRUCell": "cells.RGLRUCell",
        "S4DCell": "cells.S4DCell",
        "S5Cell": "cells.S5Cell",
        "ShortConv": "cells.ShortConv",
        "discretise": "cells.discretise",
    },
    "ssm.discretise": {
        "bilinear": "cells.discretise.bilinear",
        "euler": "cells.discretise.euler",
        "exponential_euler": "cells.discretise.exponential_euler",
        "exprel": "cells.discretise.exprel",
        "zoh": "cells.discretise.zoh",
    },
}

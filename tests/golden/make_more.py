"""Golden values of the further cells, from other people's code in float64.

    pip install torch numpy jax flax torchrecurrent==0.2.5 torchdiffeq==0.2.5

In one folder, each at its commit:

    asappresearch/sru 9ddc8da                  salesforce/pytorch-qrnn 1634991
    edebrouwer/gru_ode_bayes ddd0b34           nvecoven/BRC 1b99539
    esraaelelimy/rtus b10d4fe                  jzilly/RecurrentHighwayNetworks 9ab03a3
    microsoft/EdgeML 81025fc                   illidanlab/T-LSTM 9380f4b
    hrshtv/pytorch-lmu 95a0b93                 dannyneil/public_plstm 1bf2627
    adrian-valente/lowrank_inference 14bef71   gyyang/nn-brain a675b15
    DurstewitzLab/ALRNN-DSR 0bdca24            DurstewitzLab/dendPLRNN 368ed04
    r0mainK/ur-lstm ffda3fb                    zhiyongc/GRU-D d070b52
    automan000/Convolutional_LSTM_PyTorch dd0b77b   happyjin/ConvGRU-pytorch 9e93282

    python tests/golden/make_more.py THE_FOLDER

writes tests/golden/more.npz. Of each cell: `x`, the inputs, `dt` where it has times, `p/FIELD` its
parameters, `start` and `end` with a number for each part of the state, and `y`, the outputs.

Other packages compute something else, and so are not here. In brackets: by how much that moves the
outputs in the file. STAR's authors run JANET's two thresholds inside (1.1). torchrecurrent's
FastGRNN has a tanh as its gate (3.3), and its FastRNN starts with the two weights the other way
round (0.2). The authors' Keras cell of GRU-D updates the state that has not decayed (0.7) and is
given 1 - m for m (0.6); PyPOTS feeds the decayed state twice and counts steps for time.
salesforce's F of the QRNN lets in what the paper's f keeps (1.5), and Phased LSTM's authors shift
by + s (0.5): both are turned round here. keras-lmu leaves out two of three encoders by default,
and cuts the impulse response of its parallel form. Ports that read the wrong memory: SRU's r of
the new c (0.5), the LMU's h of the old m (1.4).
"""

from pathlib import Path

import more_dynamics
import more_gated
import numpy as np
import torch


def main() -> None:
    arrays = {}
    for seed, cell in enumerate(more_gated.CELLS + more_dynamics.CELLS):
        torch.manual_seed(seed)
        for name, value in cell().items():
            arrays[f"{cell.__name__}/{name}"] = np.array(value)
    np.savez_compressed(Path(__file__).with_name("more.npz"), **arrays)


main()

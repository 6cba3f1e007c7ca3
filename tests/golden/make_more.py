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

Other packages compute something else, and so are not here: STAR's authors run JANET's two
thresholds inside; torchrecurrent's FastGRNN has a tanh as its gate, and its FastRNN the two
weights the other way round at the start; PyPOTS feeds the decayed state of GRU-D twice and counts
steps for time; the authors' Keras cell of GRU-D updates the state that has not decayed; keras-lmu
leaves out two of three encoders by default, and cuts the impulse response of its parallel form.
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

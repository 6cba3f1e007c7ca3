"""Losses, the training of one model and of many, and models in files.

`fitting` is the one loop. `settled` is what it is told, `feeds` what it reads, `step` one update.
`placement` says on which devices, and so in which process, each row and each copy lies, `devices`
takes the gradient over them, and `processes` is what several processes agree on, by what
`agreement` lets them say. `checkpoint` says what is written of a run and writes it as one file,
`orbax_folder` as several folders; `keeping` chooses. `save` writes models, `_structure` says what
they are made of, and `pretrained` opens those that come with the package.
"""

from .._common.moved import listing as _listing
from .checkpoint import Checkpoints as Checkpoints
from .evaluate import evaluate as evaluate
from .fitting import fit as fit
from .forcing import (
    MultipleShooting as MultipleShooting,
    TeacherForcing as TeacherForcing,
    product_growth as product_growth,
    segments as segments,
)
from .grid import Grid as Grid, grid as grid
from .groups import ssm_labels as ssm_labels, ssm_optimizer as ssm_optimizer
from .losses import (
    PredictionLoss as PredictionLoss,
    binary_cross_entropy as binary_cross_entropy,
    cross_entropy as cross_entropy,
    cross_entropy_with as cross_entropy_with,
    huber as huber,
    mse as mse,
)
from .members import ensemble as ensemble, member as member
from .online_learner import OnlineLearner as OnlineLearner, OnlineState as OnlineState
from .penalties import (
    penalised as penalised,
    rate_penalty as rate_penalty,
    weight_penalty as weight_penalty,
)
from .population import fit_population as fit_population
from .pretrained import PretrainedCard as PretrainedCard, pretrained_card as pretrained_card
from .save import load as load, save as save
from .settled import (
    DataSourceError as DataSourceError,
    FitResult as FitResult,
    NonFiniteLossError as NonFiniteLossError,
)
from .step import trainable as trainable


__dir__ = _listing(__name__)

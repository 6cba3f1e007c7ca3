"""Pictures. Functions take and return matplotlib axes (the extra `plot`)."""

from .._common.moved import listing as _listing
from .curves import training_curves as training_curves
from .neuron_maps import draw_wiring as draw_wiring
from .portraits import (
    bifurcation as bifurcation,
    fixed_points as fixed_points,
    phase_portrait as phase_portrait,
)
from .predictions import (
    accuracy_by_length as accuracy_by_length,
    confusion_matrix as confusion_matrix,
    prediction as prediction,
)
from .stability import (
    eigenvalues as eigenvalues,
    gradient_lag as gradient_lag,
    kernels as kernels,
    time_constants as time_constants,
)
from .states import states_heatmap as states_heatmap, states_pca as states_pca


__dir__ = _listing(__name__)

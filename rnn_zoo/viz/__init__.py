"""Pictures. Functions take and return matplotlib axes (`pip install "rnn-zoo[plot]"`)."""

from .curves import training_curves as training_curves
from .dynamics import eigenvalues as eigenvalues, gradient_lag as gradient_lag
from .states import states_heatmap as states_heatmap
from .wiring import draw_wiring as draw_wiring

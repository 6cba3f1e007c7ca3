"""The command line: `python -m rnn_zoo train | compare | list`."""

from .main import main as main

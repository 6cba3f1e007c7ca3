"""One NumPy float64 step for each of the further cells, written from its paper, gate by gate.

As in references.py: `MORE_REFERENCES[name](p, state, x, dt, **options)` gives (state, y).
"""

MORE_REFERENCES = {}

"""Cells as dynamical systems: Jacobians, exponents, fixed points, orbits, basins, bifurcations.

A state acts as one real vector h of n numbers (`state_vector`), whatever its structure. Everything
here takes any cell, or a layer that steps; `viz.eigenvalues`, `viz.gradient_lag`, `viz.kernels`,
`viz.fixed_points`, `viz.phase_portrait` and others draw the results.
"""

from .._common.moved import listing as _listing
from .._common.vectors import state_vector as state_vector
from .._evaluators import Plan as Plan
from .along import (
    gradient_norms as gradient_norms,
    impulse_response as impulse_response,
    jacobians as jacobians,
    parallel_plan as parallel_plan,
    spectrum as spectrum,
    time_constants as time_constants,
)
from .exponents import (
    LyapunovSpectrum as LyapunovSpectrum,
    kaplan_yorke as kaplan_yorke,
    lyapunov as lyapunov,
    lyapunov_spectrum as lyapunov_spectrum,
)
from .points import (
    FixedPoints as FixedPoints,
    Linearisation as Linearisation,
    basins as basins,
    bifurcation as bifurcation,
    fixed_points as fixed_points,
    linearise as linearise,
    periodic_orbits as periodic_orbits,
    sample_states as sample_states,
)


__dir__ = _listing(__name__)

"""The operations that the sequential loop understands.

The loop takes a step apart, maps it over samples, differentiates it, and transposes that, piece by
piece. That is safe for an operation that is one function of arrays: without side effects, without a
function of its own inside, and with rules for `vmap` and for derivatives that are made of such
operations again. A derivative that somebody wrote, a branch, a loop, a solver or a callback does
more than that, and what it does depends on how and when it is asked. So the loop takes a step only
if every operation in it stands here; any other step runs in `lax.scan`, which asks as jax does.
"""

from jax.sharding import AxisType

from .unstable import (
    CHECKPOINT,
    CUSTOM_JVP,
    JIT,
    asks_for_placement,
    asks_for_zeros,
    called,
    without_constants,
)


# One number from those at the same place.
ELEMENTWISE = frozenset(
    """
    abs acos acosh add add_any and asin asinh atan atan2 atanh bitcast_convert_type cbrt ceil clamp
    complex conj convert_element_type copy cos cosh digamma div eq eq_to erf erf_inv erfc exp exp2
    expm1 floor ge gt imag integer_pow is_finite le le_to lgamma log log1p log2 logistic lt lt_to
    max min mul ne neg not one_minus_square or pow real reduce_precision rem round rsqrt select_n
    shift_left shift_right_arithmetic shift_right_logical sign sin sinh sqrt square stop_gradient
    sub tan tanh xor
    """.split()
)
# Arrays laid out, cut and joined. The function inside a scatter is the addition in its name.
LAYOUT = frozenset(
    """
    broadcast_in_dim concatenate dynamic_slice dynamic_update_slice gather iota pad reshape rev
    scatter scatter-add scatter-sub slice split squeeze stack tile transpose unstack
    """.split()
)
# Linear maps and reductions.
REDUCTIONS = frozenset(
    """
    argmax argmin conv_general_dilated cumlogsumexp cummax cummin cumprod cumsum dot_general fft
    reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum reduce_xor sort
    """.split()
)
# Random numbers of a key that is given.
RANDOM = frozenset(
    """
    random_bits random_clone random_fold_in random_seed random_split random_unwrap random_wrap
    threefry2x32
    """.split()
)
# What `jax.shard_map` writes before an operation on values that differ between devices.
MANUAL = frozenset(["pvary"])

# A function that is made of such operations, as whoever calls it promises.
FUNCTIONS = frozenset(["samples_last"])

KNOWN = ELEMENTWISE | LAYOUT | REDUCTIONS | RANDOM | MANUAL | FUNCTIONS

# On a mesh with explicit axes these want to be told how their result is spread once more is mapped
# over than `lax.scan` maps over: a state that all samples share, or the steps of a chunk.
PLACED = frozenset(
    """
    conv_general_dilated dynamic_slice dynamic_update_slice gather scatter scatter-add scatter-sub
    sort
    """.split()
)


def is_known(jaxpr) -> bool:
    """Whether the loop understands every operation of a jaxpr."""
    if any(map(_is_sharded, jaxpr.invars)):
        return False
    explicit = any(map(_on_explicit_mesh, jaxpr.invars))
    return _all_in(KNOWN - PLACED if explicit else KNOWN, jaxpr)


def is_elementwise(equation) -> bool:
    """Whether an operation takes numbers from the same place, or cuts vectors."""
    return _is_in(ELEMENTWISE | {"slice", "split"}, equation)


def _all_in(names: frozenset, jaxpr) -> bool:
    return all(_is_in(names, equation) for equation in jaxpr.eqns)


def _is_in(names: frozenset, equation) -> bool:
    name = equation.primitive.name
    if any(map(_is_sharded, equation.outvars)):
        return False
    if name not in (JIT, CUSTOM_JVP, CHECKPOINT):
        return name in names and len(equation.outvars) > 0
    if name == JIT and asks_for_placement(equation):
        return False
    # A rule that is told which tangents are zero may give other answers for other questions.
    if name == CUSTOM_JVP and asks_for_zeros(equation):
        return False
    return _all_in(names, without_constants(called(equation)))


def _is_sharded(atom) -> bool:
    """One sample's values spread over devices by an explicit axis: products then need decisions."""
    return any(part is not None for part in atom.aval.sharding.spec)


def _on_explicit_mesh(atom) -> bool:
    return AxisType.Explicit in atom.aval.sharding.mesh.axis_types

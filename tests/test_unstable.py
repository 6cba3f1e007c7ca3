"""What the package uses of JAX beyond what JAX promises to keep, one case a name.

Nothing of the package is imported before a test asks for it: where a release of JAX has moved a
name, the case of that name fails, and says so, whatever becomes of the package.
"""

import ast
import contextlib
import importlib
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax


PACKAGE = Path(importlib.util.find_spec("rnn_zoo").origin).parent
UNSTABLE = [PACKAGE / "_engine" / name for name in ("unstable.py", "unstable_devices.py")]
MODULES = ("core", "custom_derivatives", "experimental", "extend", "interpreters", "_src")
# Attributes of JAX's objects that only this package's one file reads.
ATTRIBUTES = {"ctx", "mat", "vma", "get_bind_params", "name_stack", "source_info"}
ATTRIBUTES |= {"to_tangent_aval", "def_impl", "def_abstract_eval"}
# Parameters of operations that hold a program or a request.
PARAMETERS = {"call_jaxpr", "fun_jaxpr", "jvp_jaxpr_fun", "in_shardings", "out_shardings"}
PARAMETERS |= {"in_layouts", "out_layouts", "compiler_options_kvs", "BatchTracer", "remat2"}
PARAMETERS |= {"custom_jvp_call", "custom_vjp_call", "closed_call", "jit", "pjit"}


# --- where it is used -----------------------------------------------------------------------------


def dotted(node, modules):
    """The name of JAX's that an expression spells, `modules` being what the imports call what."""
    if isinstance(node, ast.Name):
        return modules.get(node.id)
    if isinstance(node, ast.Attribute):
        before = dotted(node.value, modules)
        return before and f"{before}.{node.attr}"
    return None


def names_of_jax(tree):
    """The dotted names under `jax` that a file spells or imports."""
    modules, found = {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] == "jax"}
            modules |= {a.asname or "jax": a.name if a.asname else "jax" for a in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jax":
            modules |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
            found |= {f"{node.module}.{a.name}" for a in node.names}
    found |= {dotted(node, modules) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return {name for name in found if name and name.startswith("jax.")}


def is_unstable(name):
    _, *parts = name.split(".")
    primitive = parts[0] == "lax" and len(parts) > 1 and parts[1].endswith("_p")
    return parts[0] in MODULES or primitive


def whole(names):
    """Those that no other goes on from."""
    return sorted(n for n in names if not any(other.startswith(n + ".") for other in names))


TREES = [ast.parse(path.read_text()) for path in UNSTABLE]
USED = whole({n for tree in TREES for n in names_of_jax(tree) if is_unstable(n)})


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_these_files_alone_touch_what_is_unstable(path):
    if path in UNSTABLE:
        return
    tree = ast.parse(path.read_text())
    found = {name for name in names_of_jax(tree) if is_unstable(name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES:
            found.add(f"{ast.unparse(node)} (line {node.lineno})")
        elif isinstance(node, ast.Constant) and node.value in PARAMETERS:
            found.add(f"{node.value!r} (line {node.lineno})")
    assert not found, f"import these from _engine/unstable.py: {sorted(found)}"


# --- whether it is there --------------------------------------------------------------------------


def test_the_file_names_what_it_uses():
    assert len(USED) > 15
    assert "jax.interpreters.ad.Zero" in USED
    assert "jax._src.checkify.error_checks" in USED


@pytest.mark.parametrize("name", USED)
def test_jax_has(name):
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute), f"JAX {jax.__version__}: no {name}"


@jax.custom_jvp
def with_jvp(x):
    return jnp.sin(x)


with_jvp.defjvp(lambda at, moved: (jnp.sin(at[0]), jnp.cos(at[0]) * moved[0]))


@jax.custom_vjp
def with_vjp(x):
    return jnp.sin(x)


with_vjp.defvjp(lambda x: (jnp.sin(x), x), lambda x, ct: (jnp.cos(x) * ct,))

PLACEMENT = "in_shardings out_shardings in_layouts out_layouts compiler_options_kvs".split()
CALLS = {
    "jit": (jax.jit(jnp.sin), ("jaxpr", *PLACEMENT)),
    "remat2": (jax.checkpoint(jnp.sin), ("jaxpr",)),
    "custom_jvp_call": (with_jvp, ("call_jaxpr", "symbolic_zeros")),
    "custom_vjp_call": (with_vjp, ("call_jaxpr",)),
}


def first(function, *at):
    return jax.make_jaxpr(function)(*at).eqns[0]


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_named(name):
    function, parameters = CALLS[name]
    equation = first(function, 1.0)
    assert equation.primitive.name == name
    assert not set(parameters) - set(equation.params)


@pytest.mark.parametrize("name", CALLS)
def test_get_bind_params_gives_what_bind_takes(name):
    equation = first(CALLS[name][0], 1.0)
    params = equation.primitive.get_bind_params(equation.params)
    assert isinstance(params, dict)
    (result,) = jax.jit(lambda x: equation.primitive.bind(x, **params))(1.0)
    np.testing.assert_allclose(result, np.sin(1.0), rtol=1e-6)


def scoped(x):
    with jax.named_scope("outer"), jax.named_scope("inner"):
        return jnp.sin(x)


def mapped(x):
    assert type(x).__name__ == "BatchTracer"
    return x


FACTS = {
    "eqn.ctx.manager": lambda: isinstance(
        first(jnp.sin, 1.0).ctx.manager, contextlib.AbstractContextManager
    ),
    "eqn.source_info.name_stack": lambda: (
        str(first(scoped, 1.0).source_info.name_stack) == "outer/inner"
    ),
    "aval.mat.varying": lambda: jax.typeof(jnp.ones(2)).mat.varying == frozenset(),
    "aval.to_tangent_aval": lambda: (
        jax.typeof(jnp.arange(2)).to_tangent_aval().dtype == jax.dtypes.float0
    ),
    "aval.update": lambda: jax.typeof(jnp.ones(2)).update(shape=(3,)).shape == (3,),
    "BatchTracer": lambda: jax.vmap(mapped)(jnp.ones(2)) is not None,
    "lax.tanh_p": lambda: first(jnp.tanh, 1.0).primitive is lax.tanh_p,
    "lax.logistic_p": lambda: first(lax.logistic, 1.0).primitive is lax.logistic_p,
    "lax.dot_general_p": lambda: (
        first(lax.dot, *jnp.ones((2, 2, 2))).primitive is lax.dot_general_p
    ),
}


@pytest.mark.parametrize("name", FACTS)
def test_it_does_what_it_did(name):
    assert FACTS[name]()


# --- what the file makes of it --------------------------------------------------------------------


def test_a_primitive_has_every_rule():
    from rnn_zoo._engine import unstable

    asked = []
    times = unstable.define(
        "times",
        lambda a, b, *, factor: factor * a * b,
        lambda a, b, factor: a,
        static=["factor"],
        several=False,
    )
    unstable.on_vmap(times, lambda at, axes, factor: (times.bind(*at, factor=factor), axes[0]))
    unstable.on_products(
        times,
        lambda ct, a, b, factor: asked.append(a.aval.shape) or factor * ct * b,
        lambda ct, a, b, factor: asked.append(b.aval.shape) or factor * ct * a,
    )
    a, b = jnp.array([1.0, 2.0]), jnp.array([3.0, 5.0])

    def run(a, b):
        return times.bind(a, b, factor=2.0)

    assert run(a, b).tolist() == jax.jit(run)(a, b).tolist() == [6, 20]
    assert jax.vmap(run)(a, b).tolist() == [6, 20]
    gradient = jax.grad(lambda *at: run(*at).sum(), (0, 1))(a, b)
    assert [g.tolist() for g in gradient] == [[6, 10], [2, 4]]
    assert asked == [(2,), (2,)]


def test_a_jvp_is_told_of_zeros():
    from rnn_zoo._engine import unstable

    told = []

    def push(at, moved, **_):
        told.extend(map(unstable.is_zero, moved))
        assert unstable.as_array(moved[1]).tolist() == 0
        return product.bind(*at), unstable.zero_tangent(at[0])

    product = unstable.define(
        "product", lambda a, b: a * b, lambda a, b: a, static=(), several=False
    )
    unstable.on_jvp(product, push)
    assert jax.grad(lambda a: product.bind(a, 2.0))(3.0) == 0
    assert told == [False, True]

    @jax.custom_jvp
    def ours(a, b):
        return a * b

    def rule(at, moved):
        told.extend(map(unstable.is_zero, moved))
        return ours(*at), unstable.custom_zero_tangent(at[0])

    ours.defjvp(rule, symbolic_zeros=True)
    assert jax.grad(lambda a: ours(a, 2.0))(3.0) == 0
    assert told[2:] == [False, True]


def test_a_transposition_gets_its_own_rule():
    from rnn_zoo._engine import unstable

    double = unstable.define("double", lambda a: 2 * a, lambda a: a, static=(), several=False)
    unstable.on_transpose(
        double, lambda ct, a: (double.bind(ct) if unstable.is_asked(a) else None,)
    )
    assert jax.linear_transpose(double.bind, 1.0)(3.0) == (6,)


def test_checkify_sees_inside():
    from jax.experimental import checkify

    from rnn_zoo._engine import unstable

    log = unstable.define("log_", jnp.log, lambda a: a, static=(), several=False)
    check = checkify.checkify(log.bind, errors=checkify.float_checks)
    assert check(jnp.ones(2))[0].get() is None
    assert "nan" in check(-jnp.ones(2))[0].get()


def test_equations_are_read_and_run_again():
    from rnn_zoo._engine import unstable

    for name, (function, _) in CALLS.items():
        equation = first(function, 1.0)
        inside = unstable.without_constants(unstable.called(equation))
        assert [e.primitive.name for e in inside.eqns][-1:] == ["sin"], name
        (result,) = jax.jit(lambda x, e=equation: unstable.bind(e, [x]))(1.0)
        np.testing.assert_allclose(result, np.sin(1.0), rtol=1e-6)
    sine = first(scoped, 1.0)
    assert unstable.called(sine) is None
    assert unstable.scope_of(sine) == "outer/inner"
    with unstable.context_of(sine):
        assert unstable.bind(sine, [0.0]) == 0
    closed = jax.make_jaxpr(scoped)(1.0)
    assert unstable.without_constants(closed) is unstable.without_constants(closed.jaxpr)
    assert unstable.as_function(closed)(0.0) == [0]

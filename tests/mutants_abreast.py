"""Rows of `test_mutants.py`: mistakes in loops whose samples lie side by side."""

FILE, EQUAL = "_engine/abreast.py", "test_abreast.py -k 'equal_those and {}'"
WHICH = "test_abreast.py -k which_loops"
ROWS = {
    "samples abreast without an offset": (
        FILE,
        "return total([jnp.tensordot(matrix, jnp.concatenate(parts), 1), offset])",
        "return jnp.tensordot(matrix, jnp.concatenate(parts), 1)",
        EQUAL.format("lstm"),
    ),
    "columns of zeros in front": (
        FILE,
        "parts.append(jnp.zeros((more, *samples), matrix.dtype))",
        "parts.insert(0, jnp.zeros((more, *samples), matrix.dtype))",
        EQUAL.format("lstm"),
    ),
    "columns of ones": (
        FILE,
        "jnp.pad(matrix, ((0, 0), (0, more)))",
        "jnp.pad(matrix, ((0, 0), (0, more)), constant_values=1.0).at[:, -1].set(jnp.nan)",
        EQUAL.format("gru"),
    ),
    "one column is left alone": (
        FILE,
        "else max(columns, 2)",
        "else columns",
        "test_abreast.py -k one_column",
    ),
    "any number of samples abreast": (
        FILE,
        "if samples not in range(16, 65, 8):",
        "if samples not in range(8, 65):",
        WHICH,
    ),
    "samples abreast without a product in the loop": (
        FILE,
        "return in_loop and numbers",
        "return numbers",
        WHICH,
    ),
    "samples abreast whatever is elementwise": (
        FILE,
        " and program.elementwise",
        "",
        "test_abreast.py -k not_elementwise",
    ),
    "samples abreast with weights of their own": (
        "_engine/run.py",
        "return not own and abreast",
        "return abreast",
        WHICH,
    ),
    "the state comes back with samples behind": (
        "_engine/run.py",
        "[jnp.moveaxis(a, -1, 0) for a in after] if self.abreast else after",
        "after",
        "test_abreast.py -k one_column",
    ),
    "one matrix for all members": (
        FILE,
        "axes = [own[0] if a.shape[own[0]] > 1 else None for a in arrays]",
        "matrix, axes = matrix[..., :1] * jnp.ones_like(matrix), [own[0] if a.shape[own[0]] > 1 else None for a in arrays]",
        "test_abreast.py -k 'gradients_of and cells'",
    ),
}

"""Mistakes planted in what runs matrix states in chunks: see `test_mutants.py`."""

FILE = "_engine/matrix_chunks.py"
EQUAL = "test_matrix.py -k chunks_equal_the_steps"
RESET = "test_matrix.py -k ends_at_a_reset"
ROWS = {
    "chunks see over a reset": (FILE, "before &= segment[:, None] == segment[None]", "before &= segment[:, None] >= segment[None]", EQUAL),
    "chunks decay a write once too often": (FILE, "lower[None, ..., None] * log_decay[:, :, None]", "(lower + jnp.eye(len(lower)))[None, ..., None] * log_decay[:, :, None]", EQUAL),
    "chunks keep what was written before a reset": (FILE, "last = (segment == segment[-1])", "last = (segment <= segment[-1])", EQUAL),
    "chunks forget their own write": (FILE, "chunk.rows, chunk.k) + _diagonal(own)", "chunk.rows, chunk.k)", EQUAL),
    "chunks go on with what entered after a reset": (FILE, "jnp.where(chunk.first[-1], state, initial)", "state", EQUAL),
    "chunks hand NaN over a reset": (FILE, "(before & broken[None]).any(1)", "broken.any()", RESET),
    "chunks hide a broken step": (FILE, "reached = broken | (before & broken[None]).any(1)", "reached = broken & False", RESET),
    "chunks read NaN of another segment": (FILE, "return jnp.where(chunk.first, *(_product(scores, one) for one in _apart(chunk, values)))", "return _product(scores, values)", RESET),
    "chunks erase with the wrong sign": (FILE, "-_scores(chunk, chunk.a, chunk.k), -parts.v", "_scores(chunk, chunk.a, chunk.k), -parts.v", EQUAL),
    "chunks turn the wrong way": (FILE, "back = jnp.conj(own * since)", "back = own * since", EQUAL),
    "chunks of smaller steps read after the first": ("_engine/chunked.py", "[smaller - 1 :: smaller]", "[::smaller]", EQUAL),
    "a unit inverse of squares": ("_engine/triangular.py", "jnp.sum(part[..., i, :i, None] * seen, -2)", "part[..., i, :]", "test_matrix.py -k 'unit_inverse or repeated'"),
}  # fmt: skip

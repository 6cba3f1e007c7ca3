"""Planted mistakes of what is for accelerators: cuDNN's LSTM, the kernel of recurrences, bfloat16."""

CUDNN = "test_cudnn.py -k {}"
KERNEL = "test_kernel.py -k {}"
ROWS = {
    "cudnn reads biases first": (
        "_engine/cudnn.py",
        "jnp.concatenate([*matrices, *biases])",
        "jnp.concatenate([*biases, *matrices])",
        CUDNN.format("weights_lie"),
    ),
    "cudnn reads U before W": (
        "_engine/cudnn.py",
        "matrices += [w.ravel(), u.ravel()]",
        "matrices += [u.ravel(), w.ravel()]",
        CUDNN.format("weights_lie"),
    ),
    "cudnn has the bias twice": (
        "_engine/cudnn.py",
        "zeros if bias is None else bias, zeros]",
        "zeros if bias is None else bias, bias]",
        CUDNN.format("weights_lie"),
    ),
    "directions swapped for cudnn": (
        "layers/stacked.py",
        "[(layer.forward, layer.backward) for",
        "[(layer.backward, layer.forward) for",
        CUDNN.format("'gives_what and directions'"),
    ),
    "a mask with gaps is a length": (
        "_engine/cudnn.py",
        "jnp.all(valid[:, 1:] <= valid[:, :-1]) & jnp.all(lengths > 0)",
        "jnp.all(lengths > 0)",
        CUDNN.format("'is_a_length and one'"),
    ),
    "a sample without a step goes to cudnn": (
        "_engine/cudnn.py",
        "<= valid[:, :-1]) & jnp.all(lengths > 0)",
        "<= valid[:, :-1])",
        CUDNN.format("'is_a_length and one'"),
    ),
    "tf32 in full precision": (
        "_engine/cudnn.py",
        "layers, both, not exact,",
        "layers, both, True,",
        CUDNN.format("precision"),
    ),
    "resets are lost on the way to cudnn": (
        "_evaluators/by_cudnn.py",
        "return known and steps.reset is None and",
        "return known and",
        CUDNN.format("does_not_have"),
    ),
    "a kernel's derivative without its shift": (
        "_engine/diagonal_kernel.py",
        "if not how.late:",
        "if True:",
        KERNEL.format("derivatives"),
    ),
    "a kernel's reset lets what is not a number through": (
        "_engine/diagonal_kernel.py",
        "lax.select(forget, jnp.zeros_like(new), new)",
        "lax.select(forget, 0 * new, new)",
        KERNEL.format("past_a_reset"),
    ),
    "a kernel's reset holds the state": (
        "_engine/diagonal_kernel.py",
        "jnp.full_like(code, _FORGET)",
        "jnp.full_like(code, _HOLD + 5)",
        KERNEL.format("'equal_the_loop and 13-9'"),
    ),
    "a kernel's mask moves the state": (
        "_engine/diagonal_kernel.py",
        "lax.select(hold, before, new)",
        "lax.select(hold, new, new)",
        KERNEL.format("past_a_reset"),
    ),
    "a chunk of a kernel starts anew": (
        "_engine/diagonal_kernel.py",
        "lax.fori_loop(0, how.steps, step, carry)",
        "lax.fori_loop(0, how.steps, step, [0 * x for x in carry])",
        KERNEL.format("'equal_the_loop and 13-9'"),
    ),
    "chunks of a kernel in one order": (
        "_engine/diagonal_kernel.py",
        "(lambda k: chunks - 1 - k) if reverse else",
        "(lambda k: chunks - 1 - k) if False else",
        KERNEL.format("'equal_the_loop and 13-9'"),
    ),
    "a kernel multiplies by the conjugate": (
        "_engine/diagonal_kernel.py",
        "a[0] * h[0] - a[1] * h[1], a[0] * h[1] + a[1] * h[0]",
        "a[0] * h[0] + a[1] * h[1], a[0] * h[1] - a[1] * h[0]",
        KERNEL.format("'equal_the_loop and 3-5'"),
    ),
    "a kernel on devices that are too old": (
        "_engine/unstable_devices.py",
        "int(version) >= 9",
        "int(version) >= 8",
        KERNEL.format("new_enough"),
    ),
    "vectors are lowered too": (
        "train/lowered.py",
        "jnp.ndim(leaf) >= 2",
        "jnp.ndim(leaf) >= 1",
        "test_lowered.py -k matrices",
    ),
    "nothing is lowered": (
        "train/step.py",
        "of_part = in_dtype(of_part, rule.compute_dtype)",
        "of_part = in_dtype(of_part, None)",
        "test_lowered.py -k matrices",
    ),
    "cudnn one step late": (
        "_engine/backends.py",
        "if length >= row.steps]",
        "if length > row.steps]",
        CUDNN.format("auto_takes"),
    ),
    "auto takes a kernel anywhere": (
        "_engine/backends.py",
        'row.algorithm == "kernel" and not has_kernels()',
        "False",
        KERNEL.format("auto_takes"),
    ),
}

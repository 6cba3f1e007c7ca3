"""How the step of a cell is written in full, as text, in `register(..., full=)`.

The reference shows these texts, and the tests compute them.

A line is `symbol = expression`, in any order. A prime marks what follows the step, and the last
line before `where` is the output. After `where`, symbols are said to be fields of the cell, and
`state` is named; a field under its own name needs no line there. Several symbols before one `=`
are equal blocks of the rows. Of several lines for one symbol that one holds whose `if` is true,
entry by entry where the condition is one of entries, as with `<`. A line may say what a function
is, `F(v) = W v`; it is then taken by its name. A parameter that a cell does without, such
as a bias, is left out of its term.

`W x`, side by side, is a product with a matrix or a number; `*` and `/` act entry by entry; `^` is
a power, of matrices `^T` the transpose and `^-1` the inverse; `[a, b]` puts one behind the other.
Only numbers are broadcast. `I` is the identity, `j` the imaginary unit, `dt` the time since the
last step. Functions act on each entry: `sig` (the logistic function), `tanh`, `exp`, `softplus`,
`relu`, `elu`, `silu`, `identity`, `log`, `sqrt`, `cos`, `abs`, `sign`, `max`, `min`, `clip`, `re`,
`im`, `conj`. The others:

- `complex(A)`: its first half is the real part, its second the imaginary one.
- `diag(v)`, `outer(u, v)`, `norm(v)`, `expm(A)`: as in linear algebra; `radius(A)`: the largest
  modulus of an eigenvalue.
- `vec(A)`: its rows, one behind the other; `legendre(n)`: the matrix and the vector of the
  differential equation that keeps the last unit of time as n Legendre polynomials.
- `unit(v)`: v / sqrt(norm(v)^2 + 1e-6), a vector or each row with length 1.
- `standard(v)`: v less its mean, over the root of its variance + 1e-5; `number(v)`: the one number
  of v.
- `row(A, n)`: row n, from 0; `shifted(A, v)`: the rows behind the first, then v.
- `first(v)`, `this(A)`: under a heading "n times", v the first time and 0 later; what belongs to
  this time, along the first axis of A.
- `sum(A)`: of each row, or of a vector; `rows(v)`: v in every row; `by_channel(v)`: v as a matrix
  with a row for each channel.
- `mixed(M, s)`: the sum of matrices, each times a number of s; `hardmax(A)`: 1 where a column is
  largest, else 0.
- `parts(A)`: what stands along its first axis; `split(A, n)`: the first n rows and the others;
  `columns(A)`: their number; `given(A)`: whether there is such a parameter.
- `upper(v)`: the strictly upper triangular matrix of v, row by row; `block_diagonal(A)`: the
  matrix of these blocks; `permute(A, p)`: the rows in the order p; `fourier(A)`: the unitary
  discrete Fourier transform of the columns.
- `by_unit(periods)`: the period of each unit; `reads(T)`: 1 where T of the row is at most T of the
  column, else 0; `lcm(T)`: the least common multiple.
- `signs(n)`: 1 for each unit, -1 for the last n.
- `steps(t, M, g, v)`: v after t steps of v -> M v + g, where t is any real number;
  `diagonals(a, b, c, d)`: the matrix of the four blocks diag(a), diag(b) over diag(c), diag(d).
- `layers(parts, phi, u)`: phi(W u + b) of each of the parts, one after the other.
- `head(v)`: under the heading "for each head", the numbers of this head, where `state` is its
  state, too, and `h` its number, from 0; `pieces(v, m, n)`: of blocks of m, n, ... numbers for
  each head those of this one, and whole what is behind them; a size `each(n, m)` stands for n
  blocks of m, a row for each; `shared(v, n)`: of n equal blocks, of groups of heads, that of this
  head's group.
- `corrected(S, k, v, b)`: S -> S + b outer(k, v - S^T k) with each row of k, v and b, in order.
- `spaced(a, b, n)`: n numbers from a to b at equal distances; `pairs(v)`: complex numbers, the real
  part of each before its imaginary one.
- `flow(F, v, t)`: v after the time t of dv/dt = F(v), by `substeps` equal steps of `method`: of
  Euler, of the midpoint rule, or of the classical Runge-Kutta rule.
- `seen(x)`: 1 where x is a number and 0 where it is NaN; `known(x)`: x, and 0 where it is NaN.
- `wires(v, adjacency)`: the numbers of the synapses as a matrix, a row for each target;
  `synapses(wiring)`: 1 where a neuron of the layer (row) reads a feature of [x, h], else 0;
  `motor(v)`: the motor neurons.
"""

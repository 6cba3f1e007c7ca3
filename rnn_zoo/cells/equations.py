"""The step of every cell in full, as text: what the reference shows and what the tests compute.

A line is `symbol = expression`, in any order. A prime marks what follows the step, and the last
line before `where` is the output. After `where`, symbols are said to be fields of the cell, and
`state` is named; a field under its own name needs no line there. Several symbols before one `=`
are equal blocks of the rows. Of several lines for one symbol that one holds whose `if` is true,
entry by entry where the condition is one of entries. A parameter that a cell does without, such
as a bias, is left out of its term.

`W x`, side by side, is a product with a matrix or a number; `*` and `/` act entry by entry; `^` is
a power, of matrices `^T` the transpose and `^-1` the inverse; `[a, b]` puts one behind the other.
Only numbers are broadcast. `I` is the identity, `j` the imaginary unit, `dt` the time since the
last step. Functions act on each entry: `sig` (the logistic function), `tanh`, `exp`, `softplus`,
`relu`, `sqrt`, `cos`, `abs`, `sign`, `max`, `min`, `clip`, `re`, `im`, `conj`. The others:

- `complex(A)`: its first half is the real part, its second the imaginary one.
- `diag(v)`, `outer(u, v)`, `norm(v)`, `expm(A)`: as in linear algebra; `radius(A)`: the largest
  modulus of an eigenvalue.
- `sum(A)`: of each row; `rows(v)`: v in every row; `by_channel(v)`: v as a matrix with a row for
  each channel.
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
- `wires(v, adjacency)`: the numbers of the synapses as a matrix, a row for each target;
  `synapses(wiring)`: 1 where a neuron of the layer (row) reads a feature of [x, h], else 0;
  `motor(v)`: the motor neurons.
"""

EQUATIONS = {
    "elman": """
        h' = phi(W x + U h + b)
        y = h'
        where W = weight_ih; U = weight_hh; b = bias; phi = activation; h = state
    """,
    "leaky_elman": """
        alpha = 1 - (1 - leak)^dt
        h' = (1 - alpha) h + alpha phi(W x + U h + b)
        y = h'
        where W = weight_ih; U = weight_hh; b = bias; phi = activation; h = state
    """,
    "wilson_cowan": """
        alpha = 1 - (1 - leak)^dt
        u_E = W_E [E, -I] + P x + b_E
        u_I = W_I [E, -I] + Q x + b_I
        S_E = sig(a_E (u_E - theta_E)) - sig(-a_E theta_E)
        S_I = sig(a_I (u_I - theta_I)) - sig(-a_I theta_I)
        E' = (1 - alpha) E + alpha (1 - r E) * S_E
        I' = (1 - alpha) I + alpha (1 - r I) * S_I
        y = [E', I']
        where E, I = split(state, excitatory)
              W_E, W_I = split(softplus(raw_weight_hh), excitatory)
              P, Q = split(weight_ih, excitatory); b_E, b_I = split(bias, excitatory)
              a_E, a_I = gain; theta_E, theta_I = threshold; r = refractory
    """,
    "indrnn": """
        u = clip(w, -u_max, u_max)
        h' = phi(W x + u * h + b)
        y = h'
        where W = weight_ih; w = weight_hh; b = bias; phi = activation; h = state
              u_min, u_max = recurrent_range
    """,
    "linear_indrnn": """
        u = clip(w, -u_max, u_max)
        h' = W x + u * h + b
        y = h'
        where W = weight_ih; w = weight_hh; b = bias; h = state
              u_min, u_max = recurrent_range
    """,
    "lstm": """
        i = sig(W_i x + U_i h + b_i)
        f = sig(W_f x + U_f h + b_f)
        g = tanh(W_g x + U_g h + b_g)
        o = sig(W_o x + U_o h + b_o)
        c' = f * c + i * g
        h' = o * tanh(c')
        y = h'
        where W_i, W_f, W_g, W_o = weight_ih
              U_i, U_f, U_g, U_o = weight_hh
              b_i, b_f, b_g, b_o = bias
              h, c = state
    """,
    "lstmp": """
        i = sig(W_i x + U_i h + b_i)
        f = sig(W_f x + U_f h + b_f)
        g = tanh(W_g x + U_g h + b_g)
        o = sig(W_o x + U_o h + b_o)
        c' = f * c + i * g
        h' = V (o * tanh(c'))
        y = h'
        where W_i, W_f, W_g, W_o = weight_ih
              U_i, U_f, U_g, U_o = weight_hh
              b_i, b_f, b_g, b_o = bias
              V = weight_hr
              h, c = state
    """,
    "gru": """
        r = sig(W_r x + U_r h + b_r)
        z = sig(W_z x + U_z h + b_z)
        n = tanh(W_n x + b_n + r * (U_n h + c_n))   if reset_after
        n = tanh(W_n x + b_n + U_n (r * h))         otherwise
        h' = (1 - z) * n + z * h
        y = h'
        where W_r, W_z, W_n = weight_ih
              U_r, U_z, U_n = weight_hh
              b_r, b_z, b_n = bias
              c_n = bias_n; h = state
    """,
    "mgu": """
        f = sig(W_f x + U_f h + b_f)
        g = tanh(W_g x + U_g (f * h) + b_g)
        h' = (1 - f) * h + f * g
        y = h'
        where W_f, W_g = weight_ih
              U_f, U_g = weight_hh
              b_f, b_g = bias
              h = state
    """,
    "mingru": """
        z = sig(W_z x + b_z)
        g = phi(W_g x + b_g)
        k = 2 (1 - z) - 1   if negative_eigenvalues
        k = 1 - z           otherwise
        h' = k * h + z * g
        y = h'
        where W_z, W_g = weight_ih; b_z, b_g = bias; phi = activation; h = state
    """,
    "minlstm": """
        f = sig(W_f x + b_f)
        i = sig(W_i x + b_i)
        g = phi(W_g x + b_g)
        k = 2 f / (f + i) - 1   if negative_eigenvalues
        k = f / (f + i)         otherwise
        h' = k * h + i / (f + i) * g
        y = h'
        where W_f, W_i, W_g = weight_ih; b_f, b_i, b_g = bias; phi = activation; h = state
    """,
    "antisymmetric": """
        M = A - A^T - gamma I
        h' = h + dt epsilon tanh(M h + W x + b)
        y = h'
        where A = upper(weight_hh); W = weight_ih; b = bias; h = state
    """,
    "gated_antisymmetric": """
        M = A - A^T - gamma I
        z = sig(M h + W_z x + b_z)
        h' = h + dt epsilon z * tanh(M h + W_h x + b_h)
        y = h'
        where A = upper(weight_hh); W_z, W_h = weight_ih; b_z, b_h = bias; h = state
    """,
    "clockwork": """
        g = tanh(W x + (U * reads(T)) h + b)
        h' = g   if t mod T = 0
        h' = h   otherwise
        t' = (t + 1) mod lcm(T)
        y = h'
        where W = weight_ih; U = weight_hh; b = bias; T = by_unit(periods); h, t = state
    """,
    "lipschitz": """
        A = (1 - beta_A) (M_A + M_A^T) + beta_A (M_A - M_A^T) - gamma_A I
        U = (1 - beta_U) (M_U + M_U^T) + beta_U (M_U - M_U^T) - gamma_U I
        f = A h + tanh(U h + W x + b)
        k = h                        if method = euler
        k = h + dt epsilon / 2 * f   otherwise
        h' = h + dt epsilon (A k + tanh(U k + W x + b))
        y = h'
        where W = weight_ih; M_U = M_W; b = bias; h = state
              beta_A, beta_U = beta; gamma_A, gamma_U = gamma
    """,
    "unitary": """
        D_1 = diag(exp(j omega_1))
        D_2 = diag(exp(j omega_2))
        D_3 = diag(exp(j omega_3))
        R_1 = I - 2 / norm(v_1)^2 * outer(v_1, conj(v_1))
        R_2 = I - 2 / norm(v_2)^2 * outer(v_2, conj(v_2))
        W = D_3 R_2 F^-1 D_2 P R_1 F D_1
        z = W h + V x
        m = sqrt(abs(z)^2 + 1e-10)
        h' = max(m + b, 0) / m * z
        y = U [re(h'), im(h')] + c
        where omega_1, omega_2, omega_3 = parts(omega); v_1, v_2 = parts(complex(v))
              P = permute(I, permutation); F = fourier(I)
              V = complex(weight_ih); b = bias; U = weight_out; c = bias_out; h = state
    """,
    "exprnn": """
        A = T - T^T
        W = expm(A)                if parametrisation = exp
        W = (I + A)^-1 (I - A) D   otherwise
        D = diag(signs(negative_ones))
        u = W h + V x
        h' = sign(u) * max(abs(u) + b, 0)
        y = h'
        where T = upper(weight_hh); V = weight_ih; b = bias; h = state
    """,
    "cornn": """
        d = dt delta
        f = tanh(W h + W_z z + V x + b) - gamma h
        z' = z + d (f - epsilon z)         if scheme = explicit
        z' = (z + d f) / (1 + d epsilon)   otherwise
        h' = h + d z'
        y = h'
        where W = weight_hh; W_z = weight_hz; V = weight_ih; b = bias; h, z = state
    """,
    "hcornn": """
        d = dt delta
        z' = z + d (tanh(W h + V x + b) - gamma * h - epsilon * z)
        h' = h + d z'
        y = h'
        where W = weight_hh; V = weight_ih; b = bias; gamma = stiffness; epsilon = damping
              h, z = state
    """,
    "lem": """
        d_1 = dt delta sig(W_1 h + V_1 x + b_1)
        d_2 = dt delta sig(W_2 h + V_2 x + b_2)
        z' = (1 - d_1) * z + d_1 * tanh(W_z h + V_z x + b_z)
        h' = (1 - d_2) * h + d_2 * tanh(W_h z' + V_h x + b_h)
        y = h'
        where V_1, V_2, V_z, V_h = weight_ih
              W_1, W_2, W_z = weight_hh; W_h = weight_hz
              b_1, b_2, b_z, b_h = bias
              h, z = state
    """,
    "unicornn": """
        d = dt delta sig(c)
        z' = z - d * (tanh(w * h + V x + b) + alpha h)
        h' = h + d * z'
        y = h'
        where w = weight_hh; V = weight_ih; b = bias; h, z = state
    """,
    "ltc": """
        ode_unfolds times, each with v' of the time before for v
        p = softplus         if constraint = implicit
        p = relu             otherwise
        c = softplus(c_m)    if constraint = implicit
        c = max(c_m, 1e-5)   otherwise
        tau = dt / (n c)
        u = a_x * x + b_x
        S = w * sig(s * (rows(v) - m))
        S_x = w_x * sig(s_x * (rows(u) - m_x))
        f = p(g) * E_0 + sum(S * E) + sum(S_x * E_x)
        k = p(g) + sum(S) + sum(S_x) + epsilon
        v' = (v + tau * f) / (1 + tau * k)
        y = a_y * motor(v') + b_y
        where w = wires(p(recurrent.weight), wiring.adjacency)
              m = wires(recurrent.mu, wiring.adjacency)
              s = wires(recurrent.sigma, wiring.adjacency)
              E = wires(recurrent.polarity, wiring.adjacency)
              w_x = wires(p(sensory.weight), wiring.sensory_adjacency)
              m_x = wires(sensory.mu, wiring.sensory_adjacency)
              s_x = wires(sensory.sigma, wiring.sensory_adjacency)
              E_x = wires(sensory.polarity, wiring.sensory_adjacency)
              a_x = input_weight; b_x = input_bias; a_y = output_weight; b_y = output_bias
              g = g_leak; E_0 = v_leak; n = ode_unfolds; v = state
    """,
    "cfc": """
        u = layers(backbone, phi, [x, h])
        f_1 = W_1 u + c_1
        f_2 = W_2 u + c_2
        tau = kappa dt
        s = sig((W_a u + c_a) tau + W_b u + c_b)
        f = W u + c
        h' = (1 - s) * tanh(f_1) + s * tanh(f_2)           if mode = default
        h' = tanh(f_1) + s * tanh(f_2)                     if mode = no_gate
        h' = A - A * exp(-tau (abs(w_tau) + abs(f))) * f   if mode = pure
        y = h'
        where W_1, W_2, W_a, W_b = heads.weight; c_1, c_2, c_a, c_b = heads.bias
              W = heads.weight; c = heads.bias
              phi = activation; kappa = time_scale_factor; h = state
    """,
    "wired_cfc": """
        for each layer, with h' of the layer before for x
        u = [x, h]
        f_1 = (M * W_1) u + c_1
        f_2 = (M * W_2) u + c_2
        tau = kappa dt
        s = sig((W_a u + c_a) tau + W_b u + c_b)
        f = (M * W) u + c
        h' = (1 - s) * tanh(f_1) + s * tanh(f_2)           if mode = default
        h' = tanh(f_1) + s * tanh(f_2)                     if mode = no_gate
        h' = A - A * exp(-tau (abs(w_tau) + abs(f))) * f   if mode = pure
        y = motor(h')
        where W_1, W_2, W_a, W_b = heads.weight; c_1, c_2, c_a, c_b = heads.bias
              W = heads.weight; c = heads.bias; M = synapses(wiring)
              kappa = time_scale_factor; h = state
    """,
    "esn": """
        alpha = 1 - (1 - leak)^dt
        L = (1 - leak) I + leak U
        V = rho U                                         if radius_of = matrix
        V = (rho / radius(L) * L - (1 - leak) I) / leak   otherwise
        h' = (1 - alpha) h + alpha tanh(s W x + V h + b)
        y = h'
        where W = weight_ih; U = weight_hh; b = bias; s = input_scaling; rho = spectral_radius
              h = state
    """,
}

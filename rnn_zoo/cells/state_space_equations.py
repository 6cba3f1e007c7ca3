"""The step of every state space in full; `rnn_zoo.cells.equations` says how to read it."""

EQUATIONS = {
    "lru": """
        lambda = exp(-exp(nu) + j exp(theta))
        h' = lambda * h + exp(gamma) * (B x)
        y = re(C h') + D x
        where nu = nu_log; theta = theta_log; gamma = gamma_log
              B = complex(B); C = complex(C); h = state
    """,
    "s4d": """
        u = W x + b
        lambda = -exp(rho) + j omega
        Delta = dt exp(log_step)
        Z = diag(Delta) lambda
        K = exp(Z)                          if discretisation = zoh
        K = (1 + Z / 2) / (1 - Z / 2)       otherwise
        G = (exp(Z) - 1) / lambda           if discretisation = zoh
        G = diag(Delta) (1 / (1 - Z / 2))   otherwise
        H' = K * H + diag(u) G
        y = 2 re(sum(C * H')) + D * u
        where W = weight_ih; b = bias; rho = log_decay; omega = frequency
              C = complex(C); H = by_channel(state)
    """,
    "s5": """
        lambda = min(Lambda_re, -1e-4) + j Lambda_im   if clip_eigs
        lambda = Lambda_re + j Lambda_im               otherwise
        Delta = dt exp(log_step)
        z = Delta * lambda
        k = exp(z)                      if discretisation = zoh
        k = (1 + z / 2) / (1 - z / 2)   otherwise
        g = (exp(z) - 1) / lambda       if discretisation = zoh
        g = Delta / (1 - z / 2)         otherwise
        h' = k * h + g * (B x)
        y = 2 re(C h') + D x   if conj_sym
        y = re(C h') + D x     otherwise
        where B = complex(B); C = complex(C); h = state
    """,
    "rglru": """
        u = W x + b
        r = sig(block_diagonal(B_r) u + b_r)
        i = sig(block_diagonal(B_i) u + b_i)
        a = 2 exp(-8 softplus(Lambda) * r) - 1        if negative_eigenvalues
        a = exp(8 r * (j theta - softplus(Lambda)))   if complex_eigenvalues
        a = exp(-8 softplus(Lambda) * r)              otherwise
        v = complex(u)                                if complex_eigenvalues
        v = u                                         otherwise
        m = sqrt(1 - abs(a)^2)                        if root_at_start
        m = f + (1 - f) * sqrt(1 - abs(a)^2)          otherwise
        h' = a * h + m * (i * v)
        f' = 0 f
        y = [re(h'), im(h')]   if complex_eigenvalues
        y = h'                 otherwise
        where W = weight_ih; b = bias
              h = state          if root_at_start
              h, f = parts(state)   otherwise
              B_r, B_i = parts(weight_gates); b_r, b_i = parts(bias_gates)
              complex_eigenvalues = given(theta)
    """,
    "mamba": """
        u = W x + b
        Delta = dt softplus(W_d W_r u + b_d)
        B = complex(W_B u)         if complex_eigenvalues
        B = W_B u                  otherwise
        C = complex(W_C u)         if complex_eigenvalues
        C = W_C u                  otherwise
        A = -exp(alpha) + j beta   if complex_eigenvalues
        A = -exp(alpha)            otherwise
        Z = diag(Delta) A
        K = 2 exp(Z) - 1                              if negative_eigenvalues
        K = exp(Z)                                    otherwise
        H' = K * H + outer(Delta * u, B)              if discretisation = euler
        H' = K * H + (exp(Z) - 1) / A * outer(u, B)   otherwise
        y = 2 re(H' C) + D * u                        if complex_eigenvalues
        y = H' C + D * u                              otherwise
        where W = weight_ih; b = bias; W_d = weight_dt; b_d = bias_dt
              W_r, W_s = split(weight_x, columns(weight_dt)); W_B, W_C = W_s
              alpha = A_log; beta = A_imag
              complex_eigenvalues = given(A_imag); H = by_channel(state)
    """,
    "linoss": """
        Delta = sig(s)
        G = relu(G_0)   if scheme = damped
        G = 0           otherwise
        r = 1 / sqrt(1 + Delta * G)
        low = (1 - r)^2 / (Delta * r)^2
        high = (1 + r^2 - 2 cos(63 pi / 64) r) / (Delta * r)^2
        A = relu(A_0)                    if scheme = im
        A = clip(relu(A_0), low, high)   otherwise
        k = Delta / (1 + Delta^2 * A)   if scheme = im
        k = Delta / (1 + Delta * G)     otherwise
        M = diagonals(k / Delta, -k * A, k, k / Delta)           if scheme = im
        M = diagonals(k / Delta, -k * A, k, 1 - Delta * k * A)   otherwise
        z', y' = steps(dt, M, [k, Delta * k] * [B x, B x], [z, y])
        out = C y' + D x
        where A_0 = A; G_0 = G; s = step_logit; z, y = parts(state)
    """,
}

"""Chaotic series: maps, flows, a delay equation and a partial differential equation.

Everything is float64 in NumPy or plain Python, since chaos makes every rounding visible.
"""

import math

import numpy as np

from ._integrate import Start, check_steps, etdrk4, integrated, iterated, slopes, start_at


def henon_series(
    n_steps: int,
    *,
    a: float | int = 1.4,
    b: float | int = 0.3,
    x0: Start = (0.0, 0.0),
) -> np.ndarray:
    r"""The Henon map, (n_steps, 2) float64, beginning with `x0`.

    $$x_{t+1} = 1 - a\,x_t^2 + y_t, \quad y_{t+1} = b\,x_t$$

    Starts far from the attractor run away to infinity. Raises ValueError for those, a negative
    n_steps and an x0 that is not two numbers. Henon (1976), doi:10.1007/BF01608556.
    """

    def rule(state):
        x, y = state
        return 1 - a * (x * x) + y, b * x

    return iterated(rule, start_at(x0, 2), n_steps)


def logistic_map_series(n_steps: int, *, r: float | int = 3.9, x0: float | int = 0.5) -> np.ndarray:
    r"""The logistic map, (n_steps,) float64, beginning with `x0`.

    $$x_{t+1} = r\,x_t (1 - x_t)$$

    At r = 4 the default start falls on 0 and stays there: take another. Raises ValueError unless
    0 < r <= 4 and 0 < x0 < 1, where the series stays in [0, 1], and for a negative n_steps. May
    (1976), doi:10.1038/261459a0.
    """
    if not 0 < r <= 4:
        raise ValueError(f"expected 0 < r <= 4, where the series stays in [0, 1], got r {r}")
    if not 0 < x0 < 1:
        raise ValueError(f"expected 0 < x0 < 1, got x0 {x0}")
    return iterated(lambda x: r * x * (1 - x), float(x0), n_steps)[:, 0]


def mackey_glass_series(
    n_steps: int,
    *,
    tau: float | int = 17.0,
    a: float | int = 0.2,
    b: float | int = 0.1,
    n: float | int = 10.0,
    x0: float | int = 1.2,
    h: float | int = 1.0,
    history: np.ndarray | None = None,
) -> np.ndarray:
    r"""The Mackey-Glass series, (n_steps,) float64, beginning with `x0`.

    $$\dot x(t) = \frac{a\,x(t-\tau)}{1 + x(t-\tau)^n} - b\,x(t)$$

    It is chaotic from tau = 17 on. Each step of length `h` is one step of the classical Runge-Kutta
    method with the delayed value held, which is the convention of the reservoir literature. The
    error is O(h), so a smaller `h` approaches the delay equation. `history` holds the
    `tau / h` values before `x0`, oldest first; by default they equal `x0`.

    Raises ValueError if `tau / h` is not a whole number of at least 1, or the history has another
    length. Mackey and Glass (1977), doi:10.1126/science.267326.
    """
    check_steps(n_steps, h)
    lag = round(tau / h)
    if lag < 1 or abs(lag * h - tau) > 1e-9 * tau:
        raise ValueError(f"expected tau / h to be a whole number >= 1, got tau {tau} and h {h}")
    past = [float(x0)] * lag if history is None else np.asarray(history, np.float64).tolist()
    if len(past) != lag:
        raise ValueError(f"expected a history of tau / h = {lag} values, got {len(past)}")

    def flow(x, gain):
        return gain - b * x, 0.0

    x, series = float(x0), past
    for step in range(n_steps):
        series.append(x)
        delayed = series[step]
        slope, _ = slopes(flow, (x, a * delayed / (1 + delayed**n)), h)
        x += h * slope / 6
    return np.array(series[lag:])


def lorenz_series(
    n_steps: int,
    *,
    sigma: float | int = 10.0,
    rho: float | int = 28.0,
    beta: float | int = 8.0 / 3.0,
    x0: Start = (1.0, 1.0, 1.0),
    h: float | int = 0.03,
    substeps: int = 3,
) -> np.ndarray:
    r"""The Lorenz system, (n_steps, 3) float64, sampled every `h` time units, beginning with `x0`.

    $$\dot x = \sigma(y - x), \quad \dot y = x(\rho - z) - y, \quad \dot z = xy - \beta z$$

    Between two samples there are `substeps` steps of the classical Runge-Kutta method. Raises
    ValueError for a negative n_steps, an x0 that is not three numbers, h or substeps that are not
    positive, and where the numbers run away. Lorenz (1963),
    doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2.
    """

    def flow(x, y, z):
        return sigma * (y - x), x * (rho - z) - y, x * y - beta * z

    return integrated(flow, start_at(x0, 3), n_steps, h, substeps)


def rossler_series(
    n_steps: int,
    *,
    a: float | int = 0.2,
    b: float | int = 0.2,
    c: float | int = 5.7,
    x0: Start = (-0.1, 0.0, 0.02),
    h: float | int = 0.1,
    substeps: int = 2,
) -> np.ndarray:
    r"""The Roessler system, (n_steps, 3) float64, sampled every `h` time units, from `x0` on.

    $$\dot x = -y - z, \quad \dot y = x + a\,y, \quad \dot z = b + z(x - c)$$

    It is integrated, and refused, as `lorenz_series` is. Roessler (1976),
    doi:10.1016/0375-9601(76)90101-8.
    """

    def flow(x, y, z):
        return -y - z, x + a * y, b + z * (x - c)

    return integrated(flow, start_at(x0, 3), n_steps, h, substeps)


def rabinovich_fabrikant_series(
    n_steps: int,
    *,
    alpha: float | int = 1.1,
    gamma: float | int = 0.89,
    x0: Start = (-1.0, 0.0, 0.5),
    h: float | int = 0.05,
    substeps: int = 5,
) -> np.ndarray:
    r"""The Rabinovich-Fabrikant equations, (n_steps, 3) float64, every `h` time units from `x0` on.

    $$\dot x = y(z - 1 + x^2) + \gamma x, \quad \dot y = x(3z + 1 - x^2) + \gamma y, \quad
    \dot z = -2z(\alpha + xy)$$

    With the default settings the chaos is transient: after some thousand samples the series runs
    away, which raises ValueError. With gamma = 0.87 it stays. It is integrated, and refused, as
    `lorenz_series` is. Rabinovich and Fabrikant (1979), Sov. Phys. JETP 50, 311.
    """

    def flow(x, y, z):
        square = x * x
        return (
            y * (z - 1 + square) + gamma * x,
            x * (3 * z + 1 - square) + gamma * y,
            -2 * z * (alpha + x * y),
        )

    return integrated(flow, start_at(x0, 3), n_steps, h, substeps)


def double_scroll_series(
    n_steps: int,
    *,
    r1: float | int = 1.2,
    r2: float | int = 3.44,
    r4: float | int = 0.193,
    ir: float | int = 2.25e-5,
    beta: float | int = 11.6,
    x0: Start = (0.37926545, 0.058339, -0.08167691),
    h: float | int = 0.25,
    substeps: int = 5,
) -> np.ndarray:
    r"""The double-scroll circuit, (n_steps, 3) float64, sampled every `h` time units, from `x0` on.

    $$\dot V_1 = \frac{V_1}{R_1} - J, \quad \dot V_2 = J - I, \quad \dot I = V_2 - R_4 I, \quad
    J = \frac{V_1 - V_2}{R_2} + 2 I_r \sinh(\beta (V_1 - V_2))$$

    It is integrated, and refused, as `lorenz_series` is. In this form and with these settings
    Gauthier et al. (2021), doi:10.1038/s41467-021-25801-2.
    """

    def flow(v1, v2, i):
        across = v1 - v2
        current = across / r2 + 2 * ir * math.sinh(beta * across)
        return v1 / r1 - current, current - i, v2 - r4 * i

    return integrated(flow, start_at(x0, 3), n_steps, h, substeps)


def multi_scroll_series(
    n_steps: int,
    *,
    a: float | int = 40.0,
    b: float | int = 3.0,
    c: float | int = 28.0,
    x0: Start = (-0.1, 0.5, -0.6),
    h: float | int = 0.01,
    substeps: int = 5,
) -> np.ndarray:
    r"""The Chen system, (n_steps, 3) float64, sampled every `h` time units, beginning with `x0`.

    $$\dot x = a(y - x), \quad \dot y = (c - a)x - xz + cy, \quad \dot z = xy - bz$$

    It is integrated, and refused, as `lorenz_series` is. Chen and Ueta (1999),
    doi:10.1142/S0218127499001024.
    """

    def flow(x, y, z):
        return a * (y - x), (c - a) * x - x * z + c * y, x * y - b * z

    return integrated(flow, start_at(x0, 3), n_steps, h, substeps)


def lorenz96_series(
    n_steps: int,
    *,
    sites: int = 36,
    forcing: float | int = 8.0,
    x0: Start | None = None,
    h: float | int = 0.01,
    substeps: int = 1,
) -> np.ndarray:
    r"""The Lorenz-96 ring, (n_steps, sites) float64, sampled every `h` time units, from `x0` on.

    $$\dot x_i = (x_{i+1} - x_{i-2})\,x_{i-1} - x_i + F$$

    By default `x0` is the rest state F, with 0.01 more at the first site. The ring is integrated as
    `lorenz_series` is. Raises ValueError as that does, and for fewer than 4 sites. Lorenz (1996),
    doi:10.1017/CBO9780511617652.004.
    """
    if sites < 4:
        raise ValueError(f"expected at least 4 sites, since one feels three others, got {sites}")
    rest = forcing + 0.01 * (np.arange(sites) == 0)
    start = np.array(start_at(rest if x0 is None else x0, sites))
    ahead, behind, second = (np.roll(np.arange(sites), by) for by in (-1, 1, 2))

    def flow(x):
        return ((x[ahead] - x[second]) * x[behind] - x + forcing,)

    return integrated(flow, (start,), n_steps, h, substeps)


def kuramoto_sivashinsky_series(
    n_steps: int,
    *,
    sites: int = 128,
    domain: float | int = 32 * math.pi,
    x0: Start | None = None,
    h: float | int = 0.25,
    substeps: int = 1,
) -> np.ndarray:
    r"""The Kuramoto-Sivashinsky equation, (n_steps, sites) float64, every `h` time units from `x0`.

    $$u_t = -u\,u_x - u_{xx} - u_{xxxx}$$

    with u of period `domain`, at its `sites` equidistant points; x = 0 is the last of them. By
    default `x0` is $\cos\theta\,(1 + \sin\theta)$ for $\theta = 2 \pi x$ / `domain`. In space the
    solution is a sum of Fourier modes, and in time there are `substeps` steps of the fourth-order
    exponential Runge-Kutta method ETDRK4 between two samples.

    Raises ValueError for a negative n_steps, fewer than 4 sites, an x0 of another length than
    `sites`, a domain, h or substeps that are not positive, and where the numbers run away.
    Kuramoto (1978), doi:10.1143/PTPS.64.346; Sivashinsky (1977), doi:10.1016/0094-5765(77)90096-0;
    the method Kassam and Trefethen (2005), doi:10.1137/S1064827502410633.
    """
    check_steps(n_steps, h, substeps)
    if sites < 4 or not 0 < domain < math.inf:
        raise ValueError(
            f"expected at least 4 sites and a positive domain, got {sites} and {domain}"
        )
    theta = 2 * np.pi * np.arange(1, sites + 1) / sites
    start = np.array(start_at(np.cos(theta) * (1 + np.sin(theta)) if x0 is None else x0, sites))
    k = 2 * np.pi / domain * np.arange(sites // 2 + 1)

    def nonlinear(modes):
        # The highest mode of an even number of sites has no real derivative: irfft drops it.
        return -0.5j * k * np.fft.rfft(np.fft.irfft(modes, sites) ** 2)

    step = etdrk4(k**2 - k**4, nonlinear, h / substeps)

    def later(u):
        modes = np.fft.rfft(u)
        for _ in range(substeps):
            modes = step(modes)
        return np.fft.irfft(modes, sites)

    return iterated(later, start, n_steps)

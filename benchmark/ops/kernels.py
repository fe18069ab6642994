"""The loops that numba compiles for a CPU, in float32; only imported where one is called.

A kernel is compiled when it is first called, which takes a second or so, and then read from a
cache. N is the number of sequences; `into` and `out` are entries of Mamba's B and C.
"""

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

OPTIONS: dict[str, Any] = {
    "fastmath": {"contract", "reassoc", "nsz"},
    "error_model": "numpy",
    "nogil": True,
}
"""Sums may be taken in another order and products fused with them, as vector units need it; NaN and
infinity stay what they are."""


def kernel(function: Callable) -> Callable:
    """The function, compiled at its first call."""
    try:
        compiled: Callable = numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # there is no directory for a cache that may be written to
        compiled = numba.njit(**OPTIONS)(function)
    return compiled


f32 = np.float32
LOG2_E = f32(np.log2(np.e))
LN_2 = f32(np.log(2))
C1, C2, C3, C4, C5, C6 = (f32(np.log(2) ** k / math.factorial(k)) for k in range(1, 7))
ODD = tuple(f32(1 / k) for k in range(1, 13, 2))


@numba.njit(inline="always")
def exp2(x: Any) -> Any:
    """2ˣ in float32, to 3e-7 of itself: 2ⁿ 2ʳ with |r| ≤ 1/2, and 2ʳ by its Taylor polynomial.

    Unlike a call of the system's function it lets a loop be computed in the processor's vector
    units.
    """
    x = min(max(x, f32(-126)), f32(127))
    n = np.floor(x + f32(0.5))
    r = x - n
    two_to_r = (((((C6 * r + C5) * r + C4) * r + C3) * r + C2) * r + C1) * r + f32(1)
    exponent = np.int32((np.int32(n) + np.int32(127)) << np.int32(23))
    return two_to_r * exponent.view(np.float32)


@numba.njit(inline="always")
def exp(x: Any) -> Any:
    """eˣ."""
    return exp2(x * LOG2_E)


@numba.njit(inline="always")
def sigmoid(x: Any) -> Any:
    """1 / (1 + e⁻ˣ)."""
    return f32(1) / (f32(1) + exp(-x))


@numba.njit(inline="always")
def softplus(x: Any) -> Any:
    """log(1 + eˣ) = max(x, 0) + log(1 + w), w = e^−|x|; log(1 + w) = 2 artanh(w / (2 + w))."""
    w = exp(-abs(x))
    q = w / (f32(2) + w)
    q2 = q * q
    series = ((((ODD[5] * q2 + ODD[4]) * q2 + ODD[3]) * q2 + ODD[2]) * q2 + ODD[1]) * q2 + f32(1)
    return max(x, f32(0)) + f32(2) * q * series


@kernel
def rms_norm(x: Any, weight: Any, eps: Any, y: Any) -> None:
    """Fill y_MD = x / √(mean x² + eps) · weight, row by row."""
    M, D = x.shape
    for m in range(M):
        square = f32(0)
        for d in range(D):
            square += x[m, d] * x[m, d]
        scale = f32(1) / np.sqrt(square / f32(D) + eps)
        for d in range(D):
            y[m, d] = x[m, d] * scale * weight[d]


@kernel
def rms_norm_backward(dy: Any, x: Any, weight: Any, eps: Any, dx: Any, dweight: Any) -> None:
    """Add to dx_MD and dweight_D."""
    M, D = x.shape
    for m in range(M):
        square, along = f32(0), f32(0)
        for d in range(D):
            square += x[m, d] * x[m, d]
            along += dy[m, d] * weight[d] * x[m, d]
        scale = f32(1) / np.sqrt(square / f32(D) + eps)
        along *= scale * scale / f32(D)
        for d in range(D):
            dx[m, d] += scale * (dy[m, d] * weight[d] - along * x[m, d])
        for d in range(D):
            dweight[d] += dy[m, d] * x[m, d] * scale


@numba.njit(inline="always")
def _convolved(xz: Any, before: Any, taps: Any, bias: Any, t: int, n: int, row: Any) -> None:
    """Fill row_E with what goes into the SiLU at t of sequence n."""
    V = len(before)
    for e in range(len(row)):
        row[e] = bias[e]
    for k in range(V + 1):
        i = t + k - V
        if i < 0:
            for e in range(len(row)):
                row[e] += taps[k, e] * before[t + k, n, e]
        else:
            for e in range(len(row)):
                row[e] += taps[k, e] * xz[i, n, e]


@kernel
def convolve(xz: Any, before: Any, taps: Any, bias: Any, y: Any) -> None:
    """Fill y_TNE = SiLU(bias + Σ_k taps_k x_{t−W+1+k}) from xz_TNF, whose first E of F are x.

    What came before x is before_VNE, V = W − 1.
    """
    T, N, E = y.shape
    row = np.empty(E, f32)
    for t in range(T):
        for n in range(N):
            _convolved(xz, before, taps, bias, t, n, row)
            for e in range(E):
                y[t, n, e] = row[e] * sigmoid(row[e])


@kernel
def convolve_backward(
    dy: Any, xz: Any, before: Any, taps: Any, bias: Any, dxz: Any, dtaps: Any, dbias: Any
) -> None:
    """Fill the first E of dxz_TNF, add to dtaps_WE and dbias_E."""
    T, N, E = dy.shape
    V = len(before)
    row = np.empty(E, f32)
    for t in range(T):
        for n in range(N):
            for e in range(E):
                dxz[t, n, e] = f32(0)
            _convolved(xz, before, taps, bias, t, n, row)
            for e in range(E):
                s = sigmoid(row[e])
                row[e] = dy[t, n, e] * (s + row[e] * s * (f32(1) - s))
            for e in range(E):
                dbias[e] += row[e]
            for k in range(V + 1):
                i = t + k - V
                if i < 0:
                    for e in range(E):
                        dtaps[k, e] += before[t + k, n, e] * row[e]
                else:
                    for e in range(E):
                        dtaps[k, e] += xz[i, n, e] * row[e]
                    for e in range(E):
                        dxz[i, n, e] += taps[k, e] * row[e]


@kernel
def time_steps(proj: Any, dt_RE: Any, dt_bias: Any, x: Any, delta: Any, u: Any) -> None:
    """Fill Δ_TNE = softplus(dt_bias + the first R of proj_TNK times dt_RE), and u = Δ x."""
    T, N, E = x.shape
    for t in range(T):
        for n in range(N):
            for e in range(E):
                delta[t, n, e] = dt_bias[e]
            for r in range(len(dt_RE)):
                share = proj[t, n, r]
                for e in range(E):
                    delta[t, n, e] += share * dt_RE[r, e]
            for e in range(E):
                delta[t, n, e] = softplus(delta[t, n, e])
            for e in range(E):
                u[t, n, e] = delta[t, n, e] * x[t, n, e]


@kernel
def time_steps_backward(
    ddelta: Any, du: Any, proj: Any, dt_RE: Any, delta: Any, x: Any,
    dx: Any, dproj: Any, ddt_RE: Any, ddt_bias: Any,
) -> None:  # fmt: skip
    """Add to dx, ddt_RE and ddt_bias, fill the first R of dproj; ddelta is overwritten.

    The slope of softplus is σ, which is 1 − e^−Δ.
    """
    T, N, E = x.shape
    flat, into, steps = ddelta.reshape(-1), du.reshape(-1), delta.reshape(-1)
    x_flat, dx_flat = x.reshape(-1), dx.reshape(-1)
    for i in range(len(flat)):
        dx_flat[i] += into[i] * steps[i]
        flat[i] = (flat[i] + into[i] * x_flat[i]) * (f32(1) - exp(-steps[i]))
    for t in range(T):
        for n in range(N):
            for e in range(E):
                ddt_bias[e] += ddelta[t, n, e]
            for r in range(len(dt_RE)):
                share, dshare = proj[t, n, r], f32(0)
                for e in range(E):
                    dshare += ddelta[t, n, e] * dt_RE[r, e]
                    ddt_RE[r, e] += ddelta[t, n, e] * share
                dproj[t, n, r] = dshare


@kernel
def scan(
    delta: Any, u: Any, proj: Any, A_SE: Any, low: Any, start: Any, y: Any, end: Any
) -> None:  # fmt: skip
    """Fill y_TNE and end_NSE from Δ_TNE, u_TNE and start_NSE; B and C are the last 2 S of proj."""
    T, N, E = u.shape
    S = len(A_SE)
    R = proj.shape[2] - 2 * S
    A, h = np.empty((S, E), f32), np.empty((S, E), f32)
    for s in range(S):
        for e in range(E):
            A[s, e] = A_SE[s, e] * LOG2_E  # for powers of two
    for n in range(N):
        for s in range(S):
            for e in range(E):
                h[s, e] = start[n, s, e]
        for t in range(T):
            for e in range(E):
                y[t, n, e] = f32(0)
            for s in range(S):
                into, out = proj[t, n, R + s], proj[t, n, R + S + s]
                for e in range(E):
                    a = low + (f32(1) - low) * exp2(delta[t, n, e] * A[s, e])
                    state = a * h[s, e] + u[t, n, e] * into
                    h[s, e] = state
                    y[t, n, e] += state * out
        for s in range(S):
            for e in range(E):
                end[n, s, e] = h[s, e]


@kernel
def scan_backward(
    dy: Any, delta: Any, u: Any, proj: Any, A_SE: Any, low: Any, start: Any,
    ddelta: Any, du: Any, dproj: Any, dA: Any,
) -> None:  # fmt: skip
    """Fill ddelta, du and the last 2 S of dproj, add to dA.

    From the end, dh_t = C_t dy_t + a_{t+1} dh_{t+1}, and da / d(Δ_t A) = a − low. States and decays
    are computed once more.
    """
    T, N, E = u.shape
    S = len(A_SE)
    R = proj.shape[2] - 2 * S
    h, above = np.empty((T + 1, S, E), f32), np.empty((T, S, E), f32)  # above: a − low
    A, dh = np.empty((S, E), f32), np.empty((S, E), f32)
    for s in range(S):
        for e in range(E):
            A[s, e] = A_SE[s, e] * LOG2_E  # for powers of two
    # Rows of one array, which a loop is told apart from the other arrays at once.
    row = np.empty((5, E), f32)
    DELTA, U, DY, DU, DD = range(5)
    for n in range(N):
        for s in range(S):
            for e in range(E):
                h[0, s, e] = start[n, s, e]
                dh[s, e] = f32(0)
        for t in range(T):
            for s in range(S):
                into = proj[t, n, R + s]
                for e in range(E):
                    a = (f32(1) - low) * exp2(delta[t, n, e] * A[s, e])
                    above[t, s, e] = a
                    h[t + 1, s, e] = (low + a) * h[t, s, e] + u[t, n, e] * into
        for t in range(T - 1, -1, -1):
            for e in range(E):
                row[DELTA, e] = delta[t, n, e]
                row[U, e] = u[t, n, e]
                row[DY, e] = dy[t, n, e]
                row[DU, e] = f32(0)
                row[DD, e] = f32(0)
            for s in range(S):
                into, out = proj[t, n, R + s], proj[t, n, R + S + s]
                dinto, dout = f32(0), f32(0)
                for e in range(E):
                    g = dh[s, e] + row[DY, e] * out
                    dout += h[t + 1, s, e] * row[DY, e]
                    dinto += g * row[U, e]
                    slope = g * h[t, s, e] * above[t, s, e]
                    row[DU, e] += g * into
                    row[DD, e] += slope * A[s, e]
                    dA[s, e] += slope * row[DELTA, e]
                    dh[s, e] = g * (low + above[t, s, e])
                dproj[t, n, R + s], dproj[t, n, R + S + s] = dinto, dout
            for e in range(E):
                du[t, n, e] = row[DU, e]
                ddelta[t, n, e] = row[DD, e] * LN_2


@kernel
def gate(y: Any, x: Any, xz: Any, D: Any, gated: Any) -> None:
    """Fill gated_TNE = (y + D x) SiLU(z), where z is the last E of xz_TNF."""
    T, N, E = x.shape
    for t in range(T):
        for n in range(N):
            for e in range(E):
                z = xz[t, n, E + e]
                gated[t, n, e] = (y[t, n, e] + D[e] * x[t, n, e]) * z * sigmoid(z)


@kernel
def gate_backward(
    dgated: Any, y: Any, x: Any, xz: Any, D: Any, dy: Any, dx: Any, dxz: Any, dD: Any
) -> None:
    """Fill dy, dx and the last E of dxz, add to dD."""
    T, N, E = x.shape
    open_ = np.empty(E, f32)
    for t in range(T):
        for n in range(N):
            for e in range(E):
                open_[e] = sigmoid(xz[t, n, E + e])
            for e in range(E):
                z = xz[t, n, E + e]
                dy[t, n, e] = dgated[t, n, e] * z * open_[e]
                open_[e] *= dgated[t, n, e] * (f32(1) + z * (f32(1) - open_[e]))
            for e in range(E):
                dxz[t, n, E + e] = (y[t, n, e] + D[e] * x[t, n, e]) * open_[e]
            for e in range(E):
                dx[t, n, e] = D[e] * dy[t, n, e]
            for e in range(E):
                dD[e] += dy[t, n, e] * x[t, n, e]

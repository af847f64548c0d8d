"""The Beta distribution's functions of scipy.special, right on the whole domain of parameters.

scipy's `betaincc` is right to 1e-12 of p everywhere. Its `betainc` is wrong for some points where
both parameters are above 1e6 (by up to 0.05) and where both are below 1e-151; its inverses where
both are above 1e4 and for quantiles below 2e-308, and NaN for some p below 1e-20. What follows
computes those from `betaincc`.

All functions take float64 or float32 arrays `(a, b, point)` of one shape, and write
float64 into `out`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlkit.bandit.arrays import Floats

Array = NDArray[np.float64]

_TINY = 1e-100
_LARGE = 1e5
_RELATIVE = 1e-5
"""Below this probability 1 - `betaincc` would have lost half of its digits."""
_LEAST = 1e-290
_NORMAL = 5e3
"""Where both parameters are above it, the logit of a draw is nearly normal."""
_SKEWED = 1e8
_STEPS = 60


def lower(a: Floats, b: Floats, x: Floats, out: Array) -> None:
    """Compute P(X <= x)."""
    large = np.minimum(a, b) > _LARGE
    special.betainc(a, b, x, out=out, where=~large, dtype=np.float64)
    _replace(out, np.maximum(a, b) < _TINY, _lower_of_a_coin, a, b, x)
    _replace(out, large, _lower_of_large, a, b, x)


def upper(a: Floats, b: Floats, x: Floats, out: Array) -> None:
    """Compute P(X > x)."""
    special.betaincc(a, b, x, out=out, dtype=np.float64)


def lower_quantile(a: Floats, b: Floats, p: Floats, out: Array) -> None:
    """Compute the x with P(X <= x) = p."""
    inside = (p > 0) & (p < 1)
    normal = inside & (np.minimum(a, b) > _NORMAL)
    special.betaincinv(a, b, p, out=out, where=~normal, dtype=np.float64)
    _replace(out, normal, lambda a, b, p: _nearly_normal(a, b, p, 1 - p, p <= 0.5), a, b, p)
    _replace(out, np.isnan(out), lambda *of: _bisect(lower, *of), a, b, p)
    extreme = inside & (out < _LEAST)
    _replace(out, extreme, lambda a, b, p: _at_an_end(a, b, p, 1 - p), a, b, p)
    _replace(
        out, (b > _SKEWED) & (out > 0) & ~normal, lambda *of: _polish(lower, *of), a, b, p, out
    )


def upper_quantile(a: Floats, b: Floats, p: Floats, out: Array) -> None:
    """Compute the x with P(X > x) = p."""
    inside = (p > 0) & (p < 1)
    normal = inside & (np.minimum(a, b) > _NORMAL)
    special.betainccinv(a, b, p, out=out, where=~normal, dtype=np.float64)
    _replace(out, normal, lambda a, b, p: _nearly_normal(a, b, 1 - p, p, p > 0.5), a, b, p)
    _replace(out, np.isnan(out), lambda *of: _bisect(upper, *of), a, b, p)
    extreme = inside & (out < _LEAST)
    _replace(out, extreme, lambda a, b, p: _at_an_end(a, b, 1 - p, p), a, b, p)
    _replace(
        out, (b > _SKEWED) & (out > 0) & ~normal, lambda *of: _polish(upper, *of), a, b, p, out
    )


def _replace(
    out: Array, where: NDArray[np.bool_], function: Callable[..., Array], *arguments: Floats
) -> None:
    """Compute the chosen elements by another function."""
    if where.any():
        with np.errstate(all="ignore"):
            out[where] = function(*(each[where].astype(np.float64) for each in arguments))


def _lower_of_a_coin(a: Array, b: Array, x: Array) -> Array:
    """P(X <= x) where all mass is at 0 and 1, up to a relative error of max(a, b) log x."""
    return np.where(x <= 0, 0.0, np.where(x >= 1, 1.0, b / (a + b)))


def _lower_of_large(a: Array, b: Array, x: Array) -> Array:
    found: Array = 1 - special.betaincc(a, b, x)
    _replace(found, found < _RELATIVE, _mirror, a, b, x)
    return found


def _mirror(a: Array, b: Array, x: Array) -> Array:
    """P(X <= x) as P(1 - X >= 1 - x), where the rounding of 1 - x is made good."""
    rest = 1 - x
    rounded = (1 - rest) - x
    found = special.betaincc(b, a, rest)
    return np.where(found > 0, found * np.exp(-rounded * _density(a, b, x) / found), 0.0)


def _at_an_end(a: Array, b: Array, low: Array, high: Array) -> Array:
    """Quantiles that are next to 0 or 1, or between by bisection of the logit."""
    near_zero = _smallest(a, b, _log_of(low, high))
    near_one = _smallest(b, a, _log_of(high, low))
    found = np.where(near_zero < _LEAST, near_zero, 1.0)
    between = (near_zero >= _LEAST) & ~(near_one < 2.0**-54)
    _replace(found, between, lambda *of: _bisect(lower, *of), a, b, low)
    return found


def _log_of(p: Array, rest: Array) -> Array:
    """Return log p, from whichever of p and 1 - p is the more exact."""
    return np.where(p < 0.5, np.log(p), np.log1p(-rest))


def _smallest(a: Array, b: Array, log_lower: Array) -> Array:
    """Quantiles next to 0, by P(X <= x) = x^a / (a B(a, b))."""
    return np.asarray(np.exp((log_lower + _log_factor(a, b)) / a))


def _log_factor(a: Array, b: Array) -> Array:
    """Return log(a B(a, b)) for a below 1; scipy's `betaln` loses digits for larger b."""
    # The logarithm of gamma(a + b) / gamma(b), DLMF 5.11.13.
    ratio = a * np.log(b) + a * (a - 1) / (2 * b) - a * (a - 1) * (2 * a - 1) / (12 * b * b)
    small = np.log(a) + special.betaln(a, b)
    return np.asarray(np.where(b > 1e3, special.gammaln(1 + a) - ratio, small))


def _polish(tail: Callable[..., None], a: Array, b: Array, p: Array, x: Array) -> Array:
    """Quantiles after a step by the slope over a millionth of x; scipy's miss by up to 2e-10."""
    step, found = 1e-6 * x, [np.empty_like(x) for _ in range(3)]
    for point, to in zip((x - step, x, x + step), found, strict=True):
        tail(a, b, np.minimum(point, 1), to)
    moved = 2 * step * (p - found[1]) / (found[2] - found[0])
    return np.asarray(np.where(np.abs(moved) < step, x + moved, x))


def _bisect(tail: Callable[..., None], a: Array, b: Array, p: Array) -> Array:
    """The x whose tail is p: the logit by halves, from below the smallest double."""
    left, right, found = np.full_like(a, -746.0), np.full_like(a, 40.0), np.empty_like(a)
    for _ in range(_STEPS):
        middle = (left + right) / 2
        tail(a, b, special.expit(middle), found)
        after = (found < p) if tail is lower else (found > p)
        left, right = np.where(after, middle, left), np.where(after, right, middle)
    return np.asarray(special.expit(right))


def _nearly_normal(a: Array, b: Array, low: Array, high: Array, left: NDArray[np.bool_]) -> Array:
    """Quantiles for large parameters: Newton on the logarithm of the tail, which is concave.

    Args:
        a: First parameters.
        b: Second parameters.
        low: Probabilities below the quantile.
        high: Probabilities above it.
        left: Which of both is given, and exact.
    """
    # The left tail of X is the right tail of 1 - X: all are solved as right tails.
    first, second = np.where(left, b, a), np.where(left, a, b)
    tail = np.where(left, low, high)
    y = _start(first, second, tail)
    for _ in range(_STEPS):
        step = _newton_step(first, second, tail, y)
        y += step
        if np.all(np.abs(step) < 1e-4 * _spread(first, second)):
            break  # the next step would be a square of this one
    x = special.expit(np.where(left, -y, y))
    # The last steps are of x itself, whose rounding is then the only one.
    for _ in range(_STEPS):
        step = _correction(a, b, low, high, left, x)
        small = np.abs(step) < 1e-7 * _spread(a, b) * x * (1 - x)
        last, x = x, np.clip(x + step, 0, 1)
        if np.all(small | (x == last)):
            break
    return np.asarray(x)


def _spread(a: Array, b: Array) -> Array:
    """The standard deviation of log(X / (1 - X)), nearly."""
    return np.sqrt(1 / a + 1 / b)


def _start(a: Array, b: Array, tail: Array) -> Array:
    """The quantile of log(X / (1 - X)) by Cornish and Fisher's expansion, to the skewness."""
    spread, z = _spread(a, b), -special.ndtri(tail)
    skewness = (1 / b**2 - 1 / a**2) / spread**3
    return np.asarray(np.log(a / b) + spread * (z + (z * z - 1) * skewness / 6))


def _newton_step(a: Array, b: Array, tail: Array, y: Array) -> Array:
    """A step of the logit `y` towards P(Y > y) = tail, of at most one standard deviation."""
    x = special.expit(y)
    found = special.betaincc(a, b, x)
    density = _density(a, b, x) * x * special.expit(-y)
    step = (np.log(found) - np.log(tail)) * found / density
    spread = _spread(a, b)
    return np.clip(np.where(np.isfinite(step), step, -spread), -spread, spread)


def _correction(
    a: Array, b: Array, low: Array, high: Array, left: NDArray[np.bool_], x: Array
) -> Array:
    """The step of x by Newton's method on the tail that is given."""
    missing = np.empty_like(x)
    _replace(missing, left, lambda a, b, x, low: low - _lower_of_large(a, b, x), a, b, x, low)
    _replace(missing, ~left, lambda a, b, x, high: special.betaincc(a, b, x) - high, a, b, x, high)
    step = missing / _density(a, b, x)
    return np.where(np.isfinite(step), step, 0.0)


def _density(a: Array, b: Array, x: Array) -> Array:
    """The density at x for large a and b, by Stirling's formula: relative error min(a, b)^-3.

    The exponent is taken about the mean, since its two large terms would cancel.
    """
    total = a + b
    mean, rest = a / total, b / total
    away = x - mean
    exponent = a * _log1p_less(away / mean) + b * _log1p_less(-away / rest)
    scale = np.sqrt(total * mean * rest / (2 * np.pi)) / (x * (1 - x))
    return np.asarray(scale * np.exp(exponent - (1 / a + 1 / b - 1 / total) / 12))


def _log1p_less(u: Array) -> Array:
    """log(1 + u) - u, without cancellation."""
    series = u * u * (-1 / 2 + u * (1 / 3 + u * (-1 / 4 + u * (1 / 5 - u / 6))))
    return np.where(np.abs(u) < 0.01, series, np.log1p(u) - u)

"""The probability that one of several independent random variables is the largest.

    P(X_i is the largest) = integral of f_i(x) prod_{j != i} F_j(x) dx

by Gauss-Legendre quadrature on panels between quantiles of every variable, so that narrow and
wide ones are resolved alike. What is left out at either end has a probability below 1e-15.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy import special

from mlkit.bandit.policies.policy import Array

_SCORES = np.linspace(-8.0, 8.0, 17)
_NODES, _WEIGHTS = leggauss(16)
_CHUNK = 1 << 20
"""Values of a density in memory at once."""


class Marginals(Protocol):
    """Independent continuous distributions, on any axis that keeps their order."""

    def quantile(self, score: Array) -> Array:
        """Return the quantiles of probability Phi(score), shape (variables, scores)."""
        ...

    def density(self, x: Array) -> Array:
        """Return the densities at x, shape (variables, points)."""
        ...

    def cumulative(self, x: Array) -> Array:
        """Return the distribution functions at x, shape (variables, points)."""
        ...


class NormalMarginals:
    """Normal distributions; a spread of 0 is a constant.

    Args:
        mean: Means, shape (variables,).
        spread: Standard deviations, shape (variables,), at least 0.
    """

    def __init__(self, mean: Array, spread: Array) -> None:
        # A constant becomes a distribution far narrower than all that it is compared with.
        least = 1e-10 * max(float(spread.max()), float(np.abs(mean).max()), 1e-200)
        self._mean, self._spread = mean[:, None], np.maximum(spread, least)[:, None]

    def quantile(self, score: Array) -> Array:
        """Return mean + spread * score."""
        return self._mean + self._spread * score

    def density(self, x: Array) -> Array:
        """Return the normal densities."""
        z = (x - self._mean) / self._spread
        return np.asarray(np.exp(-z * z / 2) / (self._spread * np.sqrt(2 * np.pi)))

    def cumulative(self, x: Array) -> Array:
        """Return the normal distribution functions."""
        return np.asarray(special.ndtr((x - self._mean) / self._spread))


class StudentMarginals:
    """Student's t distributions, shifted and scaled.

    On the axis asinh((x - place) / scale), where heavy tails fall exponentially; place and scale
    are those of the variable with the highest lower end, since the largest is found near it.

    Args:
        degrees: Degrees of freedom, shape (variables,), at least 1.
        place: Medians, shape (variables,).
        scale: Scales, shape (variables,).
    """

    def __init__(self, degrees: Array, place: Array, scale: Array) -> None:
        lower = special.stdtrit(degrees, special.ndtr(_SCORES[0]))
        highest = int(np.argmax(place + scale * lower))
        self._degrees, self._scale = degrees[:, None], scale[:, None] / scale[highest]
        self._place = (place - place[highest])[:, None] / scale[highest]

    def quantile(self, score: Array) -> Array:
        """Return the quantiles, from the lower tail, which is exact where 1 - p is not."""
        lower = special.stdtrit(self._degrees, special.ndtr(-np.abs(score)))
        return np.asarray(np.arcsinh(self._place - np.sign(score) * lower * self._scale))

    def density(self, x: Array) -> Array:
        """Return the densities on the axis."""
        v, t = self._degrees, (np.sinh(x) - self._place) / self._scale
        constant = -special.betaln(v / 2, 0.5) - np.log(v) / 2
        with np.errstate(over="ignore"):  # a density of 0
            power = constant - (v + 1) / 2 * np.log1p(t * t / v)
        return np.asarray(np.exp(power) / self._scale * np.cosh(x))

    def cumulative(self, x: Array) -> Array:
        """Return the distribution functions."""
        return np.asarray(special.stdtr(self._degrees, (np.sinh(x) - self._place) / self._scale))


class GumbelMarginals:
    """Gumbel distributions of scale 1: a softmax by noise (Yellott 1977).

    Args:
        place: Modes, shape (variables,).
    """

    def __init__(self, place: Array) -> None:
        self._place = place[:, None]

    def quantile(self, score: Array) -> Array:
        """Return the quantiles, each from its own tail."""
        low = -special.log_ndtr(score)
        high = -np.log1p(-special.ndtr(-np.abs(score)))
        return np.asarray(self._place - np.log(np.where(score < 0, low, high)))

    def density(self, x: Array) -> Array:
        """Return the densities."""
        z = x - self._place
        with np.errstate(over="ignore"):  # a density of 0
            return np.asarray(np.exp(-z - np.exp(-z)))

    def cumulative(self, x: Array) -> Array:
        """Return the distribution functions."""
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(-np.exp(self._place - x)))


class LogGammaMarginals:
    """Logarithms of Gamma variables, whose densities have no pole.

    Args:
        shape: Shapes, shape (variables,), at least 0.05.
        rate: Rates, shape (variables,).
    """

    def __init__(self, shape: Array, rate: Array) -> None:
        self._shape, self._rate = shape[:, None], rate[:, None]

    def quantile(self, score: Array) -> Array:
        """Return the quantiles, each from its own tail."""
        low = special.gammaincinv(self._shape, special.ndtr(np.minimum(score, 0)))
        high = special.gammainccinv(self._shape, special.ndtr(-np.maximum(score, 0)))
        return np.asarray(np.log(np.where(score < 0, low, high)) - np.log(self._rate))

    def density(self, x: Array) -> Array:
        """Return the densities of the logarithms.

        About the mean, since the large terms of the exponent would cancel.
        """
        away = x + np.log(self._rate) - np.log(self._shape)
        exponent = self._shape * (away - np.expm1(away))
        return np.asarray(np.exp(exponent - _stirling(self._shape)))

    def cumulative(self, x: Array) -> Array:
        """Return the distribution functions."""
        return np.asarray(special.gammainc(self._shape, np.exp(x + np.log(self._rate))))


def _stirling(shape: Array) -> Array:
    """Return log Gamma(s) - s log(s) + s, by Stirling's series where s is large."""
    large = np.maximum(shape, 100.0)
    series = np.log(2 * np.pi / large) / 2 + 1 / (12 * large) - 1 / (360 * large**3)
    exact = special.gammaln(shape) - special.xlogy(shape, shape) + shape
    return np.asarray(np.where(shape < 100, exact, series))


def probability_of_largest(marginals: Marginals) -> Array:
    """Compute the probability of each variable to be the largest.

    Returns:
        Probabilities with the sum 1, shape (variables,); absolute error below 1e-8.
    """
    panels = panel_ends(marginals)
    middle, half = (panels[1:] + panels[:-1]) / 2, np.diff(panels) / 2
    points = (middle[:, None] + half[:, None] * _NODES).ravel()
    weights = (half[:, None] * _WEIGHTS).ravel()
    count = len(marginals.quantile(_SCORES[:1]))
    found, step = np.zeros(count), max(1, _CHUNK // count)
    for begin in range(0, points.size, step):
        x = points[begin : begin + step]
        terms = marginals.density(x) * _product_of_others(marginals.cumulative(x))
        found += terms @ weights[begin : begin + step]
    return np.asarray(found / found.sum())


def panel_ends(marginals: Marginals, k: int = 1) -> Array:
    """Choose the ends of panels, each at most one score wide for every variable.

    Below the k-th highest of the first quantiles, none of the k largest is to be found; above all
    last ones neither.
    """
    quantiles = marginals.quantile(_SCORES)
    low, high = np.sort(quantiles[:, 0])[-k], quantiles[:, -1].max()
    beyond = 2 * quantiles[:, -1:] - quantiles[:, -2:-1]
    padded, ends = np.hstack([quantiles, beyond]), [low]
    while ends[-1] < high:
        ends.append(min(_one_score_on(padded, ends[-1]), high))
    return np.array(ends)


def _one_score_on(quantiles: Array, x: float) -> float:
    """Return the least x that is one score further for a variable, by linear interpolation."""
    passed = (quantiles[:, :-1] <= x).sum(axis=1)
    ahead = passed < quantiles.shape[1] - 1
    if not ahead.any():
        return np.inf
    rows, passed = quantiles[ahead], passed[ahead]
    place = np.arange(len(rows))
    before, here, after = (rows[place, i] for i in (np.maximum(passed - 1, 0), passed, passed + 1))
    part = np.where(passed > 0, (x - before) / np.where(passed > 0, here - before, 1), 1.0)
    return float((here + part * (after - here)).min())


def _product_of_others(values: Array) -> Array:
    """Multiply along the first axis without the own factor, and without dividing by it."""
    before, after = np.ones_like(values), np.ones_like(values)
    np.cumprod(values[:-1], axis=0, out=before[1:])
    after[:-1] = np.cumprod(values[:0:-1], axis=0)[::-1]
    return np.asarray(before * after)

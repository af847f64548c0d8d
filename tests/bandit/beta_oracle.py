"""P(X <= x) and P(X > x) of Beta(a, b) to 40 digits, for any parameters, by quadrature.

With Y = log(X / (1 - X)) the density exp(a log x + b log(1 - x)) / B(a, b) is smooth and
log-concave. It is integrated over the tail without the mean, in panels no wider than it changes, as
far as it matters; next to 0 the tail is x^a / (a B(a, b)).
"""

from __future__ import annotations

from functools import cache

import mpmath as mp
import numpy as np

DIGITS = 40


@cache
def gauss_legendre(count):
    """Nodes and weights on [-1, 1]: numpy's, by Newton's method to all digits."""
    rule = []
    for start in np.polynomial.legendre.leggauss(count)[0]:
        node = mp.mpf(float(start))
        for _ in range(6):
            before, value = mp.mpf(1), node
            for k in range(2, count + 1):
                before, value = value, ((2 * k - 1) * node * value - (k - 1) * before) / k
            slope = count * (node * value - before) / (node * node - 1)
            node -= value / slope
        rule.append((node, 2 / ((1 - node * node) * slope * slope)))
    return rule


def unit(y):
    """x and 1 - x of a logit."""
    e = mp.exp(-abs(y))
    large, small = 1 / (1 + e), e / (1 + e)
    return (large, small) if y >= 0 else (small, large)


def tail_below(y, a, b):
    log_beta = mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)
    enough, total = mp.mpf(10) ** -DIGITS, mp.mpf(0)

    def density(at):
        x, rest = unit(at)
        return mp.exp(a * mp.log(x) + b * mp.log(rest) - log_beta)

    while True:
        x, rest = unit(y)
        if x * (a + b + 1) < enough / 100:
            return total + mp.exp(a * mp.log(x) - log_beta) / a
        slope, curvature = a * rest - b * x, (a + b) * x * rest
        half = min(mp.mpf(2), 1 / mp.sqrt(curvature), 4 / max(abs(slope), 2))
        y -= half
        panel = half * sum(w * density(y + half * t) for t, w in gauss_legendre(40))
        total, y = total + panel, y - half
        x, rest = unit(y)
        slope = a * rest - b * x
        if slope > 0 and density(y) / slope < enough * total:
            return total


def tails(x, a, b):
    """P(X <= x) and P(X > x) for x in (0, 1)."""
    with mp.workdps(85):  # logarithms of up to 1e16 are taken from one another
        x, a, b = mp.mpf(x), mp.mpf(a), mp.mpf(b)
        logit = mp.log(x) - mp.log1p(-x)
        if x * (a + b) < a:
            lower = tail_below(logit, a, b)
            return lower, 1 - lower
        upper = tail_below(-logit, b, a)
        return 1 - upper, upper

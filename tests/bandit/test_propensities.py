"""Propensities of Thompson sampling: closed forms, quadrature by scipy, Monte Carlo, extremes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate, stats

from mlkit import _simd
from mlkit.bandit import BetaSampler
from mlkit.bandit.propensities import NoExactPropensities, top_k

SHAPES = [
    (1e-300, 1e-300),
    (1e-3, 1e-3),
    (1e-3, 7.0),
    (0.3, 0.01),
    (3.0, 100.0),
    (1e7, 3e7),
    (1e15, 1e12),
]


@pytest.mark.parametrize(("a", "b"), SHAPES)
@pytest.mark.parametrize(
    ("count", "k"), [(1, 1), (2, 2), (10, 10), (20, 5), (50, 10), (100, 10), (400, 1), (400, 3)]
)
def test_equal_arms_share_every_rank_and_every_order(a, b, count, k):
    found = top_k(np.full(count, a), b, k, range(k))
    assert_allclose(found.ranks, 1 / count, rtol=1e-5)
    slate = math.factorial(count - k) / math.factorial(count)
    if slate > 1e-8:  # rarer ones need a smaller bound
        assert_allclose(found.slate, slate, rtol=1e-4)


def test_two_arms_have_a_closed_form():
    """P(X > Y) for X ~ Beta(a, 1), Y ~ Beta(b, 1) is a / (a + b)."""
    for a, b in [(1.0, 2.0), (1e-3, 5.0), (300.0, 2e5), (1e9, 2e9)]:
        assert_allclose(top_k([a, b], 1.0).first, [a / (a + b), b / (a + b)], rtol=1e-9)
        assert_allclose(top_k(1.0, [a, b]).first, [b / (a + b), a / (a + b)], rtol=1e-9)


@pytest.mark.parametrize(("low", "high"), [(-3, -2), (-3, 7), (0, 2), (6.9, 7)])
def test_two_thousand_arms_have_a_closed_form(low, high):
    """Draws of Beta(a_i, 1) are powers of uniform ones: the ranking is Plackett-Luce, weights a."""
    a = 10 ** np.random.default_rng(1).uniform(low, high, 2000)
    best, second = (int(place) for place in np.argsort(-a)[:2])
    found, share = top_k(a, 1.0, 2, [best, second], error=1e-10), a / a.sum()
    assert_allclose(found.first, share[[best, second]], rtol=1e-7)
    assert_allclose(found.slate, share[best] * share[second] / (1 - share[best]), rtol=1e-4)
    others = np.delete(a, best)
    last = np.sum(others / (a.sum() - others)) * share[best]
    assert_allclose(found.ranks[0, 1], last, rtol=1e-7)


@pytest.mark.parametrize("worlds", [1, pytest.param(4, marks=pytest.mark.nightly)])
def test_more_arms_agree_with_adaptive_quadrature(worlds):
    rng = np.random.default_rng(4)
    for _ in range(worlds):
        a, b = 10 ** rng.uniform(-0.2, 3, (2, 5))

        def integrand(x, i, a=a, b=b):
            below = np.prod([stats.beta.cdf(x, a[j], b[j]) for j in range(5) if j != i])
            return stats.beta.pdf(x, a[i], b[i]) * below

        points = np.sort(a / (a + b))
        expected = [
            integrate.quad(integrand, 0, 1, args=(i,), points=points, limit=500)[0]
            for i in range(5)
        ]
        assert_allclose(top_k(a, b).first, expected, rtol=1e-5, atol=1e-9)


def test_ranks_and_slates_agree_with_draws():
    a, b, k, draws = np.array([3.0, 2, 9, 0.5]), np.array([30.0, 10, 100, 1]), 2, 1_000_000
    order = np.argsort(-BetaSampler(1).sample(a, b, draws), axis=1)[:, :k]
    found = top_k(a, b, k)
    counted = np.array([[np.mean(order[:, r] == i) for r in range(k)] for i in range(4)])
    assert np.abs(found.ranks - counted).max() < 5 * 0.5 / math.sqrt(draws)
    slate = top_k(a, b, k, [3, 1]).slate
    assert abs(slate - np.mean((order == [3, 1]).all(axis=1))) < 5 * 0.5 / math.sqrt(draws)


EXTREMES = {
    "one": ([5.0], [5.0]),
    "sparse": ([1e-3, 1.0, 20.0, 1e-3], [1e-3, 1e-3, 3.0, 2.0]),
    "coins": ([1e-300, 2e-300, 1e-5], [1e-300, 1e-300, 1e-5]),
    "narrow and wide": ([1e15, 1e15 - 1e8, 2.0, 1e-3], [1e15, 1e15, 2.0, 1.0]),
    "next to each other": ([1e7, 1e7 + 3000, 5.0], [1e7, 1e7, 5.0]),
    "narrow within wide": ([1e7, 1e7 + 3000, 1e7 - 2000, 5.0], [3e7, 3e7, 3e7, 15.0]),
    "apart": ([1.0, 1e7, 10.0], [1e7, 1.0, 10.0]),
}


@pytest.mark.parametrize("size", [1e6, 1e7, 1e9, 1e13])
@pytest.mark.parametrize(
    ("a", "b"), [(5.0, 15.0), (5.0, 5.0), (0.01, 40.0), (40.0, 0.01), (2.0, 9.0)]
)
def test_a_narrow_arm_is_a_threshold_for_a_wide_one(size, a, b):
    """It counts for the wide arm's density around its mean m, far away, and on both sides."""
    for m in (0.001, 0.25, 0.5, 0.9):
        wide = stats.beta.sf(m, a, b)
        found = top_k([size * m, a], [size * (1 - m), b]).first
        assert_allclose(found, [1 - wide, wide], rtol=1e-4, atol=2 / math.sqrt(size))
        assert_allclose(found.sum(), 1, rtol=1e-7)


@pytest.mark.parametrize("name", EXTREMES)
def test_every_rank_is_somebodys(name):
    a, b = map(np.array, EXTREMES[name])
    for k in range(1, len(a) + 1):
        found = top_k(a, b, k)
        assert_allclose(found.ranks.sum(axis=0), 1, rtol=1e-7)
        assert (found.ranks >= 0).all()
    assert_allclose(found.included, 1, rtol=1e-7)


@pytest.mark.parametrize("shown", [[0], [1], [0, 1]])
def test_what_doubles_cannot_hold_is_refused(shown):
    with pytest.raises(NoExactPropensities, match=r"parameters from 1e-50 to 1e\+15 are too far"):
        top_k([1e-50, 1e15], [1e-50, 1e15], 1, shown)


@pytest.mark.parametrize("size", [1e3, 1e15])
def test_coins_beside_a_threshold_by_arithmetic(size):
    """Coins are 1 with probabilities 1/4 and 2/3, else 0; where both are 1, b decides (1 to 3)."""
    assert_allclose(top_k([1e-300, size], [1e-300, size]).first, [1 / 2, 1 / 2], rtol=1e-9)
    found = top_k([1e-300, 2e-300, size], [3e-300, 1e-300, size]).first
    assert_allclose(found, [1 / 12 + 1 / 24, 1 / 2 + 1 / 8, 1 / 4], rtol=1e-9)


def test_two_thousand_arms():
    rng = np.random.default_rng(2)
    shown = rng.binomial(10**4, 0.5, 2000) / 10
    clicks = rng.binomial(shown.astype(int), 0.03)
    found = top_k(1.0 + clicks, 1.0 + shown - clicks, 10)
    assert_allclose(found.ranks.sum(axis=0), 1, rtol=1e-6)
    assert_allclose(found.included.sum(), 10, rtol=1e-6)


def test_coins_by_arithmetic():
    """Tiny parameters: X is 1 with probability a / (a + b), else 0; then the tails decide.

    The first is 1 alone in 3/8 of all cases; of 1/8 where both are 1 it has 3/4, by the rates of
    the right tails, 1e-9 and 3e-9; and half of 3/8 where both are 0.
    """
    expected = 3 / 8 + 1 / 8 * 3 / 4 + 3 / 8 / 2
    assert_allclose(top_k([1e-9, 1e-9], [1e-9, 3e-9]).first, [expected, 1 - expected], rtol=1e-6)


def test_finer_on_demand():
    exact = math.factorial(395) / math.factorial(400)
    errors = [
        abs(top_k(np.full(400, 2.0), 9.0, 5, range(5), error=error).slate / exact - 1)
        for error in (1e-2, 1e-5, 1e-10)
    ]
    assert errors[2] < 1e-7
    assert errors[2] < errors[1]


def many_posteriors(kind: str, count: int, rng: np.random.Generator):
    if kind == "clicks":
        impressions = np.floor(10 ** rng.uniform(0, 5, count)).astype(int)
        clicks = rng.binomial(impressions, rng.beta(2, 60, count))
        return 1.0 + clicks, 1.0 + impressions - clicks
    if kind == "one mean":
        mean, size = rng.uniform(0.45, 0.55, count), 10 ** rng.uniform(0, 6, count)
        return mean * size, (1 - mean) * size
    if kind == "alike":  # all arms decide about all ranks, over a narrow stretch
        size, mean = 10 ** rng.uniform(0, 5), rng.uniform(0.01, 0.5)
        a = 1 + np.full(count, mean * size)
        return a * rng.uniform(0.95, 1.05, count), 1 + np.full(count, size - a + 1)
    return tuple(10 ** rng.uniform(-3, {"any": 5, "small": 0.5}[kind], (2, count)))


@pytest.mark.parametrize("count", [2, 10, 100, 400])
@pytest.mark.parametrize("kind", ["clicks", "one mean", "alike", "any", "small"])
def test_ranks_and_slates_have_the_errors_that_are_promised(kind, count):
    rng = np.random.default_rng(count)
    for _ in range(3):
        a, b = many_posteriors(kind, count, rng)
        shown = np.argsort(-rng.beta(a, b))[:10]
        found, finer = (top_k(a, b, len(shown), shown, error=e) for e in (1e-5, 1e-12))
        assert_allclose(found.ranks, finer.ranks, rtol=1e-5, atol=5e-12)
        if finer.slate > 1e-8:
            assert_allclose(found.slate, finer.slate, rtol=1e-4)


TAILS = {
    "a coin above all others": ([2e-4, 90.0, 80.0, 30.0], [1.0, 10.0, 20.0, 70.0]),
    "two coins": ([1e-6, 3e-4, 90.0, 30.0], [1e-2, 1e-3, 10.0, 70.0]),
    "a wide arm above narrow ones": ([1.0, 3e4, 3.1e4, 3.05e4], [30.0, 1e6, 1e6, 1e6]),
    "a spike far above": ([1e7, 3.0, 2.0, 4.0], [2e7, 30.0, 30.0, 40.0]),
    "a spike in a tail": ([3.0, 3e6, 2.0, 2.0], [300.0, 7e7, 150.0, 200.0]),
    "few impressions among many": ([1.0] + [30.0] * 60, [3.0] + [1000.0] * 60),
    "a hopeless arm": ([1.0] + [300.0] * 60, [200.0] + [1000.0] * 60),
    "nothing to win": ([50.0, 90.5], [1.0, 1e-3]),
}


@pytest.mark.parametrize("name", TAILS)
def test_what_lies_in_the_tail_counts(name):
    """Panels begin where few arms are expected above, but for smaller errors at the end."""
    a, b = map(np.array, TAILS[name])
    for k in range(1, min(len(a), 5) + 1):
        for shown in (range(k), range(len(a) - k, len(a))):
            found, finer = (top_k(a, b, k, list(shown), error=e) for e in (1e-5, 1e-12))
            assert_allclose(found.ranks, finer.ranks, rtol=1e-5, atol=5e-12)
            if finer.slate > 1e-8:
                assert_allclose(found.slate, finer.slate, rtol=1e-4)


def test_every_instruction_set_gives_the_same_bits(monkeypatch):
    rng = np.random.default_rng(5)
    a, b = 10 ** rng.uniform(-3, 8, (2, 60))
    found = []
    for name in _simd.available():
        monkeypatch.setenv("MLKIT_SIMD", name)
        found.append(top_k(a, b, 4).ranks)
    for other in found[1:]:
        assert_array_equal(other, found[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"a": [], "b": []}, "at least one arm"),
        ({"a": [[1.0]], "b": 1.0}, r"shape is \(1, 1\)"),
        ({"a": [1.0, -1.0], "b": 1.0}, r"a\[1\]: -1.0 is outside"),
        ({"a": [1.0], "b": 1.0, "k": 2}, "k: is 2, expected 1 to the number of arms, 1"),
        ({"a": [1.0], "b": 1.0, "shown": [1]}, "shown: a place is outside 0 to 0"),
        ({"a": [1.0, 2.0], "b": 1.0, "shown": [1, 1]}, "twice"),
        ({"a": [1.0], "b": 1.0, "shown": [0.5]}, "expected places"),
        ({"a": [1.0], "b": 1.0, "error": 1e-20}, "error: is 1e-20"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        top_k(**arguments)

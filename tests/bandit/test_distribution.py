"""The distribution functions: against mpmath and scipy, round trips, and refusals."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from bandit.beta_oracle import tails
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special, stats

from mlkit.bandit import beta_cdf, beta_isf, beta_ppf, beta_sf

EPSILON = np.finfo(float).eps
SHAPES = [1e-3, 0.3, 2.0, 40.0, 5e3]

shapes = st.floats(-3, 8).map(lambda power: 10**power)


def tail(x, a, b):
    """Sum I_x(a, b): DLMF 8.17.8, all terms positive."""
    term = total = mpmath.mpf(1)
    n = 0
    while term > total * mpmath.mpf(10) ** -190:
        term *= (a + b + n) * x / (a + 1 + n)
        total += term
        n += 1
    return x**a * (1 - x) ** b * total / (a * mpmath.beta(a, b))


def exact(x, a, b):
    """Return P(X <= x) and P(X > x) to 50 digits at least, from the tail that sums faster."""
    with mpmath.workdps(200):
        x, a, b = mpmath.mpf(x), mpmath.mpf(a), mpmath.mpf(b)
        below_mean, room = x * b < (1 - x) * a, 200 / (a + b)
        if below_mean or x < room if x < 0.5 else below_mean and 1 - x > room:
            lower = tail(x, a, b)
            return lower, 1 - lower
        upper = tail(1 - x, b, a)
        return 1 - upper, upper


def conditioning(x, a, b, probability):
    """Bound what a rounding of x alone does to log P: |x f(x) / P| and the log-density's slope."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        density = np.exp(special.xlogy(a, x) + special.xlog1py(b - 1, -x) - special.betaln(a, b))
        return 1 + np.nan_to_num(density / probability, posinf=0)


@pytest.mark.parametrize("a", SHAPES)
@pytest.mark.parametrize("b", SHAPES)
def test_both_tails_agree_with_mpmath(a, b):
    mean, variance = stats.beta.stats(a, b)
    near = mean + np.array([-5, -0.5, 2]) * np.sqrt(variance)
    for x in np.clip([1e-200, 0.37, *near], 1e-200, 1 - 1e-3):
        lower, upper = exact(x, a, b)
        for found, right in ((beta_cdf(x, a, b), lower), (beta_sf(x, a, b), upper)):
            if right > 1e-290:
                scale = conditioning(x, a, b, float(right)) * (1 + np.log10(a + b + 10))
                assert abs(found - right) / right < 20 * EPSILON * scale + 2e-13, (x, a, b)


@given(shapes, shapes, st.floats(1e-12, 1 - 1e-12))
def test_the_quantile_inverts_the_cdf(a, b, p):
    """Up to what the nearest doubles around the quantile allow."""
    x = float(beta_ppf(p, a, b))
    low, high = np.nextafter(x, 0), np.nextafter(x, 1)
    for _ in range(6):
        low, high = np.nextafter(low, 0), np.nextafter(high, 1)
    slack = 1e-9 * p
    assert beta_cdf(low, a, b) - slack <= p <= beta_cdf(high, a, b) + slack


@given(shapes, shapes, st.floats(1e-12, 1 - 1e-12))
def test_the_tails_mirror_each_other(a, b, p):
    x = float(beta_isf(p, a, b))
    low, high = x, x
    for _ in range(7):
        low, high = np.nextafter(low, 0), np.nextafter(high, 1)
    slack = 1e-9 * p
    assert beta_sf(high, a, b) - slack <= p <= beta_sf(low, a, b) + slack


@given(shapes, shapes, st.floats(0, 1))
def test_cdf_and_survival_add_to_one(a, b, x):
    assert_allclose(beta_cdf(x, a, b) + beta_sf(x, a, b), 1, rtol=1e-14)


def test_closed_forms():
    x = np.linspace(0, 1, 101)
    assert_allclose(beta_cdf(x, 1.0, 1.0), x, rtol=4 * EPSILON)
    assert_allclose(beta_cdf(x, 3.0, 1.0), x**3, rtol=1e-14)
    assert_allclose(beta_sf(x, 1.0, 3.0), (1 - x) ** 3, rtol=1e-13, atol=1e-30)
    assert_allclose(beta_ppf(x, 2.0, 1.0), np.sqrt(x), rtol=1e-14)
    assert_allclose(beta_cdf(x, 0.5, 0.5), np.arcsin(np.sqrt(x)) * 2 / np.pi, rtol=1e-14)


def test_quantiles_below_the_smallest_double_are_zero():
    assert beta_ppf(1e-12, 0.01, 10.0) == 0
    assert beta_ppf(0.5, 1e-300, 1e-290) == 0
    assert beta_isf(1 - 1e-10, 0.01, 10.0) == 0
    x = beta_ppf(0.1 * 1e-3, 0.0125, 1.0)  # p^(1/a) = 1e-320: a subnormal
    assert abs(np.ldexp(x, 1074) - np.ldexp(1e-320, 1074)) <= 1


def test_the_ends():
    for a, b in [(1e-300, 1e-300), (0.5, 2.0), (1e15, 1e15)]:
        assert_array_equal(beta_cdf([0.0, 1.0], a, b), [0, 1])
        assert_array_equal(beta_sf([0.0, 1.0], a, b), [1, 0])
    assert_array_equal(beta_ppf([0.0, 1.0], 0.5, 2.0), [0, 1])
    assert_array_equal(beta_isf([0.0, 1.0], 0.5, 2.0), [1, 0])


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("function", [beta_cdf, beta_sf, beta_ppf, beta_isf])
def test_threads_and_layout_change_nothing(function, threads):
    rng = np.random.default_rng(3)
    p, a = rng.random((1500, 4)), 10 ** rng.uniform(-1, 3, (1500, 1))
    expected = function(p, a, 2.0, threads=1)
    assert expected.shape == (1500, 4)
    assert_array_equal(function(p, a, 2.0, threads=threads), expected)
    assert_array_equal(function(p.T, a.T, 2.0, threads=threads).T, expected)
    out = np.zeros((4, 1500)).T
    assert function(p, a, 2.0, out=out, threads=threads) is out
    assert_array_equal(out, expected)


def test_scalars_empty_arrays_and_single_precision():
    assert beta_cdf(0.5, 2.0, 2.0) == 0.5
    assert beta_cdf(np.empty((0, 3)), 1.0, 1.0).shape == (0, 3)
    p = np.array([0.25, 0.5], dtype=np.float32)
    assert_array_equal(beta_ppf(p, 2.0, 3.0), beta_ppf(p.astype(float), 2.0, 3.0))


@pytest.mark.parametrize("function", [beta_cdf, beta_sf, beta_ppf, beta_isf])
def test_bad_values_are_refused_with_their_place(function):
    name = "x" if function in (beta_cdf, beta_sf) else "p"
    for bad in (-0.1, 1.1, np.nan, np.inf):
        with pytest.raises(ValueError, match=rf"^{name}\[2\]: .* is outside \[0, 1\]$"):
            function([0.1, 0.2, bad], 1.0, 1.0)
    out = np.full(3, 7.0)
    with pytest.raises(ValueError, match=r"^b\[1\]: -2.0 is outside \[1e-300, 1e\+15\]$"):
        function(0.5, 1.0, [1.0, -2.0, 0.0], out=out)
    assert (out == 7.0).all()
    with pytest.raises(ValueError, match="shapes do not broadcast"):
        function([0.1, 0.2], [1.0, 1.0, 1.0], 1.0)


def log_uniform(rng, low, high, size=None):
    return 10 ** rng.uniform(low, high, size)


def domain(rng):
    """Parameters from the whole domain, and often both large or both tiny."""
    low, high = [(-300, 15), (-3, 6), (4, 15), (9, 15), (-300, -100), (12, 15)][rng.integers(6)]
    a, b = log_uniform(rng, low, high), log_uniform(rng, low, high)
    return (a, min(1e15, a * rng.uniform(0.3, 3))) if rng.random() < 0.3 else (a, b)


def near(rng, a, b):
    """A point where the distribution function is not yet 0 or 1, mostly."""
    logit = np.log(a / b) + rng.normal() * 2 * np.sqrt(1 / a + 1 / b)
    return float(np.clip(special.expit(logit), 1e-300, 1 - 2**-53))


@pytest.mark.parametrize("points", [20, pytest.param(60, marks=pytest.mark.nightly)])
def test_the_whole_domain_agrees_with_40_digits(points):
    rng = np.random.default_rng(6)
    for _ in range(points):
        a, b = domain(rng)
        x = near(rng, a, b)
        lower, upper = tails(x, a, b)
        assert abs(beta_cdf(x, a, b) - lower) < 1e-12, (x, a, b)
        assert abs(beta_sf(x, a, b) - upper) < 1e-12, (x, a, b)


@pytest.mark.parametrize(
    ("x", "a", "b"),
    [(1e-30, 4.8e-288, 4.9e-288), (0.78, 2.3e-197, 2.2e-197), (0.5, 1e-160, 2e-160)],
)
def test_tiny_parameters_are_a_coin(x, a, b):
    assert_allclose(beta_cdf(x, a, b), b / (a + b), rtol=1e-14)
    assert_allclose(beta_sf(x, a, b), a / (a + b), rtol=1e-14)


@pytest.mark.parametrize("x", [0.49999999, 0.4999997, 0.5 - 4.5e-7, 0.5 - 3e-6])
def test_large_parameters_in_the_lower_tail(x):
    """Here `scipy.special.betainc` is wrong by 3e-3, and relatively by more further out."""
    lower, _ = tails(x, 5e12, 5e12)
    assert_allclose(beta_cdf(x, 5e12, 5e12), float(lower), rtol=1e-7)


def test_quantiles_of_the_whole_domain_are_next_to_the_right_double():
    rng = np.random.default_rng(8)
    a, b = np.array([domain(rng) for _ in range(300)]).T
    p = np.concatenate([log_uniform(rng, -12, 0, 150), rng.random(150)])
    for quantile, probability, up in ((beta_ppf, beta_cdf, 1), (beta_isf, beta_sf, 0)):
        x = quantile(p, a, b)
        high, low = (probability(np.nextafter(x, end), a, b) for end in (up, 1 - up))
        assert (low - 1e-12 <= p).all()
        assert (p <= high + 1e-12).all()


@pytest.mark.parametrize(
    ("p", "a", "b"),
    [
        (0.01, 1e14, 1e15),
        (0.9999999999730174, 56412013378885.805, 593648509457506.5),
        (0.975, 5e12, 5e12),
        (1e-9, 3e10, 7e12),
        (0.3, 6e3, 1e15),
        (0.6847456357340268, 99582.18431658423, 814138800602939.1),
    ],
)
def test_quantiles_of_large_parameters_agree_with_40_digits(p, a, b):
    x, upper = float(beta_ppf(p, a, b)), float(beta_isf(p, a, b))
    below, above = np.nextafter([x, upper], 0), np.nextafter([x, upper], 1)
    assert tails(below[0], a, b)[0] - 1e-12 <= p <= tails(above[0], a, b)[0] + 1e-12
    assert tails(above[1], a, b)[1] - 1e-12 <= p <= tails(below[1], a, b)[1] + 1e-12


@pytest.mark.parametrize("function", [beta_cdf, beta_sf, beta_ppf, beta_isf])
def test_an_output_over_an_input_is_no_race(function):
    x, a = np.random.default_rng(0).random(4000), np.geomspace(0.1, 100, 4000)
    right = function(x, a, 2.0, threads=1)
    for shift in (0, 1, 7):
        for _ in range(8):
            room = np.concatenate([x, np.zeros(shift)])
            function(room[:4000], a, 2.0, out=room[shift:], threads=4)
            assert_array_equal(room[shift:], right)


@pytest.mark.parametrize("p", [1e-306, 1e-300, 1e-150, 1e-50])
def test_tiny_probabilities_have_quantiles(p):
    sizes = [1e-300, 1e-100, 1e-5, 0.9, 2.0, 17.0, 5e3, 1e8, 1e15]
    a, b = (each.ravel() for each in np.meshgrid(sizes, sizes))
    for quantile, tail in ((beta_ppf, beta_cdf), (beta_isf, beta_sf)):
        x = quantile(p, a, b)
        assert ((x >= 0) & (x <= 1)).all()
        # Some of the mass may lie at a point: the tail jumps over p there.
        before, after = np.nextafter(x, 0), np.nextafter(x, 1)
        near = np.array([tail(before, a, b), tail(x, a, b), tail(after, a, b)])
        assert (near.min(axis=0) <= p + 1e-12).all()
    assert beta_cdf(beta_ppf(p, 2, 17), 2, 17) == pytest.approx(p, rel=1e-9, abs=5e-324)

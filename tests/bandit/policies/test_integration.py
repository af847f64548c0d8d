"""Probabilities of the largest of independent variables, against closed forms and quadrature."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, special, stats

from mlkit.bandit.policies.integration import (
    LogGammaMarginals,
    NormalMarginals,
    StudentMarginals,
    probability_of_largest,
)


@pytest.mark.parametrize("gap", [0.0, 0.3, 3.0, 30.0])
@pytest.mark.parametrize("spread", [1e-6, 0.1, 1.0])
def test_two_normal_variables(gap, spread):
    found = probability_of_largest(NormalMarginals(np.array([0, gap]), np.array([1.0, spread])))
    expected = special.ndtr([-gap / np.hypot(1, spread), gap / np.hypot(1, spread)])
    assert_allclose(found, expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("arms", [1, 2, 7, 500])
def test_equal_variables_share_equally(arms):
    same = np.ones(arms)
    for marginals in (
        NormalMarginals(5 * same, same),
        StudentMarginals(2 * same, same, same),
        LogGammaMarginals(0.05 * same, 3 * same),
    ):
        assert_allclose(probability_of_largest(marginals), 1 / arms, rtol=1e-9)


@pytest.mark.parametrize("shapes", [(0.05, 0.05), (0.05, 3.0), (1.0, 1.0), (40.0, 5e4), (1e8, 2e8)])
@pytest.mark.parametrize("rates", [(1.0, 1.0), (2.0, 1000.0), (1.0, 1.9999), (1.0, 2.0)])
def test_two_gamma_variables(shapes, rates):
    """X / (X + Y) of two with equal rates has a Beta distribution."""
    found = probability_of_largest(LogGammaMarginals(np.array(shapes), np.array(rates)))
    expected = special.betaincc(*shapes, rates[0] / sum(rates))
    assert_allclose(found[0], expected, rtol=1e-8, atol=1e-8)


def test_student_variables_agree_with_adaptive_quadrature():
    degrees, place, scale = np.array([1.0, 4.0, 60.0]), np.array([0, 1, 1.5]), np.array([2, 1, 0.2])
    each = [stats.t(*parameters) for parameters in zip(degrees, place, scale, strict=True)]
    found = probability_of_largest(StudentMarginals(degrees, place, scale))
    for i in range(3):
        first, *others = each[i : i + 1] + each[:i] + each[i + 1 :]

        def term(p, first=first, others=others):
            return np.prod([other.cdf(first.ppf(p)) for other in others])

        expected = integrate.quad(term, 0, 1, epsabs=1e-10, points=[0.5], limit=200)[0]
        assert found[i] == pytest.approx(expected, abs=1e-8)


def test_a_narrow_variable_among_wide_ones_is_not_overlooked():
    mean, spread = np.array([0.0, 1.0, 0.0]), np.array([1.0, 1e-9, 1.0])
    found = probability_of_largest(NormalMarginals(mean, spread))
    assert found[1] == pytest.approx(special.ndtr(1.0) ** 2, abs=1e-8)


@pytest.mark.parametrize("far", [1.0, 1e8, 1e20])
def test_student_variables_far_from_one_another(far):
    """The narrowest is out of the race; the race is between the two others."""
    place, scale = np.array([0.0, far, far]), np.array([1e-9, 2.0, 2.0])
    found = probability_of_largest(StudentMarginals(np.full(3, 30.0), place, scale))
    assert found[1] == pytest.approx(found[2], abs=1e-8)
    assert found[1] == pytest.approx(0.5, abs=1e-8 if far > 1 else 0.2)


@pytest.mark.parametrize("degrees", [1e6, 1e12])
def test_student_variables_with_many_degrees_are_normal(degrees):
    place, scale = np.array([0.0, 0.5]), np.array([1.0, 2.0])
    found = probability_of_largest(StudentMarginals(np.full(2, degrees), place, scale))
    assert_allclose(found, special.ndtr(np.array([-0.5, 0.5]) / np.sqrt(5)), atol=1e-6)


def test_constants_are_compared():
    found = probability_of_largest(NormalMarginals(np.array([1.0, 3.0, 3.0]), np.zeros(3)))
    assert_allclose(found, [0, 0.5, 0.5], atol=1e-12)
    assert_allclose(probability_of_largest(NormalMarginals(np.zeros(2), np.zeros(2))), 0.5)

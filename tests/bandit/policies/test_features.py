"""The hashing encoder and joint features."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mlkit.bandit.policies.features import HashingEncoder, with_interactions
from mlkit.errors import BadData, UsageError

PINNED = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
ROW = {"country": "DE", "age": 3.5, "tags": ["new", "sale"], "member": True, "city": None}


def test_a_vector_is_the_sum_of_its_parts():
    encoder = HashingEncoder(64)
    parts = [{"country": "DE"}, {"age": 3.5}, {"tags": ["sale"]}, {"tags": ["new"]}]
    parts += [{"member": True}, {"city": None}]
    assert_allclose(encoder.encode(ROW), sum(encoder.encode(part) for part in parts))
    assert np.abs(encoder.encode({"country": "DE"})).sum() == 1
    assert_allclose(encoder.encode({"age": 7.0}), 2 * encoder.encode({"age": 3.5}))


def test_vectors_are_the_same_everywhere_and_change_with_the_seed():
    """Models that were stored read features as they were written."""
    found = HashingEncoder(8, seed=1).encode({"country": "DE", "age": 2.0})
    assert found.tolist() == PINNED
    seeds = {tuple(HashingEncoder(64, seed).encode(ROW)) for seed in range(5)}
    assert len(seeds) == 5


def test_inner_products_are_right_on_average():
    """Weinberger et al. (2009), lemma 2; here two of four categories agree, in 8 places."""
    one = {"a": "x", "b": "y", "c": "z", "n": 2.0}
    other = {"a": "x", "b": "y", "c": "w", "n": 0.5}
    encoders = [HashingEncoder(8, seed) for seed in range(3000)]
    products = np.array([each.encode(one) @ each.encode(other) for each in encoders])
    assert abs(products.mean() - 3.0) < 5 * products.std() / np.sqrt(3000)
    places = np.array([np.flatnonzero(each.encode({"a": "x"}))[0] for each in encoders])
    assert np.bincount(places, minlength=8).min() > 300


def test_names_and_values_are_kept_apart():
    encoder = HashingEncoder(1 << 20)
    different = [{"ab": "c"}, {"a": "bc"}, {"a=b": "c"}, {"a": "b=c"}, {"a": 1.0}, {"a": "1.0"}]
    assert len({tuple(np.flatnonzero(encoder.encode(each))) for each in different}) == 6


def test_rows_become_a_matrix():
    encoder = HashingEncoder(16)
    assert_array_equal(encoder.encode_all([ROW, {}]), [encoder.encode(ROW), np.zeros(16)])
    assert encoder.encode_all([]).shape == (0, 16)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "feature 'x': nan is not a finite number"),
        (10**400, "is not a finite number"),
        ({"y": 1}, "feature 'x': is a dict"),
        ([1], "1 in a list is not text"),
        (b"raw", "is a bytes"),
    ],
)
def test_wrong_values_are_refused(value, message):
    with pytest.raises(BadData, match=message):
        HashingEncoder(4).encode({"x": value})


@pytest.mark.parametrize(("dimension", "seed"), [(0, 0), (2.5, 0), (4, -1), (4, 2**64)])
def test_wrong_encoders_are_refused(dimension, seed):
    with pytest.raises(UsageError):
        HashingEncoder(dimension, seed)


def test_odd_text_is_text():
    assert np.abs(HashingEncoder(4).encode({"\ud800": "\x00", "": ""})).sum() in (0, 2)


def test_interactions_are_all_products():
    found = with_interactions([2.0, 3.0], [[1.0, 0.0], [5.0, 7.0]])
    assert found.tolist() == [[1, 0, 2, 3, 2, 3, 0, 0], [5, 7, 2, 3, 10, 15, 14, 21]]
    each_its_own = with_interactions([[2.0, 3.0], [4.0, 1.0]], [[1.0, 0.0], [5.0, 7.0]])
    assert each_its_own.tolist() == [[1, 0, 2, 3, 2, 3, 0, 0], [5, 7, 4, 1, 20, 5, 28, 7]]
    with pytest.raises(BadData, match="shapes are"):
        with_interactions([[1.0], [2.0]], [[1.0]])

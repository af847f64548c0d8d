"""The predict stage: draws, their ranking, and what a seed repeats."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.bandit._posterior_table import Fetched, PosteriorTable, ThompsonSampler


@pytest.fixture
def table(tmp_path):
    sizes = {"arms": 50, "contexts": 0, "posteriors": 0, "id_bytes": 1000}
    return PosteriorTable.create(str(tmp_path / "table"), **sizes, prior=(1, 1), shrinkage=1)


def fetched(a, b):
    return Fetched([str(i) for i in range(len(a))], a, b)


@given(
    n=st.integers(0, 700),
    k=st.integers(1, 20) | st.integers(1, 800),
    seed=st.integers(0, 2**64 - 1),
)
@settings(max_examples=60)
def test_top_k_is_the_head_of_the_sorted_draws(n, k, seed):
    # With so small parameters many draws are equal: 0 or 1.
    request = fetched(np.full(n, 1e-4), np.full(n, 1e-4))
    sampler = ThompsonSampler(0)
    every = sampler.top_k(request, max(n, 1), seed)
    draws = np.empty(n)
    draws[[int(name) for name in every[0]]] = every[1]
    order = np.argsort(-draws, kind="stable")
    names, scores = sampler.top_k(request, k, seed)
    assert names == [str(i) for i in order[:k]]
    assert scores == draws[order[:k]].tolist()


def test_draws_are_those_of_the_beta_distribution():
    a, b = np.full(20_000, 2.5), np.full(20_000, 7.0)
    _, draws = ThompsonSampler(3).top_k(fetched(a, b), 20_000)
    assert scipy.stats.kstest(draws, "beta", (2.5, 7.0)).pvalue > 0.001


@pytest.mark.parametrize(("first", "second"), [((3, 7), (4, 6)), ((30, 70), (2, 8))])
def test_an_arm_is_selected_as_often_as_it_is_the_best(first, second):
    x, y = scipy.stats.beta(*first), scipy.stats.beta(*second)
    best, _ = scipy.integrate.quad(lambda t: x.pdf(t) * y.cdf(t), 0, 1)
    request = fetched([first[0], second[0]], [first[1], second[1]])
    sampler = ThompsonSampler(7)
    n = 20_000
    wins = sum(sampler.top_k(request, 1)[0] == ["0"] for _ in range(n))
    assert scipy.stats.binomtest(wins, n, best).pvalue > 0.001


def test_a_seed_repeats_an_answer_and_leaves_the_own_stream_alone():
    request = fetched(np.full(400, 2.0), np.full(400, 3.0))
    one, other = ThompsonSampler(1), ThompsonSampler(1)
    first = one.top_k(request, 10)
    assert other.top_k(request, 10, seed=5) == ThompsonSampler(2).top_k(request, 10, seed=5)
    assert other.top_k(request, 10) == first
    assert one.top_k(request, 10) != first
    assert one.top_k(request, 10, seed=5) != one.top_k(request, 10, seed=6)
    assert one.top_k(request, 10, seed=1) != first


def test_calls_without_a_seed_share_no_draw():
    request = fetched(np.full(300, 2.0), np.full(300, 3.0))
    sampler = ThompsonSampler()
    draws = [draw for _ in range(50) for draw in sampler.top_k(request, 300)[1]]
    assert len(set(draws)) == len(draws)
    assert ThompsonSampler().top_k(request, 3) != ThompsonSampler().top_k(request, 3)


def test_a_repeated_candidate_is_drawn_twice(table):
    table.put_arm("a", 2, 3)
    names, draws = ThompsonSampler(1).top_k(table.fetch(None, ["a", "a"]), 5)
    assert names == ["a", "a"]
    assert draws[0] > draws[1]


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_and_k_out_of_range(seed):
    request = fetched([1.0], [1.0])
    with pytest.raises(ValueError, match="seed"):
        ThompsonSampler(seed)
    with pytest.raises(ValueError, match="seed"):
        ThompsonSampler().top_k(request, 1, seed)
    with pytest.raises(ValueError, match="k: must be at least 1"):
        ThompsonSampler().top_k(request, 0)


def test_fetched_checks_what_another_store_gives():
    with pytest.raises(ValueError, match=r"a\[1\].*nan"):
        fetched([1.0, math.nan], [1.0, 1.0])
    with pytest.raises(ValueError, match="b: expected one dimension of 1"):
        fetched([1.0], [1.0, 2.0])
    with pytest.raises(TypeError, match=r"candidates\[0\]"):
        Fetched([b"a"], [1.0], [1.0])
    request = Fetched(("a",), [1.0], [2.0], unknown_contexts=1)
    assert (request.unknown_contexts, request.unknown_arms, len(request)) == (1, 0, 1)
    with pytest.raises(ValueError, match="read-only"):
        request.a[0] = 2.0


def test_the_all_arms_answer_outlives_the_name_of_the_table(table):
    for i in range(50):
        table.put_arm(f"arm-{i}", 1 + i, 1)
    request = table.fetch(None, None)
    del table
    names, _ = ThompsonSampler(1).top_k(request, 3)
    assert set(names) <= set(request.candidates)

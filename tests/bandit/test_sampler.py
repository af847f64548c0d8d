"""The draws: their distribution, their reproducibility, and what the sampler refuses."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import SeedSequence
from numpy.testing import assert_array_equal
from scipy import special, stats

from mlkit import _simd
from mlkit.bandit import BetaSampler
from mlkit.bandit.sampler import BLOCK_SIZE

PARAMETERS = [1e-3, 0.05, 0.9, 1.0, 1.7, 30.0, 1e5, 1e9]
SMALLEST_LOG = -1074 * np.log(2)  # of the smallest positive double

PINNED = [
    "0x1.83d486c20c4aap-171",
    "0x1.8ce6f884cd7f6p-2",
    "0x1.723c7450b7476p-4",
    "0x1.00055639ea75dp-1",
    "0x1.0000000000000p+0",
]

seeds = st.integers(0, 2**64 - 1)
parameters = st.floats(1e-300, 1e15)


@pytest.fixture(params=_simd.available())
def kernel(request, monkeypatch):
    monkeypatch.setenv("MLKIT_SIMD", request.param)
    return request.param


def cell_edge(x, a, b, side):
    """Return the CDF half a rounding step below (-1) or above (1) each draw."""
    with np.errstate(divide="ignore", over="ignore"):
        step = side * np.abs(np.nextafter(x, 0.5 + side) - x) / 2
        middle = special.betainc(a, b, np.clip(x + step, 0, 1))
        upper = special.betaincc(b, a, np.clip((1 - x) - step, 0, 1))  # no rounding next to 1
        # Next to 0 half a step is not a double: there the CDF is x^a / (a B(a, b)).
        log_x = np.log(np.ldexp(x, 1074) + side / 2) + SMALLEST_LOG
        lower = np.exp(a * log_x - np.log(a) - special.betaln(a, b))
    return np.select([x < 1e-290, x < 0.5], [np.where(np.isnan(lower), 0, lower), middle], upper)


def uniforms(draws, a, b, seed=0):
    """Map draws to uniforms by their CDF, at random within the cell that rounds to each."""
    low, high = cell_edge(draws, a, b, -1), cell_edge(draws, a, b, 1)
    return low + np.random.default_rng(seed).random(draws.size) * (high - low)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("size", [2000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_draws_follow_the_distribution(monkeypatch, size):
    """64 KS tests; the smallest p-value of 64 is below 1e-5 once in 1,500 correct samplers.

    All instruction sets draw the same bits, so that the tests of one stand for all.
    """
    pairs = [(a, b) for a in PARAMETERS for b in PARAMETERS]
    drawn = []
    for name in _simd.available():
        monkeypatch.setenv("MLKIT_SIMD", name)
        sampler = BetaSampler(2024)
        drawn.append(np.array([sampler.sample(a, b, size) for a, b in pairs]))
    for others in drawn[1:]:
        assert_array_equal(others.view(np.uint64), drawn[0].view(np.uint64))
    values = [
        stats.kstest(uniforms(draws, a, b), "uniform").pvalue
        for (a, b), draws in zip(pairs, drawn[0], strict=True)
    ]
    assert min(values) > 1e-5
    assert stats.kstest(values, "uniform").pvalue > 1e-4


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (0.3, 2.5), (1.2, 80.0), (2e3, 3e3)])
@pytest.mark.parametrize("size", [200_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_many_draws_follow_the_distribution(a, b, size):
    draws = BetaSampler(5).sample(a, b, size)
    assert stats.kstest(draws, "beta", (a, b)).pvalue > 1e-4


@pytest.mark.parametrize("a", [1e-3, 0.4, 1.0, 7.0, 1e4, 1e15])
@pytest.mark.parametrize("b", [1e-2, 1.0, 3.0, 1e6, 1e15])
def test_draws_have_the_moments(a, b):
    n = 100_000
    draws = BetaSampler(77).sample(a, b, n)
    if a > b:  # next to 1, the mean itself would round
        a, b, draws = b, a, 1 - draws
    mean, variance, _, kurtosis = stats.beta.stats(a, b, moments="mvsk")
    assert abs(draws.mean() - mean) < 5 * np.sqrt(variance / n)
    if np.isfinite(kurtosis) and kurtosis < 1e4:  # else the sample variance says little
        error = np.sqrt((kurtosis + 2) / n)
        assert abs(draws.var() / variance - 1) < 5 * error


@pytest.mark.parametrize(("a", "b"), [(1e-300, 1e-300), (1e-300, 3e-300), (1e-20, 1e-21)])
def test_tiny_parameters_give_a_bernoulli_trial(kernel, a, b):
    n = 40_000
    draws = BetaSampler(3).sample(a, b, n)
    assert set(np.unique(draws)) == {0.0, 1.0}
    share = a / (a + b)
    assert abs(draws.mean() - share) < 5 * np.sqrt(share * (1 - share) / n)


def test_huge_parameters_keep_their_spread():
    draws = BetaSampler(4).sample(1e15, 1e15, 10_000)
    scaled = (draws - 0.5) / np.sqrt(1 / 8e15)
    assert stats.kstest(scaled, "norm").pvalue > 1e-4


@given(seeds, st.lists(st.tuples(parameters, parameters), min_size=1, max_size=40))
def test_draws_are_never_nan_and_in_the_unit_interval(seed, pairs):
    a, b = np.array(pairs).T
    draws = BetaSampler(seed).sample(a, b, 50)
    assert ((draws >= 0) & (draws <= 1)).all()


@given(seeds, st.integers(0, 3), st.integers(1, 4 * BLOCK_SIZE))
def test_splitting_at_blocks_changes_nothing(seed, blocks, extra):
    a = np.geomspace(1e-3, 1e4, blocks * BLOCK_SIZE + extra)
    b = a[::-1].copy()
    cut = blocks * BLOCK_SIZE
    parts = BetaSampler(seed)
    first, second = parts.sample(a[:cut], b[:cut]), parts.sample(a[cut:], b[cut:])
    assert_array_equal(BetaSampler(seed).sample(a, b), np.concatenate([first, second]))


def test_neighbours_change_nothing():
    a, b = np.full(3000, 0.7), np.full(3000, 2.0)
    alone = BetaSampler(9).sample(a, b)
    a[::2], b[1::3] = 1e-5, 1e9
    mixed = BetaSampler(9).sample(a, b)
    same = (a == 0.7) & (b == 2.0)
    assert same.any()
    assert_array_equal(mixed[same], alone[same])


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_change_nothing(threads):
    a = np.geomspace(0.1, 1e6, 50_001)
    one = BetaSampler(1).sample(a, 3.0, threads=1)
    assert_array_equal(BetaSampler(1).sample(a, 3.0, threads=threads), one)


def test_calls_with_threads_may_run_at_once():
    a = np.geomspace(0.1, 1e6, 50_001)
    expected, found = BetaSampler(1).sample(a, 3.0, threads=1), []
    callers = [
        threading.Thread(
            target=lambda: found.append(
                [BetaSampler(1).sample(a, 3.0, threads=3) for _ in range(20)]
            )
        )
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 4
    for draws in found:
        assert_array_equal(draws, [expected] * 20)


def test_threads_work_in_a_child_after_a_fork():
    code = """
import os
from mlkit.bandit import BetaSampler
before = BetaSampler(1).sample(2.0, 3.0, 100_000, threads=2)
child = os.fork()
same = bool((BetaSampler(1).sample(2.0, 3.0, 100_000, threads=2) == before).all())
if child == 0:
    os._exit(0 if same else 1)
_, status = os.waitpid(child, 0)
print(same, os.waitstatus_to_exitcode(status))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout == "True 0\n", run.stderr


def test_draws_are_the_same_on_every_machine(kernel):
    """Pinned: these bits change only when the stream changes, which the changelog has to say."""
    a, b = [0.02, 1.0, 3.5, 1e6, 2.0], [0.5, 1.0, 40.0, 1e6, 1e-9]
    assert [each.hex() for each in BetaSampler(42).sample(a, b)] == PINNED


def test_each_call_takes_new_places():
    sampler = BetaSampler(6)
    first, second = sampler.sample(2.0, 3.0, 10), sampler.sample(2.0, 3.0, 10)
    assert not np.isin(first, second).any()
    assert sampler.offset == 2 * BLOCK_SIZE


def test_seeds_tell_streams_apart():
    streams = [BetaSampler(seed).sample(2.0, 3.0, 100) for seed in (0, 1, 2**64 - 1)]
    streams += [BetaSampler(child).sample(2.0, 3.0, 100) for child in SeedSequence(0).spawn(2)]
    streams += [BetaSampler().sample(2.0, 3.0, 100) for _ in range(2)]
    assert np.unique(streams).size == 700
    assert_array_equal(
        BetaSampler(SeedSequence(7)).sample(2.0, 3.0, 9),
        BetaSampler(SeedSequence(7)).sample(2.0, 3.0, 9),
    )


def test_threads_that_share_a_sampler_get_different_draws():
    sampler, found = BetaSampler(8), []
    workers = [
        threading.Thread(target=lambda: found.append(sampler.sample(2.0, 2.0, 1000)))
        for _ in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert np.unique(found).size == 8000
    assert_array_equal(np.sort(np.ravel(found)), np.sort(all_draws_of_eight_calls()))


def all_draws_of_eight_calls():
    sampler = BetaSampler(8)
    return np.concatenate([sampler.sample(2.0, 2.0, 1000) for _ in range(8)])


def test_parameters_broadcast_and_draws_add_a_first_axis():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([[4.0], [5.0]])
    draws = BetaSampler(2).sample(a, b, 7)
    assert draws.shape == (7, 2, 3)
    full_a, full_b = (np.array(each) for each in np.broadcast_arrays(a, b, np.empty((7, 2, 3)))[:2])
    assert_array_equal(draws, BetaSampler(2).sample(full_a, full_b))
    assert BetaSampler(2).sample(1.0, 2.0).shape == ()
    assert BetaSampler(2).sample(a, b, 0).shape == (0, 2, 3)
    assert BetaSampler(2).sample(np.empty((0, 4)), 1.0).shape == (0, 4)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[::3],
        lambda x: x[::-1],
        lambda x: x.reshape(30, 100).T,
        lambda x: x.reshape(10, 30, 10)[:, 5:9, ::-2],
        lambda x: x.astype(np.float32),
    ],
)
def test_strided_and_single_precision_inputs(view):
    a = view(np.geomspace(0.1, 1e3, 3000))
    expected = BetaSampler(3).sample(np.array(a, dtype=np.float64, order="C"), 2.0)
    assert_array_equal(BetaSampler(3).sample(a, 2.0), expected)


def test_output_goes_into_the_given_array():
    a = np.geomspace(0.1, 1e3, 1000)
    expected = BetaSampler(3).sample(a, 2.0)
    out = np.empty(1000)
    assert BetaSampler(3).sample(a, 2.0, out=out) is out
    assert_array_equal(out, expected)
    strided = np.zeros((1000, 2))
    BetaSampler(3).sample(a, 2.0, out=strided[:, 1])
    assert_array_equal(strided, np.column_stack([np.zeros(1000), expected]))


@pytest.mark.parametrize("shift", [0, 1, -1])
def test_output_may_overlap_the_parameters(shift):
    memory = np.geomspace(0.1, 1e3, 5002)
    a = memory[1:-1]
    expected = BetaSampler(3).sample(a.copy(), 2.0)
    out = memory[1 + shift : 5001 + shift]
    assert_array_equal(BetaSampler(3).sample(a, 2.0, out=out, threads=3), expected)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf, 9e-301, 1.1e15])
def test_a_bad_value_is_refused_with_its_place(bad):
    values = np.ones((50, 60))
    values[17, 3] = values[20, 0] = bad
    sampler, out = BetaSampler(1), np.full((50, 60), 7.0)
    for a, b, name in [(values, 1.0, "a"), (1.0, values, "b")]:
        with pytest.raises(ValueError, match=rf"^{name}\[17, 3\]: .* outside \[1e-300, 1e\+15\]$"):
            sampler.sample(a, b, out=out)
    with pytest.raises(ValueError, match=r"^b: "):
        sampler.sample(1.0, bad)
    assert (out == 7.0).all()
    assert sampler.offset == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"a": np.ones(3), "b": np.ones(4)}, r"shapes do not broadcast: a \(3,\), b \(4,\)"),
        ({"a": np.ones(3, dtype=complex)}, "a: dtype is complex128, expected float64"),
        ({"b": np.ones(3, dtype=">f8")}, "b: dtype is >f8"),
        ({"b": "much"}, "b: dtype is <U4, expected numbers"),
        ({"b": [[1.0], [1.0, 2.0]]}, "b: is not a regular array"),
        ({"b": 10**400}, "b: dtype is object"),
        ({"draws": -1}, "draws: is -1"),
        ({"draws": 1.5}, "draws: is 1.5"),
        ({"threads": 0}, "threads: is 0"),
        ({"out": np.empty(3)}, r"out: shape is \(3,\), expected \(\)"),
        ({"out": np.empty((), dtype=np.float32)}, "out: is float32"),
        ({"out": [0.0]}, "out: is list"),
        ({"out": np.broadcast_to(0.0, ())}, "out: is read-only"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BetaSampler(1).sample(**({"a": 1.0, "b": 1.0} | arguments))


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, "7", True])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=r"^seed: "):
        BetaSampler(seed)


@pytest.mark.parametrize("values", [[1, 2, 30], (1, 2, 30), np.array([1, 2, 30], np.uint8)])
def test_whole_numbers_and_sequences_are_parameters(values):
    expected = BetaSampler(3).sample(np.array([1.0, 2.0, 30.0]), 4.0)
    assert_array_equal(BetaSampler(3).sample(values, 4), expected)
    assert_array_equal(BetaSampler(3).sample(values, np.int64(4)), expected)
    assert BetaSampler(3).sample(1, 4).shape == ()


@pytest.mark.parametrize("seed", [None, 7, np.random.SeedSequence(1)])
def test_a_pickled_sampler_goes_on_at_its_place(seed):
    sampler = BetaSampler(seed)
    sampler.sample(np.ones(1000), 2.0)
    twins = pickle.loads(pickle.dumps(sampler)), copy.deepcopy(sampler)
    expected = sampler.sample(np.ones(1000), 2.0)
    for twin in twins:
        assert_array_equal(twin.sample(np.ones(1000), 2.0), expected)
        assert twin.offset == sampler.offset

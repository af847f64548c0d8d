"""Draws from Beta distributions: exact, fast, and the same on every machine."""

from __future__ import annotations

import secrets
import threading
from typing import Any

import numpy as np
from numpy.random import SeedSequence
from numpy.typing import ArrayLike, NDArray

from mlkit.bandit import _beta_sampler as kernel
from mlkit.bandit.arrays import Floats, common_shape, floats, output, place, stretch, thread_count

BLOCK_SIZE = kernel.BLOCK_SIZE
"""Draws in a block of the stream; a call may be split at multiples of it."""

_THREAD_WORTH = 32_768  # about 0.3 ms of drawing: ten times the cost of waking a thread


class BetaSampler:
    """A stream of draws from Beta distributions.

    A draw depends on the seed, its place in the stream and its own parameters alone: not on the
    instruction set, the number of threads or the other elements of the call. Each call takes
    the next places, from a multiple of `BLOCK_SIZE` on. Hence one call for n elements gives the
    same draws as two calls that split them at a multiple of `BLOCK_SIZE`.

    Several threads may share a sampler; each call gets places of its own. A copy, or one that
    was pickled, goes on at the same place.

    Args:
        seed: An integer in [0, 2**64), a `numpy.random.SeedSequence`, or None for entropy from
            the system.

    Raises:
        ValueError: The seed is none of these.
    """

    def __init__(self, seed: int | SeedSequence | None = None) -> None:
        self._words = _words(seed)
        self._key = _key(self._words)
        self._offset = 0
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"words": self._words, "offset": self._offset}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._words, self._offset = state["words"], state["offset"]
        self._key = _key(self._words)
        self._lock = threading.Lock()

    @property
    def offset(self) -> int:
        """The place in the stream of the next call's first draw, a multiple of `BLOCK_SIZE`."""
        return self._offset

    def sample(
        self,
        a: ArrayLike,
        b: ArrayLike,
        draws: int | None = None,
        *,
        out: NDArray[np.float64] | None = None,
        threads: int | None = None,
    ) -> NDArray[np.float64]:
        """Draw from Beta(a, b), elementwise.

        Gamma ratios by Marsaglia and Tsang (2000), in logarithms where a or b is below 1. A
        draw is in [0, 1]; it is 0 or 1 where that is the nearest double.

        Args:
            a: First parameters in [1e-300, 1e15]: numbers, sequences or arrays.
            b: Second parameters, likewise; `a` and `b` broadcast against each other.
            draws: Draws for each element, as a new first axis of the result; None for one draw
                and no new axis.
            out: Array that takes the result: float64, of the result's shape.
            threads: Threads that share the work; None chooses by the size of the batch.

        Returns:
            The draws, an array of shape `broadcast(a, b)` or `(draws, *broadcast(a, b))`.

        Raises:
            ValueError: A parameter is out of range or NaN, a shape does not fit, or a type is
                wrong. The message names the parameter and its first bad index; nothing has
                been drawn or written.
        """
        a, b = floats("a", a), floats("b", b)
        shape = common_shape(a=a, b=b)
        if draws is not None:
            shape = (_count(draws), *shape)
        check_parameters("a", a)
        check_parameters("b", b)
        result = output(out, shape)
        workers = thread_count(threads, result.size, worth=_THREAD_WORTH)
        offset = self._advance(result.size)
        _fill(self._key, offset, stretch(a, shape), stretch(b, shape), result, workers)
        return result

    def _advance(self, size: int) -> int:
        with self._lock:
            offset = self._offset
            self._offset += -(-size // BLOCK_SIZE) * BLOCK_SIZE
        return offset


def _words(seed: Any) -> tuple[int, ...]:
    """Return the seed, or the two words of a key."""
    if isinstance(seed, SeedSequence):
        first, second = seed.generate_state(2, np.uint64).tolist()
        return first, second
    if seed is None:
        return secrets.randbits(64), secrets.randbits(64)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        kind = type(seed).__name__
        raise ValueError(f"seed: is a {kind}, expected an integer, a SeedSequence or None")
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed: {seed} is outside [0, 2**64)")
    return (int(seed),)


def _key(words: tuple[int, ...]) -> kernel.Key:
    return kernel.Key.from_seed(*words) if len(words) == 1 else kernel.Key(*words)


def _count(draws: Any) -> int:
    if isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < 0:
        raise ValueError(f"draws: is {draws!r}, expected an integer of at least 0")
    return int(draws)


def check_parameters(name: str, values: Floats) -> None:
    """Refuse values that are not parameters of a Beta distribution.

    Raises:
        ValueError: A value is outside [1e-300, 1e15] or NaN; the message has its index.
    """
    bad = kernel.first_invalid(values)
    if bad < values.size:
        where, value = place(name, values, bad), values.flat[bad]
        low, high = kernel.SMALLEST_PARAMETER, kernel.LARGEST_PARAMETER
        raise ValueError(f"{where}: {value} is outside [{low:g}, {high:g}]")


def _fill(
    key: kernel.Key, offset: int, a: Floats, b: Floats, out: NDArray[np.float64], threads: int
) -> None:
    if out.flags.c_contiguous and not _overlaps(out, a) and not _overlaps(out, b):
        kernel.fill(key, offset, a, b, out, threads)
    else:
        contiguous = np.empty(out.shape)
        kernel.fill(key, offset, a, b, contiguous, threads)
        out[...] = contiguous


def _overlaps(out: NDArray[np.float64], values: Floats) -> bool:
    """Return whether writing `out` may change parameters before they are read."""
    if not np.may_share_memory(out, values):
        return False
    same = out.ctypes.data == values.ctypes.data and out.strides == values.strides
    return not (same and values.dtype == out.dtype)

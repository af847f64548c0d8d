"""Distribution functions of the Beta distribution, in batch and in threads.

The numbers come from scipy.special, whose loops release the GIL; `beta_functions` computes what
it does not get right.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlkit.bandit import beta_functions
from mlkit.bandit.arrays import (
    Floats,
    common_shape,
    floats,
    output,
    place,
    stretch,
    thread_count,
)
from mlkit.bandit.sampler import check_parameters

Function = Callable[..., Any]
"""A function of `beta_functions`: (a, b, point, out=)."""

_THREAD_WORTH = 1024  # 0.3 to 5 ms of work: a multiple of the cost of handing it over


def beta_cdf(
    x: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    out: NDArray[np.float64] | None = None,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Compute P(X <= x) for X ~ Beta(a, b), elementwise.

    The regularized incomplete beta function I_x(a, b) (DLMF 8.17.2).

    Args:
        x: Points in [0, 1], float64 or float32.
        a: First parameters, in [1e-300, 1e15].
        b: Second parameters, likewise; all three broadcast against one another.
        out: Array that takes the result: float64, of the broadcast shape.
        threads: Threads that share the work; None chooses by the size of the batch.

    Returns:
        The probabilities, an array of the broadcast shape.

    Raises:
        ValueError: An argument is out of range or NaN, or a shape or type does not fit. The
            message names the argument and its first bad index; nothing has been written.
    """
    return _evaluate(beta_functions.lower, {"x": x, "a": a, "b": b}, out, threads)


def beta_sf(
    x: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    out: NDArray[np.float64] | None = None,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Compute P(X > x) for X ~ Beta(a, b), elementwise: 1 - `beta_cdf` without cancellation.

    Arguments, result and errors are those of `beta_cdf`.
    """
    return _evaluate(beta_functions.upper, {"x": x, "a": a, "b": b}, out, threads)


def beta_ppf(
    p: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    out: NDArray[np.float64] | None = None,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Compute the quantile x with P(X <= x) = p for X ~ Beta(a, b), elementwise.

    The result is the nearest double or one beside it: where the distribution is so narrow that
    neighbouring doubles differ by more than 1e-12 in p, so does `beta_cdf` of the result.
    Arguments, result and errors are those of `beta_cdf`, with probabilities `p` in the place
    of `x`.
    """
    return _evaluate(beta_functions.lower_quantile, {"p": p, "a": a, "b": b}, out, threads)


def beta_isf(
    p: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    out: NDArray[np.float64] | None = None,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Compute the x with P(X > x) = p for X ~ Beta(a, b), elementwise.

    Arguments, result and errors are those of `beta_cdf`, with probabilities `p` in the place
    of `x`.
    """
    return _evaluate(beta_functions.upper_quantile, {"p": p, "a": a, "b": b}, out, threads)


def _evaluate(
    function: Function,
    arguments: dict[str, ArrayLike],
    out: NDArray[np.float64] | None,
    threads: int | None,
) -> NDArray[np.float64]:
    arrays = {name: floats(name, values) for name, values in arguments.items()}
    shape = common_shape(**arrays)
    for name, array in arrays.items():
        (check_parameters if name in ("a", "b") else _check_unit)(name, array)
    result = output(out, shape)
    workers = thread_count(threads, result.size, worth=_THREAD_WORTH)
    point, a, b = (stretch(_apart(array, result), shape) for array in arrays.values())
    _in_threads(function, [a, b, point], result, workers)
    return result


def _apart(array: Floats, out: NDArray[np.float64]) -> Floats:
    """Copy an argument that shares memory with the result, which is written while it is read."""
    return array.copy() if np.may_share_memory(array, out) else array


def _check_unit(name: str, values: Floats) -> None:
    """Refuse values outside [0, 1]."""
    good = (values >= 0) & (values <= 1)
    if not good.all():
        bad = int(np.argmin(good))
        raise ValueError(f"{place(name, values, bad)}: {values.flat[bad]} is outside [0, 1]")


def _in_threads(
    function: Function, arguments: list[Floats], out: NDArray[np.float64], threads: int
) -> None:
    """Evaluate elementwise; the threads share the longest axis."""
    if threads == 1:
        _into(out, function, arguments)
        return
    axis = int(np.argmax(out.shape))
    views = [np.moveaxis(array, axis, 0) for array in (out, *arguments)]
    bounds = np.linspace(0, out.shape[axis], threads + 1).astype(int)
    pieces = [[view[i:j] for view in views] for i, j in pairwise(bounds)]
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(_into, piece[0], function, piece[1:]) for piece in pieces]:
            done.result()


def _into(out: NDArray[Any], function: Function, arguments: list[Floats]) -> None:
    function(*arguments, out)

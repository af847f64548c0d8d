"""Distribution functions of the Beta distribution, in batch and in threads.

The numbers are scipy.special's, whose loops release the GIL.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

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
"""A ufunc of scipy.special, or what calls one: (a, b, point, out=, dtype=)."""

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
    return _evaluate(special.betainc, {"x": x, "a": a, "b": b}, out, threads)


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
    return _evaluate(special.betaincc, {"x": x, "a": a, "b": b}, out, threads)


def beta_ppf(
    p: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    out: NDArray[np.float64] | None = None,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Compute the quantile x with P(X <= x) = p for X ~ Beta(a, b), elementwise.

    Arguments, result and errors are those of `beta_cdf`, with probabilities `p` in the place
    of `x`.
    """
    return _evaluate(_quantile, {"p": p, "a": a, "b": b}, out, threads)


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
    return _evaluate(_upper_quantile, {"p": p, "a": a, "b": b}, out, threads)


def _quantile(a: Floats, b: Floats, p: Floats, out: NDArray[np.float64], dtype: Any) -> None:
    special.betaincinv(a, b, p, out=out, dtype=dtype)
    _mend_smallest(a, b, p, out, np.log)


def _upper_quantile(a: Floats, b: Floats, p: Floats, out: NDArray[np.float64], dtype: Any) -> None:
    special.betainccinv(a, b, p, out=out, dtype=dtype)
    _mend_smallest(a, b, p, out, lambda upper: np.log1p(-upper))


def _mend_smallest(
    a: Floats, b: Floats, p: Floats, out: NDArray[np.float64], log_lower: Function
) -> None:
    """Compute quantiles next to 0 by P(X <= x) = x^a / (a B(a, b)); scipy stops at 2e-308."""
    at = out < 1e-290
    if at.any():
        a, b, p = (each[at].astype(np.float64) for each in (a, b, p))
        with np.errstate(divide="ignore", under="ignore", over="ignore"):
            out[at] = np.exp((log_lower(p) + np.log(a) + special.betaln(a, b)) / a)


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
    point, a, b = (stretch(array, shape) for array in arrays.values())
    _in_threads(function, [a, b, point], result, workers)
    return result


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
    function(*arguments, out=out, dtype=np.float64)

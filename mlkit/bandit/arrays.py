"""Checks of array arguments, shared by the sampler and the distribution functions."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[Any]
"""An array of float64 or float32, of any strides."""

_FLOAT64 = np.dtype(np.float64)


def floats(name: str, values: ArrayLike) -> Floats:
    """View an argument as an array of float64 or float32.

    Arrays and scalars of these types keep them; whole numbers, and whatever NumPy makes an array
    of real numbers from (numbers, sequences, a column of a table), become float64.

    Raises:
        ValueError: The argument is not an array of real numbers.
    """
    if type(values) is np.ndarray and values.dtype is _FLOAT64:
        return values  # the rest costs more than a small batch
    if not isinstance(values, np.ndarray | np.generic):
        return _from_python(name, values)
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        return array.astype(np.float64)
    if array.dtype not in (np.float64, np.float32) or not array.dtype.isnative:
        raise ValueError(f"{name}: dtype is {array.dtype}, expected float64 or float32")
    return array


def _from_python(name: str, values: ArrayLike) -> Floats:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name}: is not a regular array: {error}") from error
    if array.size and array.dtype.kind not in "iuf":
        raise ValueError(f"{name}: dtype is {array.dtype}, expected numbers")
    return array.astype(np.float64)


def common_shape(**arrays: Floats) -> tuple[int, ...]:
    """Find the shape that the arguments broadcast to.

    Raises:
        ValueError: They do not broadcast; the message gives every shape.
    """
    first, *others = shapes = [array.shape for array in arrays.values()]
    if all(shape == first for shape in others):
        return first
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"shapes do not broadcast: {listed}") from None


def stretch(array: Floats, shape: tuple[int, ...]) -> Floats:
    """View an array in the shape that it broadcasts to."""
    return array if array.shape == shape else np.broadcast_to(array, shape)


def place(name: str, array: Floats, flat_index: int) -> str:
    """Name one element of an argument, such as `a[3]` or `b[0, 7]`; a scalar is just `a`."""
    if array.ndim == 0:
        return name
    index = np.unravel_index(flat_index, array.shape)
    return f"{name}[{', '.join(str(int(each)) for each in index)}]"


def output(out: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Check the array that a result goes into, or make it.

    Raises:
        ValueError: `out` has another shape or type, or cannot be written.
    """
    if out is None:
        return np.empty(shape)
    if not isinstance(out, np.ndarray) or out.dtype != np.float64 or not out.dtype.isnative:
        kind = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"out: is {kind}, expected an array of float64")
    if out.shape != shape:
        raise ValueError(f"out: shape is {out.shape}, expected {shape}")
    if not out.flags.writeable:
        raise ValueError("out: is read-only")
    return out


def thread_count(threads: Any, size: int, *, worth: int) -> int:
    """Choose how many threads share a batch.

    Args:
        threads: What the caller wants; None for as many as there are cores, but no more than
            one for each `worth` elements.
        size: Elements in the batch.
        worth: Elements below which a thread costs more than it saves.

    Raises:
        ValueError: `threads` is below 1 or no integer.
    """
    if threads is None:
        shares = size // worth
        return 1 if shares < 2 else min(len(os.sched_getaffinity(0)), shares)
    if isinstance(threads, bool) or not isinstance(threads, int | np.integer) or threads < 1:
        raise ValueError(f"threads: is {threads!r}, expected an integer of at least 1")
    return int(min(threads, max(1, size)))

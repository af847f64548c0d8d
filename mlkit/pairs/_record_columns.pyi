"""Records of topics as columns, and back; bars of ticks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_Values = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.bool_] | list[Any]

OPEN_BAR: np.dtype[np.void]

def take_ticks(
    bars: NDArray[np.void],
    tickers: NDArray[np.int64],
    times: NDArray[np.int64],
    starts: NDArray[np.int64],
    columns: list[NDArray[np.float64] | None],
    counts: NDArray[np.int64],
) -> tuple[
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float64],
]:
    """Take ticks in their order; return ticker, start, the bar before (start and close) and
    prices of the bars that they close.
    """  # noqa: D205

def decode(
    values: list[bytes], key: str, keys: list[bytes] | None
) -> list[tuple[str, _Values]] | None:
    """Return names and columns of plain records, time (ns) and key first; None for others."""

def encode(
    columns: list[tuple[str, _Values]], key: str, rows: int
) -> tuple[list[bytes], list[bytes]] | None:
    """Return records of columns, and their keys; None if a value is not plain."""

"""Features from a Parquet file, which is read again when it is replaced.

A column `arm` holds the ids of arms, a column `context` those of contexts. A file may have both: a
row is of whichever it names. All other columns are features.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlkit.bandit.feature_stores.source import Row, Subject
from mlkit.errors import BadData, MlkitError
from mlkit.parquet import ParquetReader
from mlkit.unpacking import UnpackLimits

_LOOK_EVERY = 1.0
_HINT = "name the columns of ids `arm` or `context`"
_Stamp = tuple[int, int, int]
logger = logging.getLogger("mlkit.bandit.server")


class ParquetFeatures:
    """The features of a file, in memory.

    Args:
        path: The file.
        limits: How much it may unpack to.
        clock: Returns seconds from any start.

    Raises:
        InputMissing: It cannot be read.
        BadData: It is damaged, has no column of ids, or names one twice.
    """

    def __init__(
        self,
        path: Path,
        limits: UnpackLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._limits, self._clock = path, limits, clock
        self._stamp = _stamp(path)
        self._table = _Table(path, limits)
        self._next = clock() + _LOOK_EVERY
        self._reading: asyncio.Task[None] | None = None

    async def fetch(
        self, subject: Subject, ids: Sequence[str], names: Sequence[str]
    ) -> Mapping[str, Row | None]:
        """Return the features of many ids."""
        self._look()
        return self._table.rows(subject, ids, names)

    async def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()

    def _look(self) -> None:
        """Begin to read a file that has been replaced; until it is read, the old one is used."""
        now = self._clock()
        if now < self._next or (self._reading is not None and not self._reading.done()):
            return
        self._next = now + _LOOK_EVERY
        stamp = _stamp(self._path)
        if stamp is not None and stamp != self._stamp:
            self._stamp = stamp
            self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            self._table = await asyncio.to_thread(_Table, self._path, self._limits)
            logger.info("the features of %s were read again", self._path)
        except MlkitError as error:
            logger.error("still on the old features: %s", error.message)


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class _Table:
    """The columns of a file, and the row of each id."""

    def __init__(self, path: Path, limits: UnpackLimits | None) -> None:
        table = ParquetReader(path, limits=limits).table()
        kinds = [each for each in Subject if each in table.column_names]
        if not kinds:
            raise BadData(f"{path}: no column `arm` or `context`", hint=_HINT)
        self._places = {each: _places(path, each, table[each]) for each in kinds}
        self._columns = {
            name: table[name].to_pylist() for name in table.column_names if name not in kinds
        }

    def rows(self, subject: Subject, ids: Sequence[str], names: Sequence[str]) -> dict[str, Row]:
        places = self._places.get(subject, {})
        columns = [(name, self._columns[name]) for name in names if name in self._columns]
        return {
            each: {name: column[place] for name, column in columns}
            for each in ids
            if (place := places.get(each)) is not None
        }


def _places(path: Path, subject: Subject, column: pa.ChunkedArray) -> dict[str, int]:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise BadData(f"{path}: column {subject.value!r} is not text", hint=_HINT)
    found: dict[str, int] = {}
    values: list[Any] = column.to_pylist()
    for place, each in enumerate(values):
        if each is None:
            continue
        if each in found:
            raise BadData(f"{path}: the {subject} {each!r:.80} has two rows")
        found[each] = place
    return found

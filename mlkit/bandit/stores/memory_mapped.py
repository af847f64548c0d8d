"""The posterior store in shared memory: a file that all processes of a server map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlkit.bandit._posterior_table import Fetched, PosteriorTable, TableFull
from mlkit.bandit.posteriors import file
from mlkit.bandit.posteriors.posterior import SCHEMA, Header
from mlkit.errors import BadData
from mlkit.progress import Progress, silent
from mlkit.unpacking import UnpackLimits

__all__ = ["Capacity", "Fetched", "PosteriorTable", "TableFull", "export", "grow", "load"]

_EXPORT_ROWS = 1 << 18
StringBuffers = tuple[NDArray[Any], NDArray[np.uint8]]
"""Offsets and bytes of an Arrow string array."""


@dataclass(frozen=True)
class Capacity:
    """Capacities of a posterior table.

    Attributes:
        arms: Arms, removed ones included.
        contexts: Contexts.
        posteriors: Posteriors of (context, arm).
        id_bytes: UTF-8 bytes of the ids of arms and contexts.
    """

    arms: int = 0
    contexts: int = 0
    posteriors: int = 0
    id_bytes: int = 0

    def __add__(self, other: Capacity) -> Capacity:
        """Return the capacity for both."""
        return Capacity(
            self.arms + other.arms,
            self.contexts + other.contexts,
            self.posteriors + other.posteriors,
            self.id_bytes + other.id_bytes,
        )

    def __mul__(self, factor: float) -> Capacity:
        """Return `factor` times the capacity, rounded up."""
        return Capacity(*(int(np.ceil(each * factor)) for each in vars(self).values()))

    @staticmethod
    def used_in(table: PosteriorTable) -> Capacity:
        """Return how much of a table is used."""
        return Capacity(**table.used())


SPARE = Capacity(arms=1 << 10, contexts=1 << 14, posteriors=1 << 16, id_bytes=1 << 20)
"""The least capacity for what rewards and new arms will add."""


def load(
    posteriors: Path,
    table: Path,
    *,
    headroom: float = 0.1,
    half_life: float | None = None,
    since: float = 0.0,
    limits: UnpackLimits | None = None,
    progress: Progress = silent,
) -> tuple[Header, PosteriorTable]:
    """Make a table from a posteriors file, which is read twice: to measure it and to load it.

    Args:
        posteriors: The file; an arm's own row comes before its rows of contexts.
        table: The table's file; one that is there is replaced.
        headroom: Capacity for more, as a part of what the file needs; at least `SPARE`.
        half_life: Seconds in which what is known loses half of its weight; None: it keeps it.
        since: The time of posteriors that name none, in seconds since 1970.
        limits: How much the file may unpack to.
        progress: Told of rows loaded.

    Raises:
        InputMissing: The posteriors cannot be read.
        BadData: They are not a posteriors file, or a row is bad, repeated, or of an arm without a
            row of its own.
        OSError: The table's file cannot be made.
    """
    rows, need = _measure(posteriors, limits)
    header, batches = file.read_batches(posteriors, limits)
    as_of = since if header.forgetting is None else header.forgetting.as_of
    about = header.prior, header.shrinkage, half_life or 0.0, as_of
    made = _create(table, need * (1 + headroom) + SPARE, *about)
    try:
        _fill(made, batches, rows, posteriors, progress)
    except BaseException:
        table.unlink(missing_ok=True)
        raise
    return header, made


def grow(
    source: PosteriorTable, table: Path, *, factor: float = 2.0, base: float | None = None
) -> PosteriorTable:
    """Make a larger table with all that another one holds.

    Args:
        source: The full table; it stays as it is.
        table: The new table's file, another one than the source's.
        factor: Capacity of the new table, as a multiple of what the source uses.
        base: When evidence of the new table has the weight 1, if it forgets; None: as before.
    """
    capacity = Capacity.used_in(source) * factor + SPARE
    start = source.base if base is None else base
    made = _create(table, capacity, source.prior, source.shrinkage, source.half_life, start)
    made.copy(source)
    return made


def export(table: PosteriorTable, at: float | None = None) -> Iterator[pa.RecordBatch]:
    """Yield all posteriors as batches of `posterior.SCHEMA`, the arms' own first.

    Args:
        table: The table.
        at: The time of the posteriors, if they age, in seconds since 1970.
    """
    ids, *columns = table.export_arms(at)
    yield _batch(pa.nulls(len(ids[0]) - 1, pa.string()), ids, columns)
    for start in range(0, table.used()["posteriors"], _EXPORT_ROWS):
        contexts, ids, *columns = table.export_contexts(start, start + _EXPORT_ROWS, at)
        yield _batch(_strings(contexts), ids, columns)


def _create(
    path: Path,
    capacity: Capacity,
    prior: tuple[float, float],
    shrinkage: float,
    half_life: float,
    base: float,
) -> PosteriorTable:
    return PosteriorTable.create(
        str(path),
        arms=capacity.arms,
        contexts=capacity.contexts,
        posteriors=capacity.posteriors,
        id_bytes=capacity.id_bytes,
        prior=(prior[0], prior[1]),
        shrinkage=shrinkage,
        half_life=half_life,
        base=base,
    )


def _measure(path: Path, limits: UnpackLimits | None) -> tuple[int, Capacity]:
    """Count the rows of a posteriors file, and the capacity that they need at most."""
    rows, capacity = 0, Capacity()
    for batch in file.read_batches(path, limits)[1]:
        rows += len(batch)
        capacity += _capacity_for(batch)
    return rows, capacity


def _capacity_for(batch: pa.RecordBatch) -> Capacity:
    own = batch.filter(pc.is_null(batch["context"]))["arm"]
    contexts = batch["context"].drop_null()
    # Distinct contexts of each batch: exact when contexts stand together, as `fit` writes them.
    names = pc.unique(contexts)
    sizes = [pc.sum(pc.binary_length(ids)).as_py() or 0 for ids in (own, names)]
    return Capacity(len(own), len(names), len(contexts), sum(sizes))


def _fill(
    table: PosteriorTable,
    batches: Iterator[pa.RecordBatch],
    rows: int,
    path: Path,
    progress: Progress,
) -> None:
    done = 0
    for batch in batches:
        own = pc.is_null(batch["context"])
        try:
            _load_arms(table, batch.filter(own))
            _load_contexts(table, batch.filter(pc.invert(own)))
        except ValueError as error:
            hint = "each arm has one row of its own, before its rows of contexts"
            raise BadData(f"{path}: from row {done + 1}: {error}", hint=hint) from error
        done += len(batch)
        progress(done, rows)


def _load_arms(table: PosteriorTable, batch: pa.RecordBatch) -> None:
    table.load_arms(_buffers(batch["arm"]), *_numbers(batch))


def _load_contexts(table: PosteriorTable, batch: pa.RecordBatch) -> None:
    table.load_contexts(_buffers(batch["context"]), _buffers(batch["arm"]), *_numbers(batch))


def _numbers(batch: pa.RecordBatch) -> list[NDArray[Any]]:
    return [batch[name].to_numpy(zero_copy_only=False) for name in ("a", "b", "pulls")]


def _buffers(ids: pa.StringArray) -> StringBuffers:
    _, offsets, data = ids.buffers()
    if offsets is None or len(ids) == 0:
        return np.zeros(1, np.int32), np.zeros(0, np.uint8)
    every = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1]
    return every, np.frombuffer(data if data is not None else b"", np.uint8)


def _strings(buffers: StringBuffers) -> pa.Array:
    offsets, data = (pa.py_buffer(each) for each in buffers)
    ids = pa.LargeStringArray.from_buffers(len(buffers[0]) - 1, offsets, data)
    return ids.cast(pa.string())


def _batch(contexts: pa.Array, ids: StringBuffers, columns: list[NDArray[Any]]) -> pa.RecordBatch:
    a, b, pulls = (pa.array(column) for column in columns)
    arrays = [contexts, _strings(ids), a, b, pulls.cast(pa.int64(), safe=False)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)

"""Posteriors between files, the journal and the table that the server's processes share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlkit.bandit import posterior_file
from mlkit.bandit._posterior_table import PosteriorTable
from mlkit.bandit.posterior import SCHEMA, Header
from mlkit.bandit.server.journal import Change, Journal, Kind
from mlkit.errors import BadData

_SPARE_ROWS = 4096
_SPARE_ID_BYTES = 1 << 20
_EXPORT_ROWS = 1 << 20


class Sizes(NamedTuple):
    """How many arms, contexts, (context, arm) posteriors and bytes of ids."""

    arms: int = 0
    contexts: int = 0
    posteriors: int = 0
    id_bytes: int = 0

    def with_room(self, share: float) -> Sizes:
        """Add a share of each, and something for small tables."""
        rows = [int(n * (1 + share)) + _SPARE_ROWS for n in self[:3]]
        return Sizes(*rows, int(self.id_bytes * (1 + share)) + _SPARE_ID_BYTES)


def load(source: Path, path: Path) -> tuple[Header, PosteriorTable]:
    """Make a table at `path` from a posteriors file.

    Raises:
        InputMissing: The posteriors file cannot be read.
        BadData: It has a bad row, the same row twice, or a pair whose arm has no row.
    """
    header, batches = posterior_file.read_batches(source)
    arms, sizes = _survey(batches)
    table = _make(path, sizes.with_room(0.02), header.prior, header.shrinkage)
    try:
        for batch in arms:
            table.load_arms(_buffers(batch["arm"]), *_parameters(batch))
        for batch in posterior_file.read_batches(source)[1]:
            pairs = batch.filter(pc.is_valid(batch["context"]))
            table.load_contexts(
                _buffers(pairs["context"]), _buffers(pairs["arm"]), *_parameters(pairs)
            )
    except ValueError as error:
        hint = "each arm has one row of its own, and each (context, arm) at most one"
        raise BadData(f"{source}: {error}", hint=hint) from error
    return header, table


def _make(
    path: Path, room: Sizes, prior: tuple[float, float], shrinkage: float
) -> PosteriorTable:
    prior = prior[0], prior[1]
    return PosteriorTable.create(str(path), **room._asdict(), prior=prior, shrinkage=shrinkage)


def _survey(batches: Iterator[pa.RecordBatch]) -> tuple[list[pa.RecordBatch], Sizes]:
    """Keep the arms' own rows and find how much room all rows need."""
    arms: list[pa.RecordBatch] = []
    sizes = Sizes()
    for batch in batches:
        own = batch.filter(pc.is_null(batch["context"]))
        # Rows of one context stand together, as fit writes them; others only cost some room.
        contexts = pc.run_end_encode(batch["context"].drop_null()).values
        arms += [own] if len(own) else []
        sizes = Sizes(
            sizes.arms + len(own),
            sizes.contexts + len(contexts),
            sizes.posteriors + len(batch) - len(own),
            sizes.id_bytes + _bytes_of(own["arm"]) + _bytes_of(contexts),
        )
    return arms, sizes


def _bytes_of(ids: pa.Array) -> int:
    return int(pc.sum(pc.binary_length(ids)).as_py() or 0)


def _buffers(ids: pa.Array) -> tuple[NDArray[Any], NDArray[Any]]:
    _, offsets, data = ids.buffers()
    numbers = np.frombuffer(offsets or bytes(4), np.int32)[ids.offset :][: len(ids) + 1]
    return numbers, np.frombuffer(data or b"", np.uint8)


def _parameters(batch: pa.RecordBatch) -> list[NDArray[np.float64]]:
    return [batch[name].to_numpy().astype(np.float64) for name in ("a", "b", "pulls")]


def grow(table: PosteriorTable, path: Path) -> PosteriorTable:
    """Copy a table that is full into one with more room."""
    room = Sizes(**table.used()).with_room(0.5)
    larger = _make(path, room, table.prior, table.shrinkage)
    larger.copy(table)
    return larger


def apply(table: PosteriorTable, change: Change) -> bool:
    """Apply one change.

    Returns:
        False, and nothing was changed, if the arm is not there: for a reward, if it was removed.

    Raises:
        TableFull: There is no room; nothing was changed.
    """
    if change.kind == Kind.REWARD:
        return table.add_reward(change.context, change.arm, change.a)
    if change.kind == Kind.REMOVE:
        return table.remove_arm(change.arm)
    existed = table.arm(change.arm) is not None
    table.put_arm(change.arm, change.a, change.b, change.pulls)
    return existed


def restoring(table: PosteriorTable, journal: Journal) -> Iterator[tuple[Any, ...]]:
    """Give the calls that bring a table of the posteriors file to the journal's state.

    Each is a function and its arguments, so that one that meets a full table can be repeated
    on a larger one.
    """
    for row in journal.snapshot():
        if row.removed and not row.context:
            # Put first: an arm that the file does not have must be known as removed.
            yield PosteriorTable.put_arm, row.arm, *table.prior
            yield PosteriorTable.remove_arm, row.arm
        if row.a is not None and row.context:
            yield PosteriorTable.put_pair, row.context, row.arm, row.a, row.b, row.pulls
        elif row.a is not None:
            yield PosteriorTable.put_arm, row.arm, row.a, row.b, row.pulls
    for change in journal.changes():
        yield apply, change


def batches_of(table: PosteriorTable) -> Iterator[pa.RecordBatch]:
    """Give all posteriors of a table as batches of `SCHEMA`, the arms' own first."""
    ids, *parameters = table.export_arms()
    arms = _strings(*ids)
    yield _batch(pa.nulls(len(arms), pa.string()), arms, parameters)
    for start in range(0, table.used()["posteriors"], _EXPORT_ROWS):
        contexts, names, *parameters = table.export_contexts(start, start + _EXPORT_ROWS)
        yield _batch(_strings(*contexts), _strings(*names), parameters)


def _strings(offsets: NDArray[Any], data: NDArray[Any]) -> pa.Array:
    buffers = pa.py_buffer(offsets), pa.py_buffer(data)
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, *buffers).cast(pa.string())


def _batch(contexts: pa.Array, arms: pa.Array, parameters: list[Any]) -> pa.RecordBatch:
    a, b, pulls = parameters
    columns = [contexts, arms, pa.array(a), pa.array(b), pa.array(np.rint(pulls).astype(np.int64))]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)

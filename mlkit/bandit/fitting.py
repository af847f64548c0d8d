"""From logs to posteriors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlkit.bandit.log_readers import Columns
from mlkit.bandit.logs import REWARDS, Log
from mlkit.bandit.posterior import SCHEMA, Header, Posteriors, shrunk, update
from mlkit.errors import BadData
from mlkit.progress import Progress, silent

_MERGE_ROWS = 1 << 21
_KEYS = ["context", "arm"]


def fit(
    logs: Sequence[Path],
    columns: Columns | None,
    header: Header,
    *,
    skip_bad_rows: bool = False,
    progress: Progress = silent,
) -> Posteriors:
    """Fit one posterior an arm, and one a (context, arm) pair where rows have a context.

    An arm's posterior starts from the prior; that of a (context, arm) pair from the arm's
    mean over all logs, worth `header.shrinkage` pulls. Memory is bound by the number of pairs.

    Args:
        logs: CSV, Parquet or JSON Lines files; `-` is a CSV on standard input.
        columns: The columns of CSV and Parquet logs.
        header: The model's name, prior and shrinkage; its source is filled in.
        skip_bad_rows: Count and skip a bad row instead of raising.
        progress: Told how many bytes are read.

    Raises:
        InputMissing: A log cannot be read.
        UsageError: Columns are needed and not given.
        BadData: A log lacks a column, is damaged, has a bad row, or none at all.
    """
    events: set[bytes] = set()
    opened = [Log(path, columns, skip_bad_rows, events) for path in logs]
    sizes = [log.size() for log in opened]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    tally, done = Tally(), 0
    for log in opened:
        for batch in log.rewards():
            tally.add(batch)
            progress(done + log.bytes_read, total)
        done += log.bytes_read
    if not len(tally.total()):
        raise BadData(f"{', '.join(map(str, logs))}: no rewards", hint=_why_none(opened))
    return posteriors_of(tally.total(), replace(header, source=tuple(map(Log.source, opened))))


def _why_none(logs: Sequence[Log]) -> str | None:
    skipped = sum(log.skipped for log in logs)
    return (
        f"{skipped} bad rows were skipped; without --skip-bad-rows one is named"
        if skipped
        else None
    )


@dataclass
class Tally:
    """Pulls and rewards of each (context, arm), added up batch by batch."""

    _parts: list[pa.Table] = field(default_factory=list)

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the rows of a batch of rewards (`REWARDS`)."""
        rows = pa.Table.from_batches([batch])
        ones = pa.repeat(pa.scalar(1, pa.int64()), len(rows))
        self._parts.append(_summed(rows.append_column("pulls", ones), _KEYS))
        # The first part is the sum so far. Merging when the rest has outgrown it costs
        # amortised constant time a row.
        rest = sum(len(part) for part in self._parts[1:])
        if rest > max(_MERGE_ROWS, len(self._parts[0])):
            self.total()

    def total(self) -> pa.Table:
        """Give the sums: context, arm, pulls, reward."""
        if len(self._parts) != 1:
            self._parts = [_summed(pa.concat_tables([_NOTHING, *self._parts]), _KEYS)]
        return self._parts[0]


def _summed(table: pa.Table, keys: list[str]) -> pa.Table:
    # Without threads the order of additions, so the last bit, is always the same.
    groups = table.group_by(keys, use_threads=False)
    summed = groups.aggregate([("pulls", "sum"), ("reward", "sum")])
    return summed.rename_columns({"pulls_sum": "pulls", "reward_sum": "reward"})


_NOTHING = pa.schema(
    [*(REWARDS.field(key) for key in _KEYS), ("pulls", pa.int64()), ("reward", pa.float64())]
).empty_table()


def posteriors_of(sums: pa.Table, header: Header) -> Posteriors:
    """Turn sums (context, arm, pulls, reward) into posteriors, sorted by context and arm."""
    by_arm = _summed(sums, ["arm"]).sort_by("arm")
    a, b = update(*header.prior, by_arm["reward"].to_numpy(), by_arm["pulls"].to_numpy())
    arms = _table(by_arm, a, b).drop_columns("context")
    own = sums.filter(pc.is_valid(sums["context"])).sort_by([(key, "ascending") for key in _KEYS])
    which = pc.index_in(own["arm"], arms["arm"].combine_chunks()).to_numpy()
    start = shrunk(a[which], b[which], header.shrinkage)
    updated = update(*start, own["reward"].to_numpy(), own["pulls"].to_numpy())
    return Posteriors(
        header.model,
        header.prior,
        header.shrinkage,
        header.source,
        arms=arms,
        contexts=_table(own, *updated),
    )


def _table(sums: pa.Table, a: NDArray[np.float64], b: NDArray[np.float64]) -> pa.Table:
    context = (
        sums["context"] if "context" in sums.column_names else pa.nulls(len(sums), pa.string())
    )
    return pa.table([context, sums["arm"], a, b, sums["pulls"]], schema=SCHEMA)

"""Sums of rewards by (context, arm), added up from a stream of batches."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlkit.bandit.posteriors.forgetting import MOST_HALVINGS, factor, weights

_BUFFER_ROWS = 1 << 20
_ARM_BITS = 32


class Sums(NamedTuple):
    """Pulls and rewards, one row a (context, arm) pair, sorted by context and then by arm.

    Attributes:
        contexts: Sorted ids (UTF-8 byte order), the first null.
        arms: Sorted ids.
        context: Index into `contexts` of each row.
        arm: Index into `arms` of each row.
        pulls: Rewards counted.
        reward: Their weighted sum.
        weight: The sum of their weights: `pulls`, where all weigh 1.
    """

    contexts: pa.Array
    arms: pa.Array
    context: NDArray[np.int64]
    arm: NDArray[np.int64]
    pulls: NDArray[np.int64]
    reward: NDArray[np.float64]
    weight: NDArray[np.float64]


class Tally:
    """A running sum of rewards, in memory bound by the number of (context, arm) pairs.

    Rows are buffered until there are as many as there are pairs, and then merged, which costs
    amortised logarithmic time a row. Merges are stable: the order of additions, and so the
    last bit of a sum, depends on the rows alone.

    Args:
        half_life: Seconds in which a reward loses half of its weight; None: all weigh 1.

    Attributes:
        newest: The time of the newest row, in seconds since 1970; -inf: none had one.
    """

    def __init__(self, half_life: float | None = None) -> None:
        self._half_life = half_life
        self._base = -np.inf
        self.newest = -np.inf
        self._weight = np.empty(0, np.float64)
        self._contexts = _Codes(pa.nulls(1, pa.string()))
        self._arms = _Codes(pa.array([], pa.string()))
        self._buffer: list[pa.RecordBatch] = []
        self._buffered = 0
        self._keys = np.empty(0, np.int64)
        self._pulls = np.empty(0, np.int64)
        self._reward = np.empty(0, np.float64)

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the rows of a batch: see `logs.rewards.REWARDS`, with `time` if they age."""
        if self._half_life is not None:
            batch = self._add_weights(batch, self._half_life)
        else:
            batch = batch.select(["context", "arm", "reward", "sign"])
        self._buffer.append(batch)
        self._buffered += len(batch)
        if self._buffered >= max(_BUFFER_ROWS, len(self._keys)):
            self._merge()

    def _add_weights(self, batch: pa.RecordBatch, half_life: float) -> pa.RecordBatch:
        """Add the column of weights, where a row of the base weighs 1."""
        times = batch["time"].to_numpy(zero_copy_only=False)
        self.newest = max(self.newest, float(times.max(initial=-np.inf)))
        if self.newest - self._base > MOST_HALVINGS * half_life:
            self._rebase(self.newest, half_life)
        found = weights(times, self._base, half_life)
        rows = batch.select(["context", "arm", "reward", "sign"])
        return rows.append_column("weight", pa.array(found))

    def _rebase(self, base: float, half_life: float) -> None:
        if self._buffered:
            self._merge()
        if np.isfinite(self._base):
            scale = factor(self._base, base, half_life)
            self._reward, self._weight = self._reward * scale, self._weight * scale
        self._base = base

    def sums(self, at: float | None = None) -> Sums:
        """Return the sums of all rows so far.

        Args:
            at: The time whose weights count, if rows age; None: that of the newest row.
        """
        if self._buffered:
            self._merge()
        contexts, context_rank = self._contexts.sort_ids()
        arms, arm_rank = self._arms.sort_ids()
        context = context_rank[self._keys >> _ARM_BITS]
        arm = arm_rank[self._keys & ((1 << _ARM_BITS) - 1)]
        order = np.argsort(context << _ARM_BITS | arm)
        scale = 1.0
        if self._half_life is not None:
            scale = factor(self._base, self.newest if at is None else at, self._half_life)
        reward, weight = scale * self._reward[order], scale * self._weight[order]
        return Sums(contexts, arms, context[order], arm[order], self._pulls[order], reward, weight)

    def _merge(self) -> None:
        rows = pa.Table.from_batches(self._buffer)
        self._buffer, self._buffered = [], 0
        new = self._contexts.of(rows["context"]) << _ARM_BITS | self._arms.of(rows["arm"])
        keys = np.concatenate([self._keys, new])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        begins = np.flatnonzero(np.diff(keys, prepend=-1))
        sign = rows["sign"].to_numpy().astype(np.int64)
        pulls = np.concatenate([self._pulls, sign])
        added = sign * (rows["weight"].to_numpy() if "weight" in rows.column_names else 1.0)
        weight = np.concatenate([self._weight, added])
        reward = np.concatenate([self._reward, added * rows["reward"].to_numpy()])
        self._keys = keys[begins]
        self._pulls = np.add.reduceat(pulls[order], begins)
        self._reward = np.add.reduceat(reward[order], begins)
        self._weight = np.add.reduceat(weight[order], begins)


class _Codes:
    """Numbers for ids, in the order in which they first appear."""

    def __init__(self, ids: pa.Array) -> None:
        self._ids = ids

    def of(self, column: pa.ChunkedArray) -> NDArray[np.int64]:
        """Return the numbers of ids; ids seen for the first time get the next ones."""
        encoded = column.dictionary_encode("encode").combine_chunks()
        ids = encoded.dictionary
        known = pc.index_in(ids, self._ids)
        new = known.is_null()
        codes = known.fill_null(0).to_numpy().astype(np.int64)
        fresh = new.to_numpy(zero_copy_only=False)
        codes[fresh] = len(self._ids) + np.arange(np.count_nonzero(fresh))
        self._ids = pa.concat_arrays([self._ids, ids.filter(new)])
        found: NDArray[np.int64] = codes[encoded.indices.to_numpy()]
        return found

    def sort_ids(self) -> tuple[pa.Array, NDArray[np.int64]]:
        """Return the ids sorted, null first, and the place there of each number."""
        order = pc.array_sort_indices(self._ids, null_placement="at_start")
        rank = np.empty(len(self._ids), np.int64)
        rank[order.to_numpy()] = np.arange(len(self._ids))
        return self._ids.take(order), rank

"""Sums of rewards by (context, arm), added up from a stream of batches."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

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
        reward: Their sum.
    """

    contexts: pa.Array
    arms: pa.Array
    context: NDArray[np.int64]
    arm: NDArray[np.int64]
    pulls: NDArray[np.int64]
    reward: NDArray[np.float64]


class Tally:
    """A running sum of rewards, in memory bound by the number of (context, arm) pairs.

    Rows are buffered until there are as many as there are pairs, and then merged, which costs
    amortised logarithmic time a row. Merges are stable: the order of additions, and so the
    last bit of a sum, depends on the rows alone.
    """

    def __init__(self) -> None:
        self._contexts = _Codes(pa.nulls(1, pa.string()))
        self._arms = _Codes(pa.array([], pa.string()))
        self._buffer: list[pa.RecordBatch] = []
        self._buffered = 0
        self._keys = np.empty(0, np.int64)
        self._pulls = np.empty(0, np.int64)
        self._reward = np.empty(0, np.float64)

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the rows of a batch: context (or null), arm, reward."""
        self._buffer.append(batch)
        self._buffered += len(batch)
        if self._buffered >= max(_BUFFER_ROWS, len(self._keys)):
            self._merge()

    def sums(self) -> Sums:
        """Return the sums of all rows so far."""
        if self._buffered:
            self._merge()
        contexts, context_rank = self._contexts.sorted()
        arms, arm_rank = self._arms.sorted()
        context = context_rank[self._keys >> _ARM_BITS]
        arm = arm_rank[self._keys & ((1 << _ARM_BITS) - 1)]
        order = np.argsort(context << _ARM_BITS | arm)
        pulls, reward = self._pulls[order], self._reward[order]
        return Sums(contexts, arms, context[order], arm[order], pulls, reward)

    def _merge(self) -> None:
        rows = pa.Table.from_batches(self._buffer)
        self._buffer, self._buffered = [], 0
        new = self._contexts.of(rows["context"]) << _ARM_BITS | self._arms.of(rows["arm"])
        keys = np.concatenate([self._keys, new])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        begins = np.flatnonzero(np.diff(keys, prepend=-1))
        pulls = np.concatenate([self._pulls, np.ones(len(new), np.int64)])
        reward = np.concatenate([self._reward, rows["reward"].to_numpy()])
        self._keys = keys[begins]
        self._pulls = np.add.reduceat(pulls[order], begins)
        self._reward = np.add.reduceat(reward[order], begins)


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

    def sorted(self) -> tuple[pa.Array, NDArray[np.int64]]:
        """Return the ids sorted, null first, and the place there of each number."""
        order = pc.array_sort_indices(self._ids, null_placement="at_start")
        rank = np.empty(len(self._ids), np.int64)
        rank[order.to_numpy()] = np.arange(len(self._ids))
        return self._ids.take(order), rank

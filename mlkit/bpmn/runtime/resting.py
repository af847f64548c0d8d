"""The states of instances that rest, in memory, so that a host need not replay their events."""

from __future__ import annotations

from collections import OrderedDict

from mlkit.bpmn.journal.records import DECODE_STATE, Recorded, Row, encode
from mlkit.bpmn.runtime.running import Running

_MOST_BYTES = 32 << 20
_ENTRY_BYTES = 200
"""About what is needed beside a state."""


class RestingStates:
    """States of instances that this process has left, each after an event that is durable.

    An instance that has no further event has no other state, whoever owned it meanwhile. Those
    that were left first are forgotten first.

    Args:
        most: The bytes that they may have together.
    """

    def __init__(self, most: int = _MOST_BYTES) -> None:
        self._most = most
        self._bytes = 0
        self._kept: OrderedDict[int, tuple[int, bytes]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._kept)

    def keep(self, running: Running) -> None:
        """Keep the state of an instance all of whose events are durable."""
        self._pop(running.number)
        state = encode(running.state)
        if len(state) > self._most // 10:  # One must not displace many.
            return
        self._kept[running.number] = running.sequence, state
        self._bytes += len(state) + _ENTRY_BYTES
        while self._bytes > self._most:
            self._pop(next(iter(self._kept)))

    def take(self, row: Row) -> Recorded | None:
        """Return, once, what an instance is restored from; None: the journal has it."""
        sequence, state = self._pop(row.number) or (0, b"")
        if not sequence or sequence != row.sequence:
            return None
        return Recorded(DECODE_STATE.decode(state), sequence, [])

    def _pop(self, number: int) -> tuple[int, bytes] | None:
        found = self._kept.pop(number, None)
        if found is not None:
            self._bytes -= len(found[1]) + _ENTRY_BYTES
        return found

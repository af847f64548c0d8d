"""A document that one process publishes and all others read, in memory that they share."""

from __future__ import annotations

import mmap

_NUMBER, _LENGTH = 8, 8
_ATTEMPTS = 100


class SharedDocument:
    """Bytes of one process; made before the processes are forked.

    There is room for two: while one is read, the next is written beside it, and only then the
    number of the newest is changed. So nothing is locked, a process that dies while it writes
    leaves the document of before, and its successor goes on from there.

    Args:
        room: Bytes that a document may have.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._memory = mmap.mmap(-1, _NUMBER + 2 * (_LENGTH + room))

    @property
    def number(self) -> int:
        """How many documents have been published."""
        return int.from_bytes(self._memory[:_NUMBER], "little")

    def publish(self, document: bytes) -> bool:
        """Replace the document; return False, and change nothing, if there is no room for it."""
        if len(document) > self._room:
            return False
        number = self.number + 1
        start = self._start(number)
        self._memory[start : start + _LENGTH] = len(document).to_bytes(_LENGTH, "little")
        self._memory[start + _LENGTH : start + _LENGTH + len(document)] = document
        self._memory[:_NUMBER] = number.to_bytes(_NUMBER, "little")
        return True

    def read(self) -> bytes:
        """Return the newest document; empty before the first."""
        for _ in range(_ATTEMPTS):
            number = self.number
            start = self._start(number)
            length = int.from_bytes(self._memory[start : start + _LENGTH], "little")
            document = self._memory[start + _LENGTH : start + _LENGTH + length]
            if number == self.number:
                return document
        return b""

    def _start(self, number: int) -> int:
        return _NUMBER + number % 2 * (_LENGTH + self._room)

"""The memory that the engine shares with its workers: who runs what, and replies held back.

This file uses the standard library only. What a worker has written here outlives it.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Collection

_COUNT = struct.Struct("=q")
MAX_CANCELLED = 64
_CANCELLED = struct.Struct(f"={MAX_CANCELLED}q")
_FIRST_SLOT = _COUNT.size + _CANCELLED.size
BATCH = struct.Struct("=q")
MAX_RECORD = 100_000
"""Bytes of a job or result that the socket carries; larger ones are in a file."""
_CURRENT = struct.Struct("=qd")
_APART = BATCH.size + _CURRENT.size
_HELD = _APART + _COUNT.size
_FIRST_REPLY = _HELD + _COUNT.size
_ROOM = 32_000
_SLOT_SIZE = _FIRST_REPLY + _ROOM


class Slots:
    """One slot a worker, and the jobs that the engine has cancelled.

    Args:
        descriptor: Of the memory, `size(workers)` bytes of it.
    """

    def __init__(self, descriptor: int) -> None:
        self.memory = mmap.mmap(descriptor, 0)

    @staticmethod
    def size(workers: int) -> int:
        """Return the bytes that the slots of some workers take."""
        return _FIRST_SLOT + workers * _SLOT_SIZE

    def close(self) -> None:
        """Let go of the memory."""
        self.memory.close()

    # -- what the engine writes --------------------------------------------------------

    def cancel(self, jobs: Collection[int]) -> None:
        """Write which jobs are not to begin: at most `MAX_CANCELLED`."""
        numbers = [*jobs, *[0] * (MAX_CANCELLED - len(jobs))]
        _CANCELLED.pack_into(self.memory, _COUNT.size, *numbers)
        _COUNT.pack_into(self.memory, 0, len(jobs))

    def clear(self, slot: int) -> None:
        """Make a slot ready for a new worker."""
        start = _FIRST_SLOT + slot * _SLOT_SIZE
        self.memory[start : start + _FIRST_REPLY] = bytes(_FIRST_REPLY)

    def is_cancelled(self, job: int) -> bool:
        """Return whether a job is not to begin."""
        (count,) = _COUNT.unpack_from(self.memory, 0)
        return bool(count) and job in _CANCELLED.unpack_from(self.memory, _COUNT.size)

    # -- what a worker writes ----------------------------------------------------------

    def take(self, slot: int, batch: int) -> None:
        """Note that a worker has taken the jobs of a batch."""
        BATCH.pack_into(self.memory, _FIRST_SLOT + slot * _SLOT_SIZE, batch)

    def begin(self, slot: int, job: int) -> None:
        """Note that a worker begins a job now."""
        start = _FIRST_SLOT + slot * _SLOT_SIZE + BATCH.size
        _CURRENT.pack_into(self.memory, start, job, time.monotonic())

    def batch(self, slot: int) -> int:
        """Return the batch that a worker took last."""
        (batch,) = BATCH.unpack_from(self.memory, _FIRST_SLOT + slot * _SLOT_SIZE)
        return int(batch)

    def current(self, slot: int) -> tuple[int, float]:
        """Return the job that a worker began last, and when (monotonic seconds)."""
        start = _FIRST_SLOT + slot * _SLOT_SIZE + BATCH.size
        job, started = _CURRENT.unpack_from(self.memory, start)
        return job, started

    def set_apart(self, slot: int, process: int) -> None:
        """Note the process that runs the job apart from its worker; 0: none does."""
        _COUNT.pack_into(self.memory, _FIRST_SLOT + slot * _SLOT_SIZE + _APART, process)

    def apart(self, slot: int) -> int:
        """Return the process that runs the job apart from its worker, 0 if none does."""
        return int(_COUNT.unpack_from(self.memory, _FIRST_SLOT + slot * _SLOT_SIZE + _APART)[0])

    def hold(self, slot: int, reply: bytes) -> bool:
        """Keep one more reply that is not sent yet; return whether there was room."""
        start = _FIRST_SLOT + slot * _SLOT_SIZE
        (length,) = _COUNT.unpack_from(self.memory, start + _HELD)
        reply = b"," + reply if length else reply
        if length + len(reply) > _ROOM:
            return False
        first = start + _FIRST_REPLY + length
        self.memory[first : first + len(reply)] = reply
        # The length last: whatever ends the worker meanwhile, what is held is whole.
        _COUNT.pack_into(self.memory, start + _HELD, length + len(reply))
        return True

    def release(self, slot: int) -> None:
        """Forget the replies that are held: they have been sent."""
        _COUNT.pack_into(self.memory, _FIRST_SLOT + slot * _SLOT_SIZE + _HELD, 0)

    def read_held(self, slot: int) -> bytes:
        """Return the replies that a worker holds, as a JSON array."""
        start = _FIRST_SLOT + slot * _SLOT_SIZE
        (length,) = _COUNT.unpack_from(self.memory, start + _HELD)
        first = start + _FIRST_REPLY
        return b"[" + self.memory[first : first + length] + b"]"

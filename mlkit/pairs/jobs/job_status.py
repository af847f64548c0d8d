"""What running jobs show of themselves: a file each beside their embedded log, for pages.

It is a view: it is not synced, and what cannot be written stops nobody. A lock shows whether the
process lives; a file stays when its process has ended, until another one of the job begins.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from mlkit.file_locks import is_locked

FOLDER = "jobs"
EVERY = 0.5
"""Seconds between two times that a job shows its counts."""
MOST_LINES, MOST_JOBS = 50, 100
LONGEST_LINE = 2000


class Shown(msgspec.Struct):
    """What a process of a job shows.

    Attributes:
        job: Its consumer group.
        pid: Its process.
        file: Its file.
        inputs: The topics that it reads.
        output: The topic that it writes.
        state: `running`, `restarting`, `stopped` by an error, or `ended`.
        records: See `run.Counts`, as the others.
        log: What a person should know, the last lines.
    """

    job: str
    pid: int
    file: str
    inputs: list[str]
    output: str
    state: str
    records: int
    written: int
    unreadable: int
    restarts: int
    late: int
    log: list[str]


_SHOWN = msgspec.json.Decoder(Shown)


class Board:
    """Shows one process of a job.

    Args:
        log: The job's log; one of brokers shows nothing, since it has no folder.
        group: Its consumer group.
        cells: What does not change: its file and topics.
    """

    def __init__(self, log: str, group: str, cells: dict[str, Any]) -> None:
        self._folder = None if "://" in log else Path(log) / FOLDER
        self._group, self._cells = group, {"job": group, "pid": os.getpid(), **cells}
        self._lines: deque[str] = deque(maxlen=MOST_LINES)
        self._shown, self._lock = 0.0, -1
        self._path = Path()

    def open(self) -> None:
        """Begin to show it, in place of processes of the same job that have ended."""
        if self._folder is None or not self._folder.parent.is_dir():
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for path in self._folder.glob(f"{self._group}@*.json"):
                if not is_locked(path.with_suffix(".lock")):
                    path.unlink(missing_ok=True)
                    path.with_suffix(".lock").unlink(missing_ok=True)
            self._path = self._folder / f"{self._group}@{os.getpid()}.json"
            path = self._path.with_suffix(".lock")
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if _take(lock):
                self._lock = lock
            else:
                os.close(lock)

    def note(self, text: str) -> None:
        """Add lines to what it shows."""
        moment = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
        first, *rest = text.splitlines() or [""]
        self._lines += [f"{moment} {first}"[:LONGEST_LINE], *(each[:LONGEST_LINE] for each in rest)]

    def show(self, state: str, counts: dict[str, int], *, force: bool = False) -> None:
        """Show a state and counts, now and then or at once."""
        now = time.monotonic()
        if self._lock < 0 or not (force or now - self._shown >= EVERY):
            return
        self._shown = now
        document = self._cells | {"state": state, **counts, "log": list(self._lines)}
        temporary = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            temporary.write_bytes(msgspec.json.encode(document))
            temporary.replace(self._path)

    def close(self) -> None:
        """Release the lock: the process has ended, and what it showed last stays."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def read(log: str | Path) -> list[dict[str, Any]]:
    """Return what the jobs of an embedded log show, by name; `runs`: whether one lives."""
    return list(_read(Path(log) / FOLDER))


def _read(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.json"))[:MOST_JOBS]:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            yield msgspec.structs.asdict(_SHOWN.decode(path.read_bytes())) | {
                "runs": is_locked(path.with_suffix(".lock"))
            }


def _take(lock: int) -> bool:
    """Lock a file; a page that looks at it holds the lock for a moment."""
    for _ in range(100):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.01)
    return False

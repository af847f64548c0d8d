"""Which process of one machine owns what: a lock that ends with the process.

A process that owns instances has a name and a file of that name, which it keeps locked; the
instances' rows hold the name. The kernel unlocks the file however the process ends, so a lease
needs no renewal, and a process that is only stopped keeps what it owns. One file serves any
number of instances.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from mlkit.file_locks import is_locked


class LockOwner:
    """This process as an owner; its file is made when it first owns something.

    Args:
        folder: Where the files of all owners are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = ""
        self._lock: int | None = None

    def register(self) -> str:
        """Return this owner's name, whose file is locked from now on."""
        if self._lock is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep()
            self.name = os.urandom(8).hex()
            # It gets its name once it is locked: nobody ever sees it unlocked while we live.
            path = self.folder / f".{self.name}"
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.rename(self.folder / self.name)
        return self.name

    def holds(self) -> bool:
        """Return True: the lock is held for as long as the process lives."""
        return True

    def renew(self) -> bool:
        """Return True: nothing is to be renewed."""
        return True

    def disown(self) -> None:
        """Do nothing: the lock does not end before the process."""

    def living(self) -> set[str]:
        """Return the names of all owners that live."""
        if not self.folder.is_dir():
            return set()
        names = [path.name for path in self.folder.iterdir() if not path.name.startswith(".")]
        return {name for name in names if self.is_alive(name)}

    def bury(self, name: str) -> None:
        """Do nothing: the file of a dead owner is unlocked for good."""

    def is_alive(self, name: str) -> bool:
        """Return whether the process with this name lives."""
        if not name:
            return False
        if name == self.name and self._lock is not None:
            return True
        return is_locked(self.folder / name)

    def _sweep(self) -> None:
        """Remove the files of owners that are dead."""
        for path in self.folder.iterdir():
            hidden = path.name.startswith(".")
            if path.is_file() and not hidden and not self.is_alive(path.name):
                with contextlib.suppress(OSError):
                    path.unlink()

    def close(self) -> None:
        """Give up what this process owns."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                (self.folder / self.name).unlink()
            os.close(self._lock)
            self._lock = None

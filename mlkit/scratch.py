"""Temporary folders that do not outlive their process for long, however it ends.

The folder's owner keeps a file in it locked, so that the next process that makes one can tell
which are left over from processes that were killed, and removes those.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_LOCK = ".in-use"


class Scratch:
    """A temporary folder of this process.

    Args:
        prefix: The beginning of its name; folders with the same prefix whose processes are dead are
            removed.
    """

    def __init__(self, prefix: str) -> None:
        sweep(prefix)
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        made = self.path / f"{_LOCK}.new"
        self._lock = os.open(made, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        made.rename(self.path / _LOCK)  # Under this name it was locked all the time.

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


@contextlib.contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """Yield a temporary folder that is gone after the block.

    What a process leaves that is killed meanwhile, the next one removes.

    Args:
        prefix: As of `Scratch`.
    """
    with contextlib.closing(Scratch(prefix)) as made:
        yield made.path


def sweep(prefix: str) -> None:
    """Remove the folders that killed processes of this user have left."""
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            if path.lstat().st_uid == os.geteuid() and _is_left(path):
                shutil.rmtree(path, ignore_errors=True)


def _is_left(path: Path) -> bool:
    """Return whether the process that made a folder is dead; OSError where that is unknown."""
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(lock)
    return True

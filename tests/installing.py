"""Package managers that fetch what tests need: one at a time, and again where one is disturbed."""

from __future__ import annotations

import fcntl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ATTEMPTS = 3
PAUSE = 5.0
"""Seconds after which a mirror is asked again."""


def fetch(command: Sequence[Any], folder: Path) -> None:
    """Run a package manager in a folder; skip if it cannot fetch what it is to.

    Two at a time may disturb each other in the user's cache, and a mirror may break off.
    """
    words = [str(each) for each in command]
    with _alone(Path(tempfile.gettempdir()) / f"mlkit-test-{Path(words[0]).name}.lock"):
        for attempt in range(ATTEMPTS):
            time.sleep(PAUSE * attempt)
            ran = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
            if ran.returncode == 0:
                return
    said = (ran.stdout + ran.stderr).strip()[-500:]
    pytest.skip(f"{Path(words[0]).name} cannot fetch what this needs: {said}")


def install(command: Sequence[Any], folder: Path, result: str) -> None:
    """Fetch into a folder that runs share, unless that has been done for the same files.

    Args:
        command: The package manager.
        folder: Where its files are.
        result: The folder that it makes; a run that was killed may have left half of it.
    """
    done = folder / f"{result}.done"
    with _alone(folder / f"{result}.lock"):
        key = "".join(sorted(f"{each}: {each.read_text('utf-8')}" for each in _files(folder)))
        if (folder / result).is_dir() and done.exists() and done.read_text("utf-8") == key:
            return
        done.unlink(missing_ok=True)
        fetch(command, folder)
        done.write_text(key, "utf-8")


def _files(folder: Path) -> Iterator[Path]:
    names = ("pom.xml", "package.json", "package-lock.json")
    return (folder / each for each in names if (folder / each).exists())


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Be the only process in this block, of all that name the same lock."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

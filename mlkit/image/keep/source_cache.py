"""What sources say, remembered by their content from run to run: parsing is what takes long.

The file lies in the user's cache folder, `mlkit/sources-RULES.jsonl`, where RULES is a digest of
the code that reads sources. It may be deleted at any time; what cannot be read counts for nothing.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

LARGEST = 32 << 20
"""Bytes of the file beyond which it is begun again."""
RULES = ("python_imports.py", "names.py", "source_words.py", "system.py")
"""The modules whose rules decide what is read from a source."""


class Sources:
    """Answers about sources, in memory and in a file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, list[str]] = {}
        self._fresh: list[str] = []
        with contextlib.suppress(OSError):
            for line in path.read_bytes().splitlines() if path else ():
                self._learn(line)

    def _learn(self, line: bytes) -> None:
        with contextlib.suppress(ValueError, TypeError):
            key, values = json.loads(line)
            if isinstance(key, str) and all(isinstance(each, str) for each in values):
                self._known[key] = values

    def remember(
        self, question: str, data: bytes, answer: Callable[[], Iterable[str]]
    ) -> list[str]:
        """Return the answer to a question about a text, and find it only once.

        Args:
            question: What is asked, with all that the answer depends on besides the text.
            data: The text.
            answer: Finds it.
        """
        key = hashlib.sha256(question.encode() + b"\0" + data).hexdigest()[:32]
        if key not in self._known:
            self._known[key] = sorted(answer())
            self._fresh.append(json.dumps([key, self._known[key]]))
        return self._known[key]

    def write(self) -> None:
        """Add what is new to the file; another run may do so at the same time."""
        if self._path is None or not self._fresh:
            return
        text = "".join(f"{line}\n" for line in self._fresh).encode()
        self._fresh.clear()
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            full = self._path.exists() and self._path.stat().st_size > LARGEST
            flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if full else os.O_APPEND)
            number = os.open(self._path, flags, 0o600)
            with os.fdopen(number, "wb", buffering=0) as file:
                file.write(text)


@functools.cache
def sources() -> Sources:
    """Return the user's own."""
    return Sources(_place())


def _place() -> Path | None:
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        return None
    rules = hashlib.sha256()
    for name in RULES:
        rules.update((Path(__file__).parent / name).read_bytes())
    return base / "mlkit" / f"sources-{rules.hexdigest()[:16]}.jsonl"

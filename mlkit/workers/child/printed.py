"""What a task prints: its head and its tail are kept, the rest goes to a file.

This file uses the standard library only.
"""

from __future__ import annotations

import io
import os
import re
from typing import Any

HEAD = 500_000
TAIL = 500_000
MAX_FILE = 100_000_000
_LIVE = 64_000
_SHOWN = 10_000
_UNSAFE = re.compile(r"[^\w.-]")


class Printed:
    """The text of one stream, of one task after the other.

    Args:
        name: `stdout` or `stderr`.
        live: A file in memory that others read while the task runs; it holds the end of the text.
    """

    def __init__(self, name: str, live: int) -> None:
        self.name = name
        self.live = live
        self.shown = 0
        self.place = ""
        self.begin("", "")

    def begin(self, folder: str, task: str) -> None:
        """Forget the last task.

        Args:
            folder: Where the file of a long text goes, "" for nowhere.
            task: Names that file.
        """
        if self.shown:
            os.ftruncate(self.live, 0)
            self.shown = 0
        if folder:
            self.place = os.path.join(folder, _UNSAFE.sub("_", f"{task}.{self.name}.txt"))
        else:
            self.place = ""
        self.size = 0
        self.head = bytearray()
        self.tail = bytearray()
        self.file: Any = None

    def write(self, data: bytes) -> None:
        """Add what was printed."""
        self.size += len(data)
        self._show(data)
        fits = HEAD - len(self.head)
        self.head += data[:fits]
        if fits < len(data):
            self._spill(data[fits:])
            self.tail += data[fits:]
            if len(self.tail) > 2 * TAIL:
                del self.tail[:-TAIL]

    def _show(self, data: bytes) -> None:
        if self.shown + len(data) > _LIVE:
            kept = (bytes(self.tail or self.head) + data)[-_SHOWN:]
            os.ftruncate(self.live, 0)
            self.shown, data = 0, kept
        self.shown += os.write(self.live, data)

    def _spill(self, data: bytes) -> None:
        """Write what comes after the head to a file, behind it; a full disk is not a failure."""
        if not self.place:
            return
        try:
            if self.file is None:
                self.file = open(self.place, "wb")  # noqa: SIM115 - closed by `text`
                self.file.write(self.head)
            if self.size <= MAX_FILE:
                self.file.write(data)
        except OSError:
            self.place = ""

    def flush(self) -> None:
        """Write what the file of a long text has still to get."""
        if self.file is not None:
            self.file.flush()

    def text(self) -> str:
        """Return what is kept, with the count of what is left out, and end the task."""
        if not self.size:
            return ""
        if self.file is not None:
            self.file.close()
        content = bytes(self.head)
        left_out = self.size - len(content) - len(self.tail[-TAIL:])
        if left_out > 0:
            content += f"\n[{left_out} bytes left out{self._where()}]\n".encode()
        return (content + bytes(self.tail[-TAIL:])).decode("utf-8", "replace")

    def _where(self) -> str:
        if not self.place:
            return ""
        begin = "" if self.size <= MAX_FILE else f"the first {MAX_FILE} bytes are "
        return f"; {begin}in {self.place}"


class Stream(io.TextIOBase):
    """A standard stream whose text goes to a `Printed`."""

    encoding = "utf-8"

    def __init__(self, printed: Printed) -> None:
        self.printed = printed

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.printed.write(text.encode("utf-8", "backslashreplace"))
        return len(text)

"""Records as lines of text: JSON Lines, or CSV with a header."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from mlkit.errors import BadData
from mlkit.pairs.feeds.feed import Batch, Position
from mlkit.pairs.feeds.records import PriceRecord, parse

LONGEST = 1 << 16
"""Bytes of a line; a longer one is dropped."""
_CHUNK = 1 << 16


class LinesFeed:
    """Reads records from a file descriptor as they are written to it.

    A line that begins with `{` is JSON; the first line that does not is the header of CSV. What was
    read cannot be read again: after a restart, whoever writes goes on with what was not taken, or
    begins again: bars that are closed are late, and dropped.
    """

    is_replay = False

    def __init__(self, descriptor: int, name: str) -> None:
        self.name, self._descriptor = name, descriptor
        self._header: list[str] | None = None

    @classmethod
    def of_standard_input(cls) -> LinesFeed:
        """Read standard input."""
        return cls(sys.stdin.fileno(), "standard input")

    def read(self, position: Position) -> Iterator[Batch]:
        """Yield what comes, as it comes; see `Feed.read`."""
        del position
        for lines in self._lines():
            yield self._batch(lines)

    def _lines(self) -> Iterator[list[bytes]]:
        rest, overlong = b"", False
        while data := os.read(self._descriptor, _CHUNK):
            *lines, rest = (rest + data).split(b"\n")
            if lines and overlong:
                lines[0], overlong = b"\0", False
            if len(rest) > LONGEST:
                rest, overlong = b"\0", True
            if lines:
                yield lines
        if rest.strip():
            yield [rest]

    def _batch(self, lines: list[bytes]) -> Batch:
        records, unreadable = [], 0
        for line in lines:
            if not line.strip():
                continue
            try:
                record = self._record(line)
            except BadData:
                unreadable += 1
                continue
            if record is not None:
                records.append(record)
        return Batch(records, None, {"unreadable": unreadable} if unreadable else {})

    def _record(self, line: bytes) -> PriceRecord | None:
        if line.lstrip().startswith(b"{"):
            return parse(_json(line))
        try:
            cells = next(csv.reader([line.decode("utf-8-sig").strip()]))
        except (UnicodeDecodeError, csv.Error, StopIteration) as error:
            raise BadData("a line that is neither JSON nor CSV") from error
        if self._header is None:
            self._header = _header(cells)
            return None
        if len(cells) != len(self._header):
            raise BadData("a line with a different number of cells than the header")
        return parse(dict(zip(self._header, cells, strict=True)))


def _header(cells: list[str]) -> list[str]:
    if not any(each.strip().lower() in ("ticker", "symbol") for each in cells):
        raise BadData("a CSV without a column 'ticker'")
    return cells


def _json(line: bytes) -> dict[str, Any]:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadData("a line that is not JSON") from error
    if not isinstance(row, dict):
        raise BadData("a line that is not a JSON object")
    return row

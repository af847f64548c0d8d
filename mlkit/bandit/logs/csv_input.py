"""CSV read as a stream of Arrow batches of text, with the line of a row found when needed."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.csv

from mlkit.errors import BadData, InputMissing
from mlkit.unpacking import GZIP_MAGIC, UNLIMITED, GzipReader, UnpackLimits

STANDARD_STREAM = "-"
SEPARATORS = (",", ";", "\t")
_HEADER_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 23
_PATIENCE = 2.0  # seconds; a reader of a pipe that nobody writes to is left behind
T = TypeVar("T")
OnBadRow = Callable[[str, Callable[[], str]], None]
"""Takes what is wrong with a row, and a function that finds its place."""
Place = Callable[[int], str]
"""Names the place of a row (0 is the first) in a file: `p.csv: line 2`."""


@contextmanager
def open_input(path: Path) -> Iterator[BinaryIO]:
    """Open a file, or standard input for `-`.

    Raises:
        InputMissing: The file cannot be read.
    """
    if str(path) == STANDARD_STREAM:
        yield sys.stdin.buffer
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputMissing(f"{path}: cannot be read: {error.strerror}") from error
    with file:
        yield file


class HashingReader(io.RawIOBase):
    """A stream that hashes what passes through.

    Attributes:
        sha256: The hash of the bytes read so far.
        bytes_read: Their number.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.bytes_read = 0

    def readable(self) -> bool:
        """Return true: this stream can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes into a buffer."""
        count = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self.sha256.update(memoryview(buffer)[:count])
        self.bytes_read += count
        return int(count)


def text_of(stream: io.RawIOBase, path: Path, limits: UnpackLimits) -> io.BufferedReader[Any]:
    """Unpack a stream if it begins as gzip does, and buffer it.

    Raises:
        BadData: While reading: it is damaged, or unpacks to more than the limits allow.
    """
    buffered = io.BufferedReader(stream, _HEADER_BYTES)
    if buffered.peek(2)[:2] != GZIP_MAGIC:
        return buffered
    return io.BufferedReader(GzipReader(buffered, str(path), limits), _HEADER_BYTES)


def separator_of(text: io.BufferedReader[Any]) -> str:
    """Return what separates the fields of the first line, which stays unread: `,` `;` or a tab."""
    line = _first_line(text).decode("utf-8", "replace")
    return max(SEPARATORS, key=lambda each: len(next(csv.reader([line], delimiter=each), [])))


def _first_line(text: io.BufferedReader[Any]) -> bytes:
    return re.split(rb"[\r\n]", text.peek(_HEADER_BYTES).lstrip(b"\r\n"), maxsplit=1)[0]


def column_names(text: io.BufferedReader[Any], path: Path, separator: str = ",") -> list[str]:
    """Read the names in the first line of a CSV, which stays unread.

    Raises:
        BadData: There is no first line, or it is not text in UTF-8.
    """
    line = _first_line(text)
    try:
        names = next(csv.reader([line.decode("utf-8-sig")], delimiter=separator), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"{path}: line 1: not UTF-8 text: {error}") from error
    if any("\0" in each for each in names):
        hint = "expected CSV, JSON Lines or Parquet, also gzipped or zstandard"
        raise BadData(f"{path}: line 1: not text", hint=hint)
    if not names:
        raise BadData(
            f"{path}: the file is empty", hint="the first line of a CSV names the columns"
        )
    return names


def read_batches(
    text: io.BufferedReader[Any],
    path: Path,
    columns: Sequence[str],
    *,
    types: dict[str, pa.DataType] | None = None,
    separator: str = ",",
    on_bad_row: OnBadRow,
) -> Iterator[pa.RecordBatch]:
    """Read columns of a CSV as text; an empty field that is not quoted is null.

    Args:
        text: The file from its first line on.
        path: Its name, for errors.
        columns: The columns to read.
        types: Their Arrow types; text where not given.
        separator: The character between fields.
        on_bad_row: Called for a row with too few or too many fields, which is then skipped
            unless it raises BadData.

    Raises:
        BadData: A row has too few or too many fields, or is not UTF-8.
    """
    bad_rows, loans = _BadRows(path, on_bad_row), _Loans()
    try:
        with bad_rows.raise_first():
            yield from pa.csv.open_csv(
                loans.lend(_Bytes(text)),
                *_options(columns, types or {}, separator, loans.lend(_Judge(bad_rows))),
            )
    finally:
        loans.settle()


def read_table(
    content: pa.Buffer,
    path: Path,
    columns: Sequence[str],
    *,
    separator: str = ",",
    on_bad_row: OnBadRow,
) -> pa.Table:
    """Read columns of a CSV that is in memory; otherwise as `read_batches`."""
    bad_rows = _BadRows(path, on_bad_row)
    with bad_rows.raise_first():
        return pa.csv.read_csv(
            pa.BufferReader(content), *_options(columns, {}, separator, bad_rows)
        )


class _Loans:
    """Objects of Python that Arrow holds while it reads, and whose return is waited for.

    The last to drop them may be a thread of Arrow. If the interpreter ends at that moment, the
    thread cannot get its lock, and the whole process aborts.
    """

    def __init__(self) -> None:
        self._lent: list[weakref.ref[Any]] = []

    def lend(self, lent: T) -> T:
        """Return an object to hand over; the caller keeps no reference to it."""
        # No callback: what an interrupt raises in one would be lost.
        self._lent.append(weakref.ref(lent))
        return lent

    def settle(self) -> None:
        """Wait until Arrow has dropped everything, unless it still waits for input."""
        deadline = time.monotonic() + _PATIENCE
        while any(each() is not None for each in self._lent) and time.monotonic() < deadline:
            time.sleep(0.001)


class _Bytes:
    """The side of a file that Arrow reads."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read


class _Judge:
    """Hands bad rows on."""

    def __init__(self, bad_rows: _BadRows) -> None:
        self._bad_rows = bad_rows

    def __call__(self, row: pa.csv.InvalidRow) -> str:
        return self._bad_rows(row)


class _BadRows:
    """Judges rows with too few or too many fields, and keeps the error that one raises."""

    def __init__(self, path: Path, on_bad_row: OnBadRow) -> None:
        self._path, self._on_bad_row = path, on_bad_row
        self._place = place_in(path)
        self._refused: list[BadData] = []

    def __call__(self, row: pa.csv.InvalidRow) -> str:
        found = f"{row.actual_columns} fields, expected {row.expected_columns}"
        try:
            self._on_bad_row(found, lambda: self._place(row.number - 2))
        except BadData as error:  # Arrow ignores what is raised here
            self._refused.append(error.with_traceback(None))  # it would hold the caller
            return "error"
        return "skip"

    @contextmanager
    def raise_first(self) -> Iterator[None]:
        """Raise the error of the first row that was refused, or Arrow's, as BadData."""
        try:
            yield
        except pa.ArrowInvalid as error:
            found = self._refused[0] if self._refused else BadData(f"{self._path}: {error}")
            raise found from error


def _options(
    columns: Sequence[str],
    types: dict[str, pa.DataType],
    separator: str,
    bad_rows: Callable[[pa.csv.InvalidRow], str],
) -> tuple[Any, ...]:
    return (
        # Without threads, which do not speed up a few columns, rows have numbers.
        pa.csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
        pa.csv.ParseOptions(
            delimiter=separator, newlines_in_values=True, invalid_row_handler=bad_rows
        ),
        pa.csv.ConvertOptions(
            include_columns=columns,
            column_types=dict.fromkeys(columns, pa.string()) | types,
            strings_can_be_null=True,
            null_values=[""],
            quoted_strings_can_be_null=False,
        ),
    )


def refuse(reason: str, place: Callable[[], str]) -> None:
    """Raise for a bad row."""
    raise BadData(f"{place()}: {reason}")


def place_in(path: Path) -> Place:
    """Return a function that names the line at which a row begins, as an editor shows it.

    Rows and lines differ where there are blank lines or quoted line breaks, so the file is
    read again. That of standard input cannot be: its rows are counted, from 1, the header's.
    """
    if str(path) == STANDARD_STREAM:
        return lambda row: f"standard input: row {row + 2}"
    return lambda row: f"{path}: line {_line_of(path, row)}"


def _line_of(path: Path, row: int) -> int:
    csv.field_size_limit(sys.maxsize)
    with open_input(path) as file:
        unpacked = text_of(HashingReader(file), path, UNLIMITED)  # that far it was read before
        reader = csv.reader(io.TextIOWrapper(unpacked, "utf-8", "replace"))
        begin, left = 1, row + 1
        for fields in reader:
            if fields:
                if left == 0:
                    break
                left -= 1
            begin = reader.line_num + 1
        return begin

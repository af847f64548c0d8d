"""Values of R as bytes: exact, and without R's own serialization, which may run code when read.

A value is its kind (a byte), its length, its elements, and the number, names and values of its
attributes. Numbers are little-endian; lengths have 32 bits. A text vector holds how many elements
are NA and which (from 1), and then each text with a zero at its end. `child/session.R` is the
other side.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mlkit.errors import BadData

NULL, LOGICAL, INTEGER, DOUBLE, CHARACTER, LIST, ENVIRONMENT, RAW, COMPLEX = range(9)
NAMES = (
    "NULL", "logical", "integer", "numeric", "character", "list", "environment", "raw", "complex",
)  # fmt: skip
_UNKNOWN = -(2**31)  # NA of integers and logicals
SIZE = struct.Struct("<i")


class Encoded(bytes):
    """A value that is encoded already."""


class Vector(NamedTuple):
    """A vector, a list or an environment of R.

    Attributes:
        kind: One of the kinds above.
        items: Its elements; None for NA (a number: NaN). Those of lists are vectors.
        attributes: Its attributes.
    """

    kind: int
    items: Sequence[Any]
    attributes: Mapping[str, Vector] = {}

    @property
    def classes(self) -> Sequence[str]:
        """Its classes, if it has been given some."""
        return self.attributes["class"].items if "class" in self.attributes else ()

    @property
    def names(self) -> Sequence[str]:
        """The names of its elements; empty if they have none."""
        return self.attributes["names"].items if "names" in self.attributes else ()


def encode(value: Any) -> bytes:
    """Return a Python value as one of R.

    A list of numbers, of texts or of booleans is a vector, with NA for None; another list is a
    list, and a dictionary a list with names. Text loses zero bytes, which R has not.

    Raises:
        TypeError: It is none of them, nor a `Vector`.
    """
    if isinstance(value, Encoded):
        return value
    return _encode(value if isinstance(value, Vector) else _vector(value))


def _vector(value: Any) -> Vector:
    if value is None:
        return Vector(NULL, ())
    if isinstance(value, Mapping):
        names = Vector(CHARACTER, [str(name) for name in value])
        return Vector(LIST, list(value.values()), {"names": names})
    if not isinstance(value, list | tuple):
        return vector([value])
    return vector(value)


def vector(items: Sequence[Any]) -> Vector:
    """Return values as a vector if they are of one kind, else as a list."""
    kinds = {type(each) for each in items if each is not None}
    if kinds == {bool}:
        return Vector(LOGICAL, items)
    if kinds and kinds <= {int, float}:
        return Vector(DOUBLE, items)
    return Vector(CHARACTER if kinds == {str} else LIST, items)


def _encode(made: Vector) -> bytes:
    head = bytes([made.kind]) + SIZE.pack(len(made.items))
    return head + _WRITERS[made.kind](made.items) + _attributes(made.attributes)


def _attributes(attributes: Mapping[str, Vector]) -> bytes:
    if not attributes:
        return SIZE.pack(0)
    values = b"".join(map(encode, attributes.values()))
    return SIZE.pack(len(attributes)) + _texts(list(attributes)) + values


def _texts(items: Sequence[str | None]) -> bytes:
    unknown = [n for n, each in enumerate(items, 1) if each is None]
    texts = ((each or "").replace("\0", "").encode(errors="replace") for each in items)
    return _numbers("<i4", [len(unknown), *unknown]) + b"".join(text + b"\0" for text in texts)


def _numbers(kind: str, items: Sequence[Any], unknown: Any = None) -> bytes:
    return np.array([unknown if each is None else each for each in items], kind).tobytes()


def _doubles(items: Sequence[Any]) -> bytes:
    try:
        return _numbers("<f8", items, np.nan)
    except OverflowError:  # an integer beyond all doubles
        return _numbers("<f8", [None if each is None else _double(each) for each in items], np.nan)


def _double(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _parts(items: Sequence[Any]) -> bytes:
    return b"".join(map(encode, items))


_WRITERS: dict[int, Callable[[Sequence[Any]], bytes]] = {
    NULL: lambda items: b"",
    LOGICAL: lambda items: _numbers("<i4", items, _UNKNOWN),
    INTEGER: lambda items: _numbers("<i4", items, _UNKNOWN),
    DOUBLE: _doubles,
    CHARACTER: _texts,
    LIST: _parts,
    ENVIRONMENT: _parts,
}


def decode(content: bytes) -> Vector:
    """Return a value of R.

    Raises:
        BadData: The bytes are damaged.
    """
    try:
        return _Reader(content).value()
    except (ValueError, IndexError, struct.error, RecursionError) as error:
        raise BadData(f"a value of R cannot be read: {error}") from error


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0

    def value(self) -> Vector:
        kind = self._take(1)[0]
        count = self._size()
        items = self._items(kind, count)
        names = self._texts(size) if (size := self._size()) else []
        return Vector(kind, items, {str(name): self.value() for name in names})

    def _take(self, count: int) -> bytes:
        found = self._content[self._place : self._place + count]
        if len(found) < count:
            raise ValueError("it ends too soon")
        self._place += count
        return found

    def _size(self) -> int:
        size = int(SIZE.unpack(self._take(4))[0])
        if not 0 <= size <= len(self._content):
            raise ValueError(f"a length of {size}")
        return size

    def _items(self, kind: int, count: int) -> Sequence[Any]:
        if kind in (LOGICAL, INTEGER):
            numbers = np.frombuffer(self._take(4 * count), "<i4").tolist()
            known = [None if each == _UNKNOWN else each for each in numbers]
            return (
                [each if each is None else bool(each) for each in known]
                if kind == LOGICAL
                else known
            )
        if kind == CHARACTER:
            return self._texts(count)
        if kind in (LIST, ENVIRONMENT):
            return [self.value() for _ in range(count)]
        if kind == RAW:
            return self._take(count)
        numbers = self._take((16 if kind == COMPLEX else 8) * (count if kind else 0))
        return list(np.frombuffer(numbers, "<c16" if kind == COMPLEX else "<f8").tolist())

    def _texts(self, count: int) -> list[str | None]:
        unknown = np.frombuffer(self._take(4 * self._size()), "<i4").tolist()
        found: list[str | None] = []
        for _ in range(count):
            end = self._content.index(0, self._place)
            found.append(self._content[self._place : end].decode(errors="replace"))
            self._place = end + 1
        for at in unknown:
            found[at - 1] = None
        return found

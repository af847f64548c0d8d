"""The state of a job as bytes, without pickle: a log may be written by others.

What is restored equals what was kept, types included, so that a job that was killed goes on as one
that was not. What cannot be kept so is refused when it is committed, not when it is needed.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from mlkit.errors import BadData

_PAIRS, _TUPLE, _SET, _FROZEN, _DEQUE, _INTEGER, _TIME, _ARRAY, _SCALAR = range(1, 10)
_PLAIN = frozenset((type(None), bool, str, bytes, float))
_HINT = (
    "numbers, text, bytes, datetimes in UTC, NumPy arrays, and lists, tuples, sets, dicts of them"
)


def encode(value: Any) -> bytes:
    """Return a state as bytes.

    Raises:
        BadData: Something in it cannot be kept; the message states where it is.
    """
    try:
        return msgspec.msgpack.encode(_pack(value, "state"))
    except RecursionError as error:
        raise BadData("state: nested too deeply, or within itself") from error


def decode(content: bytes | memoryview) -> Any:
    """Return the state that `encode` made bytes of.

    Raises:
        BadData: The bytes are damaged.
    """
    try:
        return msgspec.msgpack.decode(content, ext_hook=_unpack)
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadData(f"the state of the job cannot be read: {error}") from error


def _pack(value: Any, place: str) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        return _dictionary(value, place)
    if kind is list:
        return [_pack(each, f"{place}[{n}]") for n, each in enumerate(value)]
    if kind is int:
        small = -(2**63) <= value < 2**63
        return value if small else msgspec.msgpack.Ext(_INTEGER, str(value).encode())
    pack = np.generic if isinstance(value, np.generic) else kind
    if pack not in _PACKERS:
        raise BadData(f"{place}: a {kind.__qualname__} cannot be kept", hint=_HINT)
    return msgspec.msgpack.Ext(*_PACKERS[pack](value, place))


def _dictionary(value: dict[Any, Any], place: str) -> Any:
    if all(type(key) is str for key in value):
        return {key: _pack(each, f"{place}[{key!r}]") for key, each in value.items()}
    rows = [
        [_pack(key, f"a key of {place}"), _pack(each, f"{place}[{key!r}]")]
        for key, each in value.items()
    ]
    return msgspec.msgpack.Ext(_PAIRS, msgspec.msgpack.encode(rows))


def _items(code: int) -> Callable[[Any, str], tuple[int, bytes]]:
    def pack(value: Any, place: str) -> tuple[int, bytes]:
        rows = [_pack(each, f"{place}[{n}]") for n, each in enumerate(value)]
        return code, msgspec.msgpack.encode(rows)

    return pack


def _queue(value: deque[Any], place: str) -> tuple[int, bytes]:
    rows = [_pack(each, f"{place}[{n}]") for n, each in enumerate(value)]
    return _DEQUE, msgspec.msgpack.encode([value.maxlen, rows])


def _time(value: datetime, place: str) -> tuple[int, bytes]:
    if value.tzinfo not in (None, UTC):
        raise BadData(f"{place}: a datetime in another time zone than UTC cannot be kept")
    return _TIME, value.isoformat().encode()


def _array(value: Any, place: str) -> tuple[int, bytes]:
    target = io.BytesIO()
    try:
        np.save(target, value, allow_pickle=False)
    except ValueError as error:
        raise BadData(f"{place}: an array of objects cannot be kept", hint=_HINT) from error
    return _SCALAR if isinstance(value, np.generic) else _ARRAY, target.getvalue()


_PACKERS: dict[type, Callable[[Any, str], tuple[int, bytes]]] = {
    tuple: _items(_TUPLE),
    set: _items(_SET),
    frozenset: _items(_FROZEN),
    deque: _queue,
    datetime: _time,
    np.ndarray: _array,
    np.generic: _array,
}


def _unpack(code: int, content: memoryview) -> Any:
    if code in (_ARRAY, _SCALAR):
        found = np.load(io.BytesIO(content), allow_pickle=False)
        return found[()] if code == _SCALAR else found
    if code == _INTEGER:
        return int(bytes(content))
    if code == _TIME:
        return datetime.fromisoformat(bytes(content).decode())
    rows = decode(content)
    if code == _DEQUE:
        return deque(rows[1], maxlen=rows[0])
    return {_PAIRS: dict, _TUPLE: tuple, _SET: set, _FROZEN: frozenset}[code](rows)

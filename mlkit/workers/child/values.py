"""How Python values travel and are stored: as JSON, with a tag where JSON has no type.

This file uses the standard library only: script workers load it in interpreters of the
user's choice, where mlkit is not installed.
"""

from __future__ import annotations

import base64
import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

MAX_DEPTH = 100
# Python itself neither writes nor reads longer ones, unless asked to.
_MAX_INTEGER = 10**4300


class Unstorable(Exception):
    """A value that is neither JSON nor one of the tagged types."""


class File(bytes):
    """The content of a file that somebody uploaded, as scripts see it.

    Attributes:
        reference: How it is stored.
    """

    reference: dict[str, Any]

    @property
    def name(self) -> str:
        """The name that it had where it came from."""
        return str(self.reference.get("name", ""))

    @property
    def media(self) -> str:
        """Its media type, as its name suggests."""
        return str(self.reference.get("media", ""))

    def __reduce__(self) -> tuple[Any, ...]:
        return bytes, (bytes(self),)


def pack(value: Any, depth: int = 0) -> Any:
    """Turn a value into JSON; dates, times, durations, decimals and NaN get a tag.

    Raises:
        Unstorable: It is of another type, contains one, or is nested too deeply.
    """
    kind = type(value)
    if kind is bool or value is None or (kind is str and is_text(value)):
        return value
    if kind is int and -_MAX_INTEGER < value < _MAX_INTEGER:
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if depth > MAX_DEPTH:
        raise Unstorable("nested too deeply")
    if kind is list or kind is tuple:
        return [pack(each, depth + 1) for each in value]
    if kind is dict:
        return _pack_mapping(value, depth)
    return _pack_tagged(value, depth)


def is_text(value: str) -> bool:
    """Return whether a string is Unicode text: file names may hold lone surrogates for bytes."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _pack_mapping(value: dict[Any, Any], depth: int) -> dict[str, Any]:
    for key in value:
        if type(key) is not str or key.startswith("$") or not is_text(key):
            raise Unstorable(f"key {key!r}")
    return {key: pack(each, depth + 1) for key, each in value.items()}


def _pack_tagged(value: Any, depth: int) -> Any:
    if isinstance(value, File):
        return dict(value.reference)
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    if isinstance(value, time):
        return {"$time": value.isoformat()}
    if isinstance(value, timedelta):
        return {"$duration": value.total_seconds()}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return pack(value.item(), depth + 1)
    if isinstance(value, str):
        raise Unstorable("text with characters that are not Unicode")
    if isinstance(value, int):
        raise Unstorable("an integer of more than 4,300 digits")
    raise Unstorable(type(value).__name__)


_READERS: dict[str, Any] = {
    "$float": float,
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$duration": lambda seconds: timedelta(seconds=seconds),
    "$decimal": Decimal,
    # What clients of another system store with a type that Python does not have, or as a text.
    "$bytes": base64.b64decode,
    "$file": lambda file: base64.b64decode(file["content"]),
    "$short": int,
    "$long": int,
    "$json": json.loads,
    "$xml": str,
    "$null": lambda kind: None,
    "$object": lambda found: (
        json.loads(found["text"]) if found.get("format") == "application/json" else found["text"]
    ),
}


def unpack(value: Any, artifact: Any = None) -> Any:
    """Turn packed JSON into Python values.

    Args:
        value: What `pack` made.
        artifact: Loads a value stored as an artifact; without it the reference stays.
    """
    if isinstance(value, list):
        return [unpack(each, artifact) for each in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((tag, content),) = value.items()
        if tag in _READERS:
            return _READERS[tag](content)
    if "$artifact" in value:
        return value if artifact is None else artifact(value)
    return {key: unpack(each, artifact) for key, each in value.items()}

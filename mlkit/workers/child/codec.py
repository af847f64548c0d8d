"""JSON, as jobs and replies travel: by msgspec where the interpreter has it, else by json."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

decode: Callable[[bytes], Any] = json.loads


def encode(value: Any) -> bytes:
    """Return a value as JSON."""
    return json.dumps(value).encode()


try:
    import msgspec.json

    msgspec.json.encode(1 << 64)  # Old versions cannot.
except (ImportError, OverflowError):
    pass  # An interpreter of the user's choice needs nothing but its own library.
else:
    decode, encode = msgspec.json.decode, msgspec.json.encode  # type: ignore[assignment]

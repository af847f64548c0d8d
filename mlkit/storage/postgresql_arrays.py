"""Arrays of values as PostgreSQL reads them.

psycopg writes them as well, by an adapter for each element, which takes longer than all else that
the statements of a commit do here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def _write_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _write_bytes(content: bytes) -> str:
    return f'"\\\\x{content.hex()}"'


_ELEMENTS: dict[str, Callable[[Any], str]] = {"TEXT": _write_text, "BYTEA": _write_bytes}


def write_array(kind: str, values: Iterable[Any]) -> str:
    """Return values as PostgreSQL reads an array.

    Args:
        kind: The type of an element: of text, of bytes, else of numbers.
        values: The elements; None for NULL.
    """
    write = _ELEMENTS.get(kind, str)
    return f"{{{','.join(['NULL' if each is None else write(each) for each in values])}}}"

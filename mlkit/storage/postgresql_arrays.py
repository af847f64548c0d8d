"""Arrays of values, and statements on them, as PostgreSQL reads them.

psycopg writes them as well, by an adapter for each element, which takes longer than all else that
the statements of a commit do here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
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


def write_update(
    table: str, keys: Mapping[str, str], columns: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """Return the statement that sets columns of many rows, and what `{rows}` in it has.

    Args:
        table: The table.
        keys: The names and types of the columns by which a row is found; the statement returns the
            first one of each row that it has changed.
        columns: Those that are set.
    """
    # A column may be both: found by one value, and set to another.
    given = {f"key{place}": kind for place, kind in enumerate(keys.values())}
    given |= {f"new{place}": kind for place, kind in enumerate(columns.values())}
    changed = ", ".join(f"{name} = given.new{place}" for place, name in enumerate(columns))
    found = " AND ".join(f"{table}.{name} = given.key{place}" for place, name in enumerate(keys))
    text = f"UPDATE {table} SET {changed} FROM {{rows}} WHERE {found} RETURNING given.key0"
    return text, given


@lru_cache(maxsize=1024)
def mark(statement: str) -> bytes:
    """Mark the values of a statement as psycopg does."""
    return statement.replace("%", "%%").replace("?", "%s").encode()

"""What columns hold as JSON, of rows that are of no instance."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from mlkit.errors import ConfigurationError


def decode(content: Any, kind: Any, what: str) -> Any:
    """Return what a column holds.

    Args:
        content: The column.
        kind: The type that was written.
        what: What the row is, and where, for the error.

    Raises:
        ConfigurationError: It is damaged.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, TypeError, UnicodeDecodeError) as error:
        problem = f"{what} is damaged: {error}"
        raise ConfigurationError(problem, hint="`mlkit bpmn check` lists all damage") from error


def find_damage(rows: Iterable[Any], read: Callable[[Any], object]) -> list[str]:
    """Return what is wrong with rows, as reading each says."""
    found = []
    for row in rows:
        try:
            read(row)
        except ConfigurationError as error:
            found.append(error.message)
    return found

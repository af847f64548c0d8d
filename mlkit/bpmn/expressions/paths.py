"""Values inside objects, by paths of names with dots between them."""

from __future__ import annotations

from typing import Any


def value_at(values: Any, path: str) -> Any:
    """Return the value at a path of objects; None where there is none."""
    for part in path.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values

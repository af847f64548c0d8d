"""Which variables a script can use: only those travel to its worker."""

from __future__ import annotations

import re
from functools import lru_cache

_NAME = re.compile(r"[^\W\d]\w*")
# What reaches variables by names that are made at run time.
_SEES_ALL = {
    "python": {
        "execution", "globals", "locals", "vars", "dir", "eval", "exec", "inspect", "_getframe",
    },
    "javascript": {"execution", "eval", "Function"},
    "r": {"execution", "get", "get0", "mget", "exists", "ls", "eval", "environment", "frame"},
}  # fmt: skip


def names_in(source: str) -> frozenset[str]:
    """Return every name that an expression mentions, also inside strings."""
    return frozenset(_NAME.findall(source))


@lru_cache(maxsize=4096)
def find_referenced(source: str, language: str) -> frozenset[str] | None:
    """Return every name that a script mentions, also inside strings; None where it may see all.

    Only these variables travel to the worker: a task costs what it uses, not what all tasks
    before it left.
    """
    names = names_in(source)
    return None if names & _SEES_ALL[language] else names

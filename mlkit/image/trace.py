"""What an app looks up while it runs, as the tracer beside its container tells it."""

from __future__ import annotations

import importlib.resources
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

SYNTHETIC = ("/proc/", "/sys/", "/dev/")
"""Not of the image."""


@dataclass(frozen=True)
class Trace:
    """Paths that a run looked up, absolute.

    Attributes:
        opened: Opened or executed.
        statted: Looked at.
        missed: Looked for and not there.
        orphaned: A process asked for its parent and learnt that it is process 1.
    """

    opened: frozenset[str] = frozenset()
    statted: frozenset[str] = frozenset()
    missed: frozenset[str] = frozenset()
    orphaned: bool = False

    def __or__(self, other: Trace) -> Trace:
        """Unite what two runs looked up."""
        values = {each.name: getattr(self, each.name) | getattr(other, each.name) for each in _ALL}
        return Trace(**values)

    def document(self) -> dict[str, Any]:
        """Give it as JSON values."""
        lists = {name: sorted(getattr(self, name)) for name in ("opened", "statted", "missed")}
        return lists | {"orphaned": self.orphaned}


_ALL = fields(Trace)


def read_document(document: dict[str, Any]) -> Trace:
    """Take a trace from its JSON values."""
    sets = {name: frozenset(document[name]) for name in ("opened", "statted", "missed")}
    return Trace(**sets, orphaned=bool(document["orphaned"]))


def read_lines(lines: Iterable[str]) -> Trace:
    """Take a trace from what the tracer wrote."""
    found: dict[str, set[str]] = {"open": set(), "stat": set(), "miss": set()}
    orphaned = False
    for line in lines:
        word, _, rest = line.partition(" ")
        orphaned |= word == "orphan"
        if word in found and not (rest + "/").startswith(SYNTHETIC):
            found[word].add(_tidy(rest))
    opened, statted, missed = (frozenset(each) for each in found.values())
    return Trace(opened, statted - opened, missed, orphaned)


def _tidy(path: str) -> str:
    """Drop empty and `.` parts; `..` stays, because links may come before it."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    return posixpath.join("/", *parts)


def tool(name: str) -> bytes:
    """Give one of our static programs: gate, tracer, relay, launch or health."""
    return importlib.resources.files("mlkit.image").joinpath("tools", name).read_bytes()

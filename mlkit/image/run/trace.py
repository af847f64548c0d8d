"""What an app looks up while it runs, as reported by the tracer beside its container."""

from __future__ import annotations

import importlib.resources
import json
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlkit.errors import BadData, InputMissing
from mlkit.files import replacing
from mlkit.image.filesystem.inventory import FileSystem

Method = Literal["ptrace", "fanotify", "none"]
METHODS: tuple[Method, ...] = ("ptrace", "fanotify", "none")
"""How runs are traced, the one that sees most first."""
SCHEMA = "mlkit.image.run.trace"
LISTS = ("opened", "statted", "missed", "calls")
SYNTHETIC = ("/proc/", "/sys/", "/dev/")
"""Not of the image."""


@dataclass(frozen=True)
class Trace:
    """Paths that a run looked up, absolute.

    Attributes:
        opened: Opened or executed.
        statted: Looked at.
        missed: Looked for and not there; of what could not be made, the directory.
        orphaned: A process asked for its parent and learned that it is process 1.
        method: How it was seen; `fanotify` sees opened files only, `none` nothing.
        calls: The names of the system calls that its processes made; only ptrace sees them.
    """

    opened: frozenset[str] = frozenset()
    statted: frozenset[str] = frozenset()
    missed: frozenset[str] = frozenset()
    orphaned: bool = False
    method: Method = "ptrace"
    calls: frozenset[str] = frozenset()

    def __or__(self, other: Trace) -> Trace:
        """Unite what two runs looked up; the method is that of the run that saw less."""
        return Trace(
            self.opened | other.opened,
            self.statted | other.statted,
            self.missed | other.missed,
            self.orphaned | other.orphaned,
            max(self.method, other.method, key=METHODS.index),
            self.calls | other.calls,
        )

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        lists = {name: sorted(getattr(self, name)) for name in LISTS}
        return lists | {"orphaned": self.orphaned, "method": self.method}


def write_file(trace: Trace, path: Path) -> None:
    """Write a trace that `read_file` reads: the file whole or not at all.

    Raises:
        InputMissing: It cannot be written.
    """
    document = {"schema": SCHEMA, "version": 1, **trace.document()}
    with replacing(path) as file:
        file.write((json.dumps(document, indent=1) + "\n").encode())


def read_file(path: Path) -> Trace:
    """Read a trace that an earlier run has left.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It is not a trace, or one of another version.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if (document["schema"], document["version"]) != (SCHEMA, 1):
            found = f"schema {document['schema']} version {document['version']}"
            hint = "use a file that --trace-out has written"
            raise BadData(f"{path}: no trace, but {found}", hint=hint)
        for name in ("opened", "statted", "missed"):
            if not all(isinstance(each, str) and each[:1] == "/" for each in document[name]):
                raise BadData(f"{path}: {name} holds a path that is not absolute")
        return read_document(document)
    except OSError as error:
        raise InputMissing(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, BadData):
            raise
        raise BadData(f"{path}: not a trace of `mlkit image slim --trace-out`",
                      hint="see docs/image.md") from error  # fmt: skip


def read_document(document: dict[str, Any]) -> Trace:
    """Take a trace from its JSON values."""
    sets = {name: frozenset(document[name]) for name in ("opened", "statted", "missed")}
    method = document.get("method", "ptrace")
    if method not in METHODS:
        raise ValueError(f"method {method!r}")
    calls = document.get("calls", [])  # of an earlier release: it did not see them
    if not all(isinstance(each, str) for each in calls):
        raise ValueError("calls")
    sets["calls"] = frozenset(calls)
    return Trace(**sets, orphaned=bool(document["orphaned"]), method=method)


def read_lines(lines: Iterable[str], method: Method = "ptrace") -> Trace:
    """Take a trace from what a tracer wrote."""
    found: dict[str, set[str]] = {"open": set(), "stat": set(), "miss": set()}
    orphaned, calls = False, set()
    for line in lines:
        word, _, rest = line.partition(" ")
        orphaned |= word == "orphan"
        if word == "call":
            calls.add(rest)
        if word == "make":
            word, rest = "miss", rest.rstrip("/").rpartition("/")[0]
        if word in found and rest and not (rest + "/").startswith(SYNTHETIC):
            found[word].add(_tidy(rest))
    opened, statted, missed = (frozenset(each) for each in found.values())
    return Trace(opened, statted - opened, missed, orphaned, method, frozenset(calls))


def failed_lookups(trace: Trace, original: FileSystem, candidate: FileSystem) -> list[str]:
    """List the failed look-ups of a candidate's run that the original would have answered.

    That is the best sign of a file that is loaded late. Compiled Python files are none: whoever
    looks for one reads the source instead.

    Args:
        trace: Of the candidate's run.
        original: The original's files.
        candidate: The candidate's files; what a run itself has removed is not a lack.
    """
    return [
        path
        for path in sorted(trace.missed)
        if original.walk(path)[0] and candidate.walk(path)[0] is None and "__pycache__" not in path
    ]


def _tidy(path: str) -> str:
    """Drop empty and `.` parts; `..` stays, because links may come before it."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    return posixpath.join("/", *parts)


def tool(name: str) -> bytes:
    """Return one of our static programs: gate, tracer, relay, inspector, launch or health."""
    return importlib.resources.files("mlkit.image").joinpath("tools", name).read_bytes()

"""Why a file is in a slimmed image, or is not: the record that slimming leaves in its result."""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mlkit.errors import BadData
from mlkit.image.filesystem.inventory import Inventory
from mlkit.image.keep.system import CACHES, REFUSE
from mlkit.image.packages.installed import read_packages

RECORD = "var/lib/mlkit/slim.json.gz"
"""Where the record lies in a result."""
SCHEMA = "mlkit.image.record"
BECAUSE = re.compile(
    r"(?:needed by ELF|interpreter of|target of|source of|python import of|missed by) /?(\S+)"
)
"""Reasons that name another file of the image."""
LARGEST_RECORD = 64_000_000

State = Literal["kept", "added", "dropped", "unknown"]


@dataclass(frozen=True)
class Record:
    """What slimming has noted in a result.

    Attributes:
        original: The original's name.
        layers: The original's fingerprint, see `fingerprint`.
        profile: How much was kept.
        exclude: Globs of the user's.
        kept: Path to reason.
    """

    original: str
    layers: str
    profile: str
    exclude: Sequence[str]
    kept: dict[str, str]


@dataclass(frozen=True)
class Explanation:
    """Why a path is in a result or not.

    Attributes:
        path: As it was asked for, without the first slash.
        state: `kept` from the original, `added` by the base or by mlkit, `dropped`, or
            `unknown`: it is in neither image.
        reason: Why.
        chain: The paths and reasons that it follows from, up to something that was seen or is
            expected of any system.
        size: Its bytes; None if it is in neither image, or the original was not looked at.
        package: The package that it belongs to.
    """

    path: str
    state: State
    reason: str
    chain: Sequence[tuple[str, str]] = ()
    size: int | None = None
    package: str | None = None


def fingerprint(inventory: Inventory) -> str:
    """Identify the files of an image: the SHA-256 of its layers' ids."""
    layers = inventory.image.document.get("rootfs", {}).get("diff_ids", [])
    return hashlib.sha256(json.dumps(layers).encode()).hexdigest()


def encode(record: Record) -> bytes:
    """Write a record; the same record gives the same bytes."""
    document = {"schema": SCHEMA, "version": 1, **vars(record), "exclude": list(record.exclude)}
    return gzip.compress(json.dumps(document, sort_keys=True).encode(), mtime=0)


def read(result: Inventory) -> Record:
    """Read the record of a result.

    Raises:
        BadData: It has none, or one that this version cannot read.
    """
    source = result.image.source
    data = result.read_path(RECORD)
    if data is None:
        raise BadData(f"{source}: it holds no record of a slimming",
                      hint="`mlkit image slim` makes images that do")  # fmt: skip
    try:
        document = json.loads(_decompress(data))
        if (document.pop("schema"), document.pop("version")) != (SCHEMA, 1):
            raise ValueError("another schema or version")
        return Record(**document)
    except (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError,
            RecursionError) as error:  # fmt: skip
        raise BadData(f"{source}: /{RECORD}: cannot be read: {error}") from error


def _decompress(data: bytes) -> bytes:
    with gzip.open(io.BytesIO(data)) as stream:
        text = stream.read(LARGEST_RECORD + 1)
    if len(text) > LARGEST_RECORD:
        raise ValueError(f"more than {LARGEST_RECORD} bytes")
    return text


class Explainer:
    """Explains paths of one result.

    Args:
        result: The slimmed image.
        original: The image that it was made of, if it is at hand.

    Raises:
        BadData: The result has no record, or the original is another image.
    """

    def __init__(self, result: Inventory, original: Inventory | None) -> None:
        self.record = read(result)
        if original is not None and fingerprint(original) != self.record.layers:
            raise BadData(f"{original.image.source}: not the image that was slimmed",
                          hint="--original names it")  # fmt: skip
        self._result = result
        self._original = original
        self._packages = read_packages(original or result)

    def explain(self, path: str) -> Explanation:
        """Explain a path; a link on its way is followed where the path itself is not there."""
        name = path.strip("/")
        real = self._real(name)
        if real in self.record.kept:
            entry = self._result.files.get(real)
            return Explanation(
                real, "kept", self.record.kept[real], self._chain(real),
                entry.size if entry else None, self._owner(real),
            )  # fmt: skip
        entry = self._result.files.get(real)
        if entry is not None:
            return Explanation(real, "added", "of the base or of mlkit", (), entry.size)
        return self._missing(real)

    def _real(self, name: str) -> str:
        if name in self.record.kept:
            return name
        for inventory in (self._result, self._original):
            real = inventory.files.walk(name)[0] if inventory else None
            if real:
                return real
        return name

    def _owner(self, path: str) -> str | None:
        return self._packages.owners.get(path)

    def _chain(self, path: str) -> list[tuple[str, str]]:
        chain: list[tuple[str, str]] = []
        seen = {path}
        found = BECAUSE.match(self.record.kept[path])
        while found and found[1] in self.record.kept and found[1] not in seen:
            seen.add(found[1])
            chain.append((found[1], self.record.kept[found[1]]))
            found = BECAUSE.match(self.record.kept[found[1]])
        return chain

    def _missing(self, path: str) -> Explanation:
        if self._original is None:
            return Explanation(path, "unknown", "not in the result; the original is not at hand")
        entry = self._original.files.get(path)
        if entry is None:
            return Explanation(path, "unknown", "neither in the original nor in the result")
        return Explanation(
            path, "dropped", self._why_dropped(path), (), entry.size, self._owner(path)
        )

    def _why_dropped(self, path: str) -> str:
        for glob in self.record.exclude:
            if fnmatch.fnmatchcase(path, glob.lstrip("/")):
                return f"--exclude {glob}"
        if path.startswith(REFUSE):
            return "documentation"
        if path.startswith(CACHES):
            return "caches, logs and the package database are not part of an app"
        profile = self.record.profile
        return f"no run looked it up and nothing kept needs it (profile {profile}; see --include)"


def document(explanations: Sequence[Explanation]) -> list[dict[str, Any]]:
    """Describe explanations for JSON."""
    return [
        {
            **vars(each),
            "chain": [{"path": path, "reason": reason} for path, reason in each.chain],
        }
        for each in explanations
    ]

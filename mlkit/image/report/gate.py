"""What a pipeline demands of a result besides that it works: a size, no new finding, a proof."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from mlkit.errors import BadData, InputMissing, UsageError
from mlkit.image.choices import FailOn
from mlkit.image.proof.findings import Finding

UNITS = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20,
         "GiB": 1 << 30}  # fmt: skip
SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([kMG]B|[KMG]iB|)")


@dataclass(frozen=True)
class Gate:
    """Demands on a result.

    Attributes:
        max_size: The most bytes that its files may take; None: any.
        fail_on: What else fails.
        known: Codes of the findings that are accepted.
    """

    max_size: int | None = None
    fail_on: Collection[FailOn] = ()
    known: frozenset[str] = frozenset()

    def failures(self, size: int, findings: list[Finding], warnings: list[str]) -> list[str]:
        """Return what a result fails on, a sentence each.

        Args:
            size: The bytes of its files.
            findings: The diagnosis of the original.
            warnings: What makes the proof weak.
        """
        failed = []
        if self.max_size is not None and size > self.max_size:
            failed.append(f"the result has {size:,} bytes, more than --max-size {self.max_size:,}")
        if FailOn.NEW_FINDING in self.fail_on:
            new = [each for each in findings if each.code not in self.known]
            failed += [f"new finding {each.code}: {each.observed}" for each in new]
        if FailOn.WARNING in self.fail_on:
            failed += [f"the proof is weak: {each}" for each in warnings]
        return failed


def read_size(text: str) -> int:
    """Read a number of bytes: `150MB`, `1.5 GiB`, `1000`.

    Raises:
        UsageError: It is none.
    """
    found = SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"--max-size {text}: not a size", hint="such as 150MB, 1.5GB or 512MiB")
    return int(float(found[1]) * UNITS[found[2]])


def read_known(path: Path) -> frozenset[str]:
    """Read which findings an earlier run had.

    Args:
        path: What `slim --json` or `doctor --json` has printed.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It is another document.
    """
    try:
        document = json.loads(path.read_bytes())
        parts = document.get("platforms", [document])
        return frozenset(str(each["code"]) for part in parts for each in part["findings"])
    except OSError as error:
        raise InputMissing(f"--known {path}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        hint = "pass what `mlkit image slim --json` or `mlkit image doctor --json` printed"
        raise BadData(f"--known {path}: has no findings", hint=hint) from error

"""The order of Debian's versions (Debian Policy 5.6.12)."""

from __future__ import annotations

import itertools
import re

PART = re.compile(r"(\D*)(\d*)")
END = ((0, 0),)
"""What stands where a text has ended: before all characters but `~`."""
Parts = list[tuple[tuple[tuple[int, int], ...], int]]


def is_older(version: str, other: str) -> bool:
    """Return whether a version comes before another one.

    >>> is_older("1.0~rc1-1", "1.0-1"), is_older("1:0.1", "2.0"), is_older("1.0", "1.0-0")
    (True, False, False)
    """
    for ours, theirs in zip(_split(version), _split(other), strict=True):
        for one, another in itertools.zip_longest(ours, theirs, fillvalue=(END, 0)):
            if one != another:
                return one < another
    return False


def _split(version: str) -> tuple[Parts, Parts, Parts]:
    """Return the parts of the epoch, the upstream version and the revision."""
    epoch, colon, rest = version.strip().partition(":")
    upstream, dash, revision = (rest if colon else epoch).rpartition("-")
    if not dash:
        upstream, revision = revision, ""
    return _parts(epoch if colon else ""), _parts(upstream), _parts(revision)


def _parts(text: str) -> Parts:
    """Split into texts and numbers in turn; a text becomes the ranks of its characters."""
    pairs = itertools.takewhile(any, (each.groups() for each in PART.finditer(text)))
    return [((*map(_rank, letters), *END), int(digits or 0)) for letters, digits in pairs]


def _rank(letter: str) -> tuple[int, int]:
    if letter == "~":
        return -1, 0
    return (1 if letter.isalpha() else 2), ord(letter)

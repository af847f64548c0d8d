"""Differences that follow from what the user has asked for: they are noted, and no break."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlkit.image.options import Options
from mlkit.image.proof.compare import OF_TIMES, Difference

OF_USER = frozenset(("user", "variable HOME"))


def note_expected(differences: Sequence[Difference], options: Options) -> list[Difference]:
    """Return differences, of which those that were asked for are only noted.

    Args:
        differences: Between the original and a result.
        options: Who the result runs as, and the times of its files.
    """
    return [
        replace(each, effect="noted") if _is_asked_for(each.what, options) else each
        for each in differences
    ]


def _is_asked_for(what: str, options: Options) -> bool:
    nonroot, timed = options.user == "nonroot", options.timestamps is not None
    return (nonroot and what in OF_USER) or (timed and what.endswith(OF_TIMES))

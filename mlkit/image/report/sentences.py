"""Findings and differences in one plain sentence each, with what to do about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlkit.image.proof.compare import FAILED_LOOK_UP, TIMES
from mlkit.image.proof.findings import INIT

MORE = "keep what it lacks by --include GLOB, or more of all by --profile safe"
CURES: tuple[tuple[str, str], ...] = (
    (FAILED_LOOK_UP, "if the app needs it, keep it by --include"),
    ("under seccomp", "probe what makes this system call, so that the profile allows it"),
    ("|".join(sorted(TIMES)), "compare again while the machine has little else to do"),
    ("SIGTERM|zombies", INIT),
    ("variable|user|directory", "let the image's config set it as the original's does"),
    ("start|ending|output|log|health check|probe|run |certificates|time zone|address", MORE),
)
"""What differs, as its name begins, and the cure."""


def of_finding(finding: Mapping[str, Any]) -> str:
    """Say what was found, and the cure."""
    return f"{finding['observed']}; {finding['cure']}"


def of_difference(difference: Mapping[str, Any]) -> str:
    """Say what differs; of what is worse, or may be, the cure as well."""
    what = str(difference["what"])
    said = f"{what}: {difference['original']} -> {difference['candidate']}"
    if difference["effect"] != "broken" and what != FAILED_LOOK_UP:
        return said
    return f"{said}; {cure}" if (cure := cure_of(what)) else said


def cure_of(what: str) -> str:
    """Return what to do about something that differs; empty: nothing is known to help."""
    return next((cure for start, cure in CURES if re.match(start, what)), "")

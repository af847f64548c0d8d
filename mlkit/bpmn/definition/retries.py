"""How often a failing activity is tried: Camunda's `R3/PT10S` and `PT1M,PT5M`."""

from __future__ import annotations

import re

from mlkit.bpmn.definition.model import Retry
from mlkit.bpmn.definition.timers import duration

MAX_ATTEMPTS = 1_000
_CYCLE = re.compile(r"R(\d+)/(P.+)")


def read(text: str, after_crash: bool = True) -> Retry:
    """Read a cycle of retries: `R3/PT10S` is three attempts in all.

    Raises:
        BadData: A pause is not an ISO 8601 duration.
    """
    match = _CYCLE.fullmatch(text.strip())
    if match is not None:
        duration(match[2])
        attempts = min(max(1, int(match[1])), MAX_ATTEMPTS)
        return Retry(attempts, (match[2],) * (attempts - 1), after_crash)
    pauses = tuple(each.strip() for each in text.split(","))
    for pause in pauses:
        duration(pause)
    return Retry(len(pauses) + 1, pauses, after_crash)

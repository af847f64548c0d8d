"""Durations and times on the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from mlkit.errors import UsageError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(option: str, text: str | None) -> float | None:
    """Read a duration such as 24h as seconds; None stays None.

    Raises:
        UsageError: It is none.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", text)
    if found is None:
        hint = "a number with s, m, h or d, such as 24h"
        raise UsageError(f"{option} {text}: not a duration", hint=hint)
    return float(found[1]) * _SECONDS[found[2]]


def half_life_of(text: str | None) -> float | None:
    """Read --half-life as seconds.

    Raises:
        UsageError: It is not a duration, or out of range.
    """
    from mlkit.bandit.posteriors.forgetting import check_half_life

    found = seconds_of("--half-life", text)
    if found is not None:
        check_half_life(found)
    return found


def window_of(text: str | None, half_life: str | None) -> int | None:
    """Read --window as hours.

    Raises:
        UsageError: It is not a duration of whole hours, or there is a half-life too.
    """
    found = seconds_of("--window", text)
    if found is None:
        return None
    if half_life is not None:
        raise UsageError("--window, --half-life: only one of them", hint="both forget")
    if found <= 0 or found % 3600:
        raise UsageError(f"--window {text}: expected whole hours", hint="such as 12h, or 30d")
    return int(found // 3600)


def time_of(option: str, text: str | None) -> float | None:
    """Read a time as seconds since 1970: ISO 8601, in UTC where it names no zone, or seconds.

    Raises:
        UsageError: It is none.
    """
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        hint = "ISO 8601 such as 2026-11-28T12:00Z, or seconds since 1970"
        raise UsageError(f"{option} {text}: no time", hint=hint) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()

"""When a decision was made, as its id has it."""

from __future__ import annotations

import binascii

_FROM_URLS = str.maketrans("-_", "+/")


def decided_at(decision_id: str) -> float | None:
    """Return when a decision was made, in seconds since 1970; None: the id is none of a server.

    The time is its first 7 bytes but one, in milliseconds: see `server.decision`.
    """
    try:
        head = binascii.a2b_base64(decision_id[:12].translate(_FROM_URLS))
    except (binascii.Error, ValueError):
        return None
    return int.from_bytes(head[1:7]) / 1000 if len(head) == 9 else None

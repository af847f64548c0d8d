"""Which trace an instance is, and which span an attempt: ids that every host computes alike.

The ids are digests, so that neither a restart nor another host tears a trace, and a script can name
its span as parent before the span has ended (W3C Trace Context, `TRACEPARENT`).
"""

from __future__ import annotations

import functools
import hashlib

VARIABLE = "TRACEPARENT"


@functools.lru_cache(maxsize=1024)  # All attempts of an instance ask for it.
def trace_id(instance: str) -> int:
    """Return the id of an instance's trace, of 128 bits."""
    return _digest(16, "trace", instance)


def span_id(instance: str, activation: int = 0, attempt: int = 0) -> int:
    """Return the id of an attempt's span, of 64 bits; that of the instance without an attempt."""
    return _digest(8, "span", instance, str(activation), str(attempt))


def trace_parent(instance: str, activation: int, attempt: int) -> str:
    """Return what a script gets as `TRACEPARENT`: its trace, and the span of its attempt."""
    return f"00-{trace_id(instance):032x}-{span_id(instance, activation, attempt):016x}-01"


def _digest(size: int, *parts: str) -> int:
    found = hashlib.blake2b("/".join(parts).encode(), digest_size=size, person=b"mlkit.trace")
    return int.from_bytes(found.digest(), "big") or 1

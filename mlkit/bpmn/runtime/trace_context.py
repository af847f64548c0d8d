"""Which trace an instance is, and which span an attempt: ids that every host computes alike.

The ids come from digests, so that neither a restart nor another host tears a trace, and a script
can name its span as parent before the span has ended (W3C Trace Context, `TRACEPARENT`).
"""

from __future__ import annotations

import functools
import hashlib

VARIABLE = "TRACEPARENT"
_SPREAD = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio, as in Fibonacci hashing. It is odd: different products stay so."""
_SPAN_BITS = 2**64 - 1
_cached = functools.lru_cache(maxsize=4096)  # All attempts of an instance ask for the same.


@_cached
def trace_id(instance: str) -> int:
    """Return the id of an instance's trace, of 128 bits."""
    return _digest(16, f"trace/{instance}")


def span_id(instance: str, activation: int = 0, attempt: int = 0) -> int:
    """Return the id of an attempt's span, of 64 bits; that of the instance without an attempt."""
    return _span(_ids(instance)[1], activation, attempt)


def trace_parent(instance: str, activation: int, attempt: int) -> str:
    """Return what a script gets as `TRACEPARENT`: its trace, and the span of its attempt."""
    start, root = _ids(instance)
    return f"{start}{_span(root, activation, attempt):016x}-01"


@_cached
def _ids(instance: str) -> tuple[str, int]:
    """Return how the parents of an instance's scripts begin, and the id of its own span."""
    return f"00-{trace_id(instance):032x}-", _digest(8, f"span/{instance}")


def _span(root: int, activation: int, attempt: int) -> int:
    number = activation << 32 | attempt  # A digest for each would be a tenth of the engine's time.
    return root ^ (number * _SPREAD & _SPAN_BITS) or 1


def _digest(size: int, text: str) -> int:
    found = hashlib.blake2b(text.encode(), digest_size=size, person=b"mlkit.trace")
    return int.from_bytes(found.digest(), "big") or 1

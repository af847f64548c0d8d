"""How often a serving process looks for reference cycles."""

from __future__ import annotations

import gc

_ALLOCATED = 20_000
"""Objects that are made, and not freed, before the youngest are looked through."""


def collect_seldom() -> None:
    """Leave what the process has made so far out of collections, and collect less often.

    A batch of events is thousands of tuples that live until it is committed: by default they are
    looked through again and again in the meantime, with all that was imported.
    """
    gc.freeze()
    gc.set_threshold(_ALLOCATED, *gc.get_threshold()[1:])

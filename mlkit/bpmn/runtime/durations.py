"""How long the instances of a version spend at its elements: where the time goes."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.engine.events import Hop
from mlkit.bpmn.journal.listings import Criteria
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Deployed

INSTANCES = 100
"""The newest instances of a version that are looked at."""
ENTRIES = 20_000
"""Their events that are read at most, newest instances first."""
_WAITING = {"callActivity", "intermediateCatchEvent"}


class Duration(NamedTuple):
    """How long instances spent at an element, from when it began until it completed.

    Attributes:
        element: Its id.
        name: What the diagram calls it, else its id.
        completions: How often it completed; each iteration of a loop counts.
        median: In seconds.
        p90: What nine of ten took at most, in seconds.
        share: Of the time that was spent at all elements, from 0 to 1.
    """

    element: str
    name: str
    completions: int
    median: float
    p90: float
    share: float


def durations(journal: Journal, engine: Engine, deployed: Deployed) -> list[Duration]:
    """Return how long the newest instances of a version spent at its elements.

    Activities and catch events count. What takes place inside a sub-process is counted there, and
    not at the sub-process again.

    Args:
        journal: Where the instances are.
        engine: The engine of the version.
        deployed: The version.

    Returns:
        The elements that something has completed at, those with the largest share first.
    """
    criteria = Criteria(process=deployed.process, definition=deployed.definition)
    found = journal.index.search(criteria, None, INSTANCES)
    hops = journal.traces([each.number for each in found], ENTRIES)
    spent = _collect_seconds(engine, hops)
    whole = sum(map(sum, spent.values())) or 1.0
    made = [
        Duration(
            element, engine.graph.behaviors[element].node.name or element, len(each),
            statistics.median(each), sorted(each)[math.ceil(0.9 * len(each)) - 1],
            sum(each) / whole,
        )
        for element, each in spent.items()
    ]  # fmt: skip
    return sorted(made, key=lambda each: (-each.share, each.element))


def _collect_seconds(engine: Engine, hops: Iterable[tuple[float, Hop]]) -> dict[str, list[float]]:
    """Return the seconds of each completion, by element."""
    once: dict[str, list[float]] = defaultdict(list)
    repeated: dict[str, list[float]] = defaultdict(list)
    for at, hop in hops:
        if hop.event == "completed" and hop.began and _counts(engine, hop.element):
            kept = repeated if hop.iteration else once
            kept[hop.element].append(max(0.0, at - hop.began))
    # What holds the iterations of an activity completes once more, after the last of them.
    return {**once, **repeated}


def _counts(engine: Engine, element: str) -> bool:
    known = engine.graph.behaviors.get(element)  # None: it is of a version before.
    if known is None:
        return False
    kind = known.node.type
    return kind in _WAITING or kind.lower().endswith("task")

"""Rules about files of vendors whose engines differ from the standard, which is followed here."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from mlkit.bpmn.definition.model import Scope
from mlkit.bpmn.definition.problem import Problem
from mlkit.bpmn.lint.rules.data import branches
from mlkit.bpmn.lint.rules.place import Place

_JOINS = ("parallelGateway", "inclusiveGateway")


def joins(place: Place) -> Iterator[Problem]:
    """Find joins that several tokens can reach by one flow: their engines count tokens there.

    By the standard (13.4.1, 13.4.3) a join takes one token of each flow.
    """
    body = place.body
    vendors = [e for e in body.nodes.values() if e.shares and e.type in _JOINS]
    wanted = {each.id: each for each in vendors if len(each.incoming) > 1}
    if not wanted:
        return
    parted = list(branches(body))
    for node in wanted.values():
        flow = next((e for e in node.incoming if _meets(body, parted, e, node.id)), None)
        if flow is not None:
            message = (
                f"several tokens can come by {flow!r}: the join takes one of each flow, where the "
                "engine of this file counts tokens alone"
            )
            yield Problem("gateway.tokens", "warning", node.id, node.line, message)


def _meets(body: Scope, parted: list[list[set[str]]], flow: str, join: str) -> bool:
    """Return whether two branches that run at once can both reach the source of a flow."""
    source = body.flows[flow].source
    return any(
        source in one and source in other and not (join in one and _is_after(body, join, source))
        for ways in parted
        for one, other in combinations(ways, 2)
    )


def _is_after(body: Scope, join: str, source: str) -> bool:
    """Return whether a node lies behind a join, so that its tokens have met there."""
    seen: set[str] = set()
    queue = [body.flows[each].target for each in body.nodes[join].outgoing]
    while queue:
        name = queue.pop()
        if name not in seen and name in body.nodes:
            seen.add(name)
            queue += [body.flows[each].target for each in body.nodes[name].outgoing]
    return source in seen

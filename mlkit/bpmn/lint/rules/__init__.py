"""The rules of lint: each looks at one scope of a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mlkit.bpmn.definition.model import FlowNode, Process, Scope
from mlkit.bpmn.definition.problem import Problem
from mlkit.bpmn.lint.rules import data, event, flow, listeners, vendor
from mlkit.bpmn.lint.rules.place import Place, wrong

__all__ = ["check", "wrong"]

_RULES: tuple[Callable[[Place], Iterator[Problem]], ...] = (
    flow.starts,
    flow.flows,
    flow.conditions,
    flow.gateways,
    flow.reachable,
    event.events,
    event.transactions,
    event.timers,
    event.messages,
    data.writes,
    data.attached,
    vendor.joins,
    listeners.unheard,
)


def check(process: Process) -> Iterator[Problem]:
    """Find the problems of a process and of everything inside it."""
    for place in _places(process, process.body, None):
        for rule in _RULES:
            yield from rule(place)


def _places(process: Process, body: Scope, owner: FlowNode | None) -> Iterator[Place]:
    yield Place(body, owner, process)
    for node in body.nodes.values():
        if node.body is not None:
            yield from _places(process, node.body, node)

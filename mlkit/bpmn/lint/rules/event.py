"""Rules about events: where they may stand, and what belongs to them."""

from __future__ import annotations

import time
from collections.abc import Iterator

from mlkit.bpmn.definition.model import FlowNode, Scope
from mlkit.bpmn.definition.problem import Problem
from mlkit.bpmn.definition.timers import READ_AT, require_future, schedule
from mlkit.bpmn.engine.behaviors.inclusive import is_link, link_name
from mlkit.bpmn.engine.graph import nodes, scopes
from mlkit.bpmn.lint.rules.place import Place, wrong
from mlkit.errors import BadData

_ALLOWED = {
    "startEvent": {"none", "message", "timer", "signal", "conditional"},
    "intermediateCatchEvent": {"message", "timer", "signal", "conditional", "link"},
    "intermediateThrowEvent": {"none", "message", "signal", "escalation", "compensate", "link"},
    "boundaryEvent": {
        "message", "timer", "signal", "conditional", "error", "escalation", "compensate", "cancel",
    },
    "endEvent": {
        "none", "message", "signal", "error", "escalation", "compensate", "cancel", "terminate",
    },
}  # fmt: skip
_TRIGGERS = {"message", "timer", "signal", "conditional", "error", "escalation", "compensate"}
_THROWN = {"error", "escalation", "compensate", "cancel"}
_HOSTS = ("Task", "task", "ubProcess", "transaction", "callActivity")
_SENDERS = {"intermediateThrowEvent", "endEvent", "sendTask"}


def events(place: Place) -> Iterator[Problem]:
    """Return which events stand where they cannot."""
    body, inner = place.body, place.owner
    for node in body.nodes.values():
        allowed = _ALLOWED.get(node.type)
        if node.type == "startEvent" and inner is not None:
            allowed = _TRIGGERS if inner.triggered else {"none"}
        kinds = set() if node.event is None else {e.kind for e in node.event.parts or (node.event,)}
        for kind in sorted(kinds - allowed) if allowed is not None else ():
            yield wrong("event.place", node, f"a {node.type} cannot be of kind {kind!r} here")
        yield from _kinds(node, kinds, place)
        if node.type == "boundaryEvent":
            yield from _boundary(node, body)
        elif node.type == "intermediateThrowEvent" and is_link(node):
            targets = [
                each
                for each in body.nodes.values()
                if each.type == "intermediateCatchEvent"
                and is_link(each)
                and link_name(each) == link_name(node)
            ]
            if len(targets) != 1:
                yield wrong("link.target", node, f"{len(targets)} catching links have its name")


def _kinds(node: FlowNode, kinds: set[str], place: Place) -> Iterator[Problem]:
    event = node.event
    if event is not None and event.parallel and kinds & _THROWN:
        yield wrong("event.parallel", node, "what is thrown cannot be one of all")
    if node.type in ("startEvent", "boundaryEvent") and node.inputs:
        yield wrong("event.mapping", node, "it has no inputs: nothing is there before it happens")
    if node.type == "startEvent" and "error" in kinds and not node.interrupting:
        yield wrong("subprocess.error", node, "an error always interrupts")
    if node.type == "endEvent" and "cancel" in kinds and not _in_transaction(place):
        yield wrong("cancel.place", node, "a cancel end event is allowed only inside a transaction")
    if node.type in ("intermediateThrowEvent", "endEvent") and event is not None:
        for each in event.of_kind("compensate"):
            if each.activity is not None and each.activity not in _around(place):
                yield wrong("compensation.activity", node, f"{each.activity!r} is not beside it")


def _around(place: Place) -> set[str]:
    """Return the ids of the nodes that an event of a scope may compensate."""
    found = set(place.body.nodes)
    if place.owner is not None and place.owner.triggered:
        outer = (each for each in scopes(place.process.body) if place.owner.id in each.nodes)
        found |= {name for each in outer for name in each.nodes}
    return found


def _in_transaction(place: Place) -> bool:
    if place.owner is None:
        return False
    if place.owner.type == "transaction":
        return True
    transactions = (each for each in nodes(place.process.body) if each.type == "transaction")
    return any(each.body and place.owner in nodes(each.body) for each in transactions)


def _boundary(node: FlowNode, body: Scope) -> Iterator[Problem]:
    host = body.nodes.get(node.attached_to or "")
    kinds = set() if node.event is None else {e.kind for e in node.event.parts or (node.event,)}
    if host is None or not host.type.endswith(_HOSTS):
        yield wrong("boundary.host", node, f"{node.attached_to!r} is not an activity beside it")
        return
    if "error" in kinds and not node.interrupting:
        yield wrong("boundary.error", node, "an error always interrupts")
    if "cancel" in kinds and host.type != "transaction":
        yield wrong("cancel.place", node, "a cancel event belongs on the boundary of a transaction")
    if "compensate" in kinds:
        yield from _compensation(node, kinds, body)


def _compensation(node: FlowNode, kinds: set[str], body: Scope) -> Iterator[Problem]:
    handler = body.nodes.get(node.handler or "")
    if handler is None or not handler.compensates:
        message = "an association must lead from it to an activity that is for compensation"
        yield wrong("compensation.handler", node, message)
    if node.outgoing or len(kinds) > 1:
        yield wrong("compensation.flow", node, "no flow leaves it, and it is of one kind")
    if handler is not None and any(e.attached_to == handler.id for e in body.nodes.values()):
        yield wrong("compensation.boundary", handler, "a handler has no boundary events")


def transactions(place: Place) -> Iterator[Problem]:
    """Return which transactions can be cancelled without a way to go on."""
    for node in place.body.nodes.values():
        if node.type == "transaction" and node.body is not None:
            ends = any(map(_is_cancel, _ends(node.body)))
            boundary_events = [e for e in place.body.nodes.values() if e.attached_to == node.id]
            if ends and not any(map(_is_cancel, boundary_events)):
                yield wrong("cancel.boundary", node, "it has no cancel event on its boundary")


def _ends(body: Scope) -> Iterator[FlowNode]:
    """Return the end events of a transaction; those of one inside it are that one's own."""
    for node in body.nodes.values():
        if node.type == "endEvent":
            yield node
        elif node.body is not None and node.type != "transaction":
            yield from _ends(node.body)


def _is_cancel(node: FlowNode) -> bool:
    return node.event is not None and bool(node.event.of_kind("cancel"))


def timers(place: Place) -> Iterator[Problem]:
    """Return which cron lines never come again, or step beyond what their fields count.

    The parser does not refuse them: a definition that runs stays readable when they are over.
    """
    for node in place.body.nodes.values():
        for each in node.event.of_kind("timer") if node.event is not None else ():
            value = each.expression
            if each.timer != "cycle" or value is None or value.language != "text":
                continue
            try:
                schedule("cycle", value.text, READ_AT, each.calendar)
            except BadData:
                continue  # the parser has reported it
            try:
                require_future(value.text, time.time(), each.calendar)
            except BadData as error:
                yield Problem(
                    "timer.never", "error", node.id, value.line or node.line, error.message
                )


def messages(place: Place) -> Iterator[Problem]:
    """Return which message flows leave nodes that send nothing."""
    for node in place.body.nodes.values():
        sends = node.event is not None and node.event.of_kind("message")
        if node.recipients and not (sends and node.type in _SENDERS):
            message = "the message flow is drawn only: message events and send tasks send"
            yield Problem("flow.message", "warning", node.id, node.line, message)

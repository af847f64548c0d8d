"""Lint: find everything that would stop or surprise a run, before it starts."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable as Function
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path

from mlkit.bpmn.behaviors.inclusive import is_link, link_name
from mlkit.bpmn.behaviors.subprocess import begins_alone, entry_nodes
from mlkit.bpmn.graph import nodes, scopes
from mlkit.bpmn.model import Callable, Definitions, FlowNode, Problem, Process, Scope, Script
from mlkit.errors import BadData, ServiceUnavailable

_ALLOWED = {
    "startEvent": {"none", "message", "timer", "signal"},
    "intermediateCatchEvent": {"message", "timer", "signal", "link"},
    "intermediateThrowEvent": {"none", "message", "signal", "escalation", "link"},
    "boundaryEvent": {"message", "timer", "signal", "error", "escalation"},
    "endEvent": {"none", "message", "signal", "error", "escalation", "terminate"},
}
_WAITING = {"intermediateCatchEvent", "receiveTask"}
Rule = Function[[Scope, Process], Iterator[Problem]]


def lint(
    definitions: Definitions, folder: Path, tasks: Mapping[str, str] | None = None
) -> list[Problem]:
    """Find all problems of a file, errors first, by line.

    Args:
        definitions: The file.
        folder: Where it is; modules of callables may stand there.
        tasks: Names of callables bound by the caller, to `module:function`.
    """
    found = list(definitions.problems)
    if not definitions.processes:
        found.append(Problem("process.none", "error", definitions.file, 0, "there is no process"))
    if len(executable(definitions)) != 1 and definitions.processes:
        message = 'several pools cannot run together yet; mark all but one isExecutable="false"'
        line = definitions.processes[-1].line
        found.append(Problem("process.several", "error", definitions.file, line, message))
    for process in executable(definitions):
        for body in scopes(process.body):
            for rule in _RULES:
                found += rule(body, process)
        for node in nodes(process.body):
            found += _work(node, folder, tasks or {})
    return sorted(found, key=lambda each: (each.severity, each.line, each.rule))


def executable(definitions: Definitions) -> tuple[Process, ...]:
    """Give the processes of a file that are to run: the only one, or those marked so."""
    if len(definitions.processes) == 1:
        return definitions.processes
    return tuple(each for each in definitions.processes if each.executable)


def require_sound(problems: list[Problem], file: str) -> None:
    """Refuse a file with errors.

    Raises:
        ServiceUnavailable: It needs R.
        BadData: It has other errors; the message names the first, the hint shows the rest.
    """
    errors = [each for each in problems if each.severity == "error"]
    if not errors:
        return
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    message = f"{file}:{first.line}: {first.element}: {first.message} [{first.rule}]{more}"
    if all(each.rule == "script.r" for each in errors):
        raise ServiceUnavailable(message, hint="write the script in Python")
    raise BadData(message, hint=f"`mlkit bpmn lint {file}` shows all problems")


def _error(rule: str, node: FlowNode, message: str) -> Problem:
    return Problem(rule, "error", node.id, node.line, message)


def _starts(body: Scope, process: Process) -> Iterator[Problem]:
    starts = [each for each in body.nodes.values() if each.type == "startEvent"]
    inner = body is not process.body
    if not starts and not inner:
        yield Problem("process.start", "error", process.id, process.line, "there is no start event")
    elif inner and not entry_nodes(body):
        yield Problem("subprocess.start", "error", body.id, 0, "nothing starts inside")
    for node in starts:
        if inner and node.event is not None and node.event.kind != "none":
            yield _error("event.place", node, "inside a sub-process only none events start")


def _flows(body: Scope, process: Process) -> Iterator[Problem]:
    for flow in body.flows.values():
        for end, name in (("source", flow.source), ("target", flow.target)):
            node = body.nodes.get(name)
            problem = None
            if node is None:
                problem = f"its {end} {name!r} is not in the same process or sub-process"
            elif end == "target" and node.type in ("startEvent", "boundaryEvent"):
                problem = f"it leads into {name!r}, which begins flows"
            elif end == "source" and node.type == "endEvent":
                problem = f"it leaves {name!r}, which ends flows"
            if problem:
                yield Problem("flow.dangling", "error", flow.id, flow.line, problem)


def _conditions(body: Scope, process: Process) -> Iterator[Problem]:
    for flow in body.flows.values():
        source = body.nodes.get(flow.source)
        if flow.condition is None or source is None:
            continue
        if source.type in ("parallelGateway", "eventBasedGateway", "startEvent"):
            message = f"a condition cannot stand after a {source.type}"
            yield Problem("flow.condition", "error", flow.id, flow.line, message)
        elif source.default == flow.id:
            message = "the condition of a default flow is not looked at"
            yield Problem("flow.default", "warning", flow.id, flow.line, message)
    for node in body.nodes.values():
        if node.default is not None and node.default not in node.outgoing:
            yield _error(
                "flow.default", node, f"its default flow {node.default!r} does not leave it"
            )


def _gateways(body: Scope, process: Process) -> Iterator[Problem]:
    for node in body.nodes.values():
        if node.type in ("exclusiveGateway", "inclusiveGateway") and len(node.outgoing) > 1:
            bare = [
                each
                for each in node.outgoing
                if body.flows[each].condition is None and each != node.default
            ]
            for each in bare:
                message = f"the flow has no condition, so it always holds after {node.id!r}"
                yield Problem("flow.unconditional", "warning", each, body.flows[each].line, message)
        if node.type == "eventBasedGateway":
            yield from _event_gateway(node, body)
        if node.type == "eventBasedGateway" and not node.outgoing:
            yield _error("gateway.event", node, "no event follows the gateway")


def _event_gateway(node: FlowNode, body: Scope) -> Iterator[Problem]:
    for flow in node.outgoing:
        target = body.nodes.get(body.flows[flow].target)
        if target is not None and target.type not in _WAITING:
            yield _error("gateway.event", target, "an event gateway leads to events that wait only")
        elif target is not None and len(target.incoming) > 1:
            yield _error("gateway.event", target, "only the event gateway may lead here")


def _events(body: Scope, process: Process) -> Iterator[Problem]:
    for node in body.nodes.values():
        allowed = _ALLOWED.get(node.type)
        if allowed is not None and node.event is not None and node.event.kind not in allowed:
            yield _error(
                "event.place", node, f"a {node.type} cannot be of kind {node.event.kind!r}"
            )
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
                yield _error("link.target", node, f"{len(targets)} catching links have its name")


def _boundary(node: FlowNode, body: Scope) -> Iterator[Problem]:
    host = body.nodes.get(node.attached_to or "")
    if host is None or not (host.type.endswith(("Task", "task")) or host.type == "subProcess"):
        yield _error("boundary.host", node, f"{node.attached_to!r} is no activity beside it")
    if node.event is not None and node.event.kind == "error" and not node.interrupting:
        yield _error("boundary.error", node, "an error always interrupts")


def _reachable(body: Scope, process: Process) -> Iterator[Problem]:
    starts = [each.id for each in body.nodes.values() if each.type == "startEvent"]
    queue = starts or [each.id for each in body.nodes.values() if begins_alone(each)]
    seen: set[str] = set()
    while queue:
        name = queue.pop()
        node = body.nodes.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        queue += [body.flows[each].target for each in node.outgoing]
        queue += [each.id for each in body.nodes.values() if _follows(each, node)]
    for node in body.nodes.values():
        if node.id not in seen:
            yield _error("node.unreachable", node, "no token can reach it")


def _follows(each: FlowNode, node: FlowNode) -> bool:
    if each.attached_to == node.id:
        return True
    links = node.type == "intermediateThrowEvent" and is_link(node)
    return (
        links
        and each.type == "intermediateCatchEvent"
        and is_link(each)
        and link_name(each) == link_name(node)
    )


_RULES: tuple[Rule, ...] = (_starts, _flows, _conditions, _gateways, _events, _reachable)


def _work(node: FlowNode, folder: Path, tasks: Mapping[str, str]) -> Iterator[Problem]:
    work = node.work
    if isinstance(work, Script) and work.format == "r":
        yield _error("script.r", node, "R scripts cannot be run yet")
    elif isinstance(work, Script):
        try:
            compile(inspect.cleandoc("\n" + work.source), node.id, "exec")
        except (SyntaxError, ValueError) as error:
            yield _error(
                "script.syntax", node, f"line {getattr(error, 'lineno', 1)}: {error.args[0]}"
            )
    elif isinstance(work, Callable) and resolve(work.name, folder, tasks) is None:
        hint = f"bind it by --task {work.name}=module:function"
        yield _error("task.unbound", node, f"{work.name!r} names no Python callable: {hint}")


def resolve(name: str, folder: Path, tasks: Mapping[str, str]) -> str | None:
    """Find the `module:function` that a task's name stands for; None where there is none."""
    place = tasks.get(name, name)
    if ":" not in place:
        registered = [each for each in entry_points(group="mlkit.bpmn") if each.name == name]
        return registered[0].value if registered else None
    return place if _exists(place.partition(":")[0], folder) else None


def _exists(module: str, folder: Path) -> bool:
    sys.path.insert(0, str(folder))
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
    finally:
        sys.path.remove(str(folder))

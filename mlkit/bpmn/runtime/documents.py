"""Documents about instances, as `--json` prints them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.engine.behaviors import inner_of
from mlkit.bpmn.engine.behaviors.ad_hoc import AdHocSubProcess
from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.engine.events import Complete, Start
from mlkit.bpmn.engine.state import Activation, Scope, State
from mlkit.bpmn.engine.waits import (
    ForCondition,
    ForMessage,
    ForPerson,
    ForRetry,
    ForSignal,
    ForStart,
    ForTimer,
    ForWorker,
)
from mlkit.bpmn.journal.artifacts import references
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import ENDED, Damaged, Row, RunningAttempt
from mlkit.bpmn.people import tasks
from mlkit.bpmn.runtime.session import Session


def document(session: Session, row: Row) -> dict[str, Any]:
    """Describe an instance: state, variables, trace, what waits, incidents."""
    row = session.journal.find(row.id)
    engine = session.engine(row)
    state = session.journal.replay(row, engine)[0]
    return {
        "instance": row.id,
        "process": row.process,
        "state": row.status,
        "error": state.error,
        "variables": root_variables(state),
        **_pools(engine, state),
        "trace": trace(session.journal, row, engine),
        "decisions": decisions(session.journal, row, engine),
        "waiting": waiting(row.id, engine, state),
        "incidents": incidents(engine, state),
    }


def describe_with_tokens(session: Session, row: Row) -> dict[str, Any]:
    """Describe an instance with its tokens and times, without what secrets hold.

    `pending` is how many events were delivered to it that it has not taken yet. What `waiting`
    says that waits for the store is a task that works: what it needs or leaves cannot be moved.
    """
    # Looked at before the state: what has gone from the inbox by then is in the state.
    pending = len(session.journal.mailbox.inbox([row.number]))
    engine, state = session.engine(row), session.state(row)
    deployed = session.journal.deployments.of_definition(row.process, row.definition)
    found = document(session, row)
    found["waiting"] += _stalled(session.journal, row, engine, state)
    return {
        **session.mask(row, state).document(found),
        "tokens": open_nodes(engine, state),
        "pending": pending,
        "version": None if deployed is None else deployed.version,
        "business_key": row.key,
        "started": instant(row.created),
        "updated": instant(row.updated),
        "ended": None if row.is_open else instant(row.updated),
    }


def _pools(engine: Engine, state: State) -> dict[str, Any]:
    """Return the variables of each pool, where there are several."""
    if len(engine.processes) < 2:
        return {}
    return {"pools": [{"process": e.element, "variables": e.variables} for e in state.roots()]}


def root_variables(state: State) -> dict[str, Any]:
    """Return the variables of the process, or of the first pool."""
    return next((each.variables for each in state.roots()), {})


def trace(journal: Journal, row: Row, engine: Engine) -> list[dict[str, Any]]:
    """Return the flow nodes that ended, in order."""
    return [each for each in history(journal, row, engine) if "decision" not in each]


def decisions(journal: Journal, row: Row, engine: Engine) -> list[dict[str, Any]]:
    """Return the decisions that were evaluated, in order: inputs, matched rules, outputs."""
    return [each for each in history(journal, row, engine) if "decision" in each]


def history(journal: Journal, row: Row, engine: Engine) -> Iterator[dict[str, Any]]:
    """Yield the flow nodes that ended and the decisions that were evaluated, in order."""
    for at, _, steps in journal.events(row):
        for step in steps:
            place = _describe_node(row, engine, step.element)
            when = {"iteration": step.iteration or None, "at": instant(at)}
            if step.decision is not None:
                yield {**place, **when, **step.decision}
                continue
            yield {
                **place,
                "event": step.event,
                **when,
                "attempt": step.attempt,
                "began": instant(step.began) if step.began else None,
                "by": step.by or None,
            }


def _describe_node(row: Row, engine: Engine, element: str) -> dict[str, Any]:
    """Describe a flow node that an instance passed, in this version of its definition or before."""
    known = engine.graph.behaviors.get(element)
    if known is not None:
        return {"element": element, "name": known.node.name, "type": known.node.type}
    name, kind = row.options.get("former", {}).get(element, ("", "unknown"))
    return {"element": element, "name": name, "type": kind}


def describe_run(journal: Journal, row: Row, engine: Engine) -> dict[str, Any]:
    """Describe what an instance went through: `trace` and `decisions`.

    Each decision has, as `after`, the number of entries of the trace that come before it.
    """
    trace: list[dict[str, Any]] = []
    decisions: list[dict[str, Any]] = []
    for each in history(journal, row, engine):
        if "decision" in each:
            decisions.append({**each, "after": len(trace)})
        else:
            trace.append(each)
    return {"instance": row.id, "trace": trace, "decisions": decisions}


def requester(journal: Journal, row: Row) -> str:
    """Return whom a user task comes from: who did the last one, else who started the instance.

    Empty where nobody is known.
    """
    found = ""
    for _, event, _ in journal.events(row):
        if isinstance(event, Start | Complete) and event.by:
            found = event.by
    return found


def find_completion(journal: Journal, row: Row, wanted: str) -> str:
    """Return who has completed a task, by its number or its element's id, and when, in words."""
    found = ""
    try:
        for at, event, steps in journal.events(row):
            if not isinstance(event, Complete) or not event.by:
                continue
            if str(event.id) == wanted or any(
                each.element == wanted and each.by == event.by for each in steps
            ):
                found = f"{event.by} has completed it, at {instant(at)}"
    except Damaged:
        return ""
    return found


def artifacts(journal: Journal, row: Row) -> list[dict[str, Any]]:
    """Return the stored values of an instance, in order: what made each, and from which."""
    found: list[dict[str, Any]] = []
    for _, event, _ in journal.events(row):
        for name, value in getattr(event, "variables", {}).items():
            for each in references(value):
                reference = {key: part for key, part in each.items() if key != "$artifact"}
                found.append({"name": name, "artifact": each["$artifact"], **reference})
    unique = {(each["name"], each["artifact"], each.get("by")): each for each in found}
    return list(unique.values())


def waiting(instance: str, engine: Engine, state: State) -> list[dict[str, Any]]:
    """Describe what an instance waits for."""
    people = {each.activation: each for each in tasks.waiting(instance, engine, state)}
    found = []
    for each in state.activations.values():
        if state.effective_status not in ("suspended", *ENDED) and each.status in (
            "waiting",
            "pausing",
        ):
            found.append({**_place(engine, each), **_wait(engine, each, people.get(each.id))})
    return found


def _stalled(journal: Journal, row: Row, engine: Engine, state: State) -> list[dict[str, Any]]:
    """Describe the tasks whose values or files cannot be moved, since the store is away."""
    found = []
    for each in find_working(journal.running_attempts.of(row), state):
        if each.stalled:
            place = _place(engine, state.activations[each.activation])
            since = instant(each.began)
            found.append({**place, "for": "store", "message": each.stalled, "since": since})
    return found


def find_working(found: Iterable[RunningAttempt], state: State) -> list[RunningAttempt]:
    """Return those of the attempts that hosts have written which run in a state of an instance."""
    working = {
        (each.id, each.attempt) for each in state.activations.values() if each.status == "working"
    }
    return [each for each in found if (each.activation, each.attempt) in working]


def _wait(engine: Engine, activation: Activation, task: tasks.Task | None) -> dict[str, Any]:
    if task is not None:
        people = {"assignee": task.assignee, "users": task.users, "groups": task.groups}
        return {"for": "person", "task": task.id, **people, "form": tasks.describe(task)}
    match activation.wait:
        case ForTimer(due):
            return {"for": "timer", "due": instant(due)}
        case ForRetry(due):
            return {"for": "retry", "due": instant(due)}
        case ForMessage(name, key):
            return {"for": "message", "message": name, "key": key}
        case ForSignal(name):
            return {"for": "signal", "signal": name}
        case ForCondition():
            return {"for": "condition"}
        case ForWorker(topic, since, priority):
            return {"for": "worker", "topic": topic, "priority": priority, "since": instant(since)}
        case ForStart():
            return {"for": "start", "activities": sorted(_startable(engine, activation))}
    return {"for": "several"}


def _startable(engine: Engine, activation: Activation) -> set[str]:
    behavior = inner_of(engine.graph.behaviors[activation.node])
    return behavior.startable if isinstance(behavior, AdHocSubProcess) else set()


def _place(engine: Engine, activation: Activation) -> dict[str, Any]:
    node = engine.graph.behaviors[activation.node].node
    computed = activation.wait.name if isinstance(activation.wait, ForPerson) else None
    return {
        "id": activation.id,
        "element": node.id,
        "name": computed or node.name,
        "type": node.type,
        "iteration": activation.iteration or None,
    }


def incidents(engine: Engine, state: State) -> list[dict[str, Any]]:
    """Describe what an operator must look at."""
    found = [
        {**_place(engine, each), "attempt": each.attempt, "message": each.incident.message}
        for each in state.activations.values()
        if each.status == "incident" and each.incident is not None
    ]
    for number, defect in state.defects.items():
        if number not in state.activations:
            place = {"id": number, "element": state.process, "attempt": 0}
            found.append({**place, "message": defect.message})
    if state.effective_status == "incident" and not found:
        stuck = {flow for scope in state.scopes.values() for flow in scope.arrived}
        for element in sorted({engine.graph.targets[flow].id for flow in stuck}):
            message = "tokens wait at this join for others that cannot come"
            found.append({"id": None, "element": element, "message": message})
    return found


def describe_retries(engine: Engine, state: State) -> list[dict[str, Any]]:
    """Describe the tasks that wait for another attempt."""
    return [
        {**_place(engine, each), "attempt": each.attempt, "message": each.wait.failure}
        for each in state.activations.values()
        if each.status == "pausing" and isinstance(each.wait, ForRetry)
    ]


def open_nodes(engine: Engine, state: State) -> list[dict[str, Any]]:
    """Return where the tokens are: in flow nodes, and at joins, where they wait for others."""
    found = [
        {**_place(engine, each), "status": each.status, "attempt": each.attempt}
        for each in state.activations.values()
        if each.role not in ("guard", "branch", "trigger", "part")
    ]
    return found + [each for scope in state.scopes.values() for each in _joining(engine, scope)]


def _joining(engine: Engine, scope: Scope) -> Iterator[dict[str, Any]]:
    """Describe the joins of a scope that have got tokens and wait for more."""
    joins = [engine.graph.targets[flow].node for flow in scope.arrived]
    for node in {each.id: each for each in joins}.values():
        came = [flow for flow in node.incoming if flow in scope.arrived]
        place = {"id": None, "element": node.id, "name": node.name, "type": node.type}
        counts = {"arrived": came, "incoming": len(node.incoming)}
        yield {**place, "iteration": None, "status": "joining", "attempt": 0, **counts}

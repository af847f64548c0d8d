"""Move an instance to another version of its definition: the plan, and the move itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.engine.effects import AnyEffect
from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.engine.events import AnyEvent, Crash, Hop, Migrate
from mlkit.bpmn.engine.migration import Migration, migrate
from mlkit.bpmn.engine.state import Activation, State, document, restore
from mlkit.bpmn.journal.records import MIGRATED, Deployed, Entry, Refused, Row
from mlkit.bpmn.runtime import documents
from mlkit.bpmn.runtime.deployed_files import materialise
from mlkit.bpmn.runtime.running import Running
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import BadData


@dataclass(frozen=True, slots=True)
class Plan:
    """What moving an instance to a version would come to.

    Attributes:
        event: What moves it.
        report: What is shown to who asks.
    """

    event: Migrate
    report: dict[str, Any]

    @property
    def problems(self) -> list[str]:
        """What prevents it."""
        found: list[str] = self.report["problems"]
        return found


def plan(
    session: Session, row: Row, version: int | None, mapping: Mapping[str, str], at: float
) -> Plan:
    """Return what moving an instance would come to; nothing is changed.

    Args:
        session: The state folder.
        row: The instance.
        version: The version of its definition; None for the newest.
        mapping: Elements and flows that are called something else there.
        at: Now, in seconds since 1970.

    Raises:
        InputMissing: There is no such version.
        Refused: The instance has ended, or has this version.
    """
    deployments = session.journal.deployments
    to = deployments.require(row.process, version)
    if not row.is_open:
        raise Refused(f"instance {row.id} is {row.status}")
    if to.definition == row.definition:
        raise Refused(f"instance {row.id} has version {to.version} already")
    event = _event(to, mapping)
    old, new = session.engine(row), session.engine(_move(session, row, event))
    state = session.state(row)
    found = migrate(old.graph, new.graph, state, event.mapping, at)
    came = deployments.of_definition(row.process, row.definition)
    report = {
        "instance": row.id,
        "process": row.process,
        "from": None if came is None else came.version,
        "to": to.version,
        "mapping": dict(mapping),
        "problems": found.problems,
        "notes": found.notes,
        "tokens": [_token(each, new, found, mapping) for each in documents.open_nodes(old, state)],
        "then": [] if found.problems else documents.open_nodes(new, found.state),
        "differs": _difference(session, row, (old, new), event),
    }
    return Plan(event, report)


def _event(to: Deployed, mapping: Mapping[str, str]) -> Migrate:
    external, tasks = to.options.get("external", []), to.options.get("tasks", {})
    return Migrate(to.definition, dict(mapping), list(external), dict(tasks))


def _token(
    token: dict[str, Any], new: Engine, found: Migration, mapping: Mapping[str, str]
) -> dict[str, Any]:
    """Describe where a token is and where it would be; None where it can be nowhere."""
    element = token["element"]
    _, to = found.places.get(token["id"], ("", mapping.get(element, element)))
    node = new.graph.behaviors.get(to)
    is_moved = token["id"] in found.places or (token["id"] is None and not found.problems)
    return {
        "element": element,
        "name": token["name"],
        "status": token["status"],
        "iteration": token["iteration"],
        "to": to if is_moved and node is not None else None,
        "to_name": node.node.name if is_moved and node is not None else None,
    }


# -- the move itself ---------------------------------------------------------------------------


def perform(
    session: Session, running: Running, event: Migrate, at: float
) -> tuple[Entry, list[AnyEffect]]:
    """Move an instance that this process owns.

    Returns:
        What the journal gets, and what follows from it.

    Raises:
        BadData: Something prevents it; nothing has changed.
    """
    row = running.row
    assert row is not None
    if row.definition == event.definition:  # Somebody else has moved it since it was planned.
        raise BadData(f"instance {row.id} has that version already")
    moved = _move(session, row, event)
    engine = session.engine(moved)
    found = migrate(running.engine.graph, engine.graph, running.state, event.mapping, at)
    if found.problems:
        raise BadData("; ".join(found.problems))
    found.state.external = list(event.external)
    kept = {
        MIGRATED: running.sequence + len(running.changes.entries) + 1,
        "former": _former(session, row, running, engine),
    }
    moved = structs.replace(moved, options={**moved.options, **kept})
    running.options = {**moved.options, "work": running.options["work"]}
    running.engine, running.state, running.row = engine, found.state, moved
    running.changes.moved = moved
    written = structs.replace(event, state=document(found.state))
    return Entry(at, written, found.outcome.trace), found.outcome.effects


def _move(session: Session, row: Row, event: Migrate) -> Row:
    """Return an instance's row with the other version and its files."""
    journal = session.journal
    folder = str(materialise(journal.folder, journal, event.definition))
    options = {**row.options, "folder": folder, "tasks": event.tasks}
    return structs.replace(row, definition=event.definition, options=options)


def _former(session: Session, row: Row, running: Running, new: Engine) -> dict[str, list[str]]:
    """Return the names and types of what an instance went through and will not know any more."""
    found = dict(row.options.get("former", {}))
    passed = {hop.element for _, _, trace in session.journal.events(row) for hop in trace}
    for element in sorted(passed - new.graph.behaviors.keys()):
        behavior = running.engine.graph.behaviors.get(element)
        if behavior is not None:
            found[element] = [behavior.node.name, behavior.node.type]
    return found


# -- the journal on the other version ----------------------------------------------------------


def _difference(
    session: Session, row: Row, engines: tuple[Engine, Engine], event: Migrate
) -> str | None:
    """Return where the instance's history would have gone another way on the other version.

    None: nowhere. What differs does not prevent the move: only where tokens are does.
    """
    since = row.options.get(MIGRATED, 1)
    events = list(session.journal.events(row))[since - 1 :]
    replay = _Replay(*engines, event.mapping)
    for at, happened, _ in events:
        try:
            problem = replay.take(happened, at)
        except Exception as error:
            problem = f"{type(happened).__name__.lower()}: {error}"
        if problem:
            return f"{instant(at)}: {problem}"
    return None


class _Replay:
    """An instance on both versions at once, as far as they go the same way."""

    def __init__(self, old: Engine, new: Engine, mapping: Mapping[str, str]) -> None:
        self._old, self._new, self._mapping = old, new, mapping
        self._before, self._after = old.create(), new.create()

    def take(self, event: AnyEvent, at: float) -> str:
        """Apply an event to both; return what differs, empty where nothing does."""
        if isinstance(event, Migrate):
            self._before = restore(event.state)
            found = migrate(self._old.graph, self._new.graph, self._before, self._mapping, at)
            self._after = found.state
            return found.problems[0] if found.problems else ""
        if isinstance(event, Crash):
            return "the engine failed at an event"
        there = self._find(event)
        if there is None:
            activation = self._before.activations[getattr(event, "id", 0)]
            return f"nothing is at {self._mapping.get(activation.node, activation.node)} then"
        one = self._old.apply(self._before, event, at, replayed=True)
        other = self._new.apply(self._after, there, at)
        wanted = Counter(self._list_passed(one.trace, self._mapping))
        return _compare(wanted, Counter(self._list_passed(other.trace, {})))

    @staticmethod
    def _list_passed(trace: Iterable[Hop], mapping: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        return [(mapping.get(e.element, e.element), e.event) for e in trace if e.event != "decided"]

    def _find(self, event: AnyEvent) -> AnyEvent | None:
        """Return an event with the activation that it is for on the other version."""
        number = getattr(event, "id", 0)
        activation = self._before.activations.get(number)
        if activation is None:
            return event
        wanted = self._place(activation, self._mapping)
        alike = self._alike(self._before, wanted, self._mapping)
        there = self._alike(self._after, wanted, {})
        position = alike.index(number)
        if position >= len(there):
            return None
        return structs.replace(event, id=there[position])

    def _alike(self, state: State, wanted: object, mapping: Mapping[str, str]) -> list[int]:
        return [e.id for e in state.activations.values() if self._place(e, mapping) == wanted]

    @staticmethod
    def _place(activation: Activation, mapping: Mapping[str, str]) -> tuple[str, str, str, int]:
        node = mapping.get(activation.node, activation.node)
        return node, activation.role, activation.iteration, activation.part


def _compare(wanted: Counter[tuple[str, str]], found: Counter[tuple[str, str]]) -> str:
    missing, more = wanted - found, found - wanted
    parts = [f"{element} would not be {event}" for element, event in sorted(missing)]
    parts += [f"{element} would be {event}" for element, event in sorted(more)]
    return ", ".join(parts)

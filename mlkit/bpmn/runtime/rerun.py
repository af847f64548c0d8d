"""Begin an instance again from one of its activities, with the results of all before it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from mlkit.bpmn.engine.effects import AnyEffect, Listen, Offer, Subscribe
from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.engine.events import AnyEvent, Hop, Migrate
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.notices import Audited
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import MIGRATED, Row
from mlkit.bpmn.runtime.diagrams import engine_of, load, resolve_callables
from mlkit.bpmn.runtime.external import describe_offered
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import InputMissing, UsageError


def rerun(session: Session, row: Row, element: str, file: Path | None = None, by: str = "") -> Row:
    """Add an instance that goes on from where an activity last began.

    It has the events of the old instance up to there, and a copy of its working folder: as it was
    then where hosts share it, else as it is now. What ran beside the activity then runs again.

    Args:
        session: The state folder.
        row: The old instance.
        element: The activity's id.
        file: A changed diagram; what lies before the activity must be the same in it.
        by: Who does it, for the audit log.

    Raises:
        InputMissing: The activity has never begun.
        UsageError: The changed diagram does not lead there in the same way.
        BadData: The changed diagram has errors.
    """
    upto = _beginning(session, row, element)
    if file is None:
        engine, options = session.engine(row), row.options
    else:
        diagram = load(file, row.options.get("tasks"), row.options.get("rscript"))
        engine = engine_of(diagram.definitions)
        folder = file.parent.resolve()
        options = {**row.options, "folder": str(folder)}
        options["tasks"] = resolve_callables(engine, folder, row.options.get("tasks", {}))
        _require_same(session, row, engine, upto, element)
    resources = {} if file is None else diagram.definitions.resources
    state = _replay(session, row, engine, upto)
    pending = engine.pending(state)

    def fork(journal: Journal) -> Row:
        name = row.definition
        if file is not None:
            name = journal.store_definition(file.name, diagram.content, resources)
        new = journal.fork(row, upto, name, {**options, "forked": upto})
        _subscribe(journal, new, engine, state, pending)
        what = f"{element} of {row.id}"[:1000]
        journal.audit.add(Audited(time.time(), by, session.source, "rerun", new.id, what))
        return new

    new = session.write(fork)
    session.engines.setdefault((new.definition, row.process), engine)
    # Else the journal records what was in it, also where that is nothing.
    if not (state.files or session.journal.artifacts.is_shared):
        _copy_work(session, row, new)
    return new


def _beginning(session: Session, row: Row, element: str) -> int:
    """Return the number of the event that the last activation of an element came from."""
    engine = session.engine(row)
    state, found, before = engine.create(), 0, 0
    for number, at, event, _ in _own_events(session, row):
        engine.apply(state, event, at, replayed=True)
        newest = max(
            (a.id for a in state.activations.values() if a.node == element and not a.role),
            default=0,
        )
        if newest > before:
            found, before = number, newest
    if not found:
        since = " since it was moved to its version" if row.options.get(MIGRATED) else ""
        raise InputMissing(
            f"instance {row.id}: {element!r} has not begun{since}", hint="see `mlkit bpmn history`"
        )
    return found


def _own_events(session: Session, row: Row) -> Iterator[tuple[int, float, AnyEvent, list[Hop]]]:
    """Yield the numbered events of an instance since it has the version that it has."""
    first = int(row.options.get(MIGRATED, 1))
    for number, (at, event, trace) in enumerate(session.journal.events(row), 1):
        if number >= first:
            yield number, at, event, trace


def _require_same(session: Session, row: Row, engine: Engine, upto: int, element: str) -> None:
    state = engine.create()
    for number, at, event, trace in _own_events(session, row):
        if number > upto:
            break
        if isinstance(event, Migrate):
            raise UsageError(
                f"instance {row.id} was moved to its version: it has no way to compare",
                hint="rerun it with the diagram that it has",
            )
        try:
            steps = engine.apply(state, event, at).trace
            same = _course(steps) == _course(trace)
        except KeyError:
            same = False
        if not same:
            problem = f"the changed diagram does not lead to {element!r} in the same way"
            raise UsageError(problem, hint="begin a new instance, or rerun from further up")
    if all(each.node != element for each in state.activations.values()):
        raise UsageError(f"the changed diagram does not lead to {element!r}")


def _course(steps: list[Hop]) -> list[tuple[object, ...]]:
    """Return what must be the same; journals of older versions know neither times nor decisions."""
    return [
        (each.element, each.event, each.iteration, each.attempt)
        for each in steps
        if each.event != "decided"
    ]


def _replay(session: Session, row: Row, engine: Engine, upto: int) -> State:
    state = engine.create()
    for number, at, event, _ in _own_events(session, row):
        if number <= upto:
            engine.apply(state, event, at, replayed=True)
    return state


def _subscribe(
    journal: Journal, row: Row, engine: Engine, state: State, pending: list[AnyEffect]
) -> None:
    """Register what the new instance waits for: the rows of the old one are its own."""
    for each in pending:
        if isinstance(each, Subscribe):
            journal.mailbox.subscribe(row.number, each.id, each.name, each.key, row.updated)
        elif isinstance(each, Listen):
            journal.mailbox.listen(row.number, each.id, each.name)
        elif isinstance(each, Offer):
            journal.external.offer(describe_offered(row, engine, state, each.id))


def _copy_work(session: Session, old: Row, new: Row) -> None:
    work = session.journal.folder / "work"
    if (work / old.id).is_dir():
        shutil.copytree(work / old.id, work / new.id)

"""Write down what an instance met, as a scenario that plays it again."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.engine.behaviors import starting
from mlkit.bpmn.engine.effects import AnyEffect, Broadcast, Offer, Run, Send, Subscribe
from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.engine.events import (
    AnyEvent,
    Assign,
    Begin,
    Complete,
    Fail,
    Receive,
    Retry,
    Signal,
    Start,
    StoreRead,
    Throw,
)
from mlkit.bpmn.engine.waits import ForPerson
from mlkit.bpmn.journal.records import MIGRATED, Row
from mlkit.bpmn.people import tasks
from mlkit.bpmn.runtime.documents import document
from mlkit.bpmn.runtime.session import Session
from mlkit.bpmn.scenarios import scenario as parts
from mlkit.bpmn.scenarios.expectation import elements, places
from mlkit.bpmn.scenarios.run import Result
from mlkit.bpmn.scenarios.scenario import Answer, Expectation, Message, Mock, Scenario
from mlkit.errors import UsageError

_LONG = 1000  # Characters of JSON.
_RECORDED = ("completed", "failed", "waiting", "incident")


@dataclass(frozen=True, slots=True)
class Recording:
    """The scenario of an instance.

    Attributes:
        notes: What the instance met that a scenario cannot express, a line each.
    """

    scenario: Scenario
    notes: list[str]


def record(session: Session, row: Row, beside: Path | None, scripts: bool = False) -> Recording:
    """Return the scenario of an instance: its start, answers, messages, results, and its end.

    What tasks gave becomes mocks, except values that JSON does not have: such a task runs.

    Args:
        session: The state folder.
        row: The instance, which runs nothing at the moment.
        beside: The folder in which the scenario will be: it names the diagram from there. None:
            beside the diagram.
        scripts: Whether script tasks run instead of being mocked.

    Raises:
        UsageError: The instance runs, or was cancelled: no scenario can express that.
    """
    if row.status not in _RECORDED:
        hint = "cancel or resume it first" if row.is_open else None
        raise UsageError(f"instance {row.id} is {row.status}: it has no end to expect", hint=hint)
    if row.options.get(MIGRATED):
        raise UsageError(
            f"instance {row.id} was moved to another version: no diagram plays all that it met",
            hint="record one that has kept its version",
        )
    recorder = _Recorder(session.engine(row), row, scripts)
    for at, event, _ in session.journal.events(row):
        recorder.take(at, event)
    file = session.journal.definition(row.definition)[0]
    path = Path(str(row.options.get("folder", ""))) / file
    found = recorder.scenario
    found.mocks = recorder.mocks()
    found.diagram = file if beside is None else os.path.relpath(path, beside.resolve())
    found.expect, large = _expectation(document(session, row))
    if large:
        recorder.notes.append(f"long values are not expected again: {', '.join(large)}")
    bound = row.options.get("tasks", {})
    found.tasks = {name: place for name, place in bound.items() if name != place}
    if row.is_open:
        found.until = duration(row.updated - recorder.begin)
    return Recording(found, list(dict.fromkeys(recorder.notes)))


def leave_order_open(scenario: Scenario, played: Result) -> bool:
    """Expect no order of elements where only the order differs: what ran at once, ended so.

    Returns:
        Whether that was so, and nothing else differed.
    """
    expected, found = scenario.expect, elements(played.document, "completed")
    if expected.trace is None or sorted(expected.trace) != sorted(found):
        return False
    is_only = len(played.differences) == 1 and expected.trace != found
    if is_only:
        expected.trace = None
    return is_only


def _expectation(found: dict[str, Any]) -> tuple[Expectation, list[str]]:
    """Return what is expected of a run, and the names of variables too long to be written down."""
    texts = {
        name: json.dumps(plain(value))
        for name, value in found["variables"].items()
        if is_plain(value)
    }
    large = sorted(name for name, text in texts.items() if len(text) > _LONG)
    expected = Expectation(
        state=found["state"],
        trace=elements(found, "completed"),
        terminated=elements(found, "terminated") or None,
        variables={k: plain(found["variables"][k]) for k in texts if k not in large},
        waiting=places(found["waiting"]) or None,
        incidents=places(found["incidents"]) or None,
        error=(found["error"] or {}).get("code"),
    )
    return expected, large


class _Recorder:
    """Replays an instance, and keeps what came from outside of it.

    Args:
        scripts: Whether script tasks are not mocked.

    Attributes:
        begin: When the instance began, in seconds since 1970.
        notes: What a scenario cannot express.
    """

    def __init__(self, engine: Engine, row: Row, scripts: bool) -> None:
        self.engine, self.row, self.scripts = engine, row, scripts
        self.scenario = Scenario("", Expectation())
        self.notes: list[str] = []
        self.begin = 0.0
        self._state = engine.create()
        # Attempts in the order in which they were started: mocks are used up in that order.
        self._attempts: dict[str, list[_Attempt]] = {}
        self._open: dict[int, _Attempt] = {}
        self._messages: dict[int, Subscribe] = {}
        self._sent: Counter[tuple[str, str]] = Counter()
        self._stores: set[str] = set()

    def take(self, at: float, event: AnyEvent) -> None:
        """Keep what an event brings, then replay it."""
        match event:
            case Start():
                self._begin(at, event)
            case Complete():
                self._complete(at, event)
            case Throw():
                self._note_attempt(event.id, Mock(error=event.code, message=event.message))
            case Fail():
                self._note_attempt(event.id, Mock(fail=event.message or "failed"))
            case Receive():
                self._receive(at, event)
            case Signal():
                self._signal(at, event)
            case StoreRead():
                self._read(event)
            case Assign() | Begin() | Retry():
                what = {Assign: "variables were set", Retry: "an incident was tried again"}
                problem = what.get(type(event), "an activity of an ad-hoc sub-process was started")
                self.notes.append(f"{problem} by hand: a scenario cannot express that")
            case _:
                pass
        for effect in self.engine.apply(self._state, event, at).effects:
            self._follow(effect)

    def mocks(self) -> dict[str, Mock | list[Mock]]:
        """Return what tasks gave, in the order in which they were started."""
        found = {each: self._mocks(each, attempts) for each, attempts in self._attempts.items()}
        return {
            element: mocks[0] if len(mocks) == 1 else mocks
            for element, mocks in found.items()
            if mocks
        }

    def _begin(self, at: float, event: Start) -> None:
        self.begin = at
        found = self.scenario
        found.start, found.key = instant(at), event.key
        found.variables = self._values("the start", event.variables)
        if event.node:
            found.message = self._start_message(event.node)
        if event.node and found.message is None:
            problem = f"it began at {event.node!r}: the scenario begins as the diagram defines"
            self.notes.append(problem)

    def _start_message(self, node: str) -> str | None:
        for process in self.engine.processes:
            for element, kind, name in starting.list_named_starts(process):
                if (element, kind) == (node, "message"):
                    return name
        return None

    def _complete(self, at: float, event: Complete) -> None:
        activation = self._state.activations.get(event.id)
        if activation is None:
            return
        if isinstance(activation.wait, ForPerson):
            waiting = tasks.waiting(self.row.id, self.engine, self._state)
            task = next(each for each in waiting if each.activation == event.id)
            self.scenario.answers.append(self._answer(task, event, at - task.since))
        elif event.id in self._open:
            kept = is_plain(event.variables) and not event.local
            values = plain(event.variables) if kept else {}
            self._note_attempt(event.id, Mock(set=values) if kept else None)
        else:
            problem = f"{activation.node!r} was completed by hand: a scenario cannot express that"
            self.notes.append(problem)

    def _answer(self, task: tasks.Task, event: Complete, after: float) -> Answer:
        answer = Answer(task.element, duration(after))
        fields = {each.id for each in task.form if not each.readonly and each.value is None}
        given = {k: v for k, v in event.variables.items() if not task.form or k in fields}
        beyond = event.variables.keys() - {each.id for each in task.form}
        if task.form and beyond <= {"approved", "comment"} and (beyond or _decides(task)):
            decision = next((v for v in event.variables.values() if type(v) is bool), None)
            if decision is not None and len(event.variables) - ("comment" in beyond) == 1:
                answer.approve = decision
                answer.comment = event.variables.get("comment")
                return answer
        if task.form:
            given = {name: _as_filled(value) for name, value in given.items()}
        answer.set = self._values(f"the answer to {task.element!r}", given)
        return answer

    def _receive(self, at: float, event: Receive) -> None:
        known = self._messages.get(event.id)
        if known is None or self._is_own("message", known.name):
            return
        values = self._values(f"message {known.name!r}", event.variables)
        after = duration(at - self.begin)
        self.scenario.messages.append(Message(known.name, after, known.key, values))

    def _signal(self, at: float, event: Signal) -> None:
        if not self._is_own("signal", event.name):
            values = self._values(f"signal {event.name!r}", event.variables)
            after = duration(at - self.begin)
            self.scenario.signals.append(parts.Signal(event.name, after, values))

    def _is_own(self, kind: str, name: str) -> bool:
        """Return whether the instance itself sent it: then the scenario's run does so too."""
        self._sent[kind, name] -= 1
        return self._sent[kind, name] >= 0

    def _read(self, event: StoreRead) -> None:
        for name, value in event.values.items():
            if value is not None and is_plain(value) and name not in self._stores:
                self.scenario.stores[name] = plain(value)
                self._sent["store", name] = 1

    def _values(self, where: str, variables: dict[str, Any]) -> dict[str, Any]:
        left = sorted(name for name, value in variables.items() if not is_plain(value))
        if left:
            self.notes.append(f"{where}: JSON has no value for {', '.join(left)}: left out")
        return {name: plain(value) for name, value in variables.items() if name not in left}

    # -- attempts ----------------------------------------------------------------------------

    def _follow(self, effect: AnyEffect) -> None:
        match effect:
            case Run() | Offer():
                node = self._state.activations[effect.id].node
                attempts = self._attempts.setdefault(node, [])
                before = self._open.get(effect.id)
                if before is not None and before.mock is None and not before.is_done:
                    attempts.remove(before)  # Nothing came of it: the engine died.
                self._open[effect.id] = _Attempt()
                attempts.append(self._open[effect.id])
            case Subscribe():
                self._messages[effect.id] = effect
            case Send():
                self._sent["message", effect.name] += 1
            case Broadcast():
                self._sent["signal", effect.name] += 1
            case _:
                pass

    def _note_attempt(self, identifier: int, mock: Mock | None) -> None:
        attempt = self._open.get(identifier)
        if attempt is not None:
            attempt.mock, attempt.is_done = mock, True

    def _mocks(self, element: str, attempts: list[_Attempt]) -> list[Mock]:
        """Return what the attempts at a task gave; nothing for a task that has to run."""
        node = self.engine.graph.behaviors[element].node
        done = [each.mock for each in attempts if each.is_done]
        if self.scripts and node.type == "scriptTask":
            return []
        mocks = [each for each in done if each is not None]
        return mocks if len(mocks) == len(done) else []


@dataclass(slots=True)
class _Attempt:
    """One start of a task's work; `mock` is None where nothing came of it, or no JSON."""

    mock: Mock | None = None
    is_done: bool = False


def _decides(task: tasks.Task) -> bool:
    return len(task.form) == 1 and task.form[0].type == "boolean"


def _as_filled(value: Any) -> Any:
    """Return a date of a form as somebody fills it in."""
    is_date = isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _DATES
    return next(iter(value.values())) if is_date else value


# -- values --------------------------------------------------------------------------------

_DATES = ("$date", "$datetime", "$time")


def is_plain(value: Any) -> bool:
    """Return whether JSON has a stored value, as `plain` writes it."""
    if isinstance(value, list):
        return all(map(is_plain, value))
    if not isinstance(value, dict):
        return True
    if set(value) == {"$decimal"}:
        return Decimal(repr(float(value["$decimal"]))) == Decimal(value["$decimal"])
    return all(not key.startswith("$") and is_plain(each) for key, each in value.items())


def plain(value: Any) -> Any:
    """Return a stored value as JSON has it."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"$decimal"}:
        return float(value["$decimal"])
    return {key: plain(each) for key, each in value.items()}


def duration(seconds: float) -> str:
    """Write an ISO 8601 duration, to the millisecond."""
    whole = timedelta(milliseconds=max(0, round(seconds * 1000)))
    hours, rest = divmod(whole - timedelta(days=whole.days), timedelta(hours=1))
    minutes, rest = divmod(rest, timedelta(minutes=1))
    units = [(hours, "H"), (minutes, "M"), (rest.total_seconds(), "S")]
    time = "".join(f"{amount:g}{unit}" for amount, unit in units if amount)
    date = f"{whole.days}D" if whole.days else ""
    return f"P{date}T{time}" if time else f"P{date}" if date else "PT0S"

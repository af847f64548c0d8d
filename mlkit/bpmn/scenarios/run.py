"""Play scenarios: a real engine with a simulated clock, mocked tasks and prepared answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlkit.bpmn.definition import timers
from mlkit.bpmn.definition.model import Callable as Named
from mlkit.bpmn.definition.model import Definitions
from mlkit.bpmn.definition.parser import parse_text, read
from mlkit.bpmn.engine.events import AnyEvent, Complete, Fail, Throw
from mlkit.bpmn.people import tasks
from mlkit.bpmn.people.forms import pack_variables
from mlkit.bpmn.runtime.clock import SimulatedClock
from mlkit.bpmn.runtime.diagrams import check
from mlkit.bpmn.runtime.documents import document
from mlkit.bpmn.runtime.runner import Runner
from mlkit.bpmn.runtime.running import Running
from mlkit.bpmn.runtime.session import Session, Settings
from mlkit.bpmn.scenarios.expectation import differences
from mlkit.bpmn.scenarios.scenario import Answer, Message, Mock, Scenario, Signal
from mlkit.errors import BadData, InputMissing
from mlkit.scratch import Scratch
from mlkit.workers.pool import ScriptPool

_FAR = 3650 * 86400.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a scenario.

    Attributes:
        differences: Where the run is not as expected; none means that it passed.
        document: The run, as `run --json` prints it.
        elapsed: Simulated seconds.
    """

    scenario: Scenario
    differences: list[str]
    document: dict[str, Any]
    elapsed: float


def mocked() -> None:
    """Stand in for a service task's callable that is only bound by a mock.

    Raises:
        BadData: Always; a mocked task never calls it.
    """
    raise BadData("this task is mocked and has no callable")


def run_scenario(scenario: Scenario, folder: Path, settings: Settings) -> Result:
    """Play a scenario in a state folder of its own, which is removed after it.

    Args:
        scenario: What to play.
        folder: Where its diagram is looked for.
        settings: How scripts run; the clock is the scenario's.

    Raises:
        InputMissing: The diagram is not there.
        BadData: The diagram has errors, or the scenario names what it has not.
    """
    begin = timers.schedule("date", scenario.start, 0.0).due
    settings.clock = SimulatedClock(begin)
    settings.until = None if scenario.until is None else begin + seconds(scenario.until)
    path = folder / scenario.diagram
    content = read(path)
    definitions = parse_text(content, path)
    bindings = _bindings(scenario, path, definitions)
    diagram = check(path, content, definitions, bindings, settings.rscript, settings.external)
    with (
        closing(Scratch("mlkit-scenario-")) as state,
        ScenarioRun(state.path, settings, scenario) as session,
    ):
        session.fill_stores()
        variables = scenario.variables
        row = session.begin(diagram, variables, scenario.key, scenario.message, bindings)
        session.advance([row])
        found = document(session, row)
        found["stores"] = {each.name: each.value for each in session.journal.stores.all()}
        problems = [*session.problems, *differences(scenario.expect, found)]
        unused = [f"the answer to {each.task!r} was not used" for each in session.answers]
        return Result(scenario, [*problems, *unused], found, settings.clock.now() - begin)


def seconds(text: str) -> float:
    """Read an ISO 8601 duration."""
    return timers.duration(text).total_seconds()


def _bindings(scenario: Scenario, path: Path, definitions: Definitions) -> dict[str, str]:
    """Bind the callables of mocked tasks that nothing else binds; refuse unknown elements."""
    processes = [*definitions.processes, *definitions.called.values()]
    nodes = {each.id: each for process in processes for each in _nodes(process.body)}
    named = [*scenario.mocks, *(each.task for each in scenario.answers)]
    for each in named:
        if each not in nodes:
            raise InputMissing(f"{path}: there is no element {each!r}, which the scenario names")
    works = {nodes[each].work for each in scenario.mocks}
    names = {work.name for work in works if isinstance(work, Named)}
    return {**dict.fromkeys(names, "mlkit.bpmn.scenarios.run:mocked"), **scenario.tasks}


def _nodes(scope: Any) -> Iterator[Any]:
    for node in scope.nodes.values():
        yield node
        if node.body is not None:
            yield from _nodes(node.body)


class ScenarioRun(Session):
    """A session that plays a scenario.

    Attributes:
        answers: Those that nobody has given yet.
        problems: Answers that a form refused.
    """

    def __init__(self, folder: Path, settings: Settings, scenario: Scenario) -> None:
        super().__init__(folder, settings, create=True)
        self.scenario = scenario
        self.answers = list(scenario.answers)
        self.problems: list[str] = []

    def fill_stores(self) -> None:
        """Fill the data stores with what they hold at the start."""
        with self.journal.transaction():
            for name, value in pack_variables(self.scenario.stores).items():
                self.journal.stores.set(name, value)

    def runner(self, pool: ScriptPool) -> Runner:
        """Make the runner that plays it."""
        chosen = self.settings
        assert isinstance(chosen.clock, SimulatedClock)
        return Player(self, pool, chosen.clock, chosen.until)


@dataclass(frozen=True, slots=True)
class _Cue:
    """Something that happens at a moment of the simulated clock."""

    at: float
    act: Callable[[], None]


class Player(Runner):
    """A runner whose mocked tasks do not run, and to which answers come in time."""

    def __init__(
        self, session: ScenarioRun, pool: ScriptPool, clock: SimulatedClock, until: float | None
    ) -> None:
        super().__init__(pool, session.journal, clock, session.settings.observer, until)
        self.simulated = clock
        self.session = session
        scenario = session.scenario
        self.outside: list[Message | Signal] = [*scenario.messages, *scenario.signals]
        self.begin = clock.now()
        self.mocks = {
            key: list(each) if isinstance(each, list) else [each]
            for key, each in scenario.mocks.items()
        }
        self.done: list[tuple[Running, AnyEvent]] = []

    def _moves_alone(self) -> bool:
        return bool(self.done) or self._cue() is not None or super()._moves_alone()

    def proceed(self) -> None:
        """Apply the results that a scenario gives before waiting for anything."""
        for running, event in self.done:
            if getattr(event, "id", 0) in running.state.activations:
                self.apply(running, event)
        if self.done:
            self.done = []
            return
        cue, due = self._cue(), self._next_due()
        if self.pool.idle and cue is not None and (due is None or cue.at < due):
            self.simulated.moment = max(self.simulated.moment, cue.at)
            cue.act()
        else:
            super().proceed()

    def _cue(self) -> _Cue | None:
        """Return what comes next from outside, while no script is open."""
        if not self.pool.idle:
            return None
        cues = [_Cue(self.begin + seconds(each.after), self._sender(each)) for each in self.outside]
        cues += [cue for running in self.instances.values() for cue in self._answers(running)]
        if self.until is not None:
            cues = [each for each in cues if each.at <= self.until]
        return min(cues, key=lambda each: each.at, default=None)

    def _answers(self, running: Running) -> Iterator[_Cue]:
        waiting = tasks.waiting(running.id, running.engine, running.state)
        for task in waiting:
            answer = next((a for a in self.session.answers if a.task == task.element), None)
            if answer is not None:
                at = task.since + seconds(answer.after)
                yield _Cue(at, self._answering(running, task, answer))

    def _answering(self, running: Running, task: tasks.Task, answer: Answer) -> Callable[[], None]:
        def act() -> None:
            self.session.answers.remove(answer)
            try:
                values = _values(task, answer)
            except BadData as error:
                self.session.problems.append(error.message)
                return
            self.apply(running, Complete(task.activation, values))

        return act

    def _sender(self, each: Message | Signal) -> Callable[[], None]:
        def act() -> None:
            self.outside.remove(each)
            assert self.journal is not None
            mailbox, variables = self.journal.mailbox, pack_variables(each.set)
            with self.journal.transaction():
                if isinstance(each, Message):
                    mailbox.send(each.name, each.key, variables, self.clock.now() + _FAR)
                else:
                    mailbox.broadcast(each.name, variables)
            self.look_again = 0.0

        return act

    def _start(self, running: Running, identifier: int) -> None:
        activation = running.state.activations.get(identifier)
        mocks = self.mocks.get(activation.node) if activation is not None else None
        if (
            activation is None
            or activation.status != "working"
            or not mocks
            or activation.listening
        ):
            super()._start(running, identifier)
            return
        mock = mocks.pop(0) if len(mocks) > 1 else mocks[0]
        self.done.append((running, _outcome(mock, identifier)))


def _values(task: tasks.Task, answer: Answer) -> dict[str, Any]:
    if answer.approve is None:
        return tasks.fill(task, answer.set)
    return {**pack_variables(answer.set), **tasks.decide(task, answer.approve, answer.comment)}


def _outcome(mock: Mock, identifier: int) -> AnyEvent:
    if mock.error:
        return Throw(identifier, mock.error, mock.message)
    if mock.fail:
        return Fail(identifier, mock.fail)
    return Complete(identifier, pack_variables(mock.set))

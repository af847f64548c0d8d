"""Short ways to write a diagram and to play it without processes, files or waiting."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import installing
import msgspec
import pytest

from mlkit.bpmn.definition.parser import parse_text
from mlkit.bpmn.engine.effects import AnyEffect, Broadcast, Run, Send, Stop, Store
from mlkit.bpmn.engine.events import (
    AnyEvent,
    Complete,
    Fail,
    Fire,
    Receive,
    Signal,
    Start,
    Throw,
)
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.lint.validation import lint
from mlkit.bpmn.runtime.diagrams import engine_of

HEAD = (
    '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d"'
    ' xmlns:camunda="http://camunda.org/schema/1.0/bpmn" xmlns:mlkit="urn:mlkit:bpmn"'
    ' xmlns:zeebe="http://camunda.org/schema/zeebe/1.0">'
)
ROOTS = (
    '<message id="Paid" name="paid"/><signal id="Stop" name="stop"/>'
    '<error id="Bad" errorCode="BAD"/><error id="Worse" errorCode="WORSE"/>'
    '<escalation id="Up" escalationCode="UP"/>'
)


def diagram(body: str, flows: str = "", roots: str = ROOTS) -> str:
    """Write a file: `flows` is `a>b`, `a>b?condition`, separated by spaces or new lines."""
    drawn = "".join(_flow(number, each) for number, each in enumerate(flows.split()))
    return f'{HEAD}{roots}<process id="p" isExecutable="true">{body}{drawn}</process></definitions>'


def arrows(flows: str, prefix: str) -> str:
    """Write flows for the inside of a sub-process."""
    return "".join(_flow(f"{prefix}{number}", each) for number, each in enumerate(flows.split()))


def _flow(number: object, text: str) -> str:
    path, _, condition = text.partition("?")
    source, _, target = path.partition(">")
    inner = f"<conditionExpression>{condition}</conditionExpression>" if condition else ""
    inner = inner.replace("&lt;", "<").replace(
        "<conditionExpression><", "<conditionExpression>&lt;"
    )
    ends = f'sourceRef="{source}" targetRef="{target}"'
    return f'<sequenceFlow id="f{number}" {ends}>{inner}</sequenceFlow>'


class Play:
    """An instance that is played by hand; its events go through JSON, as in a journal."""

    def __init__(
        self, xml: str, answers: Callable[[str, dict[str, Any]], Any] | None = None
    ) -> None:
        self.definitions = parse_text(xml.encode(), Path("test.bpmn"))
        errors = [each for each in lint(self.definitions, Path.cwd()) if each.severity == "error"]
        assert not errors, errors
        self.engine = engine_of(self.definitions)
        self.state = self.engine.create()
        self.answers = answers or (lambda element, variables: {})
        self.now = 1_000_000.0
        self.journal: list[tuple[float, bytes]] = []
        self.trace: list[tuple[str, str]] = []
        self.sent: list[Send | Broadcast] = []
        self.stored: list[Store] = []
        self.runs: list[str] = []
        self.stopped: list[int] = []

    def start(self, **variables: Any) -> Play:
        return self.apply(Start(variables))

    def apply(self, event: AnyEvent) -> Play:
        body = msgspec.json.encode(event)
        self.journal.append((self.now, body))
        outcome = self.engine.apply(self.state, msgspec.json.decode(body, type=AnyEvent), self.now)
        self.trace += [(each.element, each.event) for each in outcome.trace]
        for effect in outcome.effects:
            self._act(effect)
        return self

    def _act(self, effect: AnyEffect) -> None:
        if isinstance(effect, Stop):
            self.stopped.append(effect.id)
        elif isinstance(effect, Send | Broadcast):
            self.sent.append(effect)
        elif isinstance(effect, Store):
            self.stored.append(effect)
        elif isinstance(effect, Run):
            self._run(effect)

    def _run(self, effect: Run) -> None:
        activation = self.state.activations.get(effect.id)
        if activation is None or activation.status != "working":
            return
        self.runs.append(activation.node)
        variables = self.state.visible(activation.local or activation.scope)
        answer = self.answers(activation.node, dict(variables))
        if answer is None:
            return
        if isinstance(answer, dict):
            self.apply(Complete(effect.id, answer))
        elif answer.startswith("!"):
            self.apply(Throw(effect.id, answer[1:]))
        else:
            self.apply(Fail(effect.id, answer))

    def find(self, element: str, role: str | None = None) -> int:
        found = [
            each.id
            for each in self.state.activations.values()
            if each.node == element and (role is None or each.role == role)
        ]
        assert found, f"{element} is not active"
        return found[-1]

    def complete(self, element: str, **variables: Any) -> Play:
        return self.apply(Complete(self.find(element), variables))

    def receive(self, element: str, **variables: Any) -> Play:
        return self.apply(Receive(self.find(element), variables))

    def signal(self, name: str) -> Play:
        return self.apply(Signal(name))

    def tick(self) -> Play:
        """Let the next timer fire."""
        due = [(a.due, a.id) for a in self.state.activations.values() if a.due is not None]
        assert due, "no timer"
        self.now, activation = min(due)
        return self.apply(Fire(activation))

    def completed(self, *elements: str) -> list[str]:
        done = [element for element, event in self.trace if event == "completed"]
        return [each for each in done if not elements or each in elements]

    @property
    def variables(self) -> dict[str, Any]:
        return next(each.variables for each in self.state.scopes.values() if not each.parent)

    def replayed(self, events: int | None = None) -> State:
        state = self.engine.create()
        for at, body in self.journal[:events]:
            self.engine.apply(state, msgspec.json.decode(body, type=AnyEvent), at)
        return state


@pytest.fixture(name="diagram")
def _diagram() -> Callable[..., str]:
    return diagram


@pytest.fixture(name="arrows")
def _arrows() -> Callable[..., str]:
    return arrows


@pytest.fixture
def play() -> Callable[..., Play]:
    """Play a diagram: body, flows, and what its scripts answer."""

    def make(body: str, flows: str, answers: Any = None, roots: str = ROOTS) -> Play:
        return Play(diagram(body, flows, roots), answers)

    return make


@pytest.fixture
def play_xml() -> Callable[..., Play]:
    """Play a whole document."""
    return Play


@pytest.fixture
def problems(tmp_path: Path) -> Callable[[str], list[str]]:
    """Lint a document; return `rule element` of each problem."""

    def find(xml: str) -> list[str]:
        definitions = parse_text(xml.encode(), tmp_path / "test.bpmn")
        return [f"{each.rule} {each.element}" for each in lint(definitions, tmp_path)]

    return find


@pytest.fixture
def as_json() -> Callable[[State], Any]:
    return lambda state: json.loads(msgspec.json.encode(state))


@pytest.fixture(scope="session")
def engines(tmp_path_factory):
    """Return a folder with the FEEL and DMN engines of others, and programs that ask them."""
    if not (shutil.which("mvn") and shutil.which("javac")):
        pytest.skip("needs maven and a JDK: apt install maven default-jdk-headless")
    folder = tmp_path_factory.mktemp("engines")
    programs = ("Answers.java", "Decide.java")
    for name in ("pom.xml", *programs):
        shutil.copy(Path(__file__).parent / "expressions/feel/engines" / name, folder)
    maven = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"]
    installing.fetch(maven, folder)
    subprocess.run(["javac", "-cp", "lib/*", *programs], cwd=folder, check=True)
    return folder

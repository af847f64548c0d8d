"""Scenarios: what a run of a diagram meets, and what is expected of it; files of JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from mlkit.errors import BadData, InputMissing

_WIDTH = 100
START = "2030-01-01T00:00:00Z"


class Mock(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a task does instead of its work: set variables, throw a BPMN error, or fail."""

    set: dict[str, Any] = {}
    error: str = ""
    fail: str = ""
    message: str = ""


class Answer(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What somebody does with a user task, `after` a while that it has waited.

    Attributes:
        task: The id of its element.
        after: An ISO 8601 duration.
        set: The values of its form.
        approve: Approve or reject, instead of values.
    """

    task: str
    after: str = "PT0S"
    set: dict[str, Any] = {}
    approve: bool | None = None
    comment: str | None = None


class Message(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A message from outside, `after` the begin of the run."""

    name: str
    after: str = "PT0S"
    key: str = ""
    set: dict[str, Any] = {}


class Signal(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A signal from outside, `after` the begin of the run."""

    name: str
    after: str = "PT0S"
    set: dict[str, Any] = {}


class Decided(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a decision of a task must have had and returned; what is not stated is not checked.

    Attributes:
        inputs: Values of its inputs; others may be there.
        required: Values of the decisions that it required; others may be there.
        rules: The numbers of the rules that matched, by the name of the decision.
        output: The value that the task got.
        error: A part of the message of a decision that failed.
    """

    inputs: dict[str, Any] = {}
    required: dict[str, Any] = {}
    rules: dict[str, list[int]] = {}
    output: Any = msgspec.UNSET
    error: str = ""


class Expectation(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How a run must end; what is not stated is not checked.

    Attributes:
        state: `completed`, `failed`, `waiting`, `incident`.
        trace: The elements that completed, in order, all of them.
        passes: Elements that completed in this order, others between them or not.
        avoids: Elements that must not complete.
        terminated: The elements that something else ended, in order, all of them.
        variables: Variables with their values; others may be there.
        holds: Python expressions over the variables that must be true.
        waiting: The elements that wait, in any order.
        incidents: The elements with an incident, in any order.
        error: The code of the uncaught error.
        stores: Data stores with their values; others may be there.
        decisions: What was decided, by the task; a list where it decided several times.
    """

    state: str | None = None
    trace: list[str] | None = None
    passes: list[str] = []
    avoids: list[str] = []
    terminated: list[str] | None = None
    variables: dict[str, Any] = {}
    holds: list[str] = []
    waiting: list[str] | None = None
    incidents: list[str] | None = None
    error: str | None = None
    stores: dict[str, Any] = {}
    decisions: dict[str, Decided | list[Decided]] = {}


class Scenario(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One run and what is expected of it.

    Attributes:
        diagram: The file, beside the scenario.
        name: What it shows.
        start: The date at which the simulated clock begins.
        until: Timers later than this duration after the start do not fire.
        variables: The first variables.
        stores: What data stores hold at the start.
        key: The business key.
        message: Start at the event of this message.
        tasks: Names of service tasks, to `module:function`.
        mocks: What tasks do instead of their work, by element; of a list each start takes the
            next one, and the last one stays.
    """

    diagram: str
    expect: Expectation
    name: str = ""
    start: str = START
    until: str | None = None
    variables: dict[str, Any] = {}
    stores: dict[str, Any] = {}
    key: str = ""
    message: str | None = None
    tasks: dict[str, str] = {}
    mocks: dict[str, Mock | list[Mock]] = {}
    answers: list[Answer] = []
    messages: list[Message] = []
    signals: list[Signal] = []


def load(path: Path) -> list[Scenario]:
    """Read a file that holds a scenario, or a list of them.

    Raises:
        InputMissing: It cannot be read.
        BadData: It is not JSON, or not as described here.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputMissing(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: not UTF-8 text", hint="save it as UTF-8") from error
    except ValueError as error:
        raise BadData(f"{path}: not JSON: {error}") from error
    try:
        found = msgspec.convert(document if isinstance(document, list) else [document],
                                list[Scenario])  # fmt: skip
    except msgspec.ValidationError as error:
        raise BadData(f"{path}: {error}", hint="see docs/bpmn-guide.md, Scenarios") from error
    if not found:
        raise BadData(f"{path}: there is no scenario in it")
    return found


def text(scenario: Scenario) -> str:
    """Return a scenario as a file has it: objects and lists in a line where they fit into one."""
    found = msgspec.to_builtins(scenario)
    first, last = {"name": scenario.name}, {"expect": found.pop("expect")}
    return _lines({**first, **found, **last}, "") + "\n"


def _lines(value: Any, indent: str) -> str:
    short = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(short) <= _WIDTH or not isinstance(value, dict | list):
        return short
    deeper = indent + "  "
    if isinstance(value, list):
        return _block("[]", [deeper + _lines(each, deeper) for each in value], indent)
    entries = [
        f"{deeper}{json.dumps(key, ensure_ascii=False)}: {_lines(each, deeper)}"
        for key, each in value.items()
    ]
    return _block("{}", entries, indent)


def _block(brackets: str, entries: list[str], indent: str) -> str:
    inside = ",\n".join(entries)
    return f"{brackets[0]}\n{inside}\n{indent}{brackets[1]}"

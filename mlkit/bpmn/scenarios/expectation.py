"""Compare a run with what a scenario expects of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from mlkit.bpmn.expressions import Expression, ExpressionError
from mlkit.bpmn.scenarios.scenario import Decided, Expectation

_MISSING = object()


def differences(expect: Expectation, found: dict[str, Any]) -> list[str]:
    """Return where a run is not as expected, a line each.

    Args:
        expect: What is expected.
        found: The run's document.
    """
    completed = elements(found, "completed")
    return [
        *_differs("state", expect.state, found["state"]),
        *_differs("error", expect.error, (found["error"] or {}).get("code")),
        *_differs("trace", expect.trace, completed),
        *_passes(expect.passes, completed),
        *(f"{each!r} completed, which it must not" for each in expect.avoids if each in completed),
        *_differs("terminated", expect.terminated, elements(found, "terminated")),
        *_places("waiting", expect.waiting, found["waiting"]),
        *_places("incidents", expect.incidents, found["incidents"]),
        *_values("variable", expect.variables, found["variables"]),
        *_values("store", expect.stores, found.get("stores", {})),
        *_decisions(expect.decisions, found["decisions"]),
        *_holds(expect.holds, found),
    ]


def elements(found: dict[str, Any], event: str) -> list[str]:
    """Return the elements of a run's trace that ended in a way, in order."""
    return [each["element"] for each in found["trace"] if each["event"] == event]


def places(found: list[dict[str, Any]]) -> list[str]:
    """Return where a run waits, or has incidents."""
    # A boundary event waits together with its activity: that one is listed for both.
    return sorted({each["element"] for each in found if each.get("type") != "boundaryEvent"})


def _differs(what: str, expected: Any, actual: Any) -> Iterator[str]:
    if expected is not None and expected != actual:
        yield f"{what}: expected {_short(expected)}, is {_short(actual)}"


def _places(what: str, expected: list[str] | None, found: list[dict[str, Any]]) -> Iterator[str]:
    wanted = None if expected is None else sorted(set(expected))
    yield from _differs(what, wanted, places(found))


def _passes(expected: list[str], completed: list[str]) -> Iterator[str]:
    rest = iter(completed)
    for each in expected:
        if each not in rest:
            where = "at its place" if each in completed else "at all"
            yield f"passes: {each!r} did not complete {where}, in {_short(completed)}"
            return


def _values(what: str, expected: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    for name, value in expected.items():
        actual = found.get(name, _MISSING)
        if actual is _MISSING:
            yield f"{what} {name}: expected {_short(value)}, is not there"
        else:
            yield from _differs(f"{what} {name}", value, actual)
            if value is None and actual is not None:
                yield f"{what} {name}: expected null, is {_short(actual)}"


def _decisions(
    expected: Mapping[str, Decided | list[Decided]], found: list[dict[str, Any]]
) -> Iterator[str]:
    for task, wanted in expected.items():
        several = wanted if isinstance(wanted, list) else [wanted]
        actual = [each for each in found if each["element"] == task]
        if len(several) != len(actual):
            yield f"decisions of {task}: expected {len(several)}, there are {len(actual)}"
        for one, other in zip(several, actual, strict=False):
            yield from _decision(f"decision of {task}", one, other)


def _decision(what: str, expected: Decided, found: dict[str, Any]) -> Iterator[str]:
    yield from _values(f"{what}: input", expected.inputs, found["inputs"])
    yield from _values(f"{what}: required", expected.required, found["decided"])
    matched: dict[str, list[int]] = {}
    for each in found["matched"]:
        matched.setdefault(each["decision"], []).extend(each["rules"])
    yield from _values(f"{what}: rules of", expected.rules, matched)
    if expected.output is not msgspec.UNSET:
        yield from _values(what, {"output": expected.output}, found)
    if expected.error not in (found["error"] or ""):
        yield f"{what}: expected the error {expected.error!r}, is {_short(found['error'])}"


def _holds(expected: list[str], found: dict[str, Any]) -> Iterator[str]:
    variables = found["variables"]
    moments = [datetime.fromisoformat(each["at"]) for each in found["trace"]]
    now = max(moments, default=datetime.now(UTC))
    for each in expected:
        try:
            value = Expression(each, "python").evaluate(variables.__getitem__, now)
        except ExpressionError as error:
            yield f"holds: {each}: {error.message}"
            continue
        if value is not True:
            yield f"holds: {each}: is {_short(value)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 400 else f"{text[:397]}..."

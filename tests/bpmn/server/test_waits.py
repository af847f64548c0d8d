"""Why an instance waits, in one sentence, for everything that it may wait for."""

from __future__ import annotations

import pytest

from mlkit.bpmn.people.directory import Directory, Member
from mlkit.bpmn.server.console.waits import sentence

DUE = "2026-01-31T12:00:00.000Z"
PEOPLE = Directory([Member("ann", "Ann Lee", "ann@example.org")])
PLACE = {"id": 3, "element": "x", "name": "Check"}
PERSON = {"for": "person", "assignee": None, "users": [], "groups": []}


def instance(state: str = "waiting", **more):
    return {"state": state, "error": None, "ended": DUE, "incidents": [], "tokens": [],
            "waiting": [], **more}  # fmt: skip


@pytest.mark.parametrize(
    ("wait", "whom"),
    [
        ({**PERSON, "assignee": "ann"}, "Ann Lee"),
        ({**PERSON, "users": ["ann", "bob"], "groups": ["owners"]}, "Ann Lee or bob or owners"),
        (PERSON, "anybody"),
        ({"for": "timer", "due": DUE}, "the time 2026-01-31 12:00:00 UTC"),
        ({"for": "retry", "due": DUE}, "the next attempt, at 2026-01-31 12:00:00 UTC"),
        ({"for": "message", "message": "paid", "key": "7"}, "the message 'paid' with the key '7'"),
        ({"for": "message", "message": "paid", "key": ""}, "the message 'paid'"),
        ({"for": "signal", "signal": "stop"}, "the signal 'stop'"),
        ({"for": "condition"}, "its condition to hold"),
        ({"for": "worker", "topic": "gpu"}, "an external worker of the topic 'gpu'"),
        ({"for": "start", "activities": ["a", "b"]}, "somebody to start one of a, b"),
        ({"for": "several"}, "one of several events"),
    ],
)
def test_for_whom_or_what_it_waits(wait, whom):
    shown = instance(waiting=[{**PLACE, **wait}])
    assert sentence(shown, PEOPLE) == f"It waits for {whom} (at Check)."


def test_several_waits_are_counted():
    waits = [{**PLACE, "name": None, "element": f"e{n}", "for": "condition"} for n in range(5)]
    said = sentence(instance(waiting=waits), PEOPLE)
    assert said.startswith("It waits for its condition to hold (at e0); for its condition")
    assert said.endswith("(at e2), and for 2 more.")


def test_incidents_come_before_everything_else():
    stopped = [{**PLACE, "message": "ValueError: no rows.\nTraceback"}, PLACE | {"message": "y"}]
    said = sentence(instance("incident", incidents=stopped, waiting=[PERSON | PLACE]), PEOPLE)
    assert said == (
        "It stopped at Check and at 1 more place and needs somebody: ValueError: no rows."
    )


def test_what_runs_is_named_and_an_end_has_its_time_and_reason():
    tokens = [{**PLACE, "status": "working", "attempt": 1}]
    assert sentence(instance("running", tokens=tokens), PEOPLE) == "It runs Check."
    assert sentence(instance("running"), PEOPLE) == "It is about to continue."
    at = "2026-01-31 12:00:00 UTC"
    assert sentence(instance("completed"), PEOPLE) == f"It completed at {at}."
    error = {"code": "BAD", "message": "no money"}
    assert sentence(instance("failed", error=error), PEOPLE) == f"It failed at {at}: BAD: no money."

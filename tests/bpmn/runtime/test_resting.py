"""States of instances that rest: the same as a replay gives, never older, and bounded."""

from __future__ import annotations

from msgspec import structs

from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.runtime.resting import RestingStates
from mlkit.bpmn.runtime.running import Running


def row(number: int, sequence: int) -> Row:
    return Row(number, f"{number:08x}", "p", "d", {}, "", "waiting", 1, sequence, 1.0, 1.0)


def left(number: int, sequence: int, **fields) -> Running:
    state = State("p", **fields)
    return Running(None, state, number, f"{number:08x}", row=row(number, 0), sequence=sequence)


def test_a_state_is_given_back_once_as_it_was_left():
    kept = RestingStates()
    running = left(1, 3, key="k")
    kept.keep(running)
    running.state.key = "changed since"
    found = kept.take(row(1, 3))
    assert found is not None
    assert (found.state, found.after, found.events) == (State("p", key="k"), 3, [])
    assert kept.take(row(1, 3)) is None


def test_a_state_that_another_process_has_moved_on_is_not_used():
    kept = RestingStates()
    kept.keep(left(1, 3))
    assert kept.take(structs.replace(row(1, 3), sequence=4)) is None
    assert (kept.take(row(1, 3)), kept.take(row(2, 0))) == (None, None)


def test_those_left_first_are_forgotten_first_and_large_ones_are_not_kept():
    kept = RestingStates(most=10_000)
    for number in range(1, 101):
        kept.keep(left(number, 1, key="k" * 50))
    assert 10 < len(kept) < 50
    assert kept.take(row(1, 1)) is None
    assert kept.take(row(100, 1)) is not None
    before = len(kept)
    kept.keep(left(200, 1, key="k" * 2_000))
    assert (len(kept), kept.take(row(200, 1))) == (before, None)
    kept.keep(left(99, 2))
    assert len(kept) == before
    found = kept.take(row(99, 2))
    assert found is not None
    assert found.after == 2

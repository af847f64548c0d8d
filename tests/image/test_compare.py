"""The comparison of runs, without an engine."""

from __future__ import annotations

import pytest

from mlkit.image.compare import compare, settle, verdict
from mlkit.image.observation import Observation


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ((True, True, True), True, "equal"),
        ((True, True, True), False, "broken"),
        ((True, True, True), None, "broken"),
        ((False, False, False), True, "improved"),
        ((True, False, True), False, "equal"),
        ((None, None, None), None, "equal"),
    ],
)
def test_a_health_check_that_stops_holding_is_a_break(ours, theirs, said):
    originals = [Observation(healthy=each) for each in ours]
    found = compare(originals, Observation(healthy=theirs))
    assert verdict(found) == said
    assert {each.what for each in found} <= {"health check"}


def test_where_only_times_differ_both_are_run_again():
    quick, slow = Observation(ready=0.1), Observation(ready=9.0)
    theirs, found = settle([quick] * 3, lambda: slow, lambda: slow)
    assert theirs is slow
    assert found == [], "the original is as slow now"
    _, found = settle([quick] * 3, lambda: quick, lambda: slow)
    assert [each.what for each in found] == ["ready time"]

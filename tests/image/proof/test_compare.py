"""The comparison of runs, without an engine."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from dataclasses import replace

import pytest

from mlkit.image.proof.compare import alike, compare, settle, verdict
from mlkit.image.run.inspector import Process
from mlkit.image.run.observation import Observation
from mlkit.image.run.probe import Answer
from mlkit.image.run.together import Together


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


def listing(rng, count, text="constant text"):
    """Return a body whose entries hold a word that is another one each time."""
    words = ("".join(rng.choices("abcdefghijkl0123", k=12)) for _ in range(count))
    return json.dumps([{"id": n, "token": each, "name": text} for n, each in enumerate(words)])


@pytest.mark.parametrize("count", [3, 60, 2000])
def test_noise_in_many_places_is_learned_and_nothing_else(count):
    rng = random.Random(count)
    originals = [listing(rng, count) for _ in range(3)]
    assert alike(originals, listing(rng, count))
    assert not alike(originals, listing(rng, count) + "Traceback")
    assert not alike(originals, listing(rng, count, "another text"))
    assert not alike(originals, listing(rng, count + 1)[:-40])


def test_texts_with_many_gaps_are_compared_at_once():
    rng = random.Random(1)
    originals = [" ".join(rng.choices("aaaaaaaab", k=900 + n)) for n in range(3)]
    assert not alike(originals, " ".join(["a"] * 900) + " c c d")


def test_long_texts_that_share_little_tell_nothing():
    originals = ["".join(random.Random(n).choices("ghijkl ", k=5000)) for n in range(3)]
    assert not alike(originals, "".join(random.Random(4).choices("ghijkl ", k=5000)))
    assert alike(["ghij", "klmn", "opqr"], "stuv")


def test_a_busy_machine_slows_both_and_decides_nothing():
    quick, slow = Observation(ready=0.1, stop=0.1), Observation(ready=9.0, stop=9.0)
    theirs, found = settle([quick] * 3, lambda: slow, lambda: slow)
    assert theirs == slow
    assert found == [], "the original is as slow now"


def test_the_best_of_each_is_compared_where_load_comes_and_goes():
    quick, slow = Observation(ready=0.1), Observation(ready=9.0)
    ours, theirs = iter([quick, slow, slow, slow]), iter([slow, slow, slow, slow, quick])
    assert settle([quick] * 3, lambda: next(ours), lambda: next(theirs)) == (quick, [])
    ours = iter([quick, slow, slow, slow])  # slow at times is no excuse for what is always slow
    _, found = settle([quick] * 3, lambda: next(ours), lambda: slow)
    assert [each.what for each in found] == ["ready time"]


def test_a_candidate_that_is_slow_beside_a_quick_original_is_broken():
    quick, slow = Observation(ready=0.1, stop=0.1), Observation(ready=9.0, stop=9.0)
    runs = iter([slow, replace(slow, ready=3.0), slow, slow, slow])
    theirs, found = settle([quick] * 3, lambda: quick, lambda: next(runs))
    assert (theirs.ready, theirs.stop) == (3.0, 9.0)
    assert [each.what for each in found] == ["ready time", "stop time"]


def test_a_break_of_another_kind_ends_the_attempts():
    quick, slow = Observation(ready=0.1), Observation(ready=9.0)
    runs = iter([slow, Observation(problem="it does not start")])
    _, found = settle([quick] * 3, lambda: quick, lambda: next(runs))
    assert [each.what for each in found] == ["start"]


ROOT = Process(1, 0, "S", "0:0")


@pytest.mark.parametrize("broken", [{"app": ROOT}, {"healthy": False}])
def test_a_busy_machine_adds_nothing_to_a_break_of_another_kind(broken):
    quick = Observation(ready=0.1, healthy=True, app=replace(ROOT, user="1000"))
    slow = replace(quick, ready=9.0)
    _, found = settle([quick] * 3, lambda: slow, lambda: replace(slow, **broken))
    assert [each.what for each in found if each.what in {"ready time", "stop time"}] == []
    assert verdict(found) == "broken"


def test_what_one_run_breaks_stays_though_the_next_ones_are_right():
    quick = Observation(ready=0.1, healthy=True)
    runs = iter([replace(quick, ready=9.0, healthy=False), quick])
    _, found = settle([quick] * 3, lambda: quick, lambda: next(runs))
    assert [each.what for each in found] == ["health check"]


def test_who_does_not_answer_is_not_waited_for_again():
    quick = Observation(ready=0.1, answers=[Answer("http:/", True, 200)])
    silent = Observation(ready=60.0, answers=[Answer("http:/", False, problem="no answer")])
    runs = iter([silent])
    _, found = settle([quick] * 3, lambda: quick, lambda: next(runs))
    assert verdict(found) == "broken"


def test_both_are_measured_at_the_same_time_where_that_is_allowed():
    meeting = threading.Barrier(2, timeout=60)  # who runs alone waits for nobody
    started = iter([False, True, True, True, True])

    def ours():
        meeting.wait()
        return Observation(ready=9.0)

    def theirs():
        if next(started):
            meeting.wait()
        return Observation(ready=9.0)

    with contextlib.closing(Together(None, one_at_a_time=False)) as together:
        assert settle([Observation(ready=0.1)] * 3, ours, theirs, together.both)[1] == []


def test_no_two_run_at_once_where_that_is_forbidden():
    running = []

    def run():
        running.append(1)
        assert running == [1]
        running.pop()
        return Observation(ready=9.0)

    with contextlib.closing(Together(None, one_at_a_time=True)) as together:
        assert settle([Observation(ready=0.1)] * 3, run, run, together.both)[1] == []


def answered(uptime, length=None):
    body = json.dumps({"status": "ok", "uptime": uptime}).encode()
    headers = {"content-length": str(length or len(body))}
    return Observation(answers=[Answer("http:/", True, 200, headers, body)])


def test_the_length_of_a_body_that_varies_is_noise():
    originals = [answered(each) for each in (11.25, 13.75, 12.5)]
    assert compare(originals, answered(9.5)) == []
    same = [answered(1)] * 3
    assert [each.what for each in compare(same, answered(1, 7))] == ["probe http:/: content-length"]


def looked(**addresses):
    return Observation(look={f"address of {name}": each for name, each in addresses.items()})


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (["10.0.0.2"] * 3, "10.0.0.3", "broken"),
        (["10.0.0.2", "10.0.0.3", "10.0.0.4"], "10.0.0.5", "equal"),
        (["10.0.0.2", "10.0.0.3", "10.0.0.4"], "Name or service not known", "broken"),
        (["10.0.0.2"] * 3, "10.0.0.2 10.0.0.3", "equal"),
    ],
)
def test_a_name_has_the_address_that_it_had(ours, theirs, said):
    assert verdict(compare([looked(db=each) for each in ours], looked(db=theirs))) == said


def test_each_container_has_an_address_of_its_own():
    ours = [Observation(look={"address of the host": "10.0.0.2"})] * 3
    assert compare(ours, Observation(look={"address of the host": "10.0.0.3"})) == []


def _file(etag, time, body=b"x"):
    headers = {"etag": etag} | ({"last-modified": time} if time else {})
    return Observation(answers=[Answer("http:80/", True, 200, headers, body)])


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (("1", "Mon"), ("2", "Mon"), "equal"),
        (("1", "Mon"), ("1", "Thu"), "broken"),
        (("1", "Mon"), ("2", "Thu"), "broken"),
        (("1", None), ("2", None), "broken"),
        (("1", "Mon"), ("2", "Mon", b"y"), "broken"),
    ],
)
def test_an_etag_may_follow_from_an_inode_where_the_time_is_the_same(ours, theirs, said):
    assert verdict(compare([_file(*ours)] * 3, _file(*theirs))) == said


@pytest.mark.parametrize(
    ("ours", "theirs", "code", "said"),
    [
        (["usage\n-a all"] * 3, "usage\n-a all", 0, "equal"),
        (["usage\n-a all"] * 3, "usage", 0, "broken"),
        (["took 3 s"] * 3, "took 5 s", 0, "equal"),
        (["one\nat random", "one\nof two"], "one", 0, "equal"),
        (["started"] * 2, "", None, "equal"),
    ],
)
def test_the_output_of_a_command_that_ends_is_what_it_is_for(ours, theirs, code, said):
    originals = [Observation(exit_code=code, log=each) for each in ours]
    assert verdict(compare(originals, Observation(exit_code=code, log=theirs))) == said


def test_times_are_those_of_runs_that_had_the_machine_for_themselves():
    originals = [Observation(ready=1.0), *[Observation(ready=9.0, crowded=True)] * 2]
    assert verdict(compare(originals, Observation(ready=8.0))) == "broken"
    assert verdict(compare(originals[1:], Observation(ready=8.0))) == "equal"
    assert verdict(compare(originals, Observation(ready=1.5))) == "equal"

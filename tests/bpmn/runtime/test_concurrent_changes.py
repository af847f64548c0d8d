"""What is known of a working folder that tasks of an instance share while they run."""

from __future__ import annotations

import pytest

from mlkit.bpmn.engine.state import State
from mlkit.bpmn.engine.work_file import WorkFile
from mlkit.bpmn.runtime.concurrent_changes import receive, settle
from mlkit.bpmn.runtime.running import Running
from mlkit.workers.pool import Result


@pytest.fixture
def parallel(tmp_path):
    """Return an instance of which two tasks run, 1 and 2, and how the result of one is settled."""
    running = Running(None, State("p"), 1, "i", {"work": str(tmp_path)})
    running.jobs.update({1: 1, 2: 2})

    def conclude(activation, files):
        del running.jobs[activation]
        result = Result(activation, "completed", files=files)
        changed = settle(running, activation, result, True)
        running.state.files.update({path: e for path, e in changed.items() if e is not None})
        return changed

    return running, conclude


def made(digit, changed):
    """Return a file of a result: its hash, by a digit, and the time when it was changed."""
    return (digit * 64, 2, 0o600, changed)


def test_the_newer_content_counts_whichever_result_comes_first(parallel, tmp_path):
    (tmp_path / "x").write_text("v2")
    running, conclude = parallel
    conclude(1, {"x": made("2", 200)})
    assert conclude(2, {"x": made("1", 100)}) == {}
    assert running.state.files["x"].hash == "2" * 64


def test_an_older_content_is_replaced_by_a_newer_one(parallel, tmp_path):
    (tmp_path / "x").write_text("v2")
    _, conclude = parallel
    conclude(1, {"x": made("1", 100)})
    assert conclude(2, {"x": made("2", 200)}) == {"x": WorkFile("2" * 64, 2, 0o600)}


def test_a_clock_that_is_set_back_hides_no_later_task(parallel, tmp_path):
    (tmp_path / "x").write_text("v2")
    running, conclude = parallel
    conclude(2, {})
    conclude(1, {"x": made("1", 200)})
    running.jobs[3] = 3
    assert conclude(3, {"x": made("2", 100)}) == {"x": WorkFile("2" * 64, 2, 0o600)}


def test_what_has_gone_since_a_result_is_not_added(parallel):
    _, conclude = parallel
    conclude(1, {})  # It has removed what the other one had found.
    assert conclude(2, {"x": made("1", 100)}) == {}


def test_a_file_takes_the_place_of_a_folder_and_a_folder_that_of_a_file(parallel):
    running, conclude = parallel
    old = WorkFile("1" * 64, 2, 0o600)
    running.state.files.update({"out": old, "in/x": old, "in/y/": WorkFile("", 0, 0o700)})
    changed = conclude(1, {"out/x": made("2", 1), "in": made("3", 1)})
    assert {path for path, each in changed.items() if each is None} == {"out", "in/x", "in/y/"}
    assert {path for path, each in changed.items() if each} == {"out/x", "in"}


def test_what_a_worker_elsewhere_has_changed_is_kept_though_it_is_not_here(parallel, tmp_path):
    (tmp_path / "x").write_text("v2")
    running, conclude = parallel
    far = WorkFile("3" * 64, 2, 0o600)
    running.state.files.update(receive(running, {"far": far, "x": far}, 1.5e-7))
    assert conclude(1, {"x": made("1", 100)}) == {}
    assert conclude(2, {"x": made("2", 200)}) == {"x": WorkFile("2" * 64, 2, 0o600)}
    assert running.state.files["far"] == far
    assert not running.has_folder


def test_a_folder_in_the_place_of_a_file_is_settled_for_workers_elsewhere_too(parallel):
    running, _ = parallel
    file = WorkFile("3" * 64, 2, 0o600)
    running.state.files["a"] = file
    assert receive(running, {"a/b": file}, 1.0) == {"a/b": file, "a": None}

"""Scripts in worker processes: what they see, what they publish, how they fail."""

from __future__ import annotations

import sys
import time

import pytest

from mlkit.errors import ServiceUnavailable
from mlkit.workers.pool import Limits, ScriptPool

JOB = {
    "kind": "script", "result": None, "element": "w", "instance": "i",
    "iteration": "", "attempt": 1, "key": "i/w/", "folder": "", "work": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def shared():
    pool = ScriptPool(2)
    yield pool
    pool.close()


def run(pool, source, **variables):
    job = pool.submit({**JOB, "source": source, "variables": variables})
    return gather(pool, [job])[job]


def gather(pool, jobs):
    found = {}
    deadline = time.monotonic() + 180
    while len(found) < len(jobs):
        assert time.monotonic() < deadline, "the pool hangs"
        for result in pool.wait(1.0):
            found[result.job] = result
    return found


@pytest.mark.parametrize(
    ("source", "variables", "published"),
    [
        ("y = x + 1", {"x": 1}, {"y": 2}),
        ("_hidden = 1\nimport math\ndef f(): return 1\nclass C: pass\ny = f()", {}, {"y": 1}),
        ("x.append(4)", {"x": [1], "z": [2]}, {"x": [1, 4]}),
        ("x['a']['b'] = 2", {"x": {"a": {}}}, {"x": {"a": {"b": 2}}}),
        ("x = x", {"x": 1, "y": 2}, {"x": 1}),
        ("def f():\n  global y\n  y = 2\nf()", {"x": 1}, {"y": 2}),
        ("execution.setVariable('a', execution.getVariable('x'))", {"x": 5}, {"a": 5}),
        (
            "a = execution.getId() == execution.id == execution.getProcessInstanceId()",
            {},
            {"a": True},
        ),
        ("from datetime import date\nd = date(2026, 1, 2)", {}, {"d": {"$date": "2026-01-02"}}),
        ("from decimal import Decimal\nd = Decimal('1.10')", {}, {"d": {"$decimal": "1.10"}}),
        (
            "d = d.replace(year=2030)",
            {"d": {"$date": "2026-01-02"}},
            {"d": {"$date": "2030-01-02"}},
        ),
        ("t = (1, 2)", {}, {"t": [1, 2]}),
        ("del y\nz = 1", {"y": 2}, {"z": 1}),
        ("  a = 1\n  b = 2", {}, {"a": 1, "b": 2}),
        ("xs = [n * k for n in range(2) for k in [x]]", {"x": 3}, {"xs": [0, 3], "n": None}),
    ],
)
def test_what_a_script_publishes(shared, source, variables, published):
    result = run(shared, source, **variables)
    assert result.outcome == "completed", result.stderr
    published.pop("n", None)
    assert result.variables == published


def test_values_that_are_no_json_travel_as_artifacts(shared):
    first = run(shared, "import numpy as np\na = np.arange(3.0)\ns = np.float64(0.5)")
    reference = first.variables["a"]
    assert first.variables["s"] == 0.5
    assert reference["kind"] == "numpy.ndarray"
    second = run(shared, "total = float(a.sum())", a=reference)
    assert second.variables == {"total": 3.0}
    changed = run(shared, "a[0] = 9", a=reference)
    assert changed.variables["a"]["$artifact"] != reference["$artifact"]


def test_what_cannot_be_stored_is_skipped_with_a_warning(shared):
    result = run(shared, "f = open('/dev/null')\ny = 1")
    assert result.variables == {"y": 1}
    assert "warning: f is not published" in result.stderr


def test_a_value_that_becomes_unstorable_in_place_is_skipped_too(shared):
    result = run(shared, "x.append(lambda: 1)\ny = 1", x=[1])
    assert (result.outcome, result.variables) == ("completed", {"y": 1})
    assert "warning: x is not published" in result.stderr


def test_a_value_that_cannot_be_read_harms_only_who_needs_it(shared):
    model = {"$artifact": "0" * 64, "size": 1, "kind": "lm", "format": "rds"}
    result = run(shared, "y = execution.getVariable('x') + 1", x=1, model=model)
    assert result.variables == {"y": 2}
    assert "warning: model is not passed: " in result.stderr
    assert run(shared, "y = model", model=model).outcome == "failed"


def test_what_a_script_does_to_its_process_is_undone_for_the_next_one():
    pool = ScriptPool(1)
    try:
        for spoilt in (
            "import sys\nsys.stdout.close()",
            "import io, sys\nsys.stdout = io.StringIO()",
            "import os, tempfile\nos.chdir(tempfile.mkdtemp())\nos.rmdir(os.getcwd())",
        ):
            assert run(pool, spoilt).outcome == "completed"
            assert run(pool, "print('here')").stdout == "here\n"
    finally:
        pool.close()


def test_an_exception_without_a_text_is_a_failure_like_others(shared):
    source = "class E(Exception):\n  def __str__(self): return 1 / 0\nraise E()"
    assert run(shared, source).message == ("line 3: E: its text cannot be had: ZeroDivisionError")
    assert len(run(shared, "raise ValueError('x' * 10**6)").message) < 11_000


def test_printing_is_kept_also_that_of_subprocesses(shared):
    source = "import subprocess, sys\nprint('one')\nsubprocess.run(['echo', 'two'])\n"
    result = run(shared, source + "print('three', file=sys.stderr)")
    assert (result.stdout, result.stderr) == ("one\ntwo\n", "three\n")
    assert run(shared, "pass").stdout == ""


def test_errors_and_failures(shared):
    thrown = run(shared, "raise BpmnError('CODE', 'text')")
    assert (thrown.outcome, thrown.code, thrown.message) == ("error", "CODE", "text")
    failed = run(shared, "x = 1\ny = 1 / 0")
    assert (failed.outcome, failed.message) == (
        "failed",
        "line 2: ZeroDivisionError: division by zero",
    )
    assert failed.variables == {}
    assert 'File "w", line 2' in failed.stderr
    assert run(shared, "import sys; sys.exit(3)").message.endswith("SystemExit: 3")


def test_a_script_that_kills_its_process_fails_alone(shared):
    died = run(shared, "print('last words', flush=True)\nimport os\nos.kill(os.getpid(), 9)")
    assert died.outcome == "failed"
    assert "signal 9" in died.message
    assert died.stdout == "last words\n"
    assert died.stderr.endswith("signal 9\n")
    assert died.duration > 0
    assert died.peak > 1_000_000
    assert run(shared, "y = 1").variables == {"y": 1}


def test_short_scripts_that_travel_together_keep_their_results_when_one_kills_the_worker(tmp_path):
    source = f"""
import os
with open({str(tmp_path / "ran")!r}, "a") as file:
    print(x, file=file)
if x == 5:
    os.kill(os.getpid(), 9)
y = x
"""
    pool = ScriptPool(1)
    assert run(pool, source, x=-1).outcome == "completed"  # Now it is known to be short.
    jobs = [pool.submit({**JOB, "source": source, "variables": {"x": n}}) for n in range(10)]
    results = gather(pool, jobs)
    pool.close()
    assert [results[each].variables.get("y") for each in jobs] == [0, 1, 2, 3, 4, None, 6, 7, 8, 9]
    assert "signal 9" in results[jobs[5]].message
    assert (tmp_path / "ran").read_text().split() == [str(n) for n in range(-1, 10)]


def test_many_results_of_a_batch_arrive_whatever_their_size():
    pool = ScriptPool(1)
    source = "y = 'a' * x"
    assert run(pool, source, x=1).outcome == "completed"
    sizes = [10, 30_000, 200_000, 5, 90_000, 31_000, 1, 20_000, 20_000]
    jobs = [pool.submit({**JOB, "source": source, "variables": {"x": n}}) for n in sizes]
    results = gather(pool, jobs)
    pool.close()
    assert [len(results[each].variables["y"]) for each in jobs] == sizes


@pytest.mark.parametrize(
    "value", [r"'\ud800'", r"['\udcff', 1]", "10**5000", r"{'\udc80': 1}"], ids=str
)
def test_what_json_cannot_hold_reaches_the_next_script_whole(shared, value):
    first = run(shared, f"x = {value}\ny = 1")
    assert first.variables["y"] == 1, first.message
    assert run(shared, f"same = x == {value}", **first.variables).variables == {"same": True}


def test_messages_and_names_that_are_no_text_are_made_printable(shared):
    thrown = run(shared, r"raise BpmnError('\ud800', '\udcff')")
    assert (thrown.code, thrown.message) == (r"\ud800", r"\udcff")
    assert r"\ud800" in run(shared, r"open('\ud800/x')").message
    set_variable = "execution.setVariable"
    named = run(shared, rf"{set_variable}('\ud800', 1); {set_variable}(3, 1); y = 1")
    assert named.variables == {"y": 1}
    assert named.stderr.count("it is not a name") == 2


def test_an_interpreter_without_msgspec_runs_scripts(tmp_path):
    plain = tmp_path / "python"
    plain.write_text(f'#!/bin/sh\nexec "{sys.base_prefix}/bin/python3" -I -S "$@"\n')
    plain.chmod(0o755)
    pool = ScriptPool(1, python=str(plain))
    found = run(pool, "try:\n  import msgspec\n  y = 0\nexcept ImportError:\n  y = x + 2**70", x=1)
    pool.close()
    assert found.variables == {"y": 1 + 2**70}


def test_large_values_travel_too(shared):
    result = run(shared, "y = x + 'b'", x="a" * 500_000)
    assert len(result.variables["y"]) == 500_001


def test_scripts_run_in_parallel(shared):
    # Each waits for the other: only together can they end.
    source = """
import os, time
open(os.path.join(folder, me), "w").close()
while not os.path.exists(os.path.join(folder, other)):
    time.sleep(0.005)
"""
    jobs = [
        shared.submit(
            {**JOB, "source": source, "variables": {"folder": shared.scratch, "me": a, "other": b}}
        )
        for a, b in (("p", "q"), ("q", "p"))
    ]
    assert {each.outcome for each in gather(shared, jobs).values()} == {"completed"}


def test_a_timeout_ends_only_the_late_script():
    pool = ScriptPool(1, limits=Limits(timeout=2))
    try:
        late = run(pool, "import time; time.sleep(60)")
        assert late.message == "stopped after 2 s (--timeout)"
        assert run(pool, "y = 1").variables == {"y": 1}
    finally:
        pool.close()


def test_memory_and_processor_limits():
    pool = ScriptPool(1, limits=Limits(memory=300, cpu=1))
    try:
        assert "MemoryError" in run(pool, "x = bytearray(400_000_000)").message
        hog = run(pool, "while True: pass")
        assert hog.message == "stopped after 1 s of processor time (--cpu)"
    finally:
        pool.close()


def test_peak_memory_is_that_of_the_task_not_of_an_earlier_one():
    pool = ScriptPool(1)
    try:
        child = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'bytearray(10**8)'])"
        rest = "import time\ntime.sleep(0.01)"
        assert run(pool, child).peak > 10**8
        assert run(pool, "x = len(bytearray(10**8))\n" + rest).peak > 10**8
        assert run(pool, rest).peak < 10**8
    finally:
        pool.close()


def test_a_stopped_job_never_ends_and_the_next_one_runs():
    pool = ScriptPool(1)
    try:
        running = pool.submit({**JOB, "source": "import time; time.sleep(60)", "variables": {}})
        queued = pool.submit({**JOB, "source": "y = 1", "variables": {}})
        pool.wait(1.0)
        pool.stop(running)
        last = pool.submit({**JOB, "source": "y = 2", "variables": {}})
        found = gather(pool, [queued, last])
        assert running not in found
        assert found[last].variables == {"y": 2}
    finally:
        pool.close()


def test_secrets_stay_outside(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("ALLOWED", "y")
    pool = ScriptPool(1, limits=Limits(variables=("ALLOWED",)))
    try:
        result = run(
            pool, "import os\na, b = os.environ.get('SECRET_TOKEN'), os.environ['ALLOWED']"
        )
        assert result.variables == {"a": None, "b": "y"}
    finally:
        pool.close()


def test_an_interpreter_that_is_missing():
    with pytest.raises(ServiceUnavailable, match="no such interpreter"):
        ScriptPool(1, python="python-of-nowhere")


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_an_interpreter_that_ends_before_any_script_is_told_and_not_tried_for_ever(tmp_path):
    pool = ScriptPool(1, python=program(tmp_path / "python", "echo too old >&2; exit 3"))
    try:
        with pytest.raises(ServiceUnavailable, match=r"exit status 3, before any script.*too old"):
            run(pool, "y = 1")
    finally:
        pool.close()


def test_the_tasks_of_mlkit_run_in_an_interpreter_without_it(tmp_path):
    bare = f'exec {sys.executable} -S "$@"'
    pool = ScriptPool(1, python=program(tmp_path / "python", bare))
    try:
        assert "No module named 'mlkit'" in run(pool, "import mlkit").message
        job = {**JOB, "kind": "call", "source": "mlkit.bpmn.mail:send", "folder": str(tmp_path)}
        given = {"mail_to": "a@b", "mail_subject": "s", "mail_text": "t",
                 "mail_server": "127.0.0.1:1"}  # fmt: skip
        number = pool.submit({**job, "variables": given})
        assert "ConnectionRefusedError" in gather(pool, [number])[number].message
    finally:
        pool.close()

"""Each task starts from a clean process, and what it starts ends with it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from mlkit.workers.pool import Limits, ScriptPool

JOB = {
    "kind": "script", "result": None, "element": "w", "instance": "i",
    "iteration": "", "attempt": 1, "key": "i/w/", "folder": "", "work": "",
}  # fmt: skip


def submit(pool, source, work="", **variables):
    return pool.submit({**JOB, "source": source, "variables": variables, "work": str(work)})


def result(pool, job):
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        for each in pool.wait(1.0):
            if each.job == job:
                return each
    pytest.fail("the pool hangs")


def run(pool, source, work="", **variables):
    return result(pool, submit(pool, source, work, **variables))


@pytest.fixture(scope="module")
def pool():
    pool = ScriptPool(1)
    yield pool
    pool.close()


@pytest.mark.parametrize(
    ("leaves", "looks"),
    [
        ("import os\nos.environ['TOKEN'] = 't'", "import os\nx = os.environ.get('TOKEN')"),
        ("import os\nos.umask(0o777)", "import os\nx = None if os.umask(0o22) != 0o777 else 1"),
        ("import os\nos.chdir('/')", "import os\nx = 1 if os.getcwd() == '/' else None"),
        (
            "import decimal\ndecimal.getcontext().prec = 3",
            "import decimal\nx = None if decimal.getcontext().prec == 28 else 1",
        ),
        (
            "import decimal as d\nd.setcontext(d.Context(prec=3))",
            "from decimal import Decimal\nx = None if len(str(Decimal(1) / 3)) > 9 else 1",
        ),
        (
            "import sys\nsys.path.append('/nowhere')",
            "import sys\nx = '/nowhere' in sys.path or None",
        ),
        ("import json\njson.dumps = None", "import json\nx = None if json.dumps(1) == '1' else 1"),
        (
            "import json\nsetattr(json, 'dumps', None)",
            "import json\nx = None if json.dumps(1) == '1' else 1",
        ),
        (
            "import json\nvars(json)['dumps'] = None",
            "import json\nx = None if json.dumps(1) == '1' else 1",
        ),
        (
            "import json\njson.__dict__['dumps'] = None",
            "import json\nx = None if json.dumps(1) == '1' else 1",
        ),
        (
            "import builtins\nbuiltins.left = 1",
            "import builtins\nx = getattr(builtins, 'left', None)",
        ),
        (
            "import statistics\nstatistics.random.seed(1)",
            "import random\nx = 1 if random.random() == 0.13436424411240122 else None",
        ),
        (
            "import random\nrandom.seed(1)",
            "import random\nx = 1 if random.random() == 0.13436424411240122 else None",
        ),
        (
            "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.alarm(1)",
            (
                "import time, signal\ntime.sleep(1.5)\n"
                "x = 1 if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN else None"
            ),
        ),
        (
            (
                "import threading, time\n"
                "threading.Thread(target=lambda: (time.sleep(0.5), print('late'))).start()"
            ),
            "import time\ntime.sleep(1)\nx = None",
        ),
        ("def f(): pass\nlen = None", "x = None if len([1]) == 1 else 1"),
    ],
)
def test_a_task_leaves_nothing_to_the_next_one(pool, tmp_path, leaves, looks):
    assert run(pool, leaves, tmp_path).outcome == "completed"
    seen = run(pool, looks, tmp_path)
    assert (seen.outcome, seen.variables, seen.stdout) == ("completed", {"x": None}, "")


def test_tasks_do_not_draw_the_same_numbers(pool):
    for module in ("random", "numpy.random"):
        source = f"from {module} import random\nx = random()"
        assert len({run(pool, source).variables["x"] for _ in range(3)}) == 3


def test_what_is_written_without_closing_reaches_the_file(pool, tmp_path):
    run(pool, "f = open('a', 'w')\nf.write('all')", tmp_path)
    assert (tmp_path / "a").read_text() == "all"


def pids(folder):
    """List the processes whose numbers a task has written, as soon as they are there."""
    deadline = time.monotonic() + 180
    while not (folder / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return [int(each) for each in (folder / "pids").read_text().split()]


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def ended(numbers):
    deadline = time.monotonic() + 180
    while any(map(is_alive, numbers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(is_alive, numbers))


STARTS = """
import os, subprocess
with open('pids', 'w') as file:
    for options in ({}, {'start_new_session': True}):
        child = subprocess.Popen(['sleep', '4321'], **options)
        file.write(f'{child.pid} ')
    # one whose parent is gone, in a session of its own
    shell = 'setsid sleep 4321 >/dev/null 2>&1 & echo $!'
    file.write(subprocess.run(['sh', '-c', shell], stdout=-1, text=True).stdout)
open('ready', 'w').close()
"""


def test_what_a_task_starts_ends_with_it(pool, tmp_path):
    assert run(pool, STARTS, tmp_path).outcome == "completed"
    assert ended(pids(tmp_path))


def test_a_timeout_ends_what_the_task_started(tmp_path):
    pool = ScriptPool(1, limits=Limits(timeout=6))
    try:
        job = submit(pool, STARTS + "import time\ntime.sleep(4321)", tmp_path)
        pool.send()
        numbers = pids(tmp_path)
        late = result(pool, job)
        assert late.message == "stopped after 6 s (--timeout)"
        assert ended(numbers)
        assert run(pool, "x = 1").outcome == "completed"
    finally:
        pool.close()


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
def test_the_end_of_the_engine_ends_what_tasks_started(tmp_path, number):
    waits = STARTS + "import time\ntime.sleep(4321)"
    engine = os.fork()
    if engine == 0:
        try:
            pool = ScriptPool(1)
            submit(pool, waits, tmp_path)
            while True:
                pool.wait(1.0)
        finally:
            os._exit(0)
    try:
        numbers = pids(tmp_path)
    finally:
        os.kill(engine, getattr(signal, number))
        os.waitpid(engine, 0)
    assert ended(numbers)


def test_closing_the_pool_ends_what_tasks_started(tmp_path):
    pool = ScriptPool(1)
    submit(pool, STARTS + "import time\ntime.sleep(4321)", tmp_path)
    pool.send()
    numbers = pids(tmp_path)
    pool.close()
    assert ended(numbers)


@pytest.mark.parametrize("apart", ["", "import os\n"])
def test_of_long_output_head_and_tail_are_kept_and_the_rest_is_in_a_file(pool, tmp_path, apart):
    source = "print('first')\nfor i in range(300_000): print('0123456789')\nprint('last')"
    told = run(pool, apart + source, tmp_path)
    size = len("first\nlast\n") + 300_000 * 11
    assert len(told.stdout) < 1_100_000
    assert told.stdout.startswith("first\n")
    assert told.stdout.endswith("last\n")
    file = tmp_path / "w-1.stdout.txt"
    assert f"[{size - 1_000_000} bytes left out; in {file}]" in told.stdout
    assert file.stat().st_size == size


@pytest.mark.parametrize(
    ("printed", "shown"),
    [("a secret of ours\n", {"a secret of ours"}), ("a secret of ours ", set())],
    ids=["lines", "one line"],
)
def test_of_what_runs_only_whole_lines_are_shown(printed, shown):
    """A secret whose beginning is missing could not be masked."""
    source = "import sys, time\nprint(what * 1000, end='')\nprint('done', file=sys.stderr)\n"
    pool = ScriptPool(1)
    try:
        submit(pool, source + "time.sleep(600)", what=printed)
        deadline, found = time.monotonic() + 180, []
        while not any(each.stderr for each in found):
            assert time.monotonic() < deadline
            pool.wait(0.1)
            found = list(pool.running())
        assert set(found[0].stdout.splitlines()) == shown
    finally:
        pool.close()


def test_an_endless_print_does_not_fill_the_memory(tmp_path):
    pool = ScriptPool(1, limits=Limits(timeout=4))
    try:
        told = run(pool, "while True: print('x' * 1000)", tmp_path)
        assert told.message == "stopped after 4 s (--timeout)"
        files = sum(each.stat().st_size for each in tmp_path.iterdir())
        assert files < 110_000_000
    finally:
        pool.close()

"""Several servers on one PostgreSQL journal: takeover, fences, clean stops, kills at random.

`MLKIT_TEST_HOST_KILLS=300` kills a host that often.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import requests
from commands import Mlkit

from mlkit.bpmn import Client
from mlkit.bpmn.journal import open_journal
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.runtime.session import Session, Settings

TASKS = 4
SCRIPT = """
import os, time
with open({ran!r}, "a") as file:
    file.write(f"{{execution.key}} {{execution.attempt}}\\n")
time.sleep({pause})
x = 1
"""
LEASE = 2.0
"""Seconds, where a test is true whoever of the hosts loses it."""
FOREVER = 600.0
PATIENCE = 180.0


class Host:
    """`mlkit bpmn serve`, with all its processes."""

    def __init__(self, cluster: Cluster, lease: float | None) -> None:
        options = [] if lease is None else ["--lease", str(lease)]
        options += cluster.options
        self.log = cluster.folder / f"host{len(cluster.hosts)}.log"
        with self.log.open("w") as log:
            self.process = Mlkit(
                "bpmn", "serve", "--state", cluster.state, "--journal", cluster.url, "--port", "0",
                "--workers", "2", "--drain-timeout", "0", *options, stdout=log, stderr=log,
                cwd=cluster.folder, start_new_session=True,
            )  # fmt: skip

    def serves(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return " at http://" in self.log.read_text()

    @property
    def url(self) -> str:
        found = re.search(r" at (http://[\d.:]+);", self.log.read_text())
        assert found is not None
        return found[1]

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all processes at once, as the death of a machine would."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.process.wait()


class Cluster:
    """Hosts with one journal and one state folder, and what their scripts wrote."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder, self.state = url, folder, folder / "state"
        self.hosts: list[Host] = []
        self.options: list[str] = []
        self.count = 0

    def start(self, lease: float | None = LEASE) -> Host:
        host = Host(self, lease)
        self.hosts.append(host)
        self.until(host.serves)
        return host

    def begin(self, path: Path, count: int) -> None:
        """Begin instances, and leave them to the hosts."""
        self.count += count
        with Session(self.state, Settings(journal=self.url), create=True) as session:
            for _ in range(count):
                session.begin(path, {})

    def attempts(self) -> list[str]:
        path = self.folder / "ran"
        return path.read_text().split("\n")[:-1] if path.exists() else []

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        opened = open_journal(self.state, url=self.url)
        try:
            yield opened
        finally:
            opened.close()

    def completed(self) -> int:
        with self.journal() as journal:
            return Counter(each.status for each in journal.rows())["completed"]

    @staticmethod
    def until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def finish(self) -> None:
        """Wait until all have ended: each task was completed once, and attempts are numbered."""
        self.until(lambda: self.completed() == self.count)
        with self.journal() as journal:
            for row in journal.rows():
                done = [
                    hop.element
                    for _, _, hops in journal.events(row)
                    for hop in hops
                    if hop.element.startswith("t") and hop.event == "completed"
                ]
                assert done == [f"t{n}" for n in range(len(done))]
        attempts = self.attempts()
        assert len(attempts) == len(set(attempts)), "one attempt has run twice"


@pytest.fixture
def cluster(postgresql, tmp_path):
    found = Cluster(postgresql, tmp_path)
    yield found
    for each in found.hosts:
        if each.process.poll() is None:
            each.kill()


@pytest.fixture
def pipeline(tmp_path, diagram):
    """Write tasks one after the other, each of which notes that it has begun."""

    def write(pause: float, tasks: int = TASKS) -> Path:
        script = SCRIPT.format(ran=str(tmp_path / "ran"), pause=pause)
        names = [f"t{n}" for n in range(tasks)]
        body = "".join(
            f'<scriptTask id="{each}"><script>{script}</script></scriptTask>' for each in names
        )
        flows = " ".join(f"{a}>{b}" for a, b in pairwise(["s", *names, "e"]))
        path = tmp_path / "p.bpmn"
        path.write_text(diagram(f'<startEvent id="s"/><endEvent id="e"/>{body}', flows))
        return path

    return write


@pytest.mark.slow
def test_another_host_goes_on_after_a_host_was_killed(cluster, pipeline):
    cluster.begin(pipeline(0.3), 2)
    victim = cluster.start(lease=None)
    cluster.until(lambda: len(cluster.attempts()) > 1)
    victim.kill()
    cluster.start(lease=None)
    cluster.finish()


LEAVE = """
from pathlib import Path
Path("table").write_text("of the first task")
"""
GO_ON = """
import os, pathlib, time
found = sorted(os.listdir())
table = pathlib.Path("table").read_text()
pathlib.Path(f"part{{execution.attempt}}").write_text("")
with open({ran!r}, "a") as file:
    file.write(f"{{execution.attempt}}\\n")
if execution.attempt == 1:
    time.sleep({forever})
"""


@pytest.mark.slow
def test_another_host_has_the_files_of_the_tasks_that_a_killed_one_completed(
    cluster, tmp_path, diagram
):
    path = tmp_path / "p.bpmn"
    go_on = GO_ON.format(ran=str(tmp_path / "ran"), forever=FOREVER)
    scripts = {"t0": LEAVE, "t1": go_on, "t2": "import os\nleft = sorted(os.listdir())"}
    tasks = [f'<scriptTask id="{k}"><script>{v}</script></scriptTask>' for k, v in scripts.items()]
    body = f'<startEvent id="s"/><endEvent id="e"/>{"".join(tasks)}'
    path.write_text(diagram(body, "s>t0 t0>t1 t1>t2 t2>e"))
    cluster.options = ["--artifacts", (tmp_path / "shared").as_uri()]
    cluster.begin(path, 1)
    victim = cluster.start(lease=None)
    cluster.until(lambda: len(cluster.attempts()) == 1)
    victim.kill()
    cluster.state = tmp_path / "another"
    cluster.start(lease=None)
    cluster.finish()
    with Session(cluster.state, Settings(journal=cluster.url)) as session:
        [row] = session.journal.rows()
        [root] = session.state(row).roots()
    assert root.variables["found"] == ["table"]
    assert root.variables["table"] == "of the first task"
    assert root.variables["left"] == ["part2", "table"]


@pytest.mark.slow
def test_a_host_that_was_paused_writes_nothing_more_and_goes_on_with_what_is_new(cluster, pipeline):
    path = pipeline(0.3)
    cluster.begin(path, 1)
    paused = cluster.start()
    cluster.until(lambda: len(cluster.attempts()) > 0)
    paused.send(signal.SIGSTOP)
    other = cluster.start()
    cluster.until(lambda: cluster.completed() == 1)
    paused.send(signal.SIGCONT)
    other.kill()
    cluster.begin(path, 1)
    cluster.finish()


@pytest.mark.slow
def test_a_host_that_rested_while_it_was_paused_takes_what_is_new(cluster, pipeline):
    path = pipeline(0.0)
    paused = cluster.start()
    cluster.begin(path, 1)
    cluster.finish()
    paused.send(signal.SIGSTOP)
    with cluster.journal() as journal:
        cluster.until(lambda: not journal.is_used())
        paused.send(signal.SIGCONT)
        cluster.until(journal.is_used)
    cluster.begin(path, 1)
    cluster.finish()


PRINTS = """
import pathlib, time
print("begun", flush=True)
deadline = time.monotonic() + {forever}
while not pathlib.Path({go!r}).exists() and time.monotonic() &lt; deadline:
    time.sleep(0.05)
print("going on", flush=True)
while not pathlib.Path({end!r}).exists() and time.monotonic() &lt; deadline:
    time.sleep(0.05)
"""


def watch(host: Host, instance: str) -> list[str]:
    """Return a list that grows by the states of an instance that a host reports."""
    seen: list[str] = []

    def follow() -> None:
        with contextlib.suppress(Exception), Client(host.url) as client:  # Until the host ends.
            seen.extend(change["state"] for change in client.watch(instance))

    threading.Thread(target=follow, daemon=True).start()
    return seen


@pytest.mark.slow
def test_a_host_answers_for_and_shows_what_the_other_one_takes(cluster, tmp_path, diagram):
    path = tmp_path / "p.bpmn"
    path.write_text(diagram('<startEvent id="s"/><userTask id="u"/>', "s>u"))
    one, other = cluster.start(FOREVER), cluster.start(FOREVER)
    with Client(one.url) as client:
        client.deploy([path])
    for host in (one, other):
        for _ in range(3):
            begun = requests.post(
                f"{host.url}/engine-rest/process-definition/key/p/start", json={}, timeout=PATIENCE
            )
            assert begun.status_code == 200, begun.text
            (task,) = requests.get(f"{other.url}/api/v1/tasks?limit=100", timeout=PATIENCE).json()[
                "tasks"
            ][-1:]
            with Client(host.url) as client:
                assert client.complete(task["task"], {})["state"] == "completed"
    follow_a_log(cluster, tmp_path, diagram, one, other)


def follow_a_log(cluster, tmp_path, diagram, one, other):
    """See the output of an attempt grow at the host that runs it, and at one that does not."""
    go, end, path = tmp_path / "go", tmp_path / "end", tmp_path / "q.bpmn"
    script = PRINTS.format(go=str(go), end=str(end), forever=FOREVER)
    body = f'<startEvent id="s"/><endEvent id="e"/><scriptTask id="t0"><script>{script}</script>'
    path.write_text(diagram(f"{body}</scriptTask>", "s>t0 t0>e"))
    cluster.begin(path, 1)
    with cluster.journal() as journal:
        row = journal.rows()[-1]

    def printed(host):
        with Client(host.url) as client:
            running = client.request("GET", f"/instances/{row.id}/logs")["running"]
            return [(each["host"], each["stdout"]) for each in running]

    cluster.until(lambda: printed(one) == printed(other) != [])
    # One of them asks a host that has nothing to do with the instance.
    seen = [watch(each, row.id) for each in (one, other)]
    cluster.until(lambda: all(seen))
    before = [len(each) for each in seen]
    go.touch()
    cluster.until(lambda: all("going on" in str(printed(each)) for each in (one, other)))
    cluster.until(lambda: all(len(e) > n for e, n in zip(seen, before, strict=True)))
    end.touch()
    cluster.until(lambda: all(each[-1] == "completed" for each in seen))


@pytest.mark.slow
def test_a_clean_stop_leaves_the_instances_to_others_at_once(cluster, pipeline):
    cluster.begin(pipeline(0.3), 2)
    first = cluster.start(FOREVER)  # Nobody can wait for the end of this lease.
    cluster.until(lambda: len(cluster.attempts()) > 1)
    first.process.terminate()
    assert first.process.wait(PATIENCE) == 143
    cluster.start(FOREVER)
    cluster.finish()


@pytest.mark.slow
def test_hosts_killed_at_random_lose_and_repeat_nothing(cluster, pipeline):
    kills = int(os.environ.get("MLKIT_TEST_HOST_KILLS", "4"))
    draw = random.Random(7)
    path = pipeline(0.05)
    cluster.begin(path, 4)
    hosts = [cluster.start(), cluster.start()]
    for _ in range(kills):
        cluster.begin(path, 4)
        before = len(cluster.attempts())
        cluster.until(lambda before=before: len(cluster.attempts()) > before)
        time.sleep(draw.uniform(0.0, 0.5))
        victim = draw.randrange(2)
        hosts[victim].kill()
        hosts[victim] = cluster.start()
    cluster.finish()

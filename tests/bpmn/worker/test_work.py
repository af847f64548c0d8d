"""The loop of a worker, with its own processes, at a server that is not of mlkit."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from mlkit.bpmn.worker.work import Settings, Worker
from mlkit.workers.pool import ScriptPool


class Ended(Exception):
    """The worker asks for another task."""


class Other:
    """A server as Camunda's: it has one task, and knows no jobs."""

    url = "http://127.0.0.1"

    def __init__(self, task: str) -> None:
        self._tasks = [{"id": task, "topicName": "write", "activityId": "a", "variables": {},
                        "processInstanceId": "1", "retries": None}]  # fmt: skip
        self.places: list[Path] = []

    def fetch(self, topics: list[str], most: int, lock: float, patience: float) -> list[Any]:
        if not self._tasks:
            raise Ended
        return [self._tasks.pop()]

    def job(self, task: str) -> None:
        return None

    def task(self, task: str, verb: str, body: dict[str, Any]) -> None:
        assert verb == "complete"
        place = Path(body["variables"]["at"]["value"])
        assert (place / "mine").is_file()
        self.places.append(place)

    def close(self) -> None: ...


@pytest.mark.parametrize("task", ["7d1c", "../../out", "/tmp/mlkit-out"])
def test_a_task_works_in_a_folder_of_the_worker_s_own_that_goes_when_it_ends(tmp_path, task):
    (tmp_path / "shop.py").write_text(
        "import os\ndef write():\n    open('mine', 'w').close()\n    return {'at': os.getcwd()}\n"
    )
    server = Other(task)
    pool = ScriptPool(1)
    settings = Settings(["write"], {"write": "shop:write"}, tmp_path, most=1)
    worker = Worker(settings, pool, lambda: server, print)  # type: ignore[arg-type, return-value]
    try:
        with pytest.raises(Ended):
            worker.run()
        (place,) = server.places
        assert place.parent == Path(pool.scratch) / "work"
        deadline = time.monotonic() + 60
        while place.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        worker.drain(60)
    finally:
        pool.close()

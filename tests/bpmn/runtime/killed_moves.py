"""Moves an instance to version 2 again and again, killed at each statement to SQLite in turn.

    python killed_moves.py FOLDER INSTANCE

Writes what is there after each kill, a line of JSON each: whether the move was killed, the version
that the instance has when it is gone on with, and what waits then.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.runtime.session import Session, Settings

SETTINGS = Settings(waits=False)


def move(folder: Path, instance: str, fatal: int) -> None:
    with Session(folder, SETTINGS) as session:
        statements = itertools.count(1)

        def count(_: str) -> None:
            if next(statements) == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

        session.journal.database.connection.set_trace_callback(count)
        Service(session).migrate(instance, 2, {"u": "v"}, "ann")


def killed(folder: Path, instance: str, fatal: int) -> bool:
    child = os.fork()
    if child == 0:
        move(folder, instance, fatal)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def found(folder: Path, instance: str) -> tuple[int, list[str], str]:
    with Session(folder, SETTINGS) as session:
        service = Service(session)
        session.advance([session.journal.find(instance)])
        shown = service.show(instance)
        (task,) = service.tasks()
        done = service.complete(task.id, {}, "bob")
        return shown["version"], [each["element"] for each in shown["tokens"]], done.status


def main(folder: Path, instance: str) -> None:
    for fatal in itertools.count(1):
        copy = folder.with_name(f"{folder.name}-{fatal}")
        shutil.copytree(folder, copy)
        was_killed = killed(copy, instance, fatal)
        sys.stdout.write(json.dumps([was_killed, *found(copy, instance)]) + "\n")
        shutil.rmtree(copy)
        if not was_killed:
            return


main(Path(sys.argv[1]), sys.argv[2])

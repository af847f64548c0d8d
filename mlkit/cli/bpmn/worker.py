"""`mlkit bpmn worker`: external tasks and scripts on another machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlkit.bpmn.defaults import WORKER_LOCK, WORKER_PAUSE, WORKER_RETRIES
from mlkit.cli.bpmn.options import Cpu, Env, Memory, Python, Timeout, Workers
from mlkit.cli.groups import examples
from mlkit.cli.options import MOST
from mlkit.cli.output import of
from mlkit.errors import UsageError
from mlkit.web.defaults import DRAIN_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Mapping


@examples(
    "mlkit bpmn worker --server http://127.0.0.1:8080 --task charge=shop.payments:charge",
    "mlkit bpmn worker --server http://127.0.0.1:8080 --topics gpu",
    "mlkit bpmn worker --server https://flows.example.org --token-file token"
    " --topics charge --task charge=payments:charge --task ship=shipping:ship",
)
def worker(
    context: typer.Context,
    server: Annotated[str, typer.Option(metavar="URL", help="URL of the server.")],
    task: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=MODULE:FUNCTION",
            help="Function that executes the tasks of a topic (repeatable).",
        ),
    ] = [],  # noqa: B006 - typer's way to express "none given"
    topics: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Topics to fetch (default: those of --task)."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the token of this worker.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of this worker (default: host and process id).")
    ] = None,
    lock: Annotated[
        float,
        typer.Option(
            min=1,
            max=MOST,
            metavar="SECONDS",
            help=("Seconds for which a task is locked; the lock is renewed while it runs."),
        ),
    ] = WORKER_LOCK,
    retries: Annotated[
        int,
        typer.Option(
            min=1, max=1000, help="Number of attempts at a task, where the server sets none."
        ),
    ] = WORKER_RETRIES,
    pause: Annotated[
        float,
        typer.Option(
            min=0, max=MOST, metavar="SECONDS", help="Seconds to wait before another attempt."
        ),
    ] = WORKER_PAUSE,
    drain_timeout: Annotated[
        float,
        typer.Option(
            "--drain-timeout",
            "--grace",
            min=0,
            max=MOST,
            metavar="SECONDS",
            help="Seconds that running tasks have to end after SIGTERM.",
        ),
    ] = DRAIN_TIMEOUT,
    workers: Workers = None,
    python: Python = None,
    timeout: Timeout = 0,
    memory: Memory = 0,
    cpu: Cpu = 0,
    env: Env = [],  # noqa: B006 - typer's way to express "none given"
) -> None:
    """Run external tasks and scripts of a server, in isolated processes on this machine.

    A script task with a topic is run as it would be by the server: its variables, the files of
    the working folder and stored values are fetched, and its results are sent back.
    For other tasks, --task names a function: it gets the variables that its parameters name; a
    dictionary that it returns is published. BpmnError throws a BPMN error; any other exception is
    a failed attempt. On SIGTERM no more tasks are fetched, running ones may end within
    --drain-timeout, and the rest is unlocked.
    """
    import os
    import socket

    from mlkit.bpmn.worker.connection import Connection
    from mlkit.bpmn.worker.work import Settings, Worker
    from mlkit.interruption import stoppable
    from mlkit.web.access import read_token
    from mlkit.workers.pool import Limits, ScriptPool

    callables = _callables(task)
    wanted = _topics(topics, callables)
    token = None if token_file is None else read_token(token_file).decode()
    known_as = name or f"{socket.gethostname()}-{os.getpid()}"
    settings = Settings(wanted, callables, Path.cwd(), lock, retries, pause, workers)
    with stoppable():
        pool = ScriptPool(workers, python, Limits(timeout, cpu, memory, tuple(env)))
        made = Worker(settings, pool, lambda: Connection(server, token, known_as), of(context).note)
        try:
            made.run()
        finally:
            made.drain(drain_timeout)
            pool.close()


def _callables(tasks: list[str]) -> Mapping[str, str]:
    """Return `module:function` by topic."""
    found = {}
    for each in tasks:
        name, equals, place = each.partition("=")
        if not equals or not name or ":" not in place:
            raise UsageError(f"--task {each!r}: expected NAME=MODULE:FUNCTION")
        found[name] = place
    return found


def _topics(given: str | None, callables: Mapping[str, str]) -> list[str]:
    """Return the topics to fetch; one without a function has scripts."""
    found = list(callables) if given is None else [each for each in given.split(",") if each]
    if not found:
        hint = "--topics TOPIC runs scripts, --task TOPIC=MODULE:FUNCTION a function"
        raise UsageError("a worker needs a topic", hint=hint)
    return found

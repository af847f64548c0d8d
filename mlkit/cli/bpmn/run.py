"""`mlkit bpmn run, resume, rerun`: a diagram as a durable pipeline."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlkit.cli.bpmn.options import (
    STATE,
    ArtifactsUrl,
    Cpu,
    Env,
    Instance,
    JournalUrl,
    Lease,
    Memory,
    Python,
    Rscript,
    ServerUrl,
    State,
    Timeout,
    TokenFile,
    Workers,
    acting,
    pairs,
    settings_of,
    variables_file,
)
from mlkit.cli.bpmn.place import Place, asking_server, choose_server, refuse_limits, where_of
from mlkit.cli.bpmn.results import conclude
from mlkit.cli.groups import examples
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of
from mlkit.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from mlkit.bpmn.runtime.session import Session, Settings

ClockKind = Literal["real", "simulated"]
NoInput = Annotated[
    bool, typer.Option("--no-input", help="Do not prompt; leave user tasks waiting.")
]


@examples(
    "mlkit bpmn run pipeline.bpmn --var rows=1000",
    "mlkit bpmn run pipeline.bpmn --vars input.json --no-input --json | jq .state",
)
def run(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The diagram, a BPMN file.")],
    var: Annotated[
        list[str],
        typer.Option(
            "--var",
            metavar="K=V",
            help="Process variable; a JSON value keeps its type (repeatable).",
        ),
    ] = [],  # noqa: B006 - typer's way to express "none given"
    vars_: Annotated[
        Path | None,
        typer.Option("--vars", metavar="FILE", help="File with a JSON object of variables."),
    ] = None,
    state: State = STATE,
    journal: JournalUrl = None,
    artifacts: ArtifactsUrl = None,
    lease: Lease = None,
    no_input: NoInput = False,
    clock: Annotated[
        ClockKind,
        typer.Option(help=("Clock of the timers; with the simulated one they do not wait.")),
    ] = "real",
    until: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help=("Stop before timers that are due later than this, in seconds from the start."),
        ),
    ] = None,
    message: Annotated[
        str | None, typer.Option(metavar="NAME", help="Start at the start event of this message.")
    ] = None,
    business_key: Annotated[
        str, typer.Option(help="Business key, by which messages are correlated.")
    ] = "",
    task: Annotated[
        list[str],
        typer.Option(
            "--task",
            metavar="NAME=MODULE:FUNCTION",
            help="Bind a service task to a Python function (repeatable).",
        ),
    ] = [],  # noqa: B006
    workers: Workers = None,
    python: Python = None,
    rscript: Rscript = None,
    timeout: Timeout = 0,
    memory: Memory = 0,
    cpu: Cpu = 0,
    env: Env = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Run a diagram until it ends or waits for a person, a message or a signal.

    Exits 0 when it completed, 1 when it failed or has an incident, 3 when it waits.
    """
    output = of(context)
    settings = settings_of(
        workers, (python, rscript), (timeout, cpu, memory, tuple(env)), journal, lease, artifacts
    )
    _set_clock(settings, clock, until)
    variables = {**variables_file(vars_), **pairs(var, "--var")}
    bindings = {name: str(value) for name, value in pairs(task, "--task").items()}
    from mlkit.bpmn.runtime.diagrams import load
    from mlkit.bpmn.runtime.session import Session

    sound = load(file, bindings, rscript)
    for warning in sound.warnings:
        output.note(f"warning: {file}:{warning.line}: {warning.message} [{warning.rule}]")
    with Session(state, settings, create=True) as session, _stopping():
        row = session.begin(sound, variables, business_key, message, bindings)
        _go_on(session, row, no_input or json, not json and not output.quiet)
        _conclude(session, row, json, output)


@examples(
    "mlkit bpmn resume",
    "mlkit bpmn resume 3f2a9c1b --json",
    "mlkit bpmn resume 3f2a9c1b --server https://flows.example.org --token-file token",
)
def resume(
    context: typer.Context,
    instance: Annotated[
        str | None,
        typer.Argument(metavar="[INSTANCE]", help="Id of the instance (default: all instances)."),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Resume all instances that have not ended.")
    ] = False,
    state: State = STATE,
    journal: JournalUrl = None,
    server: ServerUrl = None,
    token_file: TokenFile = None,
    artifacts: ArtifactsUrl = None,
    lease: Lease = None,
    no_input: NoInput = False,
    workers: Workers = None,
    python: Python = None,
    rscript: Rscript = None,
    timeout: Timeout = 0,
    memory: Memory = 0,
    cpu: Cpu = 0,
    env: Env = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Continue after a kill, or wait for the timers of instances that wait.

    With an instance, exits as `run` does; with all of them, exits 0. A server runs its instances
    itself: the command waits until INSTANCE ends, or until only a person, a message or another
    event from outside can advance it: no timer is pending, and all that was sent is applied.
    """
    output = of(context)
    url = choose_server(context, Place(state, journal, server, token_file))
    if url is not None:
        if instance is None or all_:
            hint = "name one to wait for it, or a journal by --state or --journal"
            raise UsageError("a server runs its instances itself", hint=hint)
        refuse_limits(workers, python, rscript, timeout, memory, cpu, env)
        with asking_server(url, token_file) as (backend, where), _stopping():
            conclude(backend.wait(instance), where, json, output)
        return
    settings = settings_of(
        workers, (python, rscript), (timeout, cpu, memory, tuple(env)), journal, lease, artifacts
    )
    from mlkit.bpmn.backends.lists import summarize
    from mlkit.bpmn.runtime.service import Service
    from mlkit.bpmn.runtime.session import Session
    from mlkit.cli.bpmn.instances import show_rows

    with Session(state, settings) as session, _stopping():
        if instance is not None and not all_:
            row = session.journal.find(instance)
            if row.status in ("waiting", "incident") and session.journal.is_owned(row):
                output.note(f"instance {row.id} runs in another process")
            _go_on(session, row, no_input or json, not json and not output.quiet)
            _conclude(session, row, json, output)
            return
        rows = Service(session).open_rows()
        session.advance(rows)
        show_rows([summarize(session.journal.get(each.number)) for each in rows], json, output)
        if session.errors:
            raise session.errors[0]


@examples(
    "mlkit bpmn rerun 3f2a9c1b --from train_model",
    "mlkit bpmn rerun 3f2a9c1b --from train_model --file pipeline.bpmn",
    "mlkit bpmn rerun 3f2a9c1b --from train_model --server http://127.0.0.1:8080",
)
def rerun(
    context: typer.Context,
    instance: Instance,
    from_: Annotated[
        str, typer.Option("--from", metavar="TASK", help="Id of the activity to run from.")
    ],
    file: Annotated[
        Path | None, typer.Option("--file", help="Changed diagram, identical up to that activity.")
    ] = None,
    state: State = STATE,
    journal: JournalUrl = None,
    server: ServerUrl = None,
    token_file: TokenFile = None,
    artifacts: ArtifactsUrl = None,
    lease: Lease = None,
    no_input: NoInput = False,
    workers: Workers = None,
    python: Python = None,
    rscript: Rscript = None,
    timeout: Timeout = 0,
    memory: Memory = 0,
    cpu: Cpu = 0,
    env: Env = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Run a new instance from a task, with the results of all tasks before it.

    A server uses the version of the instance and limits of its own. Exits as `run` does.
    """
    output = of(context)
    url = choose_server(context, Place(state, journal, server, token_file))
    if url is not None:
        if file:
            raise UsageError("a server reruns the version of the instance", hint="leave out --file")
        refuse_limits(workers, python, rscript, timeout, memory, cpu, env)
        with asking_server(url, token_file) as (backend, where):
            conclude(backend.rerun(instance, from_), where, json, output)
        return
    settings = settings_of(
        workers, (python, rscript), (timeout, cpu, memory, tuple(env)), journal, lease, artifacts
    )
    from mlkit.bpmn.runtime.rerun import rerun as fork
    from mlkit.bpmn.runtime.session import Session

    with Session(state, settings) as session, _stopping():
        row = fork(session, session.journal.find(instance), from_, file, acting(None))
        _go_on(session, row, no_input or json, not json and not output.quiet)
        _conclude(session, row, json, output)


def _conclude(session: Session, row: Any, json: bool, output: Output) -> None:
    from mlkit.bpmn.runtime.documents import document

    conclude(document(session, row), where_of(session), json, output)


def _set_clock(settings: Settings, clock: ClockKind, until: float | None) -> None:
    from mlkit.bpmn.runtime.clock import RealClock, SimulatedClock

    settings.clock = RealClock() if clock == "real" else SimulatedClock(time.time())
    settings.until = None if until is None else settings.clock.now() + until


def _go_on(session: Session, row: Any, silent: bool, watched: bool) -> None:
    """Run to the next wait; on a terminal, show it, ask for the user tasks and go on."""
    from mlkit.cli.bpmn.people import ask

    _advance(session, row, watched)
    asking = not silent and sys.stdin.isatty() and sys.stderr.isatty()
    while asking and ask(session, row):
        _advance(session, row, watched)


def _advance(session: Session, row: Any, watched: bool) -> None:
    if watched and sys.stderr.isatty():
        from mlkit.cli.bpmn.live import show_progress

        with show_progress(session):
            session.advance([row])
    else:
        session.advance([row])


class _stopping:  # noqa: N801 - a block, as in contextlib
    """Turn Ctrl-C into exit 130: everything that happened is in the journal."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            raise Interrupted(signal.SIGINT, "stopped; `mlkit bpmn resume` continues")

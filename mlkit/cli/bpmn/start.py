"""`mlkit bpmn start`: an instance of a deployed definition, or an activity by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from mlkit.cli.bpmn.options import (
    Cpu,
    Env,
    Memory,
    Person,
    Python,
    Rscript,
    Timeout,
    Workers,
    find_person,
    pairs,
    settings_of,
    variables_file,
)
from mlkit.cli.bpmn.place import Place, asking, choose_server, refuse_limits, with_place
from mlkit.cli.bpmn.results import conclude
from mlkit.cli.groups import examples
from mlkit.cli.options import MOST, Json, expand
from mlkit.cli.output import of
from mlkit.errors import UsageError


class _Execution(NamedTuple):
    """The options of how scripts run, where this process runs them."""

    workers: int | None
    python: str | None
    rscript: str | None
    timeout: float
    memory: int
    cpu: int
    env: list[str]


_EXECUTION: dict[str, tuple[Any, Any]] = {
    "workers": (Workers, None),
    "python": (Python, None),
    "rscript": (Rscript, None),
    "timeout": (Timeout, 0),
    "memory": (Memory, 0),
    "cpu": (Cpu, 0),
    "env": (Env, []),
}


class _Beginning(NamedTuple):
    """The options of what begins an instance."""

    version: int | None
    var: list[str]
    vars: Path | None
    business_key: str
    message: str | None
    idempotency_key: str | None


_BEGINNING: dict[str, tuple[Any, Any]] = {
    "version": (
        Annotated[
            int | None,
            typer.Option(min=1, max=MOST, help="Version of the definition (default: the newest)."),
        ],
        None,
    ),
    "var": (
        Annotated[
            list[str],
            typer.Option(
                "--var",
                metavar="K=V",
                help="Process variable; a JSON value keeps its type (repeatable).",
            ),
        ],
        [],
    ),
    "vars": (
        Annotated[
            Path | None,
            typer.Option("--vars", metavar="FILE", help="File with a JSON object of variables."),
        ],
        None,
    ),
    "business_key": (
        Annotated[str, typer.Option(help="Business key, by which messages are correlated.")],
        "",
    ),
    "message": (
        Annotated[
            str | None,
            typer.Option(metavar="NAME", help="Start at the start event of this message."),
        ],
        None,
    ),
    "idempotency_key": (
        Annotated[
            str | None,
            typer.Option(
                metavar="KEY", help="Key of the request: a repeated one returns the same instance."
            ),
        ],
        None,
    ),
}


def _with_options(command: Any) -> Any:
    found = expand(command, "execution", _EXECUTION, _Execution)
    return with_place(expand(found, "beginning", _BEGINNING, _Beginning))


@examples(
    "mlkit bpmn start training --var rows=1000",
    "mlkit bpmn start training --version 2 --server https://flows.example.org --token-file token",
    "mlkit bpmn start 3f2a call_customer",
    "mlkit bpmn start 3f2a investigate --end",
)
@_with_options
def start(
    context: typer.Context,
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="PROCESS|INSTANCE",
            help="Key of a deployed definition; with ELEMENT, the id of an instance.",
        ),
    ],
    element: Annotated[
        str | None,
        typer.Argument(metavar="ELEMENT", help="Id of an activity of an ad-hoc sub-process."),
    ] = None,
    beginning: _Beginning,
    end: Annotated[bool, typer.Option("--end", help="End the ad-hoc sub-process ELEMENT.")] = False,
    person: Person = None,
    place: Place,
    execution: _Execution,
    json: Json = False,
) -> None:
    """Start a deployed definition, or an activity of an ad-hoc sub-process.

    PROCESS starts a new instance; INSTANCE ELEMENT starts an activity of one that is there, or ends
    its sub-process. Exits as `run` does; a server answers as soon as the instance is stored.
    """
    limits = execution.timeout, execution.cpu, execution.memory, tuple(execution.env)
    programs = execution.python, execution.rscript
    settings = settings_of(execution.workers, programs, limits, place.journal)
    if choose_server(context, place):
        refuse_limits(*execution)
    if element is not None and any(beginning):
        raise UsageError(
            f"{element}: an activity starts with the variables of its instance",
            hint="leave out ELEMENT to start a definition, or the options of one",
        )
    if element is None and end:
        raise UsageError("--end ends an ad-hoc sub-process", hint="name INSTANCE and ELEMENT")
    variables = {**variables_file(beginning.vars), **pairs(beginning.var, "--var")}
    with asking(context, place, settings) as (backend, where):
        by = find_person(person)
        if element is not None:
            found = backend.start_activity(name, element, end, by)
        else:
            found = backend.start(
                name,
                variables,
                version=beginning.version,
                business_key=beginning.business_key,
                message=beginning.message,
                once=beginning.idempotency_key,
                person=by,
            )
        conclude(found, where, json, of(context))

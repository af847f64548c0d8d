"""`mlkit bpmn schedules`: what starts by itself in a state folder, and when."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlkit.cli.bpmn.options import Person, find_person
from mlkit.cli.bpmn.place import Place, asking, with_place
from mlkit.cli.bpmn.results import conclude
from mlkit.cli.groups import examples, group
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of, plain

app = group(
    "schedules",
    "List scheduled starts, pause them, or start one now.",
    {
        "list": (
            "mlkit.cli.bpmn.schedules:list_",
            "List the schedules of deployed definitions, with their next five times.",
        ),
        "pause": (
            "mlkit.cli.bpmn.schedules:pause",
            "Pause a schedule: start nothing until it is resumed.",
        ),
        "resume": (
            "mlkit.cli.bpmn.schedules:resume",
            "Resume a schedule from its next time; missed starts are skipped.",
        ),
        "run": (
            "mlkit.cli.bpmn.schedules:run",
            "Start an instance now, in addition to its schedule.",
        ),
    },
)
Name = Annotated[
    str,
    typer.Argument(
        metavar="PROCESS[/ELEMENT]",
        help=("Id of the process, and of its start event where it has several."),
    ),
]


@examples("mlkit bpmn schedules list", "mlkit bpmn schedules list --json")
@with_place
def list_(
    context: typer.Context,
    *,
    place: Place,
    json: Json = False,
) -> None:
    """List the schedules of deployed definitions, with their next five times.

    A server starts instances that are due; without a server nothing is started.
    """
    with asking(context, place) as (backend, _):
        found = backend.schedules()
    if json:
        Output.document("bpmn.schedules", 1, {"schedules": found})
    elif found:
        _show(found)
    else:
        of(context).note("no deployed definition has a schedule")


@examples("mlkit bpmn schedules pause training", "mlkit bpmn schedules pause training/nightly")
@with_place
def pause(
    context: typer.Context,
    *,
    name: Name,
    person: Person = None,
    place: Place,
    json: Json = False,
) -> None:
    """Pause a schedule: start nothing until it is resumed."""
    with asking(context, place) as (backend, _):
        found = backend.pause(name, True, find_person(person))
    _show_changed(found, json)


@examples("mlkit bpmn schedules resume training", "mlkit bpmn schedules resume training/nightly")
@with_place
def resume(
    context: typer.Context,
    *,
    name: Name,
    person: Person = None,
    place: Place,
    json: Json = False,
) -> None:
    """Resume a schedule from its next time; missed starts are skipped."""
    with asking(context, place) as (backend, _):
        found = backend.pause(name, False, find_person(person))
    _show_changed(found, json)


def _show_changed(found: dict[str, Any], json: bool) -> None:
    if json:
        Output.document("bpmn.schedule", 1, found)
    else:
        _show([found])


@examples("mlkit bpmn schedules run training", "mlkit bpmn schedules run training --json")
@with_place
def run(
    context: typer.Context,
    *,
    name: Name,
    person: Person = None,
    place: Place,
    json: Json = False,
) -> None:
    """Start an instance now, in addition to its schedule."""
    with asking(context, place) as (backend, where):
        conclude(backend.run(name, find_person(person)), where, json, of(context))


def _show(found: list[dict[str, Any]]) -> None:
    from datetime import datetime

    from rich.table import Table
    from rich.text import Text

    from mlkit.bpmn.runtime.schedules import format_local

    table = Table()
    for name in ("schedule", "timer", "next", "state"):
        table.add_column(name)
    for each in found:
        moments = (datetime.fromisoformat(at).timestamp() for at in each["upcoming"])
        times = Text("\n".join(format_local(at, each["timezone"]) for at in moments) or "-")
        states = ["paused"] if each["paused"] else []
        states += [f"{each['queued']} queued"] if each["queued"] else []
        states += [f"last {each['instance']}"] if each["instance"] else []
        table.add_row(
            plain(f"{each['process']}/{each['element']}"),
            plain(each["timer"]),
            times,
            plain(", ".join(states)),
        )
    Output.result(table)

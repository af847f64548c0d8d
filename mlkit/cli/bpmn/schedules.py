"""`mlkit bpmn schedules`: what starts by itself in a state folder, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.bpmn.options import STATE, JournalUrl, Person, State, acting, conclude, serving
from mlkit.cli.groups import examples, group
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of, plain

if TYPE_CHECKING:
    from mlkit.bpmn.runtime.schedules import Shown

app = group(
    "schedules",
    "See what starts by itself, and when; pause it, or start it now.",
    {
        "list": (
            "mlkit.cli.bpmn.schedules:list_",
            "List the schedules of deployed definitions, with their next five times.",
        ),
        "pause": ("mlkit.cli.bpmn.schedules:pause", "Start nothing until it is resumed."),
        "resume": (
            "mlkit.cli.bpmn.schedules:resume",
            "Start again, from the next time on: what was missed is left out.",
        ),
        "run": ("mlkit.cli.bpmn.schedules:run", "Start an instance now, beside its times."),
    },
)
Name = Annotated[
    str,
    typer.Argument(
        metavar="PROCESS[/ELEMENT]", help="The process; its start event where it has several."
    ),
]


@examples("mlkit bpmn schedules list", "mlkit bpmn schedules list --json")
def list_(
    context: typer.Context, state: State = STATE, journal: JournalUrl = None, json: Json = False
) -> None:
    """List the schedules of deployed definitions, with their next five times.

    A server starts what is due; without one nothing starts by itself.
    """
    from mlkit.bpmn.runtime.schedules import schedules

    with serving(state, journal) as service:
        found = schedules(service.session)
    if json:
        documents = [_document(each) for each in found]
        Output.document("bpmn.schedules", 1, {"schedules": documents})
    elif found:
        _show(found)
    else:
        of(context).note("nothing that is deployed starts by itself")


@examples("mlkit bpmn schedules pause training", "mlkit bpmn schedules pause training/nightly")
def pause(
    name: Name,
    person: Person = None,
    state: State = STATE,
    journal: JournalUrl = None,
    json: Json = False,
) -> None:
    """Start nothing until it is resumed."""
    _change(name, True, acting(person), state, journal, json)


@examples("mlkit bpmn schedules resume training", "mlkit bpmn schedules resume training/nightly")
def resume(
    name: Name,
    person: Person = None,
    state: State = STATE,
    journal: JournalUrl = None,
    json: Json = False,
) -> None:
    """Start again, from the next time on: what was missed is left out."""
    _change(name, False, acting(person), state, journal, json)


def _change(name: str, paused: bool, by: str, state: Any, journal: Any, json: bool) -> None:
    from mlkit.bpmn.runtime.schedules import pause as change

    with serving(state, journal) as service:
        found = change(service.session, name, paused, by)
    if json:
        Output.document("bpmn.schedule", 1, _document(found))
    else:
        _show([found])


@examples("mlkit bpmn schedules run training", "mlkit bpmn schedules run training --json")
def run(
    context: typer.Context,
    name: Name,
    person: Person = None,
    state: State = STATE,
    journal: JournalUrl = None,
    json: Json = False,
) -> None:
    """Start an instance now, beside its times."""
    from mlkit.bpmn.runtime import schedules
    from mlkit.bpmn.runtime.deployment import Starter

    with serving(state, journal) as service:
        session = service.session
        starter = Starter(session.journal.folder, session.settings, session.engines)
        row = schedules.run(session, starter, name, acting(person))
        session.advance([row])
        conclude(session, session.journal.get(row.number), json, of(context))


def _document(shown: Shown) -> dict[str, Any]:
    from mlkit.bpmn.definition.timers import instant

    scheduled, timer = shown.scheduled, shown.scheduled.timer
    return {
        "process": timer.process,
        "element": timer.element,
        "kind": timer.kind,
        "timer": timer.text,
        "timezone": timer.zone,
        "misfire": timer.misfire,
        "overlap": timer.overlap,
        "paused": scheduled.paused,
        "queued": scheduled.queued,
        "last": None if scheduled.last is None else instant(scheduled.last),
        "instance": shown.instance,
        "upcoming": [instant(each) for each in shown.upcoming],
    }


def _show(found: list[Shown]) -> None:
    from datetime import datetime

    from rich.table import Table
    from rich.text import Text

    from mlkit.bpmn.definition.timers import zone_of

    table = Table()
    for name in ("schedule", "timer", "next", "state"):
        table.add_column(name)
    for each in found:
        timer, scheduled = each.scheduled.timer, each.scheduled
        zone = zone_of(timer.zone)
        moments = (datetime.fromtimestamp(at, zone) for at in each.upcoming)
        times = Text("\n".join(f"{at:%a %Y-%m-%d %H:%M:%S %Z}" for at in moments) or "-")
        states = ["paused"] if scheduled.paused else []
        states += [f"{scheduled.queued} queued"] if scheduled.queued else []
        states += [f"last {each.instance}"] if each.instance else []
        table.add_row(
            plain(f"{timer.process}/{timer.element}"),
            plain(timer.text),
            times,
            plain(", ".join(states)),
        )
    Output.result(table)

"""`mlkit bpmn migrate`: an instance goes on with another version of its definition."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlkit.cli.bpmn.options import Instance, Person, find_person
from mlkit.cli.bpmn.place import Place, asking, with_place
from mlkit.cli.groups import examples
from mlkit.cli.options import MOST, Json
from mlkit.cli.output import Output, of
from mlkit.errors import UsageError


@examples(
    "mlkit bpmn migrate 3f2a --to 2 --dry-run",
    "mlkit bpmn migrate 3f2a --to 2 --map approve=decide",
)
@with_place
def migrate(
    context: typer.Context,
    *,
    instance: Instance,
    to: Annotated[
        int | None,
        typer.Option(min=1, max=MOST, help="Version of the definition (default: the newest)."),
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="OLD=NEW",
            help="Map an element or flow to its id in that version (repeatable).",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Report where each token would be, and change nothing."),
    ] = False,
    person: Person = None,
    place: Place,
    json: Json = False,
) -> None:
    """Migrate a waiting instance to another version of its definition.

    Each element that holds a token must be in that version, by its id or by --map. What prevents
    the move is reported first, all at once; then nothing is changed, and the exit code is 1. What
    the instance went through stays in its history; timers that are the same keep their times.
    """
    mapping = _mapping(map_ or [])
    with asking(context, place) as (backend, _):
        found = backend.migrate(instance, to, mapping, dry_run, find_person(person))
    if json:
        Output.document("bpmn.migrate", 1, found)
    else:
        _tell(found, of(context))
    if found["problems"]:
        raise typer.Exit(1)


def _mapping(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in given:
        old, equals, new = each.partition("=")
        if not (old and equals and new):
            raise UsageError(f"--map {each!r}: expected OLD=NEW", hint="--map approve=decide")
        if found.setdefault(old, new) != new:
            raise UsageError(f"--map {old} is given twice", hint="an element has one place")
    return found


def _tell(found: dict[str, Any], output: Output) -> None:
    came = "an undeployed version" if found["from"] is None else f"version {found['from']}"
    state = "moved" if found["migrated"] else "would be moved"
    if found["problems"]:
        state = "cannot be moved"
    Output.line(f"{found['instance']}  {found['process']}  {state}: {came} -> {found['to']}")
    for each in found["tokens"]:
        iteration = f"[{each['iteration']}]" if each["iteration"] else ""
        place = each["to"] or "?"
        Output.line(f"  {each['element']}{iteration}  {each['status']}  -> {place}")
    for each in found["problems"]:
        output.note(f"prevented: {each}")
    for each in found["notes"]:
        output.note(f"changes: {each}")
    if found["differs"]:
        output.note(f"that version would have taken another path: {found['differs']}")

"""`mlkit bpmn scenario`: an instance as a test, to be played again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlkit.cli.bpmn.options import STATE, Instance, JournalUrl, State
from mlkit.cli.groups import examples
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of

if TYPE_CHECKING:
    from mlkit.bpmn.scenarios.scenario import Scenario


@examples(
    "mlkit bpmn scenario 3f2a9c1b -o scenario.json",
    "mlkit bpmn scenario 3f2a9c1b --run-scripts -o scenario.json",
)
def scenario(
    context: typer.Context,
    instance: Instance,
    file: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write the scenario to (default: standard output)."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the scenario.")] = "",
    run_scripts: Annotated[
        bool, typer.Option("--run-scripts", help="Run script tasks instead of mocking them.")
    ] = False,
    state: State = STATE,
    journal: JournalUrl = None,
    json: Json = False,
) -> None:
    """Write a scenario from the history of an instance, to be played as a test.

    The scenario has answers, messages and results with their times, and how the instance ended. It
    is played at once. Exits 1 when that run differs from the instance; each difference is a line on
    standard error.
    """
    from msgspec import to_builtins

    from mlkit.bpmn.runtime.session import Session, Settings
    from mlkit.bpmn.scenarios.recording import leave_order_open, record
    from mlkit.bpmn.scenarios.run import run_scenario
    from mlkit.files import check_place

    output = of(context)
    if file is not None:
        check_place(file)
    folder = Path.cwd() if file is None else file.absolute().parent
    with Session(state, Settings(journal=journal)) as session:
        found = record(session, session.journal.find(instance), folder, run_scripts)
    found.scenario.name = name or f"as instance {instance}"
    notes = list(found.notes)
    played = run_scenario(found.scenario, folder, Settings())
    differences = played.differences
    if leave_order_open(found.scenario, played):
        notes.append("what ran at once ended in another order, so that no order is expected")
        differences = []
    if file is not None or not json:
        _write(found.scenario, file, output)
    if json:
        shown = {"scenario": to_builtins(found.scenario), "notes": notes}
        Output.document("bpmn.scenario", 1, {**shown, "differences": differences})
        raise typer.Exit(1 if differences else 0)
    _conclude(notes, differences, output)


def _write(scenario: Scenario, file: Path | None, output: Output) -> None:
    from mlkit.bpmn.scenarios.scenario import text
    from mlkit.files import replacing

    if file is None:
        sys.stdout.write(text(scenario))
        return
    with replacing(file) as stream:
        stream.write(text(scenario).encode())
    output.wrote(file)


def _conclude(notes: list[str], differences: list[str], output: Output) -> None:
    for each in notes:
        output.note(f"note: {each}")
    for each in differences:
        output.note(f"difference: {each}")
    if differences:
        output.note("the scenario does not play as the instance ran: edit it, or its expectations")
        raise typer.Exit(1)
    output.note("played: as the instance ran")

"""`mlkit bpmn scenario`: an instance as a test, to be played again."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from mlkit.cli.bpmn.options import Instance
from mlkit.cli.bpmn.place import Place, asking, with_place
from mlkit.cli.groups import examples
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of
from mlkit.errors import UsageError

if TYPE_CHECKING:
    from mlkit.bpmn.scenarios.scenario import Scenario


class _Recorded(NamedTuple):
    """A scenario, and what became of it when it was played at once.

    Attributes:
        notes: What it cannot express.
        masked: The names of the secrets that are not in it.
        files: The files that were written beside it.
        differences: Where its run differs from the instance.
        played: Whether it was played.
    """

    scenario: Scenario
    notes: list[str]
    masked: list[str]
    files: list[str]
    differences: list[str]
    played: bool


@examples(
    "mlkit bpmn scenario 3f2a9c1b -o scenario.json",
    "mlkit bpmn scenario 3f2a9c1b --run-scripts -o scenario.json",
    "mlkit bpmn scenario 3f2a9c1b -o tests/approved.json --server https://flows.example.org",
)
@with_place
def scenario(
    context: typer.Context,
    *,
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
    diagram: Annotated[
        Path | None,
        typer.Option(
            "--diagram",
            metavar="FILE",
            help="Diagram to play (default: the instance's).",
        ),
    ] = None,
    files: Annotated[
        bool,
        typer.Option(
            "--files/--no-files",
            help="Write the diagram of a server and the files that it uses beside OUTPUT.",
        ),
    ] = True,
    place: Place,
    json: Json = False,
) -> None:
    """Write a scenario from the history of an instance, to be played as a test.

    The scenario has answers, messages and results with their times, and how the instance ended. It
    is played at once. Exits 1 when that run differs from the instance; each difference is a line on
    standard error. A server masks secrets. Its diagram, scripts, forms and decisions are written
    beside OUTPUT, so that `mlkit bpmn test` plays it there; with --no-files or --diagram it is
    played with what is here. Playing it runs what is not mocked on this machine.
    """
    from msgspec import convert, to_builtins

    from mlkit.bpmn.scenarios.scenario import Scenario
    from mlkit.files import check_place

    output = of(context)
    if file is not None:
        check_place(file)
    folder = Path.cwd() if file is None else file.absolute().parent
    with asking(context, place) as (backend, where):
        found = backend.scenario(instance, folder, run_scripts)
    made = convert(found["scenario"], Scenario)
    made.name = name or f"as instance {instance}"
    if diagram is not None:
        made.diagram = os.path.relpath(diagram.absolute(), folder.resolve())
    needed = found.get("files", {}) if files and diagram is None else {}
    with _beside(file, folder, needed) as (here, written):
        is_here = not where.is_server or diagram is not None or (here / made.diagram).exists()
        recorded = _play(made, found, here, is_here)._replace(files=written)
    if file is not None or not json:
        _write(made, file, output)
    if json:
        shown = {**recorded._asdict(), "scenario": to_builtins(made)}
        Output.document("bpmn.scenario", 1, shown)
        raise typer.Exit(1 if recorded.differences else 0)
    _conclude(recorded, output)


@contextmanager
def _beside(
    file: Path | None, folder: Path, needed: Mapping[str, bytes]
) -> Iterator[tuple[Path, list[str]]]:
    """Write what a scenario needs beside it, or where nothing is written, into a scratch folder.

    Returns:
        The folder in which the scenario can be played, and what was written beside it.
    """
    from mlkit.bpmn.scenarios.files import write_files
    from mlkit.scratch import scratch

    if not needed:
        yield folder, []
    elif file is None:
        with scratch("mlkit-scenario-") as place:
            write_files(needed, place)
            yield place, []
    elif file.name in needed:
        hint = "name another OUTPUT"
        raise UsageError(f"{file}: a file that the scenario needs has this name", hint=hint)
    else:
        yield folder, write_files(needed, folder)


def _play(scenario: Scenario, found: dict[str, Any], folder: Path, is_here: bool) -> _Recorded:
    from mlkit.bpmn.runtime.session import Settings
    from mlkit.bpmn.scenarios.recording import leave_order_open
    from mlkit.bpmn.scenarios.run import run_scenario

    notes, masked = list(found["notes"]), list(found["masked"])
    if not is_here:
        return _Recorded(scenario, notes, masked, [], [], False)
    played = run_scenario(scenario, folder, Settings())
    differences = played.differences
    if leave_order_open(scenario, played):
        notes.append("what ran at once ended in another order, so that no order is expected")
        differences = []
    return _Recorded(scenario, notes, masked, [], differences, True)


def _write(scenario: Scenario, file: Path | None, output: Output) -> None:
    from mlkit.bpmn.scenarios.scenario import text
    from mlkit.files import replacing

    if file is None:
        sys.stdout.write(text(scenario))
        return
    with replacing(file) as stream:
        stream.write(text(scenario).encode())
    output.wrote(file)


def _conclude(recorded: _Recorded, output: Output) -> None:
    if recorded.files:
        output.note(f"beside it: {', '.join(recorded.files)}")
    for each in recorded.notes:
        output.note(f"note: {each}")
    if recorded.masked:
        output.note(f"note: masked as secrets: {', '.join(recorded.masked)}; put in other values")
    for each in recorded.differences:
        output.note(f"difference: {each}")
    if not recorded.played:
        output.note(f"not played: {recorded.scenario.diagram} is not here; see --files, --diagram")
        return
    if recorded.differences:
        output.note("the scenario does not play as the instance ran: edit it, or its expectations")
        raise typer.Exit(1)
    output.note("played: as the instance ran")

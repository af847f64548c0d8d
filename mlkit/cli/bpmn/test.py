"""`mlkit bpmn test`: play scenarios against diagrams, without waiting and without people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.groups import examples
from mlkit.cli.options import Json
from mlkit.cli.output import Output, format_count, of

if TYPE_CHECKING:
    from mlkit.bpmn.scenarios.run import Result


@examples(
    "mlkit bpmn test scenarios/*.json",
    "mlkit bpmn test scenario.json --json | jq '.scenarios[].differences'",
)
def play(
    context: typer.Context,
    scenarios: Annotated[
        list[Path], typer.Argument(metavar="SCENARIO...", help="Scenario files (JSON).")
    ],
    json: Json = False,
) -> None:
    """Play scenarios and compare each run with what is expected of it.

    Timers do not wait, tasks may be mocked, and people answer as in the scenario. Exits 0 when all
    runs are as expected, 1 when one is not.
    """
    from mlkit.bpmn.runtime.session import Settings
    from mlkit.bpmn.scenarios.run import run_scenario
    from mlkit.bpmn.scenarios.scenario import load

    output = of(context)
    planned = [(path, each) for path in scenarios for each in load(path)]
    results = []
    for number, (path, each) in enumerate(planned, 1):
        found = run_scenario(each, path.parent, Settings())
        results.append((path, found))
        if not json:
            _tell(path, found, f"{number}/{len(planned)}")
    failed = sum(bool(found.differences) for _, found in results)
    if json:
        documents = [_document(path, found) for path, found in results]
        Output.document("bpmn.test", 1, {"scenarios": documents, "failed": failed})
    else:
        output.note(f"{len(results) - failed} of {len(results)} scenarios as expected")
    if failed:
        raise typer.Exit(1)


def _tell(path: Path, found: Result, place: str) -> None:
    steps = f"{len(found.document['trace'])} steps"
    if elapsed := round(found.elapsed):
        steps = f"{steps}, {_days(elapsed)}"
    name = f"{path}: {found.scenario.name or found.scenario.diagram}"
    sign = "FAIL" if found.differences else "ok"
    Output.line(f"{place} {sign:<4} {name} ({steps})")
    for each in found.differences:
        Output.line(f"       {each}")


def _days(seconds: int) -> str:
    """Write simulated time for people: `3 days`, `1 day 2 h`, `20 s`."""
    minutes, rest = divmod(seconds, 60)
    days, minutes = divmod(minutes, 1440)
    parts = [format_count(days, "day")] if days else []
    units = ((minutes // 60, "h"), (minutes % 60, "min"), (rest, "s"))
    return " ".join([*parts, *(f"{each} {unit}" for each, unit in units if each)]) + " simulated"


def _document(path: Path, found: Result) -> dict[str, Any]:
    return {
        "file": str(path),
        "name": found.scenario.name,
        "passed": not found.differences,
        "differences": found.differences,
        "seconds": found.elapsed,
        "run": found.document,
    }

"""`mlkit bpmn lint`: the problems of diagrams and decision models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlkit.cli.bpmn.options import pairs
from mlkit.cli.groups import examples
from mlkit.cli.options import Json
from mlkit.cli.output import Output, format_count, of
from mlkit.errors import BadData, InputMissing, MlkitError

if TYPE_CHECKING:
    from mlkit.bpmn.definition.problem import Problem

BROKEN = "file.broken"


@examples(
    "mlkit bpmn lint pipeline.bpmn",
    "mlkit bpmn lint *.bpmn --json | jq '.files[].problems[].rule'",
)
def lint(
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Diagrams and decision models: BPMN and DMN files."),
    ],
    task: Annotated[
        list[str],
        typer.Option(
            "--task",
            metavar="NAME=MODULE:FUNCTION",
            help="Bind a service task to a Python function (repeatable).",
        ),
    ] = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Find all problems of diagrams and decision models.

    Exits 1 when there are errors, 65 for a file that is not a diagram.
    """
    bindings = {name: str(value) for name, value in pairs(task, "--task").items()}
    refused: list[MlkitError] = []
    found = {file: _problems(file, bindings, refused) for file in files}
    if json:
        _lint_document(found)
    else:
        _lint_lines(found, first_broken=bool(refused))
        if not any(found.values()):
            of(context).note(f"no problems in {format_count(len(files), 'file')}")
    if refused:
        raise refused[0]
    if any(each.severity == "error" for problems in found.values() for each in problems):
        raise typer.Exit(1)


def _problems(file: Path, bindings: dict[str, str], refused: list[MlkitError]) -> list[Problem]:
    """Find the problems of a file; one that cannot be read is no reason to leave the others."""
    from mlkit.bpmn.definition.parser import parse
    from mlkit.bpmn.definition.problem import Problem
    from mlkit.bpmn.lint.validation import lint as find

    try:
        if file.suffix == ".dmn":
            return _of_decisions(file)
        return find(parse(file), file.parent.resolve(), bindings)
    except (BadData, InputMissing) as error:
        refused.append(error)
        place, colon, message = error.message.removeprefix(f"{file}:").partition(": ")
        known = colon and place.isdigit()
        line, message = (int(place), message) if known else (0, f"{place}{colon}{message}".strip())
        return [Problem(BROKEN, "error", file.name, line, message)]


def _of_decisions(file: Path) -> list[Problem]:
    """Find the problems of a decision model, and what is doubtful about its tables."""
    from mlkit.bpmn.decisions.load import Decisions
    from mlkit.bpmn.definition.problem import Problem

    found = Decisions(file).analyse()
    return [
        Problem("decision", each.severity, each.where, each.line, each.message) for each in found
    ]


def _lint_lines(found: dict[Path, list[Problem]], first_broken: bool) -> None:
    """Print a line for each problem; the first file that is broken is reported as the error."""
    for file, problems in found.items():
        for each in problems:
            if first_broken and each.rule == BROKEN:
                first_broken = False
                continue
            where = "" if each.rule == BROKEN else f" {each.element}:"
            Output.line(f"{file}:{each.line}: {each.severity}:{where} {each.message} [{each.rule}]")


def _lint_document(found: dict[Path, list[Problem]]) -> None:
    from dataclasses import asdict

    files = [
        {"file": str(file), "problems": [asdict(each) for each in problems]}
        for file, problems in found.items()
    ]
    Output.document("bpmn.lint", 1, {"files": files})

"""`mlkit bpmn decide`: the decisions of a model, once, for a table of rows, or line by line."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.bpmn.options import pairs, variables_file
from mlkit.cli.groups import examples
from mlkit.cli.options import MAX_UNPACKED, Json, MaxRatio, MaxUnpacked, unpack_limits
from mlkit.cli.output import Output, format_count, of, plain
from mlkit.errors import BadData, UsageError
from mlkit.unpacking import UnpackLimits

if TYPE_CHECKING:
    from mlkit.bpmn.decisions.load import Decisions
    from mlkit.bpmn.decisions.trace import Trace


@examples(
    "mlkit bpmn decide rollout.dmn --var 'model accuracy=0.97' --var region=EU --explain",
    "mlkit bpmn decide rollout.dmn --table requests.csv -o decided.csv",
)
def decide(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Decision model, a DMN file.")],
    decision: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Decision to make (default: the one that no other requires)."
        ),
    ] = "",
    var: Annotated[
        list[str],
        typer.Option(
            "--var",
            metavar="NAME=VALUE",
            help=("Input of the decision; a JSON value keeps its type (repeatable)."),
        ),
    ] = [],  # noqa: B006
    vars_: Annotated[
        Path | None,
        typer.Option("--vars", metavar="FILE", help="File with a JSON object of inputs."),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Show the decisions on the way, and the rules that matched."
        ),
    ] = False,
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Decide each row of a CSV or Parquet file; columns are inputs."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help=("File that --table writes, CSV or Parquet (default: NAME.decided.SUFFIX)."),
        ),
    ] = None,
    lines: Annotated[
        bool,
        typer.Option(
            "--lines", help=("Read JSON Lines from standard input, and answer each at once.")
        ),
    ] = False,
    max_unpacked: MaxUnpacked = MAX_UNPACKED,
    max_ratio: MaxRatio = UnpackLimits.ratio,
    json: Json = False,
) -> None:
    """Evaluate a decision of a DMN model.

    With --table, each row of a CSV or Parquet file is decided, and the rows are written with the
    results and a column `error`; `-` is standard input or output. Exits 1 if a row failed.
    With --lines, each line is an object with `id`, `decision` and `context`; the answer has `id`
    and `value` (tagged by its type) or `error`.
    """
    from mlkit.bpmn.decisions.load import Decisions

    if lines and (table is not None or var or vars_):
        raise UsageError("--lines reads decisions and inputs from standard input")
    decisions = Decisions(model)
    _refuse_broken(decisions)
    if lines:
        _answer_lines(decisions)
        return
    inputs = {**variables_file(vars_), **pairs(var, "--var")}
    name = decision or decisions.main
    if table is not None:
        limits = unpack_limits(max_unpacked, max_ratio)
        _table(decisions, name, (table, output), inputs, of(context), limits)
        return
    _one(decisions, name, inputs, explain, json, of(context))


def _refuse_broken(decisions: Decisions) -> None:
    """Refuse a model with errors; what is only doubtful goes to the reader of the warnings."""
    errors = [each for each in decisions.problems if each.severity == "error"]
    if errors:
        first = errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise BadData(f"{decisions.path}:{first.line}: {first.where}: {first.message}{more}")


def _one(
    decisions: Decisions,
    name: str,
    inputs: dict[str, Any],
    explain: bool,
    json: bool,
    output: Output,
) -> None:
    from mlkit.bpmn.decisions.answers import document

    warn_of_inputs(decisions, [name], inputs, output)
    found = decisions.evaluate(name, inputs)
    if json:
        Output.document("bpmn.decide", 1, document(name, found))
        return
    _print(found.value)
    for note in found.trace.notes:
        output.note(f"note: {note}")
    if explain:
        _explain(found.trace)


def _print(value: Any) -> None:
    """Print a context, or a list of contexts, as a table; what has no entries as its value."""
    from mlkit.bpmn.decisions.answers import format_value

    rows = value if type(value) is list else [value]
    if not rows or any(type(each) is not dict or not each for each in rows):
        Output.line(format_value(value))
        return
    from rich.table import Table

    names = list(dict.fromkeys(name for each in rows for name in each))
    table = Table()
    for name in names:
        table.add_column(plain(name))
    for each in rows:
        table.add_row(*(plain(format_value(each[name]) if name in each else "") for name in names))
    Output.result(table)


def warn_of_inputs(
    decisions: Decisions, wanted: Iterable[str], given: Iterable[str], output: Output
) -> None:
    """Name the values that the model does not take, and those that it takes and has not got.

    Args:
        decisions: The model.
        wanted: What is decided.
        given: The names of the values.
        output: Where warnings go.
    """
    known, names = set(decisions.known_inputs), set(given)
    if unknown := sorted(names - known):
        output.note(f"warning: the model has no input {', '.join(map(repr, unknown))}")
    if missing := [each for each in decisions.required_inputs(wanted) if each not in names]:
        output.note(f"warning: no value for {', '.join(map(repr, missing))}: null")


def _explain(trace: Trace) -> None:
    from mlkit.bpmn.decisions.answers import format_value

    for name, value in trace.results.items():
        Output.line(f"{name} = {format_value(value)}")
        for each in trace.matched:
            if each.decision != name:
                continue
            asked = ", ".join(
                f"{label} = {format_value(found)}" for label, found in each.inputs.items()
            )
            rules = ", ".join(
                f"{rule} (line {line})" for rule, line in zip(each.rules, each.lines, strict=True)
            )
            Output.line(f"  {asked}")
            Output.line(f"  rules that matched: {rules or 'none'}")


def _answer_lines(decisions: Decisions) -> None:
    from mlkit.bpmn.decisions.answers import answer

    for line in sys.stdin.buffer:
        if line.strip():
            sys.stdout.write(answer(decisions, line) + "\n")
            sys.stdout.flush()


def _table(
    decisions: Decisions,
    name: str,
    files: tuple[Path, Path | None],
    inputs: dict[str, Any],
    out: Output,
    limits: UnpackLimits,
) -> None:
    from mlkit.bpmn.decisions.rows import decide_rows

    table, output = files

    def begin(columns: list[str]) -> None:
        # A table may have columns that are not inputs.
        used = [*inputs, *(each for each in columns if each in decisions.known_inputs)]
        warn_of_inputs(decisions, [name], used, out)

    beside = table.with_name(f"{table.stem}.decided{table.suffix or '.csv'}")
    target = output or (table if str(table) == "-" else beside)
    with out.progress("rows") as progress:
        found = decide_rows(decisions, name, table, target, inputs, progress, begin, limits)
    out.note(f"{format_count(found.rows, 'row')} decided: {target}")
    if found.failed:
        out.note(f"{format_count(found.failed, 'row')} failed; the first: {found.first}")
        raise typer.Exit(1)

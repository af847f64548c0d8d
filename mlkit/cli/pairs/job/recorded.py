"""`mlkit pairs job test`."""

from __future__ import annotations

import json as encoder
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from mlkit.cli.groups import examples
from mlkit.cli.options import MOST
from mlkit.cli.output import Output, format_count, of
from mlkit.cli.pairs.job.joining import NO_JOIN, Joining, topics_of, with_join
from mlkit.cli.pairs.job.run import BatchOption, JobArgument, KeyOption, RscriptOption, show_trace
from mlkit.pairs.defaults import KEY, RECORDED_BATCH, RSCRIPT


@examples(
    "mlkit pairs job test zscores.py --on history/",
    "mlkit pairs job test zscores.py --on prices.csv --json > zscores.jsonl",
    "mlkit pairs job test moves.R --on recorded/ --in bars,news --join asof --tolerance 1h",
)
@with_join
def recorded(
    context: typer.Context,
    file: JobArgument,
    data: Annotated[
        Path,
        typer.Option(
            "--on",
            metavar="PATH",
            help="Recorded data: a folder of Parquet files, or a price file.",
        ),
    ],
    inputs: Annotated[
        str | None,
        typer.Option("--in", metavar="TOPIC,...", help="Topics to join: folders or files in PATH."),
    ] = None,
    key: KeyOption = KEY,
    batch: BatchOption = RECORDED_BATCH,
    most: Annotated[
        int, typer.Option("--rows", min=1, max=MOST, help="Number of rows to print.")
    ] = 20,
    rscript: RscriptOption = RSCRIPT,
    joining: Joining = NO_JOIN,
    json: Annotated[bool, typer.Option("--json", help="Print all results as JSON Lines.")] = False,
) -> None:
    """Run a job over recorded data, without a log, and print what it returns.

    One instance of the job gets all tickers, in the order of time, one batch per call. Nothing is
    restarted: a job that raises ends with its traceback.
    """
    from mlkit.interruption import stoppable
    from mlkit.pairs.jobs import recorded as data_of
    from mlkit.pairs.jobs.file import JobRaised, open_job
    from mlkit.pairs.jobs.rows import document

    plan = joining.plan(topics_of(inputs), key)
    if inputs is not None and plan is None:
        raise typer.BadParameter("only with --join", param_hint="--in")
    late: list[object] = []
    try:
        with stoppable():
            made = data_of.run(open_job(file, key, rscript), data, batch, plan, late.append)
            found = map(document, made)
            _lines(found) if json else _table(found, most, key, of(context))
    except JobRaised as error:
        show_trace(error)
        raise
    if late:
        of(context).note(f"{format_count(len(late), 'late record')} left out")


def _lines(found: Iterator[dict[str, Any]]) -> None:
    for row in found:
        sys.stdout.write(encoder.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def _table(found: Iterator[dict[str, Any]], most: int, key: str, shown: Output) -> None:
    from rich.table import Table

    from mlkit.cli.output import plain

    first = list(islice(found, most))
    rest = sum(1 for _ in found)
    names = list(dict.fromkeys(["time", key, *(name for row in first for name in row)]))
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(plain(name))
    for row in first:
        table.add_row(*(plain(_cell(row.get(name))) for name in names))
    if first:
        Output.result(table)
    total = format_count(len(first) + rest, "record")
    shown.note(f"{total}, the first {most} shown: --json prints all" if rest else total)


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)

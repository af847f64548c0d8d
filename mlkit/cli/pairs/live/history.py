"""`mlkit pairs live history`: topics as Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlkit.cli.groups import examples
from mlkit.cli.options import Json
from mlkit.cli.output import Output, format_count
from mlkit.cli.pairs.live.control import RunArgument


@examples(
    "mlkit pairs live history run bars -o bars",
    "mlkit pairs live history run account --since 2024-01-02 -o account",
)
def history(
    run: RunArgument,
    topic: Annotated[
        str,
        typer.Argument(
            metavar="TOPIC", help="Topic of the run: bars, decisions, fills, account, ..."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write the files to.")
    ],
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="First day (default: all that is kept).")
    ] = None,
    json: Json = False,
) -> None:
    """Write a topic of a run as Parquet, one file per day.

    `mlkit pairs backtest DIR` reads bars, and so do pandas and DuckDB (`DIR/*.parquet`).
    """
    from mlkit.pairs.live import history as parquet
    from mlkit.pairs.live.folder import RunFolder

    folder = RunFolder(run)
    folder.plan()
    log = folder.open_log()
    try:
        days = parquet.write(log, topic, output, since)
    finally:
        log.close()
    if json:
        Output.document("pairs.live.history", 1, {"output": str(output), "days": days})
    else:
        amount = f"{format_count(sum(days.values()), 'record')} of {format_count(len(days), 'day')}"
        Output.line(f"{output}: {amount}")

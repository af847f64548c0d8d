"""`mlkit pairs job history`: topics as Parquet or JSON Lines."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlkit.cli.groups import examples
from mlkit.cli.options import Json
from mlkit.cli.output import Output, format_count, of

if TYPE_CHECKING:
    from mlkit.streams import Log


@examples(
    "mlkit pairs job history zscores --log live/log -o zscores",
    "mlkit pairs job history bars --log kafka://broker:9092 --since 2024-01-02 -o bars",
    "mlkit pairs job history zscores --log live/log > zscores.jsonl",
)
def history(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="Topic of the log.")],
    log: Annotated[
        str, typer.Option(metavar="DIR|URL", help="Log: a folder, or kafka://HOST:PORT.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR",
            help="Folder to write Parquet files to (default: JSON Lines on standard output).",
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="First day (default: all that is kept).")
    ] = None,
    json: Json = False,
) -> None:  # fmt: skip
    """Write a topic as Parquet, one file per day (UTC), or as JSON Lines.

    `mlkit pairs backtest DIR` and `mlkit pairs job test --on DIR` read the files, and so do pandas
    and DuckDB (`DIR/*.parquet`). Days that are there are replaced, except by fewer records.
    """
    from mlkit.interruption import stoppable
    from mlkit.pairs.jobs.run import open_log

    opened = open_log(log)
    try:
        with stoppable():
            if output is None:
                _lines(of(context), opened, topic, since)
            else:
                _files(of(context), opened, topic, output, since, json)
    finally:
        opened.close()


def _lines(out: Output, log: Log, topic: str, since: str | None) -> None:
    import msgspec

    from mlkit.pairs.feeds.records import iso
    from mlkit.pairs.jobs.history import read

    counts: Counter[str] = Counter()
    for row in read(log, topic, since, counts):
        line = msgspec.json.encode(row | {"time": iso(row["time"])})
        sys.stdout.write(line.decode() + "\n")
    _note_skipped(out, counts["unreadable"])


def _files(out: Output, log: Log, topic: str, output: Path, since: str | None, json: bool) -> None:
    from mlkit.pairs.jobs.history import write

    found = write(log, topic, output, since)
    _note_skipped(out, found.unreadable)
    if found.kept:
        days = format_count(len(found.kept), "day")
        out.note(f"{days} of {output} unchanged: the log has fewer of their records by now")
    if json:
        document = {
            "output": str(output), "days": found.days, "unreadable": found.unreadable,
            "kept": list(found.kept),
        }  # fmt: skip
        Output.document("pairs.job.history", 1, document)
    else:
        records = format_count(sum(found.days.values()), "record")
        Output.line(f"{output}: {records} of {format_count(len(found.days), 'day')}")


def _note_skipped(out: Output, unreadable: int) -> None:
    if unreadable:
        out.note(f"{format_count(unreadable, 'record')} passed over: no JSON object with a time")

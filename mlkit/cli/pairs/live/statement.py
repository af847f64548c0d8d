"""`mlkit pairs live statement`: the report of a run up to the end of a session."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlkit.cli.groups import examples
from mlkit.cli.options import Json
from mlkit.cli.output import Output
from mlkit.cli.pairs.live.control import RunArgument


@examples(
    "mlkit pairs live statement run",
    "mlkit pairs live statement run --day 2024-01-31 -o january.html",
)
def statement(
    run: RunArgument,
    day: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Day of the session (default: the last one)."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.HTML",
            help="File to write (default: statements/DATE.html in the run's folder).",
        ),
    ] = None,
    json: Json = False,
) -> None:  # fmt: skip
    """Write the statement of a session: a backtest's report on the run until then.

    A run writes one at the end of each session. Exits 1 if nothing was traded by then.
    """
    from mlkit.pairs.live import statements
    from mlkit.pairs.live.folder import RunFolder

    written = statements.write(RunFolder(run), day, output)
    figures = written.figures
    if json:
        Output.document("pairs.live.statement", 1, {**figures, "output": str(written.path)})
    else:
        Output.line(f"{written.path}: {written.day}, equity {figures['closing']:,.2f}, "
                    f"{figures['result']:+,.2f} on the day")  # fmt: skip

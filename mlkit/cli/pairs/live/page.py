"""`mlkit pairs live page`: the page of a run, whoever runs it."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.cli.groups import examples
from mlkit.cli.output import of
from mlkit.cli.pairs.live.control import RunArgument
from mlkit.web.defaults import HOST


@examples("mlkit pairs live page run", "mlkit pairs live page run --port 8080")
def page(
    context: typer.Context,
    run: RunArgument,
    host: Annotated[str, typer.Option(help="Loopback address of the page.")] = HOST,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free port.")
    ] = 0,
) -> None:
    """Serve the page of a run, active or ended, until a signal."""
    from mlkit.interruption import stoppable
    from mlkit.pairs.live.folder import RunFolder
    from mlkit.pairs.live.server.process import PageProcess

    folder = RunFolder(run)
    folder.plan()
    process = PageProcess(folder, host, port)
    process.start()
    of(context).note(f"{run} at {process.url}")
    try:
        with stoppable():
            process.wait()
    finally:
        process.stop()

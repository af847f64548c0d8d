"""`mlkit image debug`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from mlkit.cli.groups import examples


@examples(
    "mlkit image debug my-container",
    "mlkit image debug my-container -- cat /app/etc/passwd",
)
def debug(
    container: Annotated[str, typer.Argument(metavar="CONTAINER", help="A running container.")],
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND...]", help="What to run instead of a shell."),
    ] = None,
) -> None:
    """Start a shell beside a container that has none, in its namespaces.

    The shell is busybox from Debian. It sees the processes and the network of the container, and
    has the container's files under /app. Exits with the code of the command.
    """
    import contextlib

    from mlkit.image.run import terminal
    from mlkit.image.run.debugging import SHELL, beside
    from mlkit.image.run.engine.engine import Engine
    from mlkit.interruption import stoppable

    source = sys.stdin.fileno() if sys.stdin else os.open(os.devnull, os.O_RDONLY)
    interactive = os.isatty(source) and sys.stdout.isatty()
    streams = terminal.Streams(source, sys.stdout.buffer, sys.stderr.buffer)
    with contextlib.ExitStack() as stack:
        stack.enter_context(stoppable())
        engine = stack.enter_context(contextlib.closing(Engine()))
        created = stack.enter_context(beside(engine, container, command or SHELL, interactive))
        code = terminal.run(created, streams, interactive)
    raise typer.Exit(code)

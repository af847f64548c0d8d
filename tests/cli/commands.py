"""All commands."""

from __future__ import annotations

import typer

from mlkit.cli.main import app


def commands(command, name="mlkit"):
    """List (full name, command) of every leaf below a command."""
    members = getattr(command, "list_commands", None)
    if members is None:
        yield name, command
        return
    context = typer.Context(command)
    for each in members(context):
        yield from commands(command.get_command(context, each), f"{name} {each}")


LEAVES = dict(commands(typer.main.get_command(app)))

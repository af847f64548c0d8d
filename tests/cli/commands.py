"""All commands, and a terminal to run them on."""

from __future__ import annotations

import os
import pty
import subprocess

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


def on_a_terminal(command, environment, directory):
    """Run a command with a terminal for its output, and give what it printed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, stdout=theirs, stdin=theirs, env=environment, cwd=directory
    ) as child:
        os.close(theirs)
        text = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the terminal is gone: the child has ended
                break
            if not part:
                break
            text += part
        child.wait()
    os.close(ours)
    return text.decode()

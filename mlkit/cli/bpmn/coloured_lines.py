"""Drawings of lines of text, coloured by state on a terminal."""

from __future__ import annotations

import sys

COLOURS = {"done": "green", "running": "blue", "waiting": "yellow", "failed": "red", "ended": "dim"}


def print_lines(lines: list[list[tuple[str, str]]]) -> None:
    """Print lines of (text, state) pieces, coloured by state on a terminal."""
    if not sys.stdout.isatty():
        for line in lines:
            sys.stdout.write("".join(part for part, _ in line).rstrip() + "\n")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for line in lines:
        parts = ((part, COLOURS.get(name, "")) for part, name in line)
        console.print(Text.assemble(*parts), no_wrap=True, crop=False, soft_wrap=True)

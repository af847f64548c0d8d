"""Runs with other arguments: those of `--run`, and the help of a command that ends by itself."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mlkit.image.command.entrypoint import Command
from mlkit.image.proof.compare import Difference, settle
from mlkit.image.run.observation import Observation, Runner
from mlkit.image.run.together import Together

HELP = "--help"
Run = Callable[[], Observation]


@dataclass(frozen=True)
class Further:
    """One such run.

    Attributes:
        arguments: What is given in place of the command.
        originals: Runs of the original that have begun.
        again: Runs the original once more.
    """

    arguments: list[str]
    originals: Sequence[Run]
    again: Run

    def compare(self, candidate: Run) -> list[Difference]:
        """Compare a run of the result with those of the original."""
        runs = [each() for each in self.originals]
        _, found = settle(runs, self.again, candidate)
        text = f"run {shlex.join(self.arguments)}"
        return [replace(each, what=f"{text}: {each.what}") for each in found]


def asks_help(command: Command, first: Observation) -> list[list[str]]:
    """Return the arguments that make a command explain itself, if it is one that ends by itself.

    Args:
        command: What the container starts.
        first: A run of it.
    """
    if first.exit_code != 0 or command.shell or command.launched or HELP in command.argv:
        return []
    return [[HELP] if command.entrypoint else [*command.arguments, HELP]]


def begin(
    runner: Runner, together: Together, image: str, entrypoint: Sequence[str],
    arguments: list[str],
) -> Further:  # fmt: skip
    """Start two runs of the original with other arguments.

    Args:
        runner: Runs it.
        together: Where runs may go on beside other work.
        image: The original.
        entrypoint: Its entrypoint.
        arguments: What follows that.
    """
    run: Run = partial(runner.run, image, [*entrypoint, *arguments])
    return Further(arguments, [together.start(run) for _ in range(2)], run)

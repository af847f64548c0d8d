"""The options by which a job joins topics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mlkit.cli.options import expand, nanoseconds

if TYPE_CHECKING:
    from mlkit.pairs.jobs.join import JoinPlan

PANEL = "Join by time"


class Kind(StrEnum):
    """How records of topics meet."""

    ASOF = "asof"
    WINDOW = "window"


@dataclass(frozen=True)
class Joining:
    """What the options say."""

    join: Kind | None
    tolerance: str | None
    lateness: str | None

    def plan(self, topics: tuple[str, ...], key: str) -> JoinPlan | None:
        """Return how topics are joined; None where they are not.

        Raises:
            BadParameter: The options contradict one another.
        """
        from mlkit.pairs.jobs.join import JoinPlan

        if self.join is None:
            if self.tolerance or self.lateness:
                hint = "--tolerance" if self.tolerance else "--lateness"
                raise typer.BadParameter("only with --join", param_hint=hint)
            return None
        if len(topics) < 2:
            raise typer.BadParameter("--join needs several topics", param_hint="--in")
        tolerance = None
        if self.tolerance is not None:
            tolerance = nanoseconds(self.tolerance, "--tolerance")
        if self.join is Kind.WINDOW and not tolerance:
            raise typer.BadParameter("windows need a length above 0", param_hint="--tolerance")
        lateness = nanoseconds(self.lateness or "0s", "--lateness")
        return JoinPlan(self.join.value, topics, key, tolerance, lateness)


NO_JOIN = Joining(None, None, None)


def topics_of(text: str | None) -> tuple[str, ...]:
    """Return the topics of `--in`, each once."""
    return tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))


_OPTIONS = {
    "join": (
        Annotated[
            Kind | None,
            typer.Option(
                "--join", rich_help_panel=PANEL,
                help=(
                    "Join topics by key and time: one record for each record of the first topic "
                    "(asof), or for each window."
                ),
            ),
        ],
        None,
    ),
    "tolerance": (
        Annotated[
            str | None,
            typer.Option(
                "--tolerance", metavar="DURATION", rich_help_panel=PANEL,
                help=(
                    "Maximum age of a record of another topic (default: any), "
                    "or length of the windows."
                ),
            ),
        ],
        None,
    ),
    "lateness": (
        Annotated[
            str | None,
            typer.Option(
                "--lateness", metavar="DURATION", rich_help_panel=PANEL,
                help="Time by which records may be out of order (default: 0s).",
            ),
        ],
        None,
    ),
}  # fmt: skip


def with_join(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with these options in place of its parameter `joining`."""
    return expand(command, "joining", _OPTIONS, Joining)

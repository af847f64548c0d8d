"""`mlkit pairs live`: its commands; without the name of one, the first argument is a feed."""

from __future__ import annotations

from typing import Any, ClassVar

import typer

from mlkit.cli.groups import LazyGroup, Members

TEXT = """Trade pairs on paper, bar by bar, as prices come; watch and control it.

`mlkit pairs live FEED` is short for `mlkit pairs live run FEED`.
"""


class LiveGroup(LazyGroup):
    """The commands of a live run."""

    members: ClassVar[Members] = {
        "run": (
            "mlkit.cli.pairs.live.run:run",
            "Trade on paper, bar by bar: the backtest's engine, every step in a durable log.",
        ),
        "status": (
            "mlkit.cli.pairs.live.control:status",
            "Show what a run is doing: account, pairs, limits, and the state of its feed.",
        ),
        "page": (
            "mlkit.cli.pairs.live.page:page",
            "Serve the page of a run, active or ended, until a signal.",
        ),
        "history": (
            "mlkit.cli.pairs.live.history:history",
            "Write a topic of a run as Parquet, one file per day.",
        ),
        "statement": (
            "mlkit.cli.pairs.live.statement:statement",
            "Write the statement of a session: a backtest's report on the run until then.",
        ),
        "pause": (
            "mlkit.cli.pairs.live.control:pause",
            "Open no new positions; open positions keep running to their exits.",
        ),
        "resume": (
            "mlkit.cli.pairs.live.control:resume",
            "Trade again after a pause, a blocking limit, a flatten or a kill.",
        ),
        "flatten": (
            "mlkit.cli.pairs.live.control:flatten",
            "Close positions at the next bar, cancel waiting entries, and open no new ones.",
        ),
        "kill": (
            "mlkit.cli.pairs.live.control:kill",
            "Cancel waiting entries, and end the run; positions stay open.",
        ),
        "verify": (
            "mlkit.cli.pairs.live.verify:verify",
            "Replay a run's recorded bars through the backtest, and compare bit for bit.",
        ),
    }

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; what is not a command is a feed."""
        if args and args[0] not in self.members and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(name="live", cls=LiveGroup, add_completion=False, no_args_is_help=True, help=TEXT)

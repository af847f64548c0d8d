"""`mlkit pairs live verify`: the proof of a run."""

from __future__ import annotations

import typer

from mlkit.cli.groups import examples
from mlkit.cli.options import Json
from mlkit.cli.output import Output, format_count
from mlkit.cli.pairs.live.control import RunArgument


@examples("mlkit pairs live verify run", "mlkit pairs live verify run --json")
def verify(run: RunArgument, json: Json = False) -> None:
    """Replay a run's recorded bars through the backtest, and compare bit for bit.

    Compares the account at each bar, all decisions and all trades. Exits 1 with the first
    difference.
    """
    from dataclasses import asdict

    from mlkit.pairs.live import verify as proof
    from mlkit.pairs.live.folder import RunFolder
    from mlkit.pairs.strategy import file

    folder = RunFolder(run)
    plan = folder.plan()
    strategy = None if plan.strategy is None else file.reload(plan.strategy)
    log = folder.open_log()
    try:
        verdict = proof.verify(log, plan, strategy)
    finally:
        log.close()
    if json:
        equal = {"equal": verdict.difference is None}
        Output.document("pairs.live.verify", 1, equal | asdict(verdict))
    elif verdict.difference is None:
        compared = (format_count(verdict.bars, "bar"), format_count(verdict.decisions, "decision"),
                    format_count(verdict.trades, "trade"))  # fmt: skip
        Output.line(f"equal: {', '.join(compared)}")
    else:
        Output.line(f"different: {verdict.difference}")
    if verdict.difference is not None:
        raise typer.Exit(1)

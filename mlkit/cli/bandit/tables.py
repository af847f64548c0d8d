"""The tables of `mlkit bandit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from mlkit.bandit.posteriors.summary import Quantiles, Score, Summary

if TYPE_CHECKING:
    from mlkit.bandit.logs.drift import Drift
    from mlkit.bandit.logs.positions import Position
    from mlkit.bandit.logs.verification import ArmCheck
    from mlkit.bandit.models.summary import ArmSummary
    from mlkit.bandit.simulation.simulation import Result

_BAR = 20


def scores(draws: Sequence[Sequence[Score]]) -> Table:
    """Make a table of draws; the draw is numbered if there are several."""
    return _draws(draws, _share)


def model_scores(draws: Sequence[Sequence[Score]]) -> Table:
    """Make a table of draws of a model with scores of any size."""
    return _draws(draws, lambda score: f"{score:.4g}")


def _draws(draws: Sequence[Sequence[tuple[str, float]]], show: Callable[[float], str]) -> Table:
    several = len(draws) > 1
    table = _table("draw" if several else None, "rank", arm=True)
    table.add_column("score", justify="right")
    for number, drawn in enumerate(draws, 1):
        for rank, (arm, score) in enumerate(drawn, 1):
            numbers = [str(number), str(rank)] if several else [str(rank)]
            table.add_row(*numbers, _id(arm), show(score))
    return table


def model_summaries(rows: Sequence[ArmSummary]) -> Table:
    """Make a table of the arms of a model; a bar for each share."""
    table = _table(arm=True)
    for name in ("pulls", "mean", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("0 to 1", no_wrap=True)
    for row in rows:
        bar = "█" * round(row.share * _BAR)
        share = f"{row.share:.1%}"
        table.add_row(_id(row.arm), f"{row.pulls:,.0f}", f"{row.mean:.4g}", share, bar)
    return table


def drifts(rows: Sequence[Drift]) -> Table:
    """Make a table of how rates have changed."""
    table = _table(arm=True)
    for name in ("before", "rate", "recent", "rate", "change", "p", "q"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        means = row.old_mean, row.recent_mean
        change = None if None in means else (row.recent_mean or 0) - (row.old_mean or 0)
        numbers = f"{row.old_pulls:,}", _number(means[0]), f"{row.recent_pulls:,}"
        tests = _number(means[1]), _number(change, "+.4f"), _number(row.p, ".2g")
        table.add_row(_id(row.arm), *numbers, *tests, _number(row.q, ".2g"))
    return table


def _number(value: float | None, form: str = ".4f") -> str:
    return "" if value is None else format(value, form)


def checks(rows: Sequence[ArmCheck]) -> Table:
    """Make a table of how often arms came first, and were expected to."""
    table = _table(arm=True)
    for name in ("expected first", "shown first", "z"):
        table.add_column(name, justify="right")
    for row in rows:
        arm = Text("(rare arms)") if row.arm is None else _id(row.arm)
        table.add_row(arm, f"{row.expected:,.1f}", f"{row.shown:,}", f"{row.z:+.2f}")
    return table


def positions(rows: Sequence[Position]) -> Table:
    """Make a table of how probably positions are looked at."""
    table = _table("position", arm=False)
    for name in ("shown", "rewards", "looked at", "standard error"):
        table.add_column(name, justify="right")
    for row in rows:
        error = "" if row.error is None else f"{row.error:.3f}"
        numbers = [str(row.position), f"{row.shown:,}", f"{row.rewards:,g}"]
        table.add_row(*numbers, f"{row.examined:.3f}", error)
    return table


def simulations(rows: Sequence[Result], runs: int) -> Table:
    """Make a table of policies in a world, the least regret first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("policy", overflow="fold")
    for name in ("regret", "5 - 95 % of runs", "best arm", "found", "by step"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in sorted(rows, key=lambda row: row.regret[-1]):
        band = f"{row.low[-1]:,.4g} - {row.high[-1]:,.4g}"
        time = "" if row.time is None else f"{row.time:,.0f}"
        regret = f"{row.regret[-1]:,.4g} ± {row.error:,.2g}"
        found = f"{row.found / runs:.0%}"
        table.add_row(row.policy, regret, band, f"{row.best:.1%}", found, time)
    return table


def quantiles(rows: Sequence[Quantiles], probabilities: Sequence[float]) -> Table:
    """Make a table of quantiles, one column per probability."""
    table = _table(arm=True)
    for p in probabilities:
        table.add_column(f"p {p:g}", justify="right")
    for row in rows:
        table.add_row(_id(row.arm), *(f"{value:.6g}" for value in row.values))
    return table


def summaries(rows: Sequence[Summary]) -> Table:
    """Make a table of arms; bars share the axis from 0 to the highest interval end."""
    table = _table(arm=True)
    for name in ("pulls", "mean", "95 % interval", "best"):
        table.add_column(name, justify="right", no_wrap=True)
    highest = max((row.high for row in rows), default=1.0)
    table.add_column(f"0 to {_share(highest)}", no_wrap=True)
    for row in rows:
        interval = f"{_share(row.low)} - {_share(row.high)}"
        best = f"{row.best:.1%}"
        bar = _bar(row, highest)
        table.add_row(_id(row.arm), f"{row.pulls:,}", _share(row.mean), interval, best, bar)
    return table


def _table(*numbers: str | None, arm: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in filter(None, numbers):
        table.add_column(name, justify="right")
    if arm:
        table.add_column("arm", overflow="fold")
    return table


def _id(arm: str) -> Text:
    """Return an id unchanged; one that would move the cursor or hide itself is quoted."""
    return Text(arm if arm.isprintable() else repr(arm))


def _share(value: float) -> str:
    """Return a number in [0, 1]; a small one keeps its significant digits."""
    return f"{value:.2e}" if 0 < value < 1e-3 else f"{value:.4f}"


def _bar(row: Summary, highest: float) -> Text:
    """Draw the credible interval as a line, and the mean as a point on it."""
    low, mean, high = (round(x / highest * (_BAR - 1)) for x in (row.low, row.mean, row.high))
    line = ["─" if low <= i <= high else " " for i in range(_BAR)]
    line[mean] = "●"
    return Text("".join(line))

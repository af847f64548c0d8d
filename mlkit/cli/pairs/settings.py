"""The options that `pairs backtest` and `pairs sweep` share: one for each setting.

`mlkit.pairs.settings` documents them, and defines their defaults and choices. Here are their
flags; `with_settings` passes them to a command as one argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from mlkit.cli.options import MOST, expand
from mlkit.pairs import settings


@dataclass(frozen=True)
class Flag:
    """One option: the setting that it sets, its type and its help.

    Attributes:
        section: The part of the settings.
        field: The setting's name there, whose default is the option's too.
        kind: Its type.
        text: Its help.
        panel: The heading under which help lists it.
        flags: Its names, where they are not the setting's.
        automatic: Left out, it is decided by other settings.
    """

    section: str
    field: str
    kind: Any
    text: str
    panel: str
    flags: tuple[str, ...] = ()
    automatic: bool = False

    @property
    def default(self) -> Any:
        """The setting's own default; None for no limit, and for what others decide."""
        value = next(
            each.default for each in fields(SECTIONS[self.section]) if each.name == self.field
        )
        return None if self.automatic or value == math.inf else value

    @property
    def name(self) -> str:
        """The name of the command's parameter."""
        flag = self.flags[0] if self.flags else "--" + self.field.replace("_", "-")
        return flag.split("/")[0].removeprefix("--").replace("-", "_")


RULE, SIGNAL, MONEY, COSTS, PERIODS = "Rule", "Signal", "Money", "Costs", "Windows"

SECTIONS: dict[str, Any] = {
    "rule": settings.Rule, "signal": settings.Signal, "sizing": settings.Sizing,
    "costs": settings.Costs, "limits": settings.Limits, "selection": settings.Selection,
    "": settings.Settings,
}  # fmt: skip
"""Where a flag's default is defined."""

FLAGS = (
    Flag("rule", "entry", float, "Entry threshold, in standard deviations of the spread.", RULE),
    Flag("rule", "exit", float, "Exit threshold, in standard deviations of the spread.", RULE),
    Flag(
        "rule",
        "stop",
        float,
        "Stop threshold, in standard deviations (default: none).",
        RULE,
        ("--stop-loss",),
    ),
    Flag("rule", "max_bars", int, "Longest holding period, in bars; 0: no limit.", RULE),
    Flag(
        "signal",
        "zscore",
        settings.ZScore,
        (
            "Mean and deviation that the z-score uses (default: lookback; filter "
            "with a Kalman hedge ratio)."
        ),
        SIGNAL,
        automatic=True,
    ),
    Flag("signal", "lookback", int, "Lookback window of the z-score, in bars.", SIGNAL),
    Flag("signal", "hedge", settings.Hedge, "How the hedge ratio is estimated.", SIGNAL),
    Flag("signal", "hedge_window", int, "Window of a rolling hedge ratio, in bars.", SIGNAL),
    Flag(
        "signal", "drift", float, "State noise variance of the Kalman hedge ratio, per bar.", SIGNAL
    ),
    Flag(
        "signal",
        "log",
        bool,
        (
            "Spread of log prices (beta is a ratio of money) or of prices (beta is "
            "a ratio of shares)."
        ),
        SIGNAL,
        ("--log/--levels",),
    ),
    Flag("sizing", "capital", float, "Initial capital.", MONEY),
    Flag("sizing", "gross", float, "Gross exposure of a pair, both legs together.", MONEY),
    Flag("sizing", "whole_shares", bool, "Trade whole shares only.", MONEY, ("--whole-shares",)),
    Flag(
        "limits",
        "pairs",
        int,
        "Maximum number of open pairs; 0: no limit.",
        MONEY,
        ("--max-pairs",),
    ),
    Flag(
        "limits",
        "pairs_per_ticker",
        int,
        "Maximum number of open pairs per ticker; 0: no limit.",
        MONEY,
        ("--max-per-ticker",),
    ),
    Flag(
        "limits",
        "leverage",
        float,
        ("Maximum ratio of gross exposure to equity (default: no limit)."),
        MONEY,
        ("--max-leverage",),
    ),
    Flag(
        "limits",
        "initial_margin",
        float,
        "Minimum ratio of equity to gross exposure when entering.",
        MONEY,
    ),
    Flag(
        "limits",
        "maintenance_margin",
        float,
        "Minimum ratio of equity to gross exposure while holding.",
        MONEY,
    ),
    Flag("", "cash_rate", float, "Interest on cash, a fraction per year (0.03: 3 %).", MONEY),
    Flag(
        "costs",
        "per_share",
        float,
        "Commission per share, in money.",
        COSTS,
        ("--commission-per-share",),
    ),
    Flag(
        "costs",
        "per_trade",
        float,
        "Commission per leg and fill, in money.",
        COSTS,
        ("--commission-per-trade",),
    ),
    Flag(
        "costs", "commission_bps", float, "Commission, in basis points of the traded value.", COSTS
    ),
    Flag("costs", "slippage_bps", float, "Slippage, in basis points of the price.", COSTS),
    Flag(
        "costs",
        "half_spread_bps",
        float,
        "Half the quoted spread, in basis points of the price.",
        COSTS,
    ),
    Flag(
        "costs",
        "borrow_rate",
        float,
        "Borrow fee on short legs, a fraction per year (0.005: 0.5 %).",
        COSTS,
    ),
    Flag("", "formation", int, "Bars on which a pair is fitted before it trades.", PERIODS),
    Flag(
        "",
        "trading",
        int,
        ("Length of each walk-forward trading window, in bars; 0: one window."),
        PERIODS,
    ),
    Flag("selection", "method", settings.Method, "How pairs are chosen.", PERIODS),
    Flag("selection", "top", int, "Maximum number of pairs per window.", PERIODS),
    Flag(
        "selection",
        "fdr",
        settings.FDR,
        ("False discovery control: Benjamini-Yekutieli (by), Benjamini-Hochberg (bh), or none."),
        PERIODS,
    ),
    Flag("selection", "alpha", float, "Accepted false discovery rate.", PERIODS),
    Flag("selection", "min_half_life", float, "Minimum half-life of the spread, in bars.", PERIODS),
    Flag(
        "selection",
        "max_half_life",
        float,
        ("Maximum half-life of the spread, in bars (default: no limit)."),
        PERIODS,
    ),
    Flag(
        "selection",
        "max_hurst",
        float,
        ("Upper bound of the spread's Hurst exponent (default: no limit)."),
        PERIODS,
    ),
    Flag(
        "selection", "min_correlation", float, "Minimum absolute correlation of returns.", PERIODS
    ),
    Flag("selection", "min_price", float, "Minimum close in the formation period.", PERIODS),
    Flag(
        "selection",
        "groups",
        Path,
        ("CSV file with the columns ticker,group; only pairs within a group count."),
        PERIODS,
        automatic=True,
    ),
    Flag(
        "",
        "carry",
        bool,
        "Keep positions open beyond the end of their window.",
        PERIODS,
        ("--carry",),
    ),
    Flag(
        "",
        "same_bar",
        bool,
        ("Fill at the close on which the decision is based (not achievable in real trading)."),
        PERIODS,
        ("--same-bar",),
    ),
    Flag(
        "", "bars_per_year", float, "Number of bars per year; 0: inferred from the dates.", PERIODS
    ),
)


def with_settings(
    command: Callable[..., None], without: frozenset[str] = frozenset()
) -> Callable[..., None]:
    """Add the options of all settings to a command, which receives them as `settings`.

    Args:
        command: Takes `settings`, and other parameters that typer reads.
        without: Names of options that the command declares itself.
    """
    options = {flag.name: _option(flag) for flag in FLAGS if flag.name not in without}
    return expand(command, "settings", options, last=True)


def _option(flag: Flag) -> tuple[Any, Any]:
    most = MOST if flag.kind is int else None
    option = typer.Option(*flag.flags, max=most, help=flag.text, rich_help_panel=flag.panel)
    kind = flag.kind | None if flag.default is None else flag.kind
    return Annotated[kind, option], flag.default


def build(chosen: Mapping[str, Any]) -> settings.Settings:
    """Build settings from the options' values; what was left out keeps its default."""
    from mlkit.pairs.screen.pair_files import read_groups

    sections: dict[str, dict[str, Any]] = {flag.section: {} for flag in FLAGS}
    for flag in FLAGS:
        value = chosen.get(flag.name)
        if value is not None:
            sections[flag.section][flag.field] = value
    if "groups" in sections["selection"]:
        sections["selection"]["groups"] = read_groups(sections["selection"]["groups"])
    signal = sections["signal"]
    signal.setdefault("zscore", "filter" if signal.get("hedge") == "kalman" else "lookback")
    parts = {name: SECTIONS[name](**values) for name, values in sections.items() if name}
    return settings.Settings(**parts, **sections[""])

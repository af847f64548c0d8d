"""The options that `pairs backtest` and `pairs sweep` share: one for each setting.

`mlkit.pairs.settings` says what they mean. Here stand their flags, and `with_settings` gives
them to a command as one argument.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mlkit.pairs.settings import Settings


class ZScore(StrEnum):
    """What the z-score refers to."""

    LOOKBACK = "lookback"
    FORMATION = "formation"
    OU = "ou"
    FILTER = "filter"


class Hedge(StrEnum):
    """Where the hedge ratio comes from."""

    FIXED = "fixed"
    ROLLING = "rolling"
    KALMAN = "kalman"


class Selection(StrEnum):
    """How a window's pairs are chosen."""

    COINTEGRATION = "cointegration"
    CORRELATION = "correlation"
    DISTANCE = "distance"


class Control(StrEnum):
    """How false discoveries are controlled."""

    BY = "by"
    BH = "bh"
    NONE = "none"


@dataclass(frozen=True)
class Flag:
    """One option: where its value belongs, its type, its default and its help."""

    section: str
    field: str
    kind: Any
    default: Any
    text: str
    panel: str
    flags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the command's parameter."""
        flag = self.flags[0] if self.flags else "--" + self.field.replace("_", "-")
        return flag.split("/")[0].removeprefix("--").replace("-", "_")


RULE, SIGNAL, MONEY, COSTS, PERIODS = "Rule", "Signal", "Money", "Costs", "Windows"

FLAGS = (
    Flag("rule", "entry", float, 2.0, "Enter at so many deviations.", RULE),
    Flag("rule", "exit", float, 0.5, "Leave within so many.", RULE),
    Flag("rule", "stop", float, None, "Leave at so many (default: never).", RULE,
         ("--stop-loss",)),
    Flag("rule", "max_bars", int, 0, "Leave after so many bars; 0: never.", RULE),
    Flag("signal", "zscore", ZScore, None, "What the z-score refers to "
         "(default: lookback, with a Kalman filter its own).", SIGNAL),
    Flag("signal", "lookback", int, 60, "Bars of the z-score.", SIGNAL),
    Flag("signal", "hedge", Hedge, Hedge.FIXED, "Where the hedge ratio comes from.", SIGNAL),
    Flag("signal", "hedge_window", int, 126, "Bars of a rolling hedge ratio.", SIGNAL),
    Flag("signal", "drift", float, 1e-4, "Of a Kalman hedge ratio, a bar.", SIGNAL),
    Flag("signal", "log", bool, True, "Logs (beta weighs money) or prices (shares).", SIGNAL,
         ("--log/--levels",)),
    Flag("sizing", "capital", float, 100_000.0, "Money at the start.", MONEY),
    Flag("sizing", "gross", float, 10_000.0, "Money in a pair, both legs.", MONEY),
    Flag("sizing", "whole_shares", bool, False, "No fractions of shares.", MONEY,
         ("--whole-shares",)),
    Flag("limits", "pairs", int, 0, "Pairs at a time; 0: any.", MONEY, ("--max-pairs",)),
    Flag("limits", "pairs_per_ticker", int, 0, "Pairs of one ticker; 0: any.", MONEY,
         ("--max-per-ticker",)),
    Flag("limits", "leverage", float, None, "Gross exposure over equity (default: any).", MONEY,
         ("--max-leverage",)),
    Flag("limits", "initial_margin", float, 0.5, "Equity over exposure, to enter.", MONEY),
    Flag("limits", "maintenance_margin", float, 0.3, "The same, to stay.", MONEY),
    Flag("", "cash_rate", float, 0.0, "Interest a year on cash.", MONEY),
    Flag("costs", "per_share", float, 0.0, "Commission a share.", COSTS,
         ("--commission-per-share",)),
    Flag("costs", "per_trade", float, 0.0, "Commission a leg and fill.", COSTS,
         ("--commission-per-trade",)),
    Flag("costs", "commission_bps", float, 1.0, "Commission, basis points.", COSTS),
    Flag("costs", "slippage_bps", float, 2.0, "Slippage, basis points.", COSTS),
    Flag("costs", "half_spread_bps", float, 2.0, "Half the quoted spread.", COSTS),
    Flag("costs", "borrow_rate", float, 0.005, "Fee a year on shorts.", COSTS),
    Flag("", "formation", int, 252, "Bars on which a pair is fitted, not traded.", PERIODS),
    Flag("", "trading", int, 0, "Bars of a trading window; walks forward.", PERIODS),
    Flag("selection", "method", Selection, Selection.COINTEGRATION, "How pairs are chosen.",
         PERIODS),
    Flag("selection", "top", int, 20, "Pairs of a window at most.", PERIODS),
    Flag("selection", "fdr", Control, Control.BY, "Control of false discoveries.", PERIODS),
    Flag("selection", "alpha", float, 0.05, "Share of false discoveries.", PERIODS),
    Flag("selection", "min_half_life", float, 0.0, "Least half-life of the spread.", PERIODS),
    Flag("selection", "max_half_life", float, None, "Greatest half-life (default: any).", PERIODS),
    Flag("selection", "max_hurst", float, None, "Hurst exponent below it (default: any).", PERIODS),
    Flag("selection", "min_correlation", float, 0.0, "Of the returns, of either sign.", PERIODS),
    Flag("selection", "min_price", float, 0.0, "Least close in the formation period.", PERIODS),
    Flag("selection", "groups", Path, None, "CSV ticker,group; pairs within one.", PERIODS),
    Flag("", "carry", bool, False, "Positions outlive their window.", PERIODS, ("--carry",)),
    Flag("", "same_bar", bool, False, "Fill at the close of the decision (nobody can).", PERIODS,
         ("--same-bar",)),
    Flag("", "bars_per_year", float, 0.0, "Bars a year; 0: from the dates.", PERIODS),
)  # fmt: skip


def with_settings(
    command: Callable[..., None], without: frozenset[str] = frozenset()
) -> Callable[..., None]:
    """Give a command the options of all settings; it receives them as `settings`.

    Args:
        command: Takes `settings`, and other parameters that typer reads.
        without: Names of options that the command declares itself.
    """
    flags = {flag.name: flag for flag in FLAGS if flag.name not in without}
    own = inspect.signature(command, eval_str=True)

    def wrapped(**values: Any) -> None:
        chosen = {name: values.pop(name) for name in flags}
        command(settings=chosen, **values)

    kept = [each for each in own.parameters.values() if each.name != "settings"]
    options = [_parameter(name, flag) for name, flag in flags.items()]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in kept + options]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    return wrapped


def _parameter(name: str, flag: Flag) -> inspect.Parameter:
    option = typer.Option(*flag.flags, help=flag.text, rich_help_panel=flag.panel)
    kind = flag.kind | None if flag.default is None else flag.kind
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(
        name, keyword, default=flag.default, annotation=Annotated[kind, option]
    )


def build(chosen: Mapping[str, Any]) -> Settings:
    """Build settings from the options' values; what was left out keeps its default."""
    from mlkit.pairs import settings
    from mlkit.pairs.screen.pair_files import read_groups

    sections: dict[str, dict[str, Any]] = {flag.section: {} for flag in FLAGS}
    for flag in FLAGS:
        value = chosen.get(flag.name)
        if value is not None:
            plain = value.value if isinstance(value, StrEnum) else value
            sections[flag.section][flag.field] = plain
    if "groups" in sections["selection"]:
        sections["selection"]["groups"] = read_groups(sections["selection"]["groups"])
    signal = sections["signal"]
    signal.setdefault("zscore", "filter" if signal.get("hedge") == "kalman" else "lookback")
    return settings.Settings(
        rule=settings.Rule(**sections["rule"]),
        signal=settings.Signal(**signal),
        sizing=settings.Sizing(**sections["sizing"]),
        costs=settings.Costs(**sections["costs"]),
        limits=settings.Limits(**sections["limits"]),
        selection=settings.Selection(**sections["selection"]),
        **sections[""],
    )

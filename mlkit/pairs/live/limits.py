"""Risk limits: what is checked before each order and after each bar, apart from the strategy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData, UsageError

ACTIONS = ("refuse", "block", "flatten", "stop")
"""What a breach leads to: the order is refused; besides, entries are blocked; besides, positions
are closed; or besides, the run ends."""

MINUTE = 60 * 10**9


@dataclass(frozen=True)
class RiskLimits:
    """Limits of a run.

    Attributes:
        gross: Money in all positions and waiting entries, long and short added.
        net: The same, short subtracted from long, of either sign.
        daily_loss: Loss since the end of the day before, as a fraction of the equity then.
        drawdown: Loss since the highest equity, as a fraction of it.
        orders_per_minute: Entries a minute, by the times of the bars; 0 for no limit.
        stale: Seconds that an entry may wait for prices of its legs.
        collar: Distance of an entry's fill price from the close before, as a fraction.
        no_borrow: Tickers that cannot be sold short.
        actions: What a breach of a limit leads to, by its name.
    """

    gross: float = math.inf
    net: float = math.inf
    daily_loss: float = math.inf
    drawdown: float = math.inf
    orders_per_minute: int = 0
    stale: float = math.inf
    collar: float = math.inf
    no_borrow: tuple[str, ...] = ()
    actions: Mapping[str, str] = field(default_factory=dict)

    def action(self, limit: str) -> str:
        """Return what a breach leads to: what was configured, or the least that helps."""
        usual = "block" if limit in ("daily_loss", "drawdown") else "refuse"
        return self.actions.get(limit, usual)

    def document(self) -> dict[str, Any]:
        """Return the limits as JSON values; infinities as null."""
        cells = asdict(self) | {"no_borrow": list(self.no_borrow), "actions": dict(self.actions)}
        return {
            name: None if isinstance(cell, float) and math.isinf(cell) else cell
            for name, cell in cells.items()
        }


NAMES = tuple(each.name for each in fields(RiskLimits) if each.name not in ("actions", "no_borrow"))


def parse_limits(texts: Sequence[str], no_borrow: Sequence[str] = ()) -> RiskLimits:
    """Read limits as the command line has them: `NAME=VALUE` or `NAME=VALUE:ACTION`.

    Raises:
        UsageError: A name, a value or an action is wrong.
    """
    values: dict[str, Any] = {}
    actions: dict[str, str] = {}
    for text in texts:
        name, _, rest = text.partition("=")
        value, _, action = rest.partition(":")
        name = name.strip().replace("-", "_")
        if name not in NAMES:
            raise UsageError(f"--limit {text}: no limit '{name}'", hint=", ".join(NAMES))
        values[name] = _value(text, name, value)
        if action:
            actions[name] = _action(text, name, action)
    return RiskLimits(**values, no_borrow=tuple(no_borrow), actions=actions)


def _value(text: str, name: str, value: str) -> float:
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not found > 0.0 or (name == "orders_per_minute" and found != int(found)):
        raise UsageError(f"--limit {text}: expected a positive number", hint=f"{name}=VALUE:ACTION")
    return int(found) if name == "orders_per_minute" else found


def _action(text: str, name: str, action: str) -> str:
    least = "block" if name in ("daily_loss", "drawdown") else "refuse"
    allowed = ACTIONS[ACTIONS.index(least) :]
    if action not in allowed:
        raise UsageError(f"--limit {text}: no action '{action}'", hint=", ".join(allowed))
    return action


def from_document(document: Mapping[str, Any]) -> RiskLimits:
    """Rebuild limits from `RiskLimits.document`.

    Raises:
        BadData: A name is unknown.
    """
    known: dict[str, Any] = {
        name: math.inf if cell is None else tuple(cell) if name == "no_borrow" else cell
        for name, cell in document.items()
    }
    try:
        return RiskLimits(**known)
    except TypeError as error:
        raise BadData(f"limits: {error}") from error


class Breach(NamedTuple):
    """A limit that was reached.

    Attributes:
        limit: Its name.
        text: What happened, with the figures.
        pair: The pair whose entry is refused; -1: it is not a matter of one order.
    """

    limit: str
    text: str
    pair: int = -1


class Waiting(NamedTuple):
    """An entry that waits for its fill.

    Attributes:
        pair: The pair's number.
        name: Its tickers, `Y/X`.
        columns: The columns of y and x.
        shares: Of y and x.
        since: The time of its decision.
    """

    pair: int
    name: str
    columns: tuple[int, int]
    shares: tuple[float, float]
    since: int


class Risk:
    """Checks the limits of a run; its state follows from the bars alone."""

    def __init__(self, limits: RiskLimits, tickers: Sequence[str], capital: float) -> None:
        self.limits = limits
        self._no_borrow = {n for n, each in enumerate(tickers) if each in limits.no_borrow}
        self.day, self.day_equity, self.peak, self.equity = "", capital, capital, capital
        self.minute, self.orders = 0, 0
        self.gross = self.net = 0.0

    def check_orders(
        self,
        time: int,
        waiting: Sequence[Waiting],
        last: NDArray[np.float64],
        fills: NDArray[np.float64],
    ) -> list[Breach]:
        """Check the entries that are about to fill, in their order.

        Args:
            time: Of the bar in which they fill, nanoseconds since 1970.
            waiting: The entries.
            last: Last close of each ticker.
            fills: Prices at which they fill, NaN where there are none.
        """
        if time // MINUTE != self.minute:
            self.minute, self.orders = time // MINUTE, 0
        gross, net, found = self.gross, self.net, []
        for each in waiting:
            legs = list(zip(each.columns, each.shares, strict=True))
            values = [shares * float(last[column]) for column, shares in legs]
            more_gross, more_net = gross + sum(map(abs, values)), net + sum(values)
            breach = self._order(time, each, legs, more_gross, more_net, last, fills)
            if breach is not None:
                found.append(breach)
                continue
            gross, net = more_gross, more_net
            if not any(math.isnan(fills[column]) for column, _ in legs):
                self.orders += 1
        return found

    def _order(
        self,
        time: int,
        entry: Waiting,
        legs: Sequence[tuple[int, float]],
        gross: float,
        net: float,
        last: NDArray[np.float64],
        fills: NDArray[np.float64],
    ) -> Breach | None:
        limits = self.limits
        with np.errstate(invalid="ignore"):
            distance = max(abs(float(fills[n]) / float(last[n]) - 1.0) for n, _ in legs)
        waited = (time - entry.since) / 1e9
        missing = any(math.isnan(fills[n]) for n, _ in legs)
        checks = (
            ("no_borrow", any(n in self._no_borrow and held < 0.0 for n, held in legs),
             "a leg that is sold short cannot be borrowed"),
            ("stale", missing and waited > limits.stale, f"no prices for {waited:g} s"),
            ("collar", distance > limits.collar, f"fills {distance:.2%} from the last close"),
            ("gross", gross > limits.gross, f"gross exposure would be {gross:,.2f}"),
            ("net", abs(net) > limits.net, f"net exposure would be {net:,.2f}"),
            ("orders_per_minute", 0 < limits.orders_per_minute <= self.orders,
             f"{self.orders} entries in this minute"),
        )  # fmt: skip
        for limit, broken, text in checks:
            if broken:
                return Breach(limit, f"{entry.name}: {text}", entry.pair)
        return None

    def check_account(self, day: str, equity: float, gross: float, net: float) -> list[Breach]:
        """Check the account at a close.

        Args:
            day: The day of the bar, in the run's time zone.
            equity: Money in all.
            gross: Value of the positions, long and short added.
            net: The same, subtracted.
        """
        if day != self.day:
            self.day, self.day_equity = day, self.equity
        self.equity, self.gross, self.net = equity, gross, net
        self.peak = max(self.peak, equity)
        found = []
        for limit, loss in (("daily_loss", self.loss), ("drawdown", self.drawdown)):
            if loss > getattr(self.limits, limit):
                found.append(Breach(limit, f"{limit.replace('_', ' ')} of {loss:.2%}"))
        return found

    @property
    def loss(self) -> float:
        """The day's loss as a fraction; negative for a gain."""
        return 1.0 - self.equity / self.day_equity

    @property
    def drawdown(self) -> float:
        """The loss since the highest equity, as a fraction."""
        return 1.0 - self.equity / self.peak

    def nearness(self) -> list[dict[str, Any]]:
        """Return each limit that is set, with its present value and its action."""
        values = {
            "gross": self.gross, "net": abs(self.net), "daily_loss": self.loss,
            "drawdown": self.drawdown, "orders_per_minute": self.orders,
        }  # fmt: skip
        bounds = {name: getattr(self.limits, name) for name in values}
        return [
            {"limit": name, "value": values[name], "bound": bound,
             "action": self.limits.action(name)}
            for name, bound in bounds.items() if bound and not math.isinf(bound)
        ]  # fmt: skip

    def save(self) -> dict[str, Any]:
        """Return the state."""
        names = ("day", "day_equity", "peak", "equity", "minute", "orders", "gross", "net")
        return {name: getattr(self, name) for name in names}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` returned."""
        for name, value in state.items():
            setattr(self, name, value)

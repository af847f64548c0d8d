"""Which pairs begin to trade at which bar of a live run: the plan of a backtest, bar by bar."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData
from mlkit.pairs.fit.formation import Formation, warm_up
from mlkit.pairs.live.plan import RunPlan
from mlkit.pairs.prices.prices import Prices
from mlkit.pairs.windows import (
    GivenPair,
    by_name,
    by_screen,
    formation_bars,
    formation_of,
    window_after,
)


class Start(NamedTuple):
    """A pair that trades from the next bar on.

    Attributes:
        pair: What its formation period fixed.
        history: Closes of y and x that warm its signal up, shape (bars, 2).
        stop: The bar after its last one; None: no end.
    """

    pair: Formation
    history: NDArray[np.float64]
    stop: int | None


class Due(NamedTuple):
    """What is due before a bar.

    Attributes:
        starts: Pairs that begin to trade.
        skipped: Why others do not.
    """

    starts: list[Start]
    skipped: list[str]


class Schedule:
    """Plans the pairs of a run as `windows.plan` plans those of a backtest.

    It keeps the bars that formation periods and warm-ups need, and no more.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan
        self._columns = {ticker: n for n, ticker in enumerate(plan.tickers)}
        self._rolls = plan.settings.trading > 0
        formation = plan.settings.formation if self._rolls or plan.evidence else 0
        keep = max(formation, warm_up(plan.settings.signal), 1)
        self._times: deque[int] = deque(maxlen=keep)
        self._recent: deque[NDArray[np.float64]] = deque(maxlen=keep)
        # Of a pair that waits for its formation period: its first common bar, its common closes.
        waits = () if self._rolls else plan.pairs
        self._waiting: dict[int, tuple[int, list[list[float]]]] = {
            n: (-1, []) for n in range(len(waits))
        }

    def take(self, bar: int, time: int, close: NDArray[np.float64]) -> None:
        """Remember a bar that was traded."""
        self._times.append(time)
        self._recent.append(close.copy())
        for number, (first, common) in self._waiting.items():
            legs = close[self._legs(self._plan.pairs[number])]
            if not np.isnan(legs).any():
                common.append(legs.tolist())
                self._waiting[number] = (bar if first < 0 else first), common

    def due(self, bar: int) -> Due:
        """Return what begins with a bar."""
        return self._window(bar) if self._rolls else self._plan_given(bar)

    def _plan_given(self, bar: int) -> Due:
        settings, found = self._plan.settings, Due([], [])
        for number in list(self._waiting):
            pair = self._plan.pairs[number]
            first, common = self._waiting[number]
            if len(common) < formation_bars(pair, settings):
                continue
            del self._waiting[number]
            try:
                formation = formation_of(pair, np.array(common), settings)
            except BadData as error:
                found.skipped.append(error.message)
                continue
            warm_up_bars = min(formation.warm_up_bars, bar - first)
            found.starts.append(Start(formation, self._history(pair.y, pair.x, warm_up_bars), None))
        return found

    def _window(self, bar: int) -> Due:
        settings = self._plan.settings
        if bar < settings.formation or (bar - settings.formation) % settings.trading:
            return Due([], [])
        select = by_name(self._plan.pairs) if self._plan.pairs else by_screen
        window = window_after(self.period(), settings, select, bar)
        starts = []
        for pair in window.pairs:
            warm_up_bars = min(pair.warm_up_bars, settings.formation)
            starts.append(Start(pair, self._history(pair.y, pair.x, warm_up_bars), window.stop))
        return Due(starts, list(window.skipped))

    def period(self) -> Prices:
        """Return the bars of the last formation period, or as many as there are."""
        bars = max(self._plan.settings.formation, 1)
        return Prices(
            tickers=self._plan.tickers,
            timestamps=np.array(list(self._times)[-bars:], dtype="datetime64[ns]"),
            timezone=None,
            close=np.array(list(self._recent)[-bars:]).reshape(-1, len(self._plan.tickers)),
            source=self._plan.feed,
        )

    def start(self, pair: Formation) -> Start:
        """Return a pair that begins now, warmed up by the bars that are kept."""
        return Start(pair, self._history(pair.y, pair.x, pair.warm_up_bars), None)

    def _legs(self, pair: GivenPair) -> list[int]:
        return [self._columns[pair.y], self._columns[pair.x]]

    def _history(self, y: str, x: str, bars: int) -> NDArray[np.float64]:
        """Return the last closes of a pair without its missing bars."""
        legs = [self._columns[y], self._columns[x]]
        rows = np.array([row[legs] for row in list(self._recent)[len(self._recent) - bars :]])
        rows = rows.reshape(-1, 2)
        return np.ascontiguousarray(rows[~np.isnan(rows).any(axis=1)])

    def save(self) -> dict[str, Any]:
        """Return the state."""
        return {
            "times": list(self._times),
            "recent": np.array(self._recent).tobytes(),
            "waiting": [[n, first, common] for n, (first, common) in self._waiting.items()],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` returned."""
        rows = np.frombuffer(state["recent"]).reshape(-1, len(self._plan.tickers))
        self._times.extend(state["times"])
        self._recent.extend(row.copy() for row in rows)
        self._waiting = {n: (first, common) for n, first, common in state["waiting"]}


def name_pair(pair: Sequence[str]) -> str:
    """Return how messages call a pair."""
    return "/".join(pair)

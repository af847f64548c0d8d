"""Pairs of a universe that are promoted to trading by evidence, and retired without it.

All pairs are watched at every bar. Every so many bars all of them are screened again on the last
formation period, with false discoveries controlled over all that were tested; what passes and
satisfies the rule of evidence is fitted on that period and trades. A pair that trades is retired
when its figures satisfy the rule no longer; the test is not asked again, since a test that is
repeated on overlapping bars would drop true pairs by chance.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData
from mlkit.pairs.fit.formation import fit
from mlkit.pairs.fit.spread import half_life, hurst, spread
from mlkit.pairs.live import evidence
from mlkit.pairs.live.monitor import PairMonitor
from mlkit.pairs.live.plan import RunPlan
from mlkit.pairs.live.schedule import Schedule, Start
from mlkit.pairs.prices.prices import Prices
from mlkit.pairs.screen.criteria import Criteria
from mlkit.pairs.screen.screening import screen
from mlkit.pairs.windows import complete

Names = tuple[str, str]


@dataclass(frozen=True)
class Move:
    """A pair that is promoted or retired.

    Attributes:
        pair: Its tickers, y and x.
        start: How it begins to trade; None: it is retired.
        reason: Why.
        figures: Its evidence, by name.
        tested: Pairs that were tested in the screen that promoted it.
    """

    pair: Names
    start: Start | None
    reason: str
    figures: Mapping[str, float]
    tested: int = 0

    def document(self) -> dict[str, Any]:
        """Return the move as JSON values."""
        figures = {
            name: value if math.isfinite(value) else None for name, value in self.figures.items()
        }
        return {
            "pair": "/".join(self.pair), "move": "retired" if self.start is None else "promoted",
            "reason": self.reason, "figures": figures, "tested": self.tested,
        }  # fmt: skip


class Promoter:
    """Watches all pairs of a run's tickers, and moves them by evidence.

    Args:
        plan: The plan of the run; its evidence is set.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._plan, self._rule = plan, evidence.parse(plan.evidence or "")
        self._threads = len(os.sched_getaffinity(0))
        formation = plan.settings.formation
        self.monitor = PairMonitor(
            plan.tickers, window=formation, min_bars=max(20, formation // 2), threads=self._threads
        )
        self.considered = self.tested = 0

    @classmethod
    def of(cls, plan: RunPlan) -> Promoter | None:
        """Return the promoter of a plan; None if pairs are not chosen by evidence."""
        return None if plan.evidence is None else cls(plan)

    def take(
        self, close: NDArray[np.float64], schedule: Schedule, live: Mapping[Names, int]
    ) -> list[Move]:
        """Take a bar, and return the moves that follow from it.

        Args:
            close: Closes, NaN where they are missing.
            schedule: Keeps the formation period.
            live: The pairs that trade.
        """
        self.monitor.step(close)
        bars, formation = self.monitor.bars, self._plan.settings.formation
        if bars < formation or (bars - formation) % self._plan.rescreen:
            return []
        period = complete(schedule.period())
        retired = self._retire(period, live)
        gone = {move.pair for move in retired}
        return [*retired, *self._promote(period, schedule, live.keys() - gone)]

    def _retire(self, period: Prices, live: Mapping[Names, int]) -> list[Move]:
        found = []
        for pair in sorted(live):
            figures = self._running(pair) | self._spread(period, pair)
            reason = self._rule.against(figures)
            if not set(pair) <= set(period.tickers):
                reason = "a ticker has missing bars in the formation period"
            if reason is not None:
                found.append(Move(pair, None, reason, figures))
        return found

    def _promote(self, period: Prices, schedule: Schedule, kept: Any) -> list[Move]:
        settings = self._plan.settings
        room = settings.selection.top - len(kept)
        if len(period.tickers) < 2 or room < 1:
            return []
        criteria = Criteria(
            method="cointegration", scale="log" if settings.signal.log else "levels",
            fdr=settings.selection.fdr, alpha=settings.selection.alpha,
        )  # fmt: skip
        found = screen(period, criteria, threads=self._threads)
        self.considered, self.tested = found.considered, found.tested
        moves: list[Move] = []
        for each in found.pairs:
            pair = each.y, each.x
            if len(moves) == room or pair in kept or pair[::-1] in kept:
                continue
            cells = {name: asdict(each)[name] for name in evidence.FITTED}
            figures = {name: float(cell) for name, cell in cells.items() if cell is not None}
            figures |= self._running(pair)
            start = self._start(period, pair, schedule)
            if start is not None and self._rule.against(figures) is None:
                reason = f"passes the screen of {found.tested} pairs and {self._plan.evidence}"
                moves.append(Move(pair, start, reason, figures, found.tested))
        return moves

    def _start(self, period: Prices, pair: Names, schedule: Schedule) -> Start | None:
        y, x = period.select(pair).close.T
        try:
            return schedule.start(fit(y, x, pair, self._plan.settings.signal))
        except BadData:
            return None

    def _running(self, pair: Names) -> dict[str, float]:
        """Return the monitor's figures of a pair, whichever of its tickers comes first there."""
        order = self._plan.tickers.index
        ahead: Sequence[str] = pair if order(pair[0]) < order(pair[1]) else pair[::-1]
        (found,) = self.monitor.pairs([(ahead[0], ahead[1])])
        return {name: float(getattr(found, name)) for name in evidence.RUNNING}

    def _spread(self, period: Prices, pair: Names) -> dict[str, float]:
        if not set(pair) <= set(period.tickers):
            return {}
        y, x = period.select(pair).close.T
        try:
            formation = fit(y, x, pair, self._plan.settings.signal)
        except BadData:
            return {"half_life": math.inf}
        if self._plan.settings.signal.log:
            y, x = np.log(y), np.log(x)
        values = spread(y, x, formation.beta)[:, None]
        return {"half_life": float(half_life(values)[0]), "hurst": float(hurst(values)[0])}

    def save(self) -> dict[str, Any]:
        """Return the state."""
        return {"monitor": self.monitor.save(), "counts": [self.considered, self.tested]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` returned."""
        self.monitor = PairMonitor.load(state["monitor"], threads=self._threads)
        self.considered, self.tested = state["counts"]

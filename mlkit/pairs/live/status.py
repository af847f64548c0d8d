"""What a run shows of itself: the document that `status`, the page and programs read."""

from __future__ import annotations

import math
from typing import Any

from mlkit.pairs.feeds.records import iso
from mlkit.pairs.live.schedule import name_pair
from mlkit.pairs.live.topics import plain
from mlkit.pairs.live.trader import Trader

MOST_PAIRS = 200
"""Pairs that are shown: those with a position, then those furthest from their mean."""
MOST_TICKERS = 50


def document(trader: Trader, feed: str) -> dict[str, Any]:
    """Return the state of a run as JSON values."""
    risk = trader.risk
    return {
        "status": trader.status,
        "feed": feed,
        "time": iso(trader.time) if trader.engine.bars else None,
        "bars": trader.engine.bars,
        "account": trader.account,
        "drawdown": risk.drawdown,
        "daily_loss": risk.loss,
        "blocks": trader.blocks,
        "paused": trader.paused,
        "limits": risk.nearness(),
        "pairs": _pairs(trader),
        "pair_count": trader.engine.count,
        "orders": [plain(each) for each in trader.engine.pending_orders()],
        "feeds": _feed(trader),
        "candidates": _candidates(trader),
    }


def _pairs(trader: Trader) -> list[dict[str, Any]]:
    views = trader.engine.features()
    trades = {int(each["pair"]): each for each in trader.engine.positions()}
    last = trader.last_closes()
    order = sorted(
        views, key=lambda view: (int(view["pair"]) not in trades, -_distance(view["features"]["z"]))
    )
    return [_pair(trader, view, trades, last) for view in order[:MOST_PAIRS]]


def _distance(z: float) -> float:
    return 0.0 if math.isnan(z) else abs(float(z))


def _pair(
    trader: Trader, view: Any, trades: dict[int, Any], last: dict[str, float]
) -> dict[str, Any]:
    number = int(view["pair"])
    rule, names = trader.plan.settings.rule, trader.names[number]
    trade = trades.get(number)
    found = {
        **plain(view), "pair": name_pair(names), "number": number,
        "bands": {"entry": rule.entry, "exit": rule.exit,
                  "stop": rule.stop if math.isfinite(rule.stop) else None},
        "paused": name_pair(names) in trader.paused, "legs": None,
    }  # fmt: skip
    if trade is None:
        return found
    legs: list[dict[str, Any]] = [
        {"ticker": name, "shares": float(trade["shares"][leg]),
         "entry": float(trade["entry_price"][leg]), "last": last.get(name)}
        for leg, name in zip("yx", names, strict=True)
    ]  # fmt: skip
    values = [each["shares"] * (each["last"] or each["entry"]) for each in legs]
    paid = sum(each["shares"] * each["entry"] for each in legs)
    return found | {"legs": legs, "gross": sum(map(abs, values)), "result": sum(values) - paid}


def _feed(trader: Trader) -> dict[str, Any]:
    assembler = trader.assembler
    lags = sorted(assembler.lags().items(), key=lambda each: -each[1])
    return {
        "records": dict(assembler.counts),
        "rejected": dict(trader.rejected),
        "halted": assembler.halted[:MOST_TICKERS],
        "halted_count": len(assembler.halted),
        "lags": dict(lags[:MOST_TICKERS]),
        "gaps": dict(assembler.gaps.most_common(MOST_TICKERS)),
    }


def _candidates(trader: Trader) -> list[dict[str, Any]]:
    promoter = trader.promoter
    if promoter is None or not promoter.monitor.bars:
        return []
    return [
        {name: None if isinstance(cell, float) and math.isnan(cell) else cell
         for name, cell in each._asdict().items()}
        for each in promoter.monitor.top("correlation", 20)
    ]  # fmt: skip

"""Pairs that are promoted by evidence and retired without it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from pairs.backtests import SETTINGS, SIGNALS
from pairs.live_runs import RecordsFeed, begin, go, plan_of, recorded, records_of, verdict
from pairs.markets import cointegrated, prices

from mlkit.errors import BadData, InputMissing, UsageError
from mlkit.pairs.live.evidence import parse
from mlkit.pairs.settings import Selection

CHOSEN = replace(SETTINGS, signal=SIGNALS[0], selection=Selection(fdr="bh", alpha=0.05, top=3))
RULE = "correlation > -1 and half_life in 1..30"


def breaking(bars=420, at=260):
    """Four tickers of which A and B belong together until they part, and C and D stay."""
    market = cointegrated(4, bars=bars, noise=0.01)
    close = market.close.copy()
    rng = np.random.default_rng(8)
    close[at:, 1] = close[at - 1, 1] * np.exp(np.cumsum(rng.normal(0.003, 0.02, bars - at)))
    return prices(close)


def promotions(folder):
    return [json.loads(each) for each in recorded(folder)["promotions"]]


def test_pairs_are_promoted_traded_and_retired_and_all_of_it_is_verified(tmp_path):
    market = breaking()
    plan = plan_of(market, CHOSEN, (), evidence=RULE, rescreen=10)
    folder = begin(tmp_path / "run", plan)
    go(folder, RecordsFeed(records_of(market)))
    moves = promotions(folder)
    promoted = [each for each in moves if each["move"] == "promoted"]
    retired = [each for each in moves if each["move"] == "retired"]
    assert (promoted[0]["bar"] - CHOSEN.formation) % 10 == 0
    assert promoted[0]["tested"] > 0
    assert promoted[0]["figures"]["adjusted_p"] <= 0.05
    assert any("half_life" in each["reason"] for each in retired)
    assert all(each["pair"] in {one["pair"] for one in promoted} for each in retired)
    assert len(recorded(folder)["trades"]) > 3
    assert verdict(folder).difference is None


def test_a_run_by_evidence_survives_being_stopped(tmp_path):
    market = breaking(bars=240, at=230)
    plan = plan_of(market, CHOSEN, (), evidence=RULE, rescreen=5)
    whole = begin(tmp_path / "whole", plan)
    _, end = go(whole, RecordsFeed(records_of(market)))
    parts = begin(tmp_path / "parts", plan)
    records = records_of(market)
    for stop in (331, 500, 702):
        go(parts, RecordsFeed(records[:stop], is_replay=False))
    go(parts, RecordsFeed(records))
    assert verdict(parts).difference is None
    assert verdict(whole).difference is None
    assert promotions(whole)
    assert len(end) > 0


def test_nothing_is_promoted_among_random_walks(tmp_path):
    rng = np.random.default_rng(3)
    market = prices(np.exp(np.cumsum(rng.normal(0, 0.01, (200, 6)), axis=0)) * 50)
    chosen = replace(CHOSEN, selection=Selection(fdr="by", alpha=0.01, top=3))
    folder = begin(tmp_path / "run", plan_of(market, chosen, (), evidence=RULE, rescreen=20))
    progress, _ = go(folder, RecordsFeed(records_of(market)))
    assert not promotions(folder)
    assert progress.account["equity"] == pytest.approx(100_000 * 1.03 ** (200 / 252), rel=0.01)


@pytest.mark.parametrize(
    ("rule", "figures", "holds"),
    [
        ("correlation > 0.8", {"correlation": 0.9}, True),
        ("correlation > 0.8", {"correlation": 0.8}, False),
        ("correlation >= .8 and distance < 2", {"correlation": 0.8, "distance": 3.0}, False),
        ("half_life in 2..40", {"half_life": 40.0}, True),
        ("half_life in 2..40", {"half_life": float("nan")}, False),
        ("half_life in 2..40", {}, True),
        ("zscore <= -1e0", {"zscore": -1.0}, True),
    ],
)
def test_a_rule_holds_where_all_its_conditions_do(rule, figures, holds):
    assert (parse(rule).against(figures) is None) == holds


@pytest.mark.parametrize(
    "rule", ["", "and", "correlation", "correlation == 1", "luck > 1", "half_life in 5..2",
             "correlation > 1 or distance < 2", "__import__('os')"],
)  # fmt: skip
def test_what_is_no_rule_is_refused(rule):
    with pytest.raises(UsageError):
        parse(rule)


def test_a_rule_may_be_a_function(tmp_path, monkeypatch):
    (tmp_path / "my_rules.py").write_text(
        "def strict(figures):\n    return figures['correlation'] > 0.5\n\n"
        "def broken(figures):\n    return figures['luck']\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    rule = parse("my_rules:strict")
    assert rule.against({"correlation": 0.6}) is None
    assert rule.against({"correlation": 0.4}) is not None
    with pytest.raises(BadData, match="KeyError"):
        parse("my_rules:broken").against({})
    with pytest.raises(InputMissing):
        parse("my_rules:absent")
    sys.modules.pop("my_rules", None)

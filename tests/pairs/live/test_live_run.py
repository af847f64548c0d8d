"""A run: whatever happens to it, it ends as one to which nothing happened, and as a backtest."""

from __future__ import annotations

import errno
import itertools
import os
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from pairs.backtests import PAIRS, SCHEMES, SETTINGS, SIGNALS
from pairs.live_runs import RecordsFeed, begin, go, plan_of, recorded, records_of, verdict
from pairs.markets import cointegrated

from mlkit.errors import BadData, ConfigurationError, NegativeResult, ServiceUnavailable
from mlkit.pairs.backtest.replay import run as backtest
from mlkit.pairs.feeds.records import PriceRecord
from mlkit.pairs.live import intake
from mlkit.pairs.live import run as runs
from mlkit.pairs.live.control import send
from mlkit.pairs.live.limits import RiskLimits
from mlkit.pairs.strategy.strategy import Order, Strategy
from mlkit.pairs.windows import plan
from mlkit.streams.embedded import EmbeddedLog


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture(autouse=True)
def without_sync(monkeypatch):
    """Crashes are of the process here, not of the machine: what is written is there."""
    monkeypatch.setattr(os, "fdatasync", lambda file: None)
    monkeypatch.setattr(os, "fsync", lambda file: None)
    monkeypatch.setattr(intake, "MOST", 40)
    monkeypatch.setattr(runs, "LEAST_SNAPSHOT", 3000)


def crash_at(monkeypatch, count, how):
    """Make the log's write number `count` die: before, after, or in the middle of it."""
    before, left = EmbeddedLog._write, [count]

    def write(self, frame):
        left[0] -= 1
        if left[0] == 0:
            if how == "after":
                before(self, frame)
            elif how == "torn":
                put = EmbeddedLog._put
                half = lambda log, content: put(log, content[: len(content) // 2])  # noqa: E731
                monkeypatch.setattr(EmbeddedLog, "_put", half)
                try:
                    put_and_die(self, frame, before)
                finally:
                    monkeypatch.setattr(EmbeddedLog, "_put", put)
            raise Crash
        before(self, frame)

    monkeypatch.setattr(EmbeddedLog, "_write", write)
    return before


def put_and_die(log, frame, write):
    try:
        write(log, frame)
    except BaseException as error:
        raise Crash from error


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_run_of_a_file_is_the_backtest_of_it(tmp_path, scheme):
    changes, pairs = SCHEMES[scheme]
    chosen = replace(SETTINGS, **changes)
    market = cointegrated(5, bars=260)
    expected = backtest(market, plan(market, pairs, chosen), chosen)
    folder = begin(tmp_path / "run", plan_of(market, chosen, pairs, delisted_after=1))
    progress, _ = go(folder, RecordsFeed(records_of(market)))
    assert progress.status == "finished"
    assert len(recorded(folder)["trades"]) == len(expected.trades) > 0
    assert progress.account["equity"] == expected.account["equity"][-1]
    found = verdict(folder)
    assert found.difference is None
    assert (found.bars, found.trades) == (len(market), len(expected.trades))


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda each: f"{each.zscore}-{each.hedge}")
def test_every_signal_is_saved_and_verified(tmp_path, signal, monkeypatch):
    market, chosen = cointegrated(3, bars=160), replace(SETTINGS, signal=signal)
    plain = begin(tmp_path / "plain", plan_of(market, chosen, PAIRS))
    _, end = go(plain, RecordsFeed(records_of(market)))
    folder = begin(tmp_path / "run", plan_of(market, chosen, PAIRS))
    before = crash_at(monkeypatch, 23, "before")
    with pytest.raises(Crash):
        go(folder, RecordsFeed(records_of(market)))
    monkeypatch.setattr(EmbeddedLog, "_write", before)
    _, again = go(folder, RecordsFeed(records_of(market)))
    assert again == end
    assert recorded(folder) == recorded(plain)
    assert verdict(folder).difference is None


def disordered(draw, records):
    """Swap, drop, double and spoil records at random."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    found = []
    for record in records:
        luck = rng.random()
        if luck < 0.03:
            continue
        if luck < 0.05:
            record = PriceRecord(record.time, record.ticker, float(rng.choice([-1.0, 1e308, 0.0])))
        found.append(record)
        if luck > 0.97:
            found.append(record)
        if luck > 0.99:
            found.append(PriceRecord(record.time - 10**15, record.ticker, record.close))
        if 0.96 < luck < 0.97:
            found.append(PriceRecord(record.time, "UNKNOWN", 1.0))
    for n in range(len(found) - 1):
        if rng.random() < 0.1:
            found[n], found[n + 1] = found[n + 1], found[n]
    return found


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_records_and_any_crashes_end_as_if_there_were_none(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("live")
    market = cointegrated(data.draw(st.integers(0, 50)), bars=120)
    records = disordered(data.draw, records_of(market))
    limits = data.draw(st.sampled_from([
        RiskLimits(), RiskLimits(gross=9000.0), RiskLimits(drawdown=0.002),
        RiskLimits(daily_loss=0.0005, actions={"daily_loss": "flatten"}),
        RiskLimits(collar=0.004), RiskLimits(no_borrow=("A",)), RiskLimits(orders_per_minute=1),
    ]))  # fmt: skip
    chosen = replace(SETTINGS, formation=30, rule=replace(SETTINGS.rule, entry=1.0),
                     signal=SIGNALS[0])  # fmt: skip
    options = {"limits": limits, "delisted_after": data.draw(st.sampled_from([0, 4])),
               "lateness": data.draw(st.sampled_from([0, 10**14]))}  # fmt: skip
    plain = begin(path / "plain", plan_of(market, chosen, PAIRS, **options))
    size = data.draw(st.integers(1, 60))
    _, end = go(plain, RecordsFeed(records, size))
    folder = begin(path / "run", plan_of(market, chosen, PAIRS, **options))
    crashes = data.draw(st.lists(
        st.tuples(st.integers(1, 25), st.sampled_from(["before", "after", "torn"])), max_size=6
    ))  # fmt: skip
    for count, how in crashes:
        with pytest.MonkeyPatch.context() as patch:
            crash_at(patch, count + 11, how)
            try:
                go(folder, RecordsFeed(records, size))
            except Crash:
                continue
    _, again = go(folder, RecordsFeed(records, size))
    assert again == end
    assert recorded(folder) == recorded(plain)
    assert verdict(folder).difference is None


@pytest.mark.nightly
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_many_records_and_many_crashes_end_as_if_there_were_none(tmp_path_factory, data):
    once = test_any_records_and_any_crashes_end_as_if_there_were_none.hypothesis.inner_test
    once(tmp_path_factory, data)


def test_a_missing_bar_is_no_delisting(tmp_path):
    market = cointegrated(7, bars=200)
    whole = begin(tmp_path / "whole", plan_of(market, SETTINGS, PAIRS))
    go(whole, RecordsFeed(records_of(market)))
    missing = {(120, 0), (121, 0), (150, 3)}
    folder = begin(tmp_path / "gaps", plan_of(market, SETTINGS, PAIRS))
    go(folder, RecordsFeed(records_of(market, missing=missing)))
    trades = len(recorded(folder)["trades"])
    assert abs(trades - len(recorded(whole)["trades"])) <= 3
    assert not any(b'"reason":4' in each for each in recorded(folder)["trades"])
    assert verdict(folder).difference is None


def test_quotes_fill_buys_at_the_ask_and_sales_at_the_bid(tmp_path):
    import json

    market = cointegrated(9, bars=150)
    folder = begin(tmp_path / "run", plan_of(market, SETTINGS, PAIRS, quotes=True))
    records = records_of(market, quotes=0.01)
    go(folder, RecordsFeed(records))
    known = {(each.time, each.ticker): each for each in records}
    fills = [json.loads(each) for each in recorded(folder)["fills"]]
    fills = [each for each in fills if each["reason"] != "data_end"]
    assert len(fills) > 4
    for fill in fills:
        for ticker, shares in fill["shares"].items():
            time = int(np.datetime64(fill["time"][:-1], "ns").astype(np.int64))
            quote = known[time, ticker]
            assert fill["prices"][ticker] == (quote.ask if shares > 0 else quote.bid)
    assert verdict(folder).difference is None


class Patient(Strategy):
    """Enters after three bars beyond 1, and remembers how many it has seen."""

    def start(self):
        return 0

    def step(self, state, features, position):
        state = state + 1 if abs(features.z) > 1.0 else 0
        if position.side:
            return state, Order.EXIT if abs(features.z) < 0.3 else Order.NONE
        if state < 3:
            return state, Order.NONE
        return state, Order.ENTER_SHORT if features.z > 0 else Order.ENTER_LONG


def test_a_strategy_in_python_trades_as_in_a_backtest_and_survives_crashes(tmp_path, monkeypatch):
    market = cointegrated(11, bars=200)
    expected = backtest(market, plan(market, PAIRS, SETTINGS), SETTINGS, Patient(),
                        delisted_after=0)  # fmt: skip
    folder = begin(tmp_path / "run", plan_of(market, SETTINGS, PAIRS))
    before = crash_at(monkeypatch, 40, "after")
    with pytest.raises(Crash):
        go(folder, RecordsFeed(records_of(market)), Patient)
    monkeypatch.setattr(EmbeddedLog, "_write", before)
    go(folder, RecordsFeed(records_of(market)), Patient)
    assert len(recorded(folder)["trades"]) == len(expected.trades) > 0
    assert verdict(folder, Patient()).difference is None


def test_a_strategy_that_fails_stops_the_run_with_its_place(tmp_path):
    class Broken(Patient):
        def step(self, state, features, position):
            if state and state > 1:
                raise ValueError("no idea")
            return super().step(state, features, position)

    market = cointegrated(11, bars=200)
    folder = begin(tmp_path / "run", plan_of(market, SETTINGS, PAIRS))
    with pytest.raises(BadData, match=r"(A/B|C/D) .*no idea"):
        go(folder, RecordsFeed(records_of(market)), Broken)


def test_two_runs_on_one_folder_are_refused(tmp_path):
    market = cointegrated(1, bars=100)
    folder = begin(tmp_path / "run", plan_of(market, SETTINGS, PAIRS))
    with folder.own():
        assert folder.is_owned()
        with pytest.raises(ConfigurationError, match=str(os.getpid())), folder.own():
            pass
    assert not folder.is_owned()


@pytest.fixture
def market():
    return cointegrated(5, bars=260)


@pytest.fixture
def folder(tmp_path, market):
    return begin(tmp_path / "run", plan_of(market, SETTINGS, PAIRS))


def stages(market, folder, commands, at):
    """Trade up to a bar, send commands, and trade the rest."""
    records = records_of(market)
    first = sum(each.time <= _time(market, at) for each in records)
    go(folder, RecordsFeed(records[:first], is_replay=False))
    for command in commands:
        assert not send(folder, *command, by="test")
    return go(folder, RecordsFeed(records))


def _time(market, bar):
    return int(market.timestamps[bar].astype("datetime64[ns]").astype(np.int64))


def open_after(folder, bar):
    import json

    trades = [json.loads(each) for each in recorded(folder)["trades"]]
    return [each for each in trades if each["entered"] > bar]


def test_pause_opens_nothing_and_resume_trades_again(market, folder):
    stages(market, folder, [("pause",)], 120)
    assert open_after(folder, 0)
    assert not open_after(folder, 121)
    assert verdict(folder).difference is None


def test_flatten_closes_everything_at_the_next_bar(market, folder):
    import json

    _, _ = stages(market, folder, [("flatten",)], 120)
    trades = [json.loads(each) for each in recorded(folder)["trades"]]
    assert all(each["closed"] <= 121 for each in trades)
    assert not open_after(folder, 120)
    assert verdict(folder).difference is None


def test_one_pair_is_paused_and_the_other_trades(market, folder):
    stages(market, folder, [("pause", "A/B")], 120)
    assert {each["name"] for each in open_after(folder, 121)} == {"C/D"}
    assert verdict(folder).difference is None


def test_a_killed_run_ends_and_waits_for_resume(market, folder):
    progress, _ = stages(market, folder, [], 120)
    other = begin(folder.path.parent / "killed", plan_of(market, SETTINGS, PAIRS))
    records = records_of(market)
    go(other, RecordsFeed(records[:400], is_replay=False))
    send(other, "kill", by="test")
    with pytest.raises(NegativeResult, match="killed"):
        go(other, RecordsFeed(records))
    send(other, "resume", by="test")
    again, _ = go(other, RecordsFeed(records))
    assert (again.status, again.bars) == (progress.status, progress.bars)
    assert verdict(other).difference is None


def test_the_kill_switch_file_ends_a_run(market, folder):
    records = records_of(market)

    def spring():
        (folder.path / "KILL").touch()
        return False

    progress, _ = go(folder, RecordsFeed(records, size=1), until=spring)
    assert progress.status == "killed"
    assert progress.bars < 260
    with pytest.raises(NegativeResult, match="KILL"):
        go(folder, RecordsFeed(records))
    (folder.path / "KILL").unlink()
    send(folder, "resume")
    assert go(folder, RecordsFeed(records))[0].status == "finished"


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (RiskLimits(gross=9_000.0), "gross"),
        (RiskLimits(net=1.0), "net"),
        (RiskLimits(no_borrow=("A", "B", "C", "D")), "no_borrow"),
        (RiskLimits(collar=1e-6), "collar"),
        (RiskLimits(drawdown=1e-6), "drawdown"),
        (RiskLimits(daily_loss=1e-6, actions={"daily_loss": "flatten"}), "daily_loss"),
    ],
)
def test_a_breach_is_named_and_acts(tmp_path, market, limits, name):
    import json

    folder = begin(tmp_path / "limited", plan_of(market, SETTINGS, PAIRS, limits=limits))
    go(folder, RecordsFeed(records_of(market)))
    events = [json.loads(each) for each in recorded(folder)["events"]]
    assert name in {each["limit"] for each in events if each["kind"] == "limit"}
    unlimited = begin(tmp_path / "free", plan_of(market, SETTINGS, PAIRS))
    go(unlimited, RecordsFeed(records_of(market)))
    assert len(recorded(folder)["trades"]) < len(recorded(unlimited)["trades"])
    assert verdict(folder).difference is None


def test_a_limit_that_stops_ends_the_run(tmp_path, market):
    limits = RiskLimits(drawdown=0.003, actions={"drawdown": "stop"})
    folder = begin(tmp_path / "stopped", plan_of(market, SETTINGS, PAIRS, limits=limits))
    progress, _ = go(folder, RecordsFeed(records_of(market)))
    assert progress.status == "stopped"
    with pytest.raises(NegativeResult, match="stopped"):
        go(folder, RecordsFeed(records_of(market)))


def test_a_changed_record_is_found(tmp_path, market, folder):
    from mlkit.streams import Message

    go(folder, RecordsFeed(records_of(market)))
    assert verdict(folder).difference is None
    log = folder.open_log()
    log.append("trades", [Message(b'{"bar":3,"pair":0}')])
    log.close()
    assert "trades" in verdict(folder).difference


def test_positions_that_differ_from_the_broker_s_are_refused(market, folder):
    from mlkit.streams import Message

    records = records_of(market)
    go(folder, RecordsFeed(records[:600], is_replay=False))
    log = folder.open_log()
    log.append("fills", [Message(
        b'{"id":"9-0-entry","pair":0,"shares":{"A":5.0},"prices":{"A":1.0},"time":"2001-01-01"}'
    )])  # fmt: skip
    log.close()
    with pytest.raises(BadData, match="the broker holds"):
        go(folder, RecordsFeed(records))


def test_a_full_disk_ends_a_run_that_goes_on_once_there_is_space(tmp_path, market, monkeypatch):
    plain = begin(tmp_path / "plain", plan_of(market, SETTINGS, PAIRS))
    _, end = go(plain, RecordsFeed(records_of(market)))
    folder = begin(tmp_path / "run", plan_of(market, SETTINGS, PAIRS))
    put, writes = EmbeddedLog._put, itertools.count(1)

    def fail(log, content):
        if next(writes) % 17 == 0:
            put(log, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(log, content)

    monkeypatch.setattr(EmbeddedLog, "_put", fail)
    hints, again = [], None
    while again is None:
        try:
            _, again = go(folder, RecordsFeed(records_of(market)))
        except ServiceUnavailable as error:
            hints.append(error.hint)
    assert len(hints) > 2
    assert set(hints) == {"free some space"}
    assert again == end
    assert recorded(folder) == recorded(plain)
    assert verdict(folder).difference is None


def test_a_status_that_cannot_be_written_stops_no_run(tmp_path, market):
    folder = begin(tmp_path / "run", plan_of(market, SETTINGS, PAIRS))
    (folder.path / "status.json").mkdir()
    progress, _ = go(folder, RecordsFeed(records_of(market)))
    assert progress.status == "finished"

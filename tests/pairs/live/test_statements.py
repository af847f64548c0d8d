"""Statements: what they say of a session, and when they are written."""

from __future__ import annotations

import time
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from pairs.backtests import PAIRS, SETTINGS
from pairs.live_runs import RecordsFeed, begin, plan_of, records_of
from pairs.markets import cointegrated

from mlkit.errors import BadData, NegativeResult, UsageError
from mlkit.pairs.live import statements
from mlkit.pairs.live.run import Run
from mlkit.pairs.live.statements import Statements
from mlkit.pairs.live.topics import Results, read_all


def gone(path, market, watch=None, *, is_replay=True, **options):
    folder = begin(path, plan_of(market, SETTINGS, PAIRS, **options))
    run = Run(folder, RecordsFeed(records_of(market), 200, is_replay=is_replay))
    if watch is not None:
        run.watch(watch)
    run.go()
    run.close()
    return folder


@pytest.fixture(scope="module")
def market():
    return cointegrated(5, bars=220)


@pytest.fixture(scope="module")
def folder(market, tmp_path_factory):
    return gone(tmp_path_factory.mktemp("stated") / "<i>run", market, is_replay=False)


def _wait(holds):
    deadline = time.monotonic() + 180
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def _recorded(folder, topic):
    log = folder.open_log()
    try:
        return list(read_all(log, topic))
    finally:
        log.close()


def test_a_statement_says_what_the_run_recorded_of_its_day(folder):
    accounts, trades = _recorded(folder, "account"), _recorded(folder, "trades")
    closing = trades[len(trades) // 2]["time"][:10]
    day, path, found = statements.write(folder, closing)
    assert (day, path) == (closing, folder.path / "statements" / f"{closing}.html")
    bar = next(n for n, each in enumerate(accounts) if each["time"][:10] == closing)
    assert (found["bars"], found["closing"]) == (1, accounts[bar]["equity"])
    assert found["opening"] == accounts[bar - 1]["equity"]
    assert len(found["closed"]) == sum(each["time"][:10] == closing for each in trades) > 0
    page = path.read_text()
    assert f"&lt;i&gt;run: statement of {closing}" in page
    assert "Trades closed on the day" in page
    assert "Sharpe ratio" in page  # the report of a backtest follows


def test_open_positions_are_those_that_the_run_holds(folder, market):
    last, path, _ = statements.write(folder)
    assert last == str(market.zoned[-1])[:10]
    opened = len(_recorded(folder, "fills")) - 2 * len(_recorded(folder, "trades"))
    assert path.read_text().count("now ") == 2 * opened


def test_a_day_ends_where_the_run_says(folder, market):
    plan = replace(folder.plan(), timezone="America/New_York")
    assert statements.end_of("2024-03-10", plan) - statements.end_of("2024-03-09", plan) == (
        23 * 3600 * 10**9
    )
    noon = int(np.datetime64("2024-03-10T03:00", "ns").astype(np.int64))
    assert statements.day_of(noon, plan) == "2024-03-09"


def test_what_has_no_statement(folder, market, tmp_path):
    with pytest.raises(NegativeResult, match="not two bars were traded by the end of 1999"):
        statements.write(folder, "1999-01-01")
    with pytest.raises(UsageError, match=r"'31\.12\.2024' is not a day"):
        statements.write(folder, "31.12.2024")
    with pytest.raises(UsageError, match="is not a day"):
        statements.write(folder, "9999-12-31")


def test_a_finished_run_has_the_statement_of_its_last_session(market, tmp_path):
    problems = []
    folder = begin(tmp_path / "run", plan_of(market, SETTINGS, PAIRS))
    writing = Statements(folder, folder.plan(), problems.append, by_clock=False)
    writing.take(_session_end("1999-01-01"))
    run = Run(folder, RecordsFeed(records_of(market)), watch=writing.take)
    run.go()
    run.close()
    writing.close()
    last = folder.path / "statements" / f"{str(market.zoned[-1])[:10]}.html"
    assert "No position was open at the close" in last.read_text()
    assert not problems


def _session_end(day):
    results = Results()
    results.add("events", 0, {"kind": "session_end", "day": day})
    return results


@pytest.mark.slow
def test_a_session_ends_by_a_bar_of_the_next_one_or_by_the_clock(folder, market, monkeypatch):
    monkeypatch.setattr(statements, "LOOK", 0.05)
    monkeypatch.setattr(statements, "SHARE", 0)
    problems = []
    days = [str(each)[:10] for each in market.zoned]
    writing = Statements(folder, folder.plan(), problems.append, by_clock=True)
    try:
        writing.take(_session_end(days[-20]))
        _wait((folder.path / "statements" / f"{days[-20]}.html").exists)
        results = Results()
        moment = int(market.timestamps[-10].astype("datetime64[ns]").astype(np.int64))
        results.add("account", moment, {})
        writing.take(results)
        _wait((folder.path / "statements" / f"{days[-10]}.html").exists)
    finally:
        writing.close()
    assert not problems


def test_a_statement_that_cannot_be_written_is_a_warning(market, tmp_path, monkeypatch):
    def fails(folder, day):
        raise BadData("topic 'bars': its first 5 records are no longer kept")

    monkeypatch.setattr(statements, "write", fails)
    problems = []
    folder = begin(tmp_path / "run", plan_of(market, SETTINGS, PAIRS))
    writing = Statements(folder, folder.plan(), problems.append, by_clock=False)
    results = Results()
    results.add("account", 10**18, {})
    results.add_encoded("events", 10**18, msgspec.json.encode({"kind": "finished"}))
    writing.take(results)
    writing.close()
    assert problems == ["no statement: topic 'bars': its first 5 records are no longer kept"]

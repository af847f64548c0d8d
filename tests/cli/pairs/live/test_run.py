"""`mlkit pairs live` as a user meets it, and as the system kills it."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time

import numpy as np
import pytest
from commands import Mlkit, run_mlkit
from pairs.jobs.logs import KILLS, kill_at_random
from pairs.live_runs import recorded
from pairs.markets import cointegrated

from mlkit.pairs.live.folder import RunFolder

OPTIONS = ("--pair", "A,B", "--pair", "C,D", "--formation", "80", "--lookback", "20",
           "--entry", "1.2", "--exit", "0.2")  # fmt: skip


def live(*arguments, stdin=None):
    return run_mlkit("pairs", "live", *arguments, input=stdin, timeout=120)


def begin(*arguments):
    return Mlkit("pairs", "live", *arguments, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def prices(tmp_path_factory):
    market = cointegrated(5, bars=300)
    path = tmp_path_factory.mktemp("prices") / "prices.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["date", *market.tickers])
        rows.writerows([day, *close] for day, close in zip(market.zoned, market.close, strict=True))
    return path


@pytest.fixture(scope="module")
def whole(prices, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    done = live(prices, *OPTIONS, "--state", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("finished: 300 bars, equity ")
    return folder


def test_a_finished_run_is_shown_and_verified(whole):
    done = live("verify", whole, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["equal"], document["bars"]) == (True, 300)
    assert document["trades"] > 0
    shown = live("status", whole, "--json")
    assert shown.returncode == 0
    assert json.loads(shown.stdout)["status"] == "finished"
    assert "300 bars" in live("status", whole).stdout


def test_a_killed_process_goes_on_and_ends_with_the_same_bytes(prices, whole, tmp_path):
    arguments = (prices, *OPTIONS, "--state", tmp_path / "run")
    for seed, bars in enumerate(np.linspace(40, 170, KILLS + 1)):
        process = begin(*arguments, "--speed", "100")
        _wait(lambda bars=bars: RunFolder(tmp_path / "run").status()["bars"] >= bars)
        kill_at_random(process, seed)
        assert process.returncode == -signal.SIGKILL
    done = live(*arguments)
    assert done.returncode == 0, done.stderr
    assert "going on with" in done.stderr
    assert recorded(RunFolder(tmp_path / "run")) == recorded(RunFolder(whole))
    assert live("verify", tmp_path / "run").stdout.startswith("equal: 300 bars")


def _wait(holds):
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except Exception:
            pass
        time.sleep(0.02)
    raise AssertionError("it did not come to that")


def test_a_running_run_obeys_and_ends_by_a_signal(prices, tmp_path):
    folder = tmp_path / "run"
    process = begin(prices, *OPTIONS, "--state", folder, "--speed", "1")
    _wait(lambda: RunFolder(folder).status()["bars"] >= 1)
    second = live(prices, *OPTIONS, "--state", folder)
    assert second.returncode == 78
    assert "another process runs it" in second.stderr
    assert live("pause", folder).returncode == 0
    _wait(lambda: RunFolder(folder).status()["blocks"] == ["operator"])
    assert "no new positions (operator)" in live("status", folder).stdout
    process.send_signal(signal.SIGTERM)
    assert process.wait(180) == 143
    assert live("status", folder).returncode == 3
    assert live("resume", folder).returncode == 3
    assert live("pause", folder, "A/X").returncode == 2


def test_standard_input_is_a_feed_that_goes_on(prices, whole, tmp_path):
    rows = list(csv.DictReader(prices.read_text().splitlines()))
    lines = [json.dumps({"time": row["date"], "ticker": each, "price": float(row[each])})
             for row in rows for each in "ABCD"]  # fmt: skip
    arguments = ("-", *OPTIONS, "--bars-per-year", "365", "--state", tmp_path / "run")
    first = live(*arguments, stdin="\n".join(lines[:600]))
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("ended: 150 bars")
    again = live(*arguments, stdin="\n".join(["nonsense", *lines]))
    assert again.stdout.startswith("ended: 300 bars")
    shown = json.loads(live("status", tmp_path / "run", "--json").stdout)
    assert shown["feeds"]["records"]["late"] == 600
    assert shown["feeds"]["rejected"] == {"unreadable": 1}
    mine, theirs = recorded(RunFolder(tmp_path / "run")), recorded(RunFolder(whole))
    assert mine["decisions"] == theirs["decisions"]
    assert live("verify", tmp_path / "run").returncode == 0


def test_a_backtest_s_run_json_starts_a_run(prices, tmp_path):
    backtest = ("pairs", "backtest", prices, *OPTIONS)
    run_mlkit(*backtest, "-o", tmp_path / "results", check=True)
    done = live(prices, "--from", tmp_path / "results" / "run.json", "--state", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "results" / "trades.csv").open() as file:
        expected = list(csv.DictReader(file))
    trades = [json.loads(each) for each in recorded(RunFolder(tmp_path / "run"))["trades"]]
    assert [each["entry_z"] for each in trades] == [float(each["z"]) for each in expected]
    assert len(trades) > 0


def test_topics_become_parquet_that_a_backtest_reads(prices, whole, tmp_path):
    import pyarrow.parquet

    done = live("history", whole, "bars", "--since", "2001-03-01", "-o", tmp_path / "bars")
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "bars").iterdir())
    assert (len(files), files[0].name) == (241, "2001-03-01.parquet")
    first = pyarrow.parquet.read_table(files[0]).to_pydict()
    rows = {row["date"]: row for row in csv.DictReader(prices.read_text().splitlines())}
    assert first["ticker"] == list("ABCD")
    assert first["close"] == [float(rows["2001-03-01"][each]) for each in "ABCD"]
    read = run_mlkit("pairs", "backtest", tmp_path / "bars", *OPTIONS, "--json", check=True)
    assert json.loads(read.stdout)["period"]["bars"] == 161
    for topic in ("account", "fills", "trades", "events"):
        done = live("history", whole, topic, "-o", tmp_path / topic)
        assert done.returncode == 0, done.stderr
    assert live("history", whole, "secrets", "-o", tmp_path / "x").returncode == 2


def test_the_universe_of_a_feed_is_what_comes_first(prices, tmp_path):
    with prices.open() as file:
        rows = list(csv.DictReader(file))
    ticks = "".join(
        json.dumps({"time": row["date"], "ticker": name, "close": float(row[name])}) + "\n"
        for row in rows[:150]
        for name in "CADB"
    )
    arguments = ("-", "--universe", 3, "--evidence", "correlation > 2", "--formation", 80,
                 "--bars-per-year", 252, "--no-page", "--state", tmp_path / "run")  # fmt: skip
    done = live(*arguments, stdin=ticks)
    assert done.returncode == 0, done.stderr
    assert "waiting for 3 tickers of standard input" in done.stderr
    assert RunFolder(tmp_path / "run").plan().tickers == ("C", "A", "D")
    assert RunFolder(tmp_path / "run").status()["bars"] == 150
    again = live(*arguments, stdin="")
    assert again.returncode == 0, again.stderr
    assert "going on with" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere.csv"], 66, "no such file or feed"),
        (["FILE"], 2, "nothing to trade"),
        (["FILE", "--pair", "A,Z"], 2, "no ticker 'Z'"),
        (["-", "--pair", "A,B"], 2, "--bars-per-year"),
        (["-"], 2, "which tickers?"),
        (["-", "--universe", "5"], 2, "which tickers?"),
        (["FILE", *OPTIONS, "--speed", "fast"], 2, "bars per second"),
        (["FILE", *OPTIONS, "--limit", "gross=x"], 2, "positive number"),
        (["FILE", *OPTIONS, "--limit", "luck=1"], 2, "no limit 'luck'"),
        (["FILE", *OPTIONS, "--limit", "drawdown=0.1:refuse"], 2, "no action"),
        (["FILE", *OPTIONS, "--timezone", "Mars/Base"], 2, "no such time zone"),
        (["FILE", *OPTIONS, "--same-bar"], 2, "--same-bar"),
        (["FILE", "--evidence", "luck > 1"], 2, "no figure 'luck'"),
        (["FILE", *OPTIONS, "--alert-url", "file:///etc/passwd"], 2, "neither http"),
        (["FILE", *OPTIONS, "--alert-command", "mail 'ops"], 2, "hint: close the quotes"),
        (["FILE", *OPTIONS, "--alert-command", "no-such-program"], 2, "no program"),
        (["FILE", *OPTIONS, "--alert-mail", "ops@example.org"], 2, "needs a mail server"),
        (["FILE", *OPTIONS, "--smtp", "smtp://localhost"], 2, "hint: --alert-mail"),
        (["FILE", *OPTIONS, "--smtp-password-file", "FILE"], 2, "hint: --alert-mail"),
        (["FILE", *OPTIONS, "--influx", "nonsense"], 2, "--influx: no database"),
        (["FILE", "--pair", "A,B", "--formation", "20"], 2, "needs 60"),
        (["verify", "nowhere"], 66, "no live run"),
        (["status", "nowhere"], 66, "no live run"),
    ],
)
def test_mistakes_are_one_line_with_a_hint(prices, tmp_path, arguments, code, said):
    given = [str(prices) if each == "FILE" else each for each in arguments]
    state = [] if given[0] in ("verify", "status") else ["--state", str(tmp_path / "run")]
    done = live(*given, *state)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert done.stderr.splitlines()[-1].startswith(("hint: ", "error: "))
    assert not (tmp_path / "run").exists()


def test_other_options_are_no_continuation(prices, whole):
    done = live(prices, *OPTIONS, "--entry", "1.9", "--state", whole)
    assert done.returncode == 78
    assert "another 'settings'" in done.stderr


def test_alerts_reach_a_command(prices, tmp_path):
    script = tmp_path / "alert.sh"
    script.write_text(f'#!/bin/sh\necho "$MLKIT_ALERT" >>{tmp_path}/alerts\n')
    script.chmod(0o755)
    done = live(prices, *OPTIONS, "--state", tmp_path / "run", "--limit", "drawdown=1e-5",
                "--alert-command", script)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {"limit", "finished"} <= set((tmp_path / "alerts").read_text().split())
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700

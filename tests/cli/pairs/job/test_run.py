"""`mlkit pairs job` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from pairs.jobs.logs import content, expected, fill, totals

from mlkit.errors import BadData
from mlkit.pairs.jobs import recorded
from mlkit.pairs.jobs.file import open_job

EXAMPLES = Path(__file__).parents[4] / "examples" / "pairs" / "jobs"


@pytest.fixture
def prices(tmp_path):
    """A price file of two tickers and 70 days."""
    days = pd.date_range("2024-01-01", periods=70).strftime("%Y-%m-%d")
    rows = [f"{day},{100 + n},{200 - n * 0.5}" for n, day in enumerate(days)]
    (tmp_path / "prices.csv").write_text("\n".join(["date,A,B", *rows, ""]))
    return tmp_path / "prices.csv"


def test_a_job_runs_over_a_price_file(mlkit, prices):
    done = mlkit("pairs", "job", "test", EXAMPLES / "zscores.py", "--on", prices, "--json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 2 * 11  # the first 59 days have no score
    first = rows[0]
    assert first["time"] == "2024-02-29T00:00:00Z"
    closes = pd.Series(range(100, 160), dtype=float)
    assert first["z"] == pytest.approx((159.0 - closes.mean()) / closes.std())


def test_a_job_in_r_runs_over_a_price_file(mlkit, prices, need_program):
    need_program("Rscript")
    done = mlkit("pairs", "job", "test", EXAMPLES / "drawdowns.R", "--on", prices, "--json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    closes = pd.Series([200 - n * 0.5 for n in range(70)])
    found = [row["drawdown"] for row in rows if row["ticker"] == "B"]
    assert found == pytest.approx((1 - closes / closes.cummax()).tolist())
    assert {row["drawdown"] for row in rows if row["ticker"] == "A"} == {0}


def test_a_table_shows_the_first_rows_and_how_many_there_are(mlkit, prices):
    done = mlkit(
        "pairs", "job", "test", EXAMPLES / "extremes.py", "--on", prices, "--rows", "2"
    )  # fmt: skip
    assert done.stdout.split()[:4] == ["time", "ticker", "high", "bars"]
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == "69 records, the first 2 shown: --json prints all\n"


def test_a_job_runs_over_a_folder_of_history(tmp_path):
    times = pd.to_datetime(["2024-01-02T10:00Z", "2024-01-02T09:00Z", "2024-01-03T09:00Z"])
    data = pd.DataFrame({"time": times, "ticker": "A", "close": [2.0, 1.0, 3.0]})
    data[2:].to_parquet(tmp_path / "2024-01-03.parquet")
    data[:2].to_parquet(tmp_path / "2024-01-02.parquet")
    made = recorded.run(open_job(str(EXAMPLES / "extremes.py")), tmp_path)
    assert [row["high"] for row in made] == [2.0, 3.0]
    with pytest.raises(BadData, match=r"2024-01-02.parquet: no column 'symbol'"):
        list(recorded.run(open_job(str(EXAMPLES / "extremes.py"), "symbol"), tmp_path))


def test_two_instances_share_the_tickers(mlkit, tmp_path):
    fill(tmp_path / "log", count=30, partitions=4)
    (tmp_path / "job.py").write_text(
        "state = {}\n"
        "def process(data):\n"
        "    data['total'] = state['sum'] = data['close'].cumsum() + state.get('sum', 0.0)\n"
        "    state['sum'] = float(data['total'].iloc[-1])\n"
        "    return data\n"
    )
    done = mlkit(
        "pairs", "job", "run", tmp_path / "job.py", "--in", "bars", "--out", "out", "--log",
        tmp_path / "log", "--instances", "2", "--batch", "4", "--until-end", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["schema"], found["records"]) == ("mlkit.pairs.job.run", 30)
    assert totals(tmp_path / "log") == expected(30)


def test_a_job_that_fails_shows_its_own_traceback(mlkit, tmp_path):
    fill(tmp_path / "log")
    (tmp_path / "job.py").write_text("def process(data):\n    return data['nothing']\n")
    arguments = [
        "pairs", "job", "run", tmp_path / "job.py", "--in", "bars", "--out", "out",
        "--log", tmp_path / "log", "--restarts", "1", "--instances", "2",
    ]  # fmt: skip
    done = mlkit(*arguments)
    assert done.returncode == 1
    assert "line 2, in process" in done.stderr
    *_, error, hint = done.stderr.splitlines()
    assert error.startswith(f"error: {tmp_path}/job.py: process(): line 2: KeyError: 'nothing'")
    assert error.endswith("; stopped after 1 restarts")
    assert hint.startswith("hint: the records are kept")
    assert content(tmp_path / "log") == {}


def test_ticks_become_bars_and_what_a_job_prints_is_no_result(prices, capsys):
    weekly = (EXAMPLES / "bars.py").read_text().replace("SECONDS = 60", "SECONDS = 7 * 86400")
    job = prices.with_name("weekly.py")
    job.write_text(weekly + "    print('never')\n" + "print('at the start')\n")
    made = list(recorded.run(open_job(str(job)), prices, batch=7))
    assert [row["close"] for row in made if row["ticker"] == "A"] == [
        102.0 + 7 * n for n in range(10)
    ]
    assert {row["high"] - row["low"] for row in made[2:] if row["ticker"] == "A"} == {6.0}
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "at the start\n")


def test_a_bad_file_ends_with_one_line(mlkit, tmp_path, prices):
    (tmp_path / "job.py").write_text("def process(data): return 3")
    done = mlkit("pairs", "job", "test", tmp_path / "job.py", "--on", prices)
    assert done.returncode == 65
    error, hint = done.stderr.splitlines()
    assert error == f"error: {tmp_path}/job.py: process() returned a int"
    assert hint == "hint: a data frame, a dictionary or a list of them, or None"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("job.txt", "--on", "x.csv"), 2, "no file in Python or R"),
        (("job.R", "--on", "x.csv"), 66, "job.R: cannot be read"),
        ((str(EXAMPLES / "zscores.py"), "--on", "nowhere.csv"), 66, "nowhere.csv"),
    ],
)
def test_what_is_missing_is_named(mlkit, arguments, code, message):
    done = mlkit("pairs", "job", "test", *arguments)
    assert done.returncode == code
    assert message in done.stderr

"""`mlkit pairs backtest` and `sweep` as a user meets them."""

import json
import math
import os
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest
from commands import run_mlkit

EXAMPLE = Path(__file__).parents[3] / "examples" / "pairs" / "us_large_caps.csv.gz"


def mlkit(*arguments, cwd=None):
    return run_mlkit("pairs", *arguments, cwd=cwd, env={**os.environ, "NO_COLOR": "1"})


def document(*arguments):
    done = mlkit(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_run_is_repeated_exactly_from_its_run_json(tmp_path):
    first = mlkit("backtest", EXAMPLE, "--pair", "KO,PEP", "--hedge", "kalman", "--entry", "1.5",
                  "--stop-loss", "4", "-o", tmp_path / "a")  # fmt: skip
    assert first.returncode == 0, first.stderr
    again = mlkit("backtest", "--from", tmp_path / "a" / "run.json", "-o", tmp_path / "b")
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    for name in ("trades.csv", "positions.csv", "equity.csv", "run.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


FADING = """
from mlkit.pairs import Order, Strategy

class Fading(Strategy):
    def step(self, state, features, position):
        if position.side != 0:
            return state, Order.EXIT if position.side * features.z >= 0 else Order.NONE
        if abs(features.z) < 2.5:
            return state, Order.NONE
        return state, Order.ENTER_SHORT if features.z > 0 else Order.ENTER_LONG
"""


def test_a_run_of_an_own_strategy_is_repeated_with_that_strategy(tmp_path):
    (tmp_path / "fading.py").write_text(FADING)
    command = ["backtest", EXAMPLE, "--pair", "KO,PEP"]
    built_in = document(*command)
    own = document(*command, "--strategy", tmp_path / "fading.py", "-o", tmp_path / "a")
    assert own["strategy"]["name"] == "Fading"
    assert own["trading"]["trades"] != built_in["trading"]["trades"]
    run, page = tmp_path / "a" / "run.json", tmp_path / "r.html"
    again = document("backtest", "--from", run, "--report", page, "-o", tmp_path / "b")
    assert again == own
    assert (tmp_path / "b" / "run.json").read_bytes() == run.read_bytes()
    assert "fading.py" in page.read_text()

    (tmp_path / "fading.py").write_text(FADING.replace("2.5", "2.4"))
    changed = mlkit("backtest", "--from", run)
    assert changed.returncode == 65
    assert "the strategy has changed since the run" in changed.stderr
    (tmp_path / "fading.py").unlink()
    assert mlkit("backtest", "--from", run).returncode == 66


@pytest.mark.parametrize(
    ("code", "name", "status", "message"),
    [
        (FADING, ":Other", 2, "no strategy Other"),
        ("x = 1", "", 2, "no strategy"),
        (FADING + FADING.replace("Fading", "Second"), "", 2, "which strategy?"),
        ("x = = 1", "", 65, "line 1: invalid syntax"),
        ("import sys\nsys.exit(0)", "", 65, "line 2: SystemExit: 0"),
        (FADING.replace("if abs", "raise SystemExit\n        if abs"), "", 65, "SystemExit"),
        ("\n1 / 0", "", 65, "line 2: ZeroDivisionError: division by zero"),
        (FADING + "    def __init__(self, n): pass", "", 65, "Fading()"),
        (FADING.replace("if abs", "1 / 0\n        if abs"), "", 65, "(bar 252): Fading.step: Zero"),
        (FADING.replace("Order.NONE", "7"), "", 65, "KO/PEP at 1990-12-31 (bar 252)"),
        (FADING.replace("return state, Order.NONE", "return"), "", 65, "TypeError"),
    ],
)
def test_a_strategy_that_fails_is_told_in_one_line(tmp_path, code, name, status, message):
    (tmp_path / "s.py").write_text(code)
    strategy = f"{tmp_path / 's.py'}{name}"
    done = mlkit("backtest", EXAMPLE, "--pair", "KO,PEP", "--strategy", strategy,
                 "-o", tmp_path / "out")  # fmt: skip
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_changed_price_file_is_not_taken_for_the_same_run(tmp_path):
    prices = tmp_path / "p.csv"
    rows = [f"2020-01-{day:02d},{10 + day % 3},{20 + day % 5}" for day in range(1, 29)]
    prices.write_text("\n".join(["date,A,B", *rows]) + "\n")
    made = mlkit("backtest", prices, "--pair", "A,B", "--formation", "15", "--lookback", "5",
                 "-o", tmp_path)  # fmt: skip
    assert made.returncode == 0, made.stderr
    prices.write_text(prices.read_text().replace("2020-01-28,11", "2020-01-28,12"))
    done = mlkit("backtest", "--from", tmp_path / "run.json")
    assert done.returncode == 65
    assert "differs" in done.stderr


def test_tables_agree_with_the_summary(tmp_path):
    said = document("backtest", EXAMPLE, "--start", "2010-01-01", "--formation", "252",
                    "--trading", "126", "--method", "distance", "--top", "5",
                    "-o", tmp_path, "--format", "parquet")  # fmt: skip
    trades = pyarrow.parquet.read_table(tmp_path / "trades.parquet").to_pydict()
    equity = pyarrow.parquet.read_table(tmp_path / "equity.parquet").to_pydict()
    held = pyarrow.parquet.read_table(tmp_path / "positions.parquet").to_pydict()
    assert said["trading"]["trades"] == len(trades["y"]) > 20
    assert sum(trades["net_result"]) == pytest.approx(equity["equity"][-1] - 100_000)
    assert said["money"]["equity"] == equity["equity"][-1]
    by_date = dict.fromkeys(equity["date"], 0.0)
    for date, value in zip(held["date"], held["value"], strict=True):
        by_date[date] += value
    for date, positions in zip(equity["date"], equity["positions"], strict=True):
        assert by_date[date] == pytest.approx(positions, abs=1e-6)


def test_cointegration_passes_a_pair_in_few_windows_and_says_so():
    said = document("backtest", EXAMPLE, "--formation", "252", "--trading", "126")
    counts = said["windows"]
    assert 0 < counts["without_pairs"] < counts["windows"]
    empty = [each for each in counts["each"] if not each["pairs"]]
    assert len(empty) == counts["without_pairs"]
    assert all(each["formed"] < each["first"] <= each["last"] for each in counts["each"])
    assert any("had no pair and held cash" in each for each in said["warnings"])


def test_a_screened_file_carries_its_hedge_ratio_and_warns(tmp_path):
    file = tmp_path / "pairs.csv"
    assert mlkit("screen", EXAMPLE, "--method", "distance", "--top", "2", "--stop", "2000-01-01",
                 "-o", file).returncode == 0  # fmt: skip
    header, first = file.read_text().splitlines()[:2]
    row = dict(zip(header.split(","), first.split(","), strict=True))
    done = mlkit("backtest", EXAMPLE, "--pairs", file, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 pairs are traded on bars on which they were screened" in done.stderr
    assert f"{row['y']}/{row['x']}: screened up to 1999-12-31" in done.stderr
    again = mlkit("backtest", "--from", tmp_path / "out" / "run.json")
    assert f"wrote {tmp_path / 'out'}\n" in done.stderr
    assert again.stderr == done.stderr.replace(f"wrote {tmp_path / 'out'}\n", "")
    later = mlkit("backtest", EXAMPLE, "--pairs", file, "--start", "2000-01-01")
    assert later.stderr == ""
    trades = pyarrow.csv.read_csv(tmp_path / "out" / "trades.csv").to_pydict()
    betas = {b for y, b in zip(trades["y"], trades["beta"], strict=True) if y == row["y"]}
    assert float(row["hedge_ratio"]) in betas


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((EXAMPLE,), 2, "nothing to trade"),
        ((), 2, "PRICES is missing"),
        ((EXAMPLE, "--pair", "KO"), 2, "not a pair"),
        ((EXAMPLE, "--pair", "KO,PEPP"), 2, "no ticker 'PEPP'"),
        ((EXAMPLE, "--pair", "KO,PEP,0"), 2, "hedges nothing"),
        ((EXAMPLE, "--pair", "KO,PEP,1", "--trading", "126"), 2, "carries its beta"),
        ((EXAMPLE, "--pair", "KO,KO", "--trading", "126"), 2, "two different tickers"),
        ((EXAMPLE, "--pair", "KO,PEP", "--entry", "0.2"), 2, "must be greater than exit"),
        ((EXAMPLE, "--pair", "KO,PEP", "--formation", "20"), 2, "the signal needs 60"),
        ((EXAMPLE, "--pair", "KO,PEP", "--formation", "9000"), 65, "common bars"),
        ((EXAMPLE, "--pairs", "missing.csv"), 66, "missing.csv"),
        (("--from", "missing.json"), 66, "missing.json"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_a_code(arguments, code, message):
    done = mlkit("backtest", *arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert done.stderr.startswith("error: ")


def test_a_repeated_run_takes_no_other_setting(tmp_path):
    done = mlkit("backtest", "--from", "run.json", "--entry", "3")
    assert done.returncode == 2
    assert "--entry and --from" in done.stderr


def test_a_sweep_states_its_trials(tmp_path):
    said = document("sweep", EXAMPLE, "--pair", "KO,PEP", "--start", "2010-01-01",
                    "--entry", "1:2:0.5", "--exit", "0,0.5", "--trials", "10")  # fmt: skip
    assert len(said["configurations"]) == 18
    assert said["deflated_sharpe"]["trials"] == 28
    best = max(said["configurations"], key=lambda each: each["sharpe"])
    assert said["best"] == best
    done = mlkit("backtest", EXAMPLE, "--pair", "KO,PEP", "--start", "2010-01-01", "--json",
                 "--entry", best["entry"], "--exit", best["exit"],
                 "--lookback", best["lookback"])  # fmt: skip
    assert json.loads(done.stdout)["money"]["equity"] == best["equity"]


def test_raw_prices_book_the_dividends_of_both_legs(tmp_path):
    """A long leg gets what is paid on a bar that it was held before, a short leg pays it."""
    days = [f"2020-{month:02d}-{day:02d}" for month in range(1, 7) for day in range(1, 29)]
    paid = {("A", 60): 0.5, ("A", 90): 0.25, ("B", 75): 0.4, ("B", 120): 0.1}
    rows = ["date,ticker,close,dividend"]
    for i, day in enumerate(days):
        for ticker, close in (("A", 100 + 5 * math.sin(i / 4)), ("B", 100 + math.cos(i / 9))):
            rows.append(f"{day},{ticker},{close},{paid.get((ticker, i), 0)}")
    (tmp_path / "p.csv").write_text("\n".join(rows) + "\n")
    command = ["backtest", tmp_path / "p.csv", "--pair", "A,B", "--formation", "30",
               "--lookback", "15", "--entry", "1", "-o", tmp_path / "out"]  # fmt: skip
    said = document(*command, "--raw")
    held = pyarrow.csv.read_csv(tmp_path / "out" / "positions.csv").to_pylist()
    shares = {(row["ticker"], str(row["date"])[:10]): row["shares"] for row in held}
    expected = sum(
        amount * shares.get((ticker, days[bar - 1]), 0.0) for (ticker, bar), amount in paid.items()
    )
    assert expected != 0.0
    assert said["money"]["dividends"] == pytest.approx(expected, rel=1e-9)
    assert document(*command)["money"]["dividends"] == 0.0


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_sweep_writes_its_configurations(tmp_path, suffix):
    path = tmp_path / f"all.{suffix}"
    said = document("sweep", EXAMPLE, "--pair", "KO,PEP", "--start", "2010-01-01",
                    "--entry", "1,2", "--exit", "0", "-o", path)  # fmt: skip
    read = pyarrow.csv.read_csv if suffix == "csv" else pyarrow.parquet.read_table
    rows = read(path).to_pylist()
    assert len(rows) == len(said["configurations"]) == 6
    assert [row["sharpe"] for row in rows] == pytest.approx(
        [each["sharpe"] for each in said["configurations"]], rel=1e-12
    )
    assert {row["entry"] for row in rows} == {1.0, 2.0}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--entry", "0:1e12:1e-3"], "--entry 0:1e12:1e-3: more than"),
        (["--entry", "1:inf:1"], "a value is not finite"),
        (["--entry", "1:nan:1"], "a value is not finite"),
        (["--exit", "0,nan"], "a value is not finite"),
        (["--exit", "1:2"], "no range and no list"),
        (["--exit", "2:1:1"], "no range and no list"),
        (["--exit", "a"], "no range and no list"),
        (["-o", "all.txt"], "neither .csv nor .parquet"),
    ],
)
def test_a_sweep_refuses_bad_values_before_it_works(arguments, problem):
    done = mlkit("sweep", EXAMPLE, "--pair", "KO,PEP", *arguments)
    assert done.returncode == 2
    assert problem in done.stderr


def test_a_range_includes_both_ends():
    from mlkit.cli.pairs.sweep import parse_values

    assert parse_values("1:3:0.5", "--entry") == (1.0, 1.5, 2.0, 2.5, 3.0)
    assert parse_values("0:0.3:0.1", "--exit") == pytest.approx((0.0, 0.1, 0.2, 0.3))

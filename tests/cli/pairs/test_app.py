from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import Mlkit, run_mlkit

EXAMPLE = "examples/pairs/us_large_caps.csv.gz"
WINDOW = ["--start", "2015-01-01", "--stop", "2020-01-01"]


def mlkit(*words, code=0):
    run = run_mlkit(*words)
    assert run.returncode == code, run.stderr
    return run


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    output = tmp_path_factory.mktemp("screen") / "pairs.csv"
    words = ["pairs", "screen", EXAMPLE, *WINDOW, "--fdr", "none", "--json", "-o", str(output)]
    return json.loads(mlkit(*words).stdout), output.read_text().splitlines()


def test_screen_as_json(found):
    document, _ = found
    assert document["schema"] == "mlkit.pairs.screen"
    assert (document["tested"], document["tickers"], document["bars"]) == (190, 20, 1258)
    assert document["window"] == ["2015-01-02", "2019-12-31"]
    p = [pair["p_value"] for pair in document["pairs"]]
    assert p == sorted(p)
    assert max(p) <= 0.05


def test_the_file_of_pairs_holds_the_same(found):
    document, (header, *rows) = found
    assert header.startswith("y,x,scale,hedge_ratio,intercept,statistic")
    assert len(rows) == len(document["pairs"])
    assert rows[0].split(",")[:2] == [document["pairs"][0]["y"], document["pairs"][0]["x"]]


def test_screen_for_people():
    said = mlkit("pairs", "screen", EXAMPLE, *WINDOW).stdout
    assert "0 of 190 tested pairs" in said
    assert "no pair passes: the best adjusted p is" in said
    table = mlkit("pairs", "screen", EXAMPLE, *WINDOW, "--method", "distance", "--top", "3").stdout
    assert "distance" in table
    assert "3 of 190 ranked pairs" in table


def test_pairs_on_standard_output_and_prices_on_standard_input():
    words = ["-o", "-", "--alpha", "1", "--tickers", "KO,PEP"]
    with (
        Path(EXAMPLE).open("rb") as prices,
        Mlkit("pairs", "screen", "-", *WINDOW, *words, stdin=prices, stdout=subprocess.PIPE,
              text=True) as run,
    ):  # fmt: skip
        assert len(run.communicate()[0].splitlines()) == 2


def test_fit():
    words = ["pairs", "fit", EXAMPLE, "KO", "PEP", *WINDOW]
    document = json.loads(mlkit(*words, "--json").stdout)
    assert document["engle_granger"][0]["statistic"] == pytest.approx(-3.0275, abs=1e-4)
    said = mlkit(*words).stdout
    for title in ("KO on PEP", "Ornstein-Uhlenbeck", "unit roots", "Johansen", "Bertram"):
        assert title in said


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["screen", "none.csv"], 66, "error: none.csv: cannot be read"),
        (["screen", EXAMPLE, "--tickers", "KOO"], 2, "did you mean 'KO'?"),
        (["screen", EXAMPLE, "--min-half-life", "9", "--max-half-life", "2"], 2, "no range"),
        (["screen", EXAMPLE, "--min-half-life", "nan"], 2, "no range"),
        (["screen", EXAMPLE, "--start", "2022-12-20"], 65, "bars in the window"),
        (["screen", EXAMPLE, "--groups", "none.csv"], 66, "none.csv: cannot be read"),
        (["screen", EXAMPLE, "-o", "/nowhere/pairs.csv"], 66, "cannot be written"),
        (["fit", EXAMPLE, "KO", "COKE"], 2, "no ticker 'COKE'"),
    ],
)
def test_errors(words, code, says):
    said = mlkit("pairs", *words, code=code).stderr
    assert says in said
    assert "Traceback" not in said


def test_an_interrupted_screen_writes_nothing(tmp_path):
    rng = np.random.default_rng(1)
    close = np.exp(rng.standard_normal((2500, 400)).cumsum(axis=0) * 0.01)
    days = np.datetime64("2010-01-01") + np.arange(2500)
    source, output = tmp_path / "prices.csv", tmp_path / "pairs.csv"
    rows = [",".join(["date", *(f"T{n}" for n in range(400))])]
    rows += [
        f"{day}," + ",".join(map("{:.6g}".format, row))
        for day, row in zip(days, close, strict=True)
    ]
    source.write_text("\n".join(rows))
    words = ["pairs", "screen", str(source), "-o", str(output), "--threads", "1", "--alpha", "1"]
    run = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", "mlkit", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        time.sleep(2.5)
        os.kill(run.pid, signal.SIGINT)
        run.communicate(timeout=180)
    finally:
        run.kill()
    assert run.returncode != 0
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (("fit", "wide.csv", "A", "A"), 2, "two different tickers", ""),
        (("fit", "wide.csv", "A", "bee"), 2, "no ticker 'bee'", "did you mean 'BEE'?"),
        (("screen", "blanks.csv"), 65, "no column of dates", "separate the columns by commas"),
        (("screen", "one.csv"), 65, "needs 2 tickers", "a column per ticker"),
        (("backtest", "wide.csv", "--pairs", "none.csv"), 65, "no pair in it", "the screen"),
    ],
)
def test_what_a_newcomer_gets_wrong_is_told_with_the_cure(tmp_path, arguments, code, message, hint):
    days = [f"2020-{1 + n // 28:02d}-{1 + n % 28:02d}" for n in range(60)]
    rows = [f"{day},{10 + n % 3},{20 + n % 5}" for n, day in enumerate(days)]
    wide = "\n".join(["date,A,BEE", *rows]) + "\n"
    (tmp_path / "wide.csv").write_text(wide)
    (tmp_path / "blanks.csv").write_text(wide.replace(",", " "))
    one = [row.rsplit(",", 1)[0] for row in ("date,close,x", *rows)]
    (tmp_path / "one.csv").write_text("\n".join(one) + "\n")
    (tmp_path / "none.csv").write_text("y,x\n")
    done = run_mlkit("pairs", *arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert hint in done.stderr


def test_prices_of_any_sign_are_screened_and_fitted_as_levels(tmp_path):
    rng = np.random.default_rng(1)
    walk = rng.standard_normal(100).cumsum()
    days = np.datetime64("2020-01-01") + np.arange(100)
    rows = [f"{day},{a},{a + b}" for day, a, b in zip(days, walk, rng.random(100), strict=True)]
    path = tmp_path / "spreads.csv"
    path.write_text("\n".join(["date,[/red],=B", *rows]) + "\n")
    found = mlkit("pairs", "screen", str(path), "--levels", "--alpha", "0.5")
    assert "[/red]" in found.stdout
    assert "=B" in found.stdout
    assert "=B on [/red]" in mlkit("pairs", "fit", str(path), "=B", "[/red]", "--levels").stdout
    for words in ((), ("--levels", "--method", "distance"), ("--levels", "--min-correlation", "0")):
        refused = mlkit("pairs", "screen", str(path), *words, code=65).stderr
        assert "is not positive" in refused
        assert "--levels takes prices of any sign" in refused
    page = tmp_path / "fit.html"
    mlkit("pairs", "fit", str(path), "=B", "[/red]", "--levels", "--report", str(page))
    assert "logarithmic" not in page.read_text()
    named = ("--pair", "=B,[/red]", "--formation", "60", "--lookback", "10", "--gross", "1")
    run = mlkit("pairs", "backtest", str(path), *named, "--levels", "-o", str(tmp_path / "run"))
    assert "closes are zero or negative" in run.stderr
    again = mlkit("pairs", "backtest", "--from", str(tmp_path / "run" / "run.json"))
    assert again.stdout == run.stdout
    assert "is not positive" in mlkit("pairs", "backtest", str(path), *named, code=65).stderr


def test_what_a_file_was_read_as_is_said(tmp_path):
    walk = 50 + np.random.default_rng(1).standard_normal(60).cumsum()
    rows = [f"2024-{1 + n // 28:02d}-{1 + n % 28:02d},1,{p:.1f}" for n, p in enumerate(walk)]
    for name, own in (
        ("KO", rows),
        ("\x1b[31mPEP", [f"{row}{n % 7}" for n, row in enumerate(rows)]),
    ):
        (tmp_path / f"{name}.csv").write_text("\n".join(["Date,Open,Close", *own]) + "\n")
    run = mlkit("pairs", "screen", str(tmp_path), "--method", "distance")
    assert "read as bars of one ticker" in run.stderr
    assert "\x1b" not in run.stdout + run.stderr
    assert "\\x1b[31mPEP" in run.stdout
    both = [str(tmp_path / "KO.csv"), str(tmp_path / "\x1b[31mPEP.csv")]
    assert "KO" in mlkit("pairs", "screen", *both, "--method", "distance").stdout
    done = mlkit("pairs", "screen", str(tmp_path), "--ticker", "X", code=2)
    assert "--ticker X" in done.stderr

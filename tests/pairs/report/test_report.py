"""Reports as a reader meets them: one page, safe to open, and true to the numbers."""

import html.parser
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import run_mlkit

from mlkit.errors import InputMissing
from mlkit.pairs import settings, windows
from mlkit.pairs.backtest import replay, summary
from mlkit.pairs.backtest.sweep import Grid, sweep
from mlkit.pairs.fit.pair import fit_pair
from mlkit.pairs.report import backtest as backtest_page
from mlkit.pairs.report import fit as fit_page
from mlkit.pairs.report import page
from mlkit.pairs.report import sweep as sweep_page
from tests.pairs import markets

EXAMPLE = Path(__file__).parents[3] / "examples" / "pairs" / "us_large_caps.csv.gz"
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$\\frac{&amp;",
    "{{ 7*7 }}",
)
WALK = settings.Settings(
    formation=100,
    trading=50,
    signal=settings.Signal(lookback=20),
    selection=settings.Selection(method="distance", top=3),
)
OPTIONS = {
    "scale": "log",
    "trend": "c",
    "window": 80,
    "drift": 1e-4,
    "cost": 1e-3,
    "johansen_lags": 1,
}


class Reader(html.parser.HTMLParser):
    """Collects tags with their attributes, and the text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, text):
        self.texts.append(text)


def market(tickers=HOSTILE):
    return replace(markets.cointegrated(3), tickers=tickers, source=tickers[0])


def walked(prices, chosen=WALK):
    return replay.run(prices, windows.plan(prices, [], chosen), chosen)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return one page of each kind about tickers that attack it."""
    folder, prices = tmp_path_factory.mktemp("pages"), market()
    backtest_page.write(folder / "backtest.html", walked(prices))
    fit = fit_pair(prices, HOSTILE[0], HOSTILE[1])
    fit_page.write(folder / "fit.html", prices, fit, OPTIONS)
    given = windows.plan(prices, [windows.GivenPair(*HOSTILE[:2])], replace(WALK, trading=0))
    grid = Grid((1.0, 2.0), (0.0, 0.5), (float("inf"),), (20,))
    sweep_page.write(folder / "sweep.html", sweep(prices, given, replace(WALK, trading=0), grid))
    planned = windows.plan(prices, [], WALK)
    walk = sweep(prices, planned, WALK, grid, walk_forward=True)
    sweep_page.write(folder / "walk.html", walk)
    return folder


KINDS = ["backtest.html", "fit.html", "sweep.html", "walk.html"]


@pytest.mark.parametrize("name", KINDS)
def test_tickers_cannot_write_into_the_page(pages, name):
    reader = Reader(pages / name)
    assert HOSTILE[0] in reader.text
    assert {tag for tag, _ in reader.tags} & {"script", "img", "iframe", "link", "object"} == set()
    assert not [key for _, each in reader.tags for key in each if key.startswith("on")]
    if name in ("backtest.html", "walk.html"):
        assert HOSTILE[3] in reader.text


@pytest.mark.parametrize("name", KINDS)
def test_a_page_needs_nothing_but_itself(pages, name):
    reader = Reader(pages / name)
    links = [each[key] for _, each in reader.tags for key in ("href", "src") if key in each]
    assert all(link.startswith("#") for link in links)
    ids = [each["id"] for _, each in reader.tags if "id" in each]
    assert {link[1:] for link in links} <= set(ids)
    assert len(ids) == len(set(ids))
    policy = [each for tag, each in reader.tags if each.get("http-equiv")]
    assert policy[0]["content"].startswith("default-src 'none'")
    assert "url(" not in (pages / name).read_text()


@pytest.mark.parametrize("name", KINDS)
def test_tags_are_balanced(pages, name):
    text = (pages / name).read_text()
    for tag in ("div", "table", "tr", "td", "th", "ul", "li", "figure", "svg", "dl", "p", "h2"):
        opened, closed = len(re.findall(rf"<{tag}[ >]", text)), text.count(f"</{tag}>")
        assert opened == closed, tag
    assert "nan" not in re.sub(r"[^<>]*</", "", text).lower()
    assert ">None<" not in text


def test_a_run_s_page_is_the_same_each_time(tmp_path):
    for name in "ab":
        backtest_page.write(tmp_path / name, walked(market()))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_months_compound_to_the_total_return():
    result = walked(market())
    context = backtest_page.context(result)
    months = [cell for row in context["months"]["cells"].values() for cell in row]
    growth = np.prod([1.0 + each for each in months if each is not None])
    assert growth - 1.0 == pytest.approx(result.performance.total_return, rel=1e-12)
    years = np.prod([1.0 + each["return"] for each in context["years"].values()])
    assert years == pytest.approx(growth, rel=1e-12)
    assert sum(each["trades"] for each in context["years"].values()) == len(result.trades)


def test_costs_lead_from_gross_to_the_change_of_equity():
    money = summary.document(walked(market()))["money"]
    steps = backtest_page.cost_steps(money)
    assert steps[-1]["amount"] == pytest.approx(money["equity"] - money["capital"])
    assert sum(each["amount"] for each in steps[:-1]) == pytest.approx(steps[-1]["amount"])
    assert all(
        0.0 <= each["start"] <= each["start"] + each["width"] <= 1.0 + 1e-9 for each in steps
    )


def test_every_traded_pair_has_its_spread_and_its_row(tmp_path):
    result = walked(market(("AA", "BB", "CC", "DD")))
    backtest_page.write(tmp_path / "r.html", result)
    text = (tmp_path / "r.html").read_text()
    pairs = summary.by_pair(result)
    assert len(pairs) > 1
    assert text.count('<figure id="pair-') == len(pairs)
    for number, pair in enumerate(pairs, start=1):
        assert f'<a href="#pair-{number}">{pair["y"]}</a></th><td class="text">{pair["x"]}<' in text
        figure = re.search(rf'<figure id="pair-{number}".*?</figure>', text, re.DOTALL)[0]
        assert f"<h3>{pair['y']} / {pair['x']}</h3>" in figure


def test_marks_stand_where_the_engine_filled():
    prices = market(("AA", "BB", "CC", "DD"))
    result = walked(prices)
    charts = backtest_page.context(result)["charts"]
    marks = sum(len(re.findall(r"M[^M]*?3\.8l", str(chart.picture))) for chart in charts)
    assert marks == 2 * len(result.trades)  # in the spread and in its z-score


def test_a_kalman_z_score_is_drawn_as_the_engine_saw_it():
    from mlkit.pairs.report.pair_charts import _stretch

    for signal in (
        settings.Signal(hedge="kalman", zscore="filter"),
        settings.Signal(hedge="rolling", hedge_window=30, lookback=20),
        settings.Signal(zscore="formation"),
        settings.Signal(lookback=20),
    ):
        chosen = replace(WALK, signal=signal)
        result = walked(market(), chosen)
        assert len(result.trades) > 0
        for trade in result.trades:
            stretch = _stretch(result, int(trade["pair"]))
            decided = trade["decided"] - stretch.first
            assert stretch.z[decided] == pytest.approx(trade["entry_z"], rel=1e-9)


def test_a_run_without_a_trade_has_a_page(tmp_path):
    result = walked(market(), replace(WALK, rule=settings.Rule(entry=50.0)))
    backtest_page.write(tmp_path / "r.html", result)
    text = Reader(tmp_path / "r.html").text
    assert "No trade was made." in text
    assert "No pair was traded." in text


def test_a_crowded_pair_has_a_picture_for_a_desk_and_one_for_a_phone(tmp_path):
    chosen = replace(WALK, formation=60, trading=10)
    result = walked(market(("AA", "BB", "CC", "DD")), chosen)
    charts = backtest_page.context(result)["charts"]
    assert any(chart.broad for chart in charts)
    for chart in charts:
        assert chart.picture.count("<svg") == (2 if chart.broad else 1)


def test_windows_of_hours_are_told_apart_by_their_day():
    prices = market(("AA", "BB", "CC", "DD"))
    hours = prices.timestamps[0] + np.arange(len(prices)) * np.timedelta64(1, "h")
    prices = replace(prices, timestamps=hours, timezone="America/New_York")
    for chart in backtest_page.context(walked(prices))["charts"]:
        labels = re.findall(r'class="tick x"[^>]*>([^<]*)<', str(chart.picture))
        assert len(set(labels)) == len(labels)


def test_warnings_stand_on_the_page(tmp_path):
    result = walked(market(), replace(WALK, same_bar=True))
    backtest_page.write(tmp_path / "r.html", result)
    text = Reader(tmp_path / "r.html").text
    for warning in summary.warnings(result):
        assert warning in text
    assert "at the close of the decision" in text


def test_a_fit_says_plainly_that_random_walks_are_no_evidence(tmp_path):
    rng = np.random.default_rng(5)
    prices = markets.prices(np.exp(np.cumsum(rng.normal(0, 0.01, (400, 2)), axis=0)))
    fit = fit_pair(prices, "A", "B")
    assert fit.p_value > 0.05
    fit_page.write(tmp_path / "f.html", prices, fit, OPTIONS)
    assert "this is not evidence of cointegration" in Reader(tmp_path / "f.html").text


def test_the_rolling_z_score_looks_back_only():
    rng = np.random.default_rng(1)
    spread = np.cumsum(rng.normal(size=100))
    score = fit_page.rolling_score(spread, 20)
    assert np.isnan(score[:19]).all()
    last = spread[30:50]
    assert score[49] == pytest.approx((spread[49] - last.mean()) / last.std(ddof=1))
    changed = np.append(spread[:50], rng.normal(size=50))
    assert (fit_page.rolling_score(changed, 20)[19:50] == score[19:50]).all()


def test_autocorrelations_are_those_of_statsmodels():
    from statsmodels.tsa.stattools import acf

    series = np.random.default_rng(2).normal(size=300).cumsum()
    assert fit_page.autocorrelation(series, 30) == pytest.approx(acf(series, nlags=30)[1:])


def test_a_first_order_process_leaves_white_residuals():
    rng = np.random.default_rng(4)
    spread = np.zeros(4000)
    for t in range(1, len(spread)):
        spread[t] = 0.9 * spread[t - 1] + rng.normal()
    left = fit_page.autocorrelation(fit_page.residuals(spread), 20)
    assert np.abs(left).max() < 4.0 / np.sqrt(len(spread))


def test_the_grid_of_a_sweep_holds_every_score_once():
    prices = market()
    chosen = replace(WALK, trading=0)
    given = windows.plan(prices, [windows.GivenPair(*HOSTILE[:2])], chosen)
    grid = Grid((1.0, 1.5, 2.0), (0.0, 1.0), (3.0, float("inf")), (10, 20))
    result = sweep(prices, given, chosen, grid)
    sharpes = result.scores["sharpe"]
    tables = sweep_page.grids(result, sharpes)
    cells = [cell for each in tables for row in each["rows"].values() for cell in row if cell]
    assert sorted(cell["sharpe"] for cell in cells) == sorted(sharpes)
    assert [cell["sharpe"] for cell in cells if cell["best"]] == [sharpes.max()]
    assert len(tables) == 4


def test_nothing_is_left_behind_where_a_page_cannot_be_written(tmp_path):
    with pytest.raises(InputMissing, match="missing"):
        backtest_page.write(tmp_path / "missing" / "r.html", walked(market()))
    assert list(tmp_path.iterdir()) == []


def test_groups_of_tickers_are_listed_among_the_settings(tmp_path):
    chosen = replace(WALK.selection, groups={name: f"<b>{name[:3]}" for name in HOSTILE})
    result = walked(market(), replace(WALK, selection=chosen))
    backtest_page.write(tmp_path / "r.html", result)
    reader = Reader(tmp_path / "r.html")
    assert f"{HOSTILE[3]}: <b>{HOSTILE[3][:3]}" in reader.text
    assert page.value({}) == "none"


def mlkit(*arguments, cwd):
    return run_mlkit("pairs", *arguments, cwd=cwd, env={**os.environ, "NO_COLOR": "1"})


def test_the_command_line_writes_a_page_beside_its_result(tmp_path):
    short = (EXAMPLE, "--start", "2018-01-01")
    runs = {
        "fit.html": ("fit", *short, "KO", "PEP"),
        "backtest.html": ("backtest", *short, "--pair", "KO,PEP"),
        "sweep.html": ("sweep", *short, "--pair", "KO,PEP", "--entry", "1,2", "--exit", "0"),
    }
    for name, arguments in runs.items():
        done = mlkit(*arguments, "--report", name, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
        assert "KO" in Reader(tmp_path / name).text
    assert {path.name for path in tmp_path.iterdir()} == set(runs)


def test_a_run_is_repeated_into_a_page(tmp_path):
    done = mlkit("backtest", EXAMPLE, "--start", "2018-01-01", "--pair", "KO,PEP", "-o", "out",
                 "--report", "a.html", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = mlkit("backtest", "--from", "out/run.json", "--report", "b.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.html").read_text() == (tmp_path / "b.html").read_text()


@pytest.mark.parametrize(
    ("place", "code", "message"),
    [
        ("missing/f.html", 66, "there is no directory missing"),
        (".", 2, "a directory"),
        ("-", 2, "a page goes to a file"),
    ],
)
def test_a_place_for_no_page_is_refused_before_the_work(tmp_path, place, code, message):
    done = mlkit("fit", "no-prices.csv", "KO", "PEP", "--report", place, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stderr.startswith("error: --report")
    assert list(tmp_path.iterdir()) == []

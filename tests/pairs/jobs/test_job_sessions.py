"""Bars of jobs in sessions: half days, holidays, nights, and days on which clocks change."""

from __future__ import annotations

import contextlib
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs.jobs.logs import Crash, content, crash_at, fill

from mlkit.errors import BadData, UsageError
from mlkit.pairs.feeds.assembly import Assembler
from mlkit.pairs.feeds.records import PriceRecord
from mlkit.pairs.jobs import features
from mlkit.pairs.jobs.features import Session
from mlkit.pairs.jobs.run import Job, Plan
from mlkit.pairs.jobs.states import decode, encode

PRICES = ("open", "high", "low", "close", "volume")
NEW_YORK = Session(
    "09:30", "16:00", "America/New_York", "Mon-Fri",
    holidays=("2024-11-28",), early={"2024-11-29": "13:00"},
)  # fmt: skip


def ticks(begin, end, count=600, seed=1):
    """Ticks of two tickers at random times."""
    draws = np.random.default_rng(seed)
    first, last = (pd.Timestamp(each, tz="UTC").value for each in (begin, end))
    return pd.DataFrame(
        {
            "time": pd.to_datetime(np.sort(draws.integers(first, last, count)), utc=True),
            "ticker": draws.choice(["A", "B"], count),
            "close": np.round(100.0 + np.cumsum(draws.normal(0.0, 0.1, count)), 2),
            "volume": draws.integers(1, 100, count).astype(float),
        }
    )


def by_the_wall_clock(data, length):
    """The bars by pandas: each tick's session by local date and time of day, grouped."""
    local = data["time"].dt.tz_convert("America/New_York")
    day = local.dt.strftime("%Y-%m-%d")
    minute = local.dt.hour * 60 + local.dt.minute
    closes = np.where(day == "2024-11-29", 13 * 60, 16 * 60)
    inside = (
        (minute >= 570) & (minute < closes) & (local.dt.day_of_week < 5) & (day != "2024-11-28")
    )
    known = data[inside]
    opens = pd.to_datetime(day[inside] + " 09:30").dt.tz_localize("America/New_York")
    start = opens.dt.tz_convert("UTC") + (known["time"] - opens).dt.floor(f"{length}s")
    return known.groupby([known["ticker"], start.rename("time")]).agg(
        open=("close", "first"), high=("close", "max"), low=("close", "min"),
        close=("close", "last"), volume=("volume", "sum"),
    )  # fmt: skip


def in_batches(data, cuts, *arguments, **options):
    """Bars of a job that is stopped and started again between batches."""
    state, parts = {}, []
    for first, last in itertools.pairwise([0, *sorted(cuts), len(data)]):
        parts.append(features.bars(state, data.iloc[first:last], *arguments, **options))
        state = decode(encode(state))
    return pd.concat([each for each in parts if len(each)])


@pytest.mark.parametrize(
    ("begin", "end"),
    [("2024-03-07", "2024-03-13"), ("2024-10-31", "2024-11-06"), ("2024-11-26", "2024-12-04")],
)
@pytest.mark.parametrize("length", [3600, 86_400])
def test_bars_of_sessions_equal_those_of_pandas(begin, end, length):
    data = ticks(begin, end)
    made = in_batches(data, [100, 101, 380], length, session=NEW_YORK)
    expected = by_the_wall_clock(data, length)
    closed = expected.groupby(level=0).apply(lambda each: each.droplevel(0).iloc[:-1])
    found = made.set_index(["ticker", "time"]).sort_index()[list(PRICES)]
    assert len(found) >= 6
    pd.testing.assert_frame_equal(found, closed.sort_index(), check_exact=True, check_dtype=False,
                                  check_index_type=False)  # fmt: skip


def hours(made):
    return [f"{time:%d %H:%M}" for time in made["time"]]


def every(minutes, begin, end):
    times = pd.date_range(begin, end, freq=f"{minutes}min", tz="UTC")
    return pd.DataFrame({"time": times, "ticker": "A", "close": 1.0})


def test_the_last_bar_of_a_half_day_ends_with_the_session():
    state = {}
    made = features.bars(
        state, every(10, "2024-11-29 14:00", "2024-12-02 14:40"), 7200, session=NEW_YORK
    )
    assert hours(made) == [
        "29 14:30",
        "29 16:30",
    ]  # 17:30 of UTC would be another, 18:00 is the end
    assert made["close"].tolist() == [1.0, 1.0]
    assert state["bars:7200:09:30-16:00 Mon-Fri America/New_York"]["counts"]["outside"] > 300


@pytest.mark.parametrize(
    ("begin", "end", "count"), [("2024-03-30", "2024-03-31", 7), ("2024-10-26", "2024-10-27", 9)]
)
def test_a_night_in_which_clocks_change_has_the_hours_that_pass(begin, end, count):
    night = Session("22:00", "06:00", "Europe/Berlin")
    data = every(15, f"{begin} 18:00", f"{end} 22:00")
    made = features.bars({}, data, 3600, session=night)
    made = made[made["time"] < pd.Timestamp(f"{end} 12:00", tz="UTC")]
    assert len(made) == count
    assert made["time"].diff().dropna().eq(pd.Timedelta("1h")).all()


def test_a_session_belongs_to_the_day_on_which_it_begins():
    futures = Session("18:00", "17:00", "America/Chicago", "Sun-Thu", holidays=("2024-01-01",))
    data = every(60, "2023-12-30", "2024-01-06")
    made = features.bars({}, data, 86_400, session=futures)
    assert hours(made) == ["01 00:00", "03 00:00", "04 00:00"]  # Sunday, Tuesday, Wednesday evening


def test_bars_without_ticks_are_made_within_sessions_only():
    rows = [("2024-11-27 15:00", 1.0), ("2024-11-27 18:10", 2.0), ("2024-11-29 16:40", 3.0),
            ("2024-11-29 17:45", 4.0)]  # fmt: skip
    data = pd.DataFrame(rows, columns=["time", "close"]).assign(ticker="A", volume=5.0)
    data["time"] = pd.to_datetime(data["time"], utc=True)
    made = in_batches(data, [1, 2, 3], 3600, session=NEW_YORK, gaps="flat")
    assert hours(made) == [
        "27 14:30", "27 15:30", "27 16:30", "27 17:30", "27 18:30", "27 19:30", "27 20:30",
        "29 14:30", "29 15:30", "29 16:30",
    ]  # fmt: skip
    assert made["close"].tolist() == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 3.0]
    assert made["open"].tolist() == made["close"].tolist()
    assert made["volume"].tolist() == [5.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0]


def test_a_gap_around_the_clock_is_filled_by_resampling():
    data = ticks("2024-01-01", "2024-01-03", count=40)
    data = data[data["ticker"] == "A"]
    made = features.bars({}, data, 1800, gaps="flat").set_index("time")
    resampled = data.set_index("time")["close"].resample("30min").last().ffill()
    assert made["close"].tolist() == resampled.iloc[:-1].tolist()


def test_a_gap_of_years_is_not_filled():
    data = pd.DataFrame({"time": pd.to_datetime(["1990-01-01", "2024-01-01"], utc=True)})
    made = features.bars({}, data.assign(ticker="A", close=1.0), 1, gaps="flat")
    assert len(made) == 1


def test_a_holiday_that_is_added_keeps_the_open_bar():
    state = {}
    first, rest = ticks("2024-11-26", "2024-11-27"), ticks("2024-11-27", "2024-11-30", seed=2)
    before = Session("09:30", "16:00", "America/New_York", "Mon-Fri")
    made = pd.concat([features.bars(state, first, 86_400, session=before),
                      features.bars(state, rest, 86_400, session=NEW_YORK)])  # fmt: skip
    days = sorted(set(made["time"].dt.strftime("%d")))
    assert days == ["26", "27"]


prices = st.one_of(st.none(), st.sampled_from([1.0, 2.0, 2.5, 3.0, -1.0, 1e200]))


@st.composite
def records(draw):
    known = {name: draw(prices) for name in ("close", "open", "high", "low", "bid", "ask")}
    amounts = st.sampled_from([None, 0.0, 2.0, -1.0])
    known |= {name: draw(amounts) for name in ("volume", "dividend")}
    return {
        "time": draw(st.integers(0, 400)) * 10**9,
        "ticker": draw(st.sampled_from("AB")),
        **known,
    }


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(records(), min_size=1, max_size=30), cut=st.integers(0, 30))
def test_any_ticks_become_the_bars_of_a_live_run(rows, cut):
    expected, counts = [], {}
    for ticker in "AB":
        assembler = Assembler([ticker], length=60 * 10**9)
        for row in (each for each in rows if each["ticker"] == ticker):
            expected += [(bar.time, bar.records[0]) for bar in assembler.take(PriceRecord(**row))]
        for rule, count in assembler.counts.items():
            counts[rule] = counts.get(rule, 0) + count
    counts.pop("gap", None)
    data = pd.DataFrame(rows).astype(
        {name: float for name in rows[0] if name not in ("time", "ticker")}
    )
    data["time"] = pd.to_datetime(data["time"], utc=True)
    state, found = {}, []
    for some in (data.iloc[:cut], data.iloc[cut:]):
        made = features.bars(state, some, 60)
        found += made.to_dict("records")
        state = decode(encode(state))
    names = ("close", "open", "high", "low", "volume", "dividend", "bid", "ask")
    bars = {(row["time"].value, row["ticker"]): row for row in found}
    assert len(bars) == len(found) == len(expected)
    for time, record in expected:
        row = bars[time, record.ticker]
        for name in names:
            value, own = getattr(record, name), row.get(name, np.nan)
            assert own == value or (value is None and np.isnan(own))
    assert state["bars:60"]["counts"] == counts


@pytest.mark.parametrize(
    "options",
    [
        {"open": "9:30"}, {"open": "24:00"}, {"close": "25:00"}, {"close": "10:60"},
        {"days": "Mo-Fr"}, {"days": ""},
        {"zone": "Mars/Olympus"}, {"zone": "../etc/passwd"}, {"holidays": ("25.12.2024",)},
        {"holidays": "2024-12-25"}, {"early": {"2024-11-29": "1pm"}}, {"early": {"soon": "13:00"}},
    ],
)  # fmt: skip
def test_hours_without_meaning_are_refused(options):
    with pytest.raises(UsageError):
        Session(**options)


@pytest.mark.parametrize(
    "change",
    [
        {"close": "much"}, {"close": True}, {"ticker": None}, {"time": pd.NaT},
    ],
)  # fmt: skip
def test_rows_that_are_no_ticks_are_refused(change):
    with pytest.raises(BadData):
        features.bars({}, every(10, "2024-01-01", "2024-01-02").assign(**change), 60)


def test_no_tick_beyond_the_years_of_sessions_stops_a_job():
    times = pd.to_datetime([-(2**63) + 1, 0, 2**63 - 1], utc=True)
    data = pd.DataFrame({"time": times, "ticker": "A", "close": 1.0})
    state = {}
    assert len(features.bars(state, data, 60, session=NEW_YORK)) == 0
    (memory,) = state.values()
    assert memory["counts"] == {"outside": 3}


JOB = """
import pandas as pd
from mlkit.pairs.jobs import features

state = {}
MINUTE = features.Session("00:00", "00:01", "Asia/Kolkata")


def process(data):
    made = features.bars(state, data, 4, gaps="flat")
    inside = features.bars(state, data, 7, session=MINUTE).assign(kind="session")
    return pd.concat([made, inside, features.correlation(state, made, 3, [("A", "B")])])
"""


@settings(max_examples=5, deadline=None)
@given(crashes=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.3, 1.0])), max_size=4),
       batch=st.integers(1, 20))  # fmt: skip
def test_each_bar_and_each_correlation_comes_once_after_crashes(tmp_path_factory, crashes, batch):
    folder = tmp_path_factory.mktemp("run")
    (folder / "job.py").write_text(JOB)
    outputs = []
    for name, some in (("crashed", crashes), ("whole", [])):
        log = folder / name
        fill(log, count=50)
        plan = Plan(str(folder / "job.py"), ("bars",), "out", str(log), batch=batch, until_end=True)
        for number, torn in some:
            with pytest.MonkeyPatch.context() as patched, contextlib.suppress(Crash):
                crash_at(patched, number, torn)
                Job(plan).run()
        Job(plan).run()
        outputs.append(content(log))
    assert outputs[0] == outputs[1]
    assert len(outputs[0]["A/B"]) == 50 // 4 - 3

"""Joins of topics by time: what pandas makes of the same records at once, whatever happens."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs.jobs.logs import Crash, crash_at

from mlkit import streams
from mlkit.errors import BadData, UsageError
from mlkit.pairs.feeds.records import iso, moment
from mlkit.pairs.jobs import join
from mlkit.pairs.jobs.join import ASOF, WINDOW, JoinPlan
from mlkit.pairs.jobs.run import Job, Plan
from mlkit.streams import Message, Partition, partition_of

TOPICS = ("bars", "news", "marks")
SECOND = 10**9
FIELDS = ["ticker", "time", "n", "news.n", "news.time", "marks.n", "marks.time"]

records = st.lists(
    st.tuples(st.sampled_from(TOPICS), st.sampled_from("AB"), st.integers(0, 30)), max_size=40
)
plans = st.builds(
    JoinPlan,
    st.sampled_from([ASOF, WINDOW]),
    st.just(TOPICS),
    tolerance=st.integers(1, 8).map(lambda n: n * SECOND),
    lateness=st.integers(0, 10).map(lambda n: n * SECOND),
)


def numbered(found):
    """Return records with topics, each with a number of its own."""
    return [
        (topic, {"time": time * SECOND, "ticker": ticker, "n": n})
        for n, (topic, ticker, time) in enumerate(found)
    ]


def brute_force(rows, plan):
    """Return what pandas joins, with all records before it: a list of rows of `FIELDS`."""
    frames = {
        topic: pd.DataFrame([row for name, row in rows if name == topic],
                            columns=["time", "ticker", "n"])
        .astype({"time": "int64", "ticker": "object", "n": "float64"})
        for topic in TOPICS
    }  # fmt: skip
    joined = by_asof(frames, plan) if plan.kind == ASOF else by_windows(frames, plan)
    return [[None if cell != cell else cell for cell in row] for row in joined[FIELDS].to_numpy()]


def by_asof(frames, plan):
    joined = frames["bars"].sort_values("time", kind="stable")
    for topic in TOPICS[1:]:
        other = frames[topic].sort_values("time", kind="stable")
        other[f"{topic}.time"], other[f"{topic}.n"] = other["time"].astype(float), other.pop("n")
        joined = pd.merge_asof(joined, other, on="time", by="ticker", tolerance=plan.tolerance)
    return joined


def by_windows(frames, plan):
    joined = None
    for topic, frame in frames.items():
        frame = frame.sort_values("time", kind="stable")
        own = {"n": "n"} if topic == "bars" else {"n": f"{topic}.n", "t": f"{topic}.time"}
        frame["t"] = frame["time"].astype(float)
        frame["time"] = frame["time"] // plan.tolerance * plan.tolerance
        last = frame.groupby(["time", "ticker"], as_index=False).last().rename(columns=own)
        joined = last if joined is None else joined.merge(last, how="outer", on=["time", "ticker"])
    return joined.sort_values(["time", "ticker"])


def cells(rows):
    """Return joined rows in the same form; times of other topics are text."""
    times = {name for name in FIELDS if name.endswith(".time")}
    return [
        [float(moment(row[name])) if name in times and name in row else row.get(name)
         for name in FIELDS]
        for row in rows
    ]  # fmt: skip


@given(records, plans, st.data())
@settings(max_examples=60)
def test_joined_records_are_those_of_pandas_and_the_rest_is_late(found, plan, data):
    rows, state, made, late = numbered(found), join.start(plan), [], []
    newest = -1
    for at, (topic, row) in enumerate(rows):
        one = state.take(topic, row)
        if one is not None:
            late.append(one.row["n"])
            # It is late only if time had really come so far.
            limit = newest - plan.lateness
            assert row["time"] < limit
        newest = max(newest, row["time"])
        event = data.draw(st.sampled_from(["", "", "advance", "held", "killed"]))
        rest = {name for name, _ in rows[at + 1 :]}
        if event == "advance":
            made += state.advance()
        elif event == "held":
            made += state.advance(rest)
        elif event == "killed":
            saved, state = state.save(), join.start(plan)
            state.load(saved)
    made += state.finish()
    kept = [(topic, row) for topic, row in rows if row["n"] not in late]
    assert cells(made) == brute_force(kept, plan)


@given(records, plans)
@settings(max_examples=25)
def test_topics_that_are_read_one_after_another_lose_nothing(found, plan):
    rows, state, made = numbered(found), join.start(plan), []
    ordered = sorted(rows, key=lambda each: (TOPICS.index(each[0]), each[1]["time"]))
    for at, (topic, row) in enumerate(ordered):
        assert state.take(topic, row) is None
        made += state.advance({name for name, _ in ordered[at + 1 :]})
    made += state.finish()
    assert cells(made) == brute_force(ordered, plan)


def test_an_idle_topic_stops_nobody():
    state = join.start(JoinPlan(ASOF, ("bars", "news"), tolerance=5 * SECOND, lateness=SECOND))
    for second in range(4):
        state.take("bars", {"time": second * SECOND, "ticker": "A"})
    assert [row["time"] // SECOND for row in state.advance()] == [0, 1]
    state.take("news", {"time": 2 * SECOND, "ticker": "A", "score": 1})
    assert state.take("news", {"time": SECOND, "ticker": "A"}) is not None
    joined = state.finish()
    assert [row.get("news.score") for row in joined] == [1, 1]


def test_what_waits_is_dropped_once_nothing_can_get_it():
    state = join.start(JoinPlan(ASOF, ("bars", "news"), tolerance=2 * SECOND))
    for second in range(1000):
        for topic in ("bars", "news"):
            state.take(topic, {"time": second * SECOND, "ticker": f"T{second % 7}"})
        state.advance()
    assert len(state.save()) < 1000


@pytest.mark.parametrize("content", [b"", b"[]", b'[1, {}, "x"]', b'[1, {}, [[{}], {"news": 3}]]'])
def test_a_damaged_state_is_refused(content):
    with pytest.raises(BadData, match="the state of the join cannot be read"):
        join.start(JoinPlan(ASOF, TOPICS)).load(content)


PASSING = (
    "state = {}\ndef process(data):\n    state['n'] = state.get('n', 0) + 1\n    return data\n"
)


def fill(folder, rows, partitions=1):
    log = streams.open(folder)
    for topic in TOPICS:
        log.create(topic, partitions)
    for topic, row in rows:
        value = json.dumps({**row, "time": iso(row["time"])}).encode()
        log.append(topic, [Message(value, row["ticker"].encode())])
    log.close()


def content(folder, topic):
    log = streams.open(folder)
    found = [
        json.loads(each.value)
        for number in range(log.topics().get(topic, 0))
        for each in log.read(Partition(topic, number), 0, 10_000)
    ]
    log.close()
    return found


def job(folder, plan, **more):
    file = folder / "job.py"
    file.write_text(PASSING)
    fields = {"batch": 5, "until_end": True, "join": plan, **more}
    return Job(Plan(str(file), TOPICS, "out", str(folder / "log"), **fields), pause=lambda _: None)


@given(
    records,
    plans,
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.4, 1.0])), max_size=4),
    st.integers(1, 3),
)
@settings(max_examples=10)
def test_each_record_is_joined_once_after_crashes_or_is_in_the_side_topic(
    tmp_path_factory, found, plan, crashes, partitions
):
    folder, rows = tmp_path_factory.mktemp("run"), numbered(found)
    fill(folder / "log", rows, partitions)
    for number, torn in crashes:
        with pytest.MonkeyPatch.context() as patched:
            crash_at(patched, number, torn)
            try:
                job(folder, plan).run()
            except Crash:
                continue
    job(folder, plan).run()
    late = {row["record"]["n"] for row in content(folder / "log", "out.late")}
    made = [{**row, "time": moment(row["time"])} for row in content(folder / "log", "out")]
    for number in range(partitions):
        own = [(topic, row) for topic, row in rows
               if partition_of(row["ticker"].encode(), partitions) == number]  # fmt: skip
        tickers = {row["ticker"] for _, row in own}
        kept = [(topic, row) for topic, row in own if row["n"] not in late]
        assert cells(row for row in made if row["ticker"] in tickers) == brute_force(kept, plan)


def test_a_late_record_is_counted_and_kept_whole(tmp_path):
    plan = JoinPlan(ASOF, TOPICS, lateness=SECOND)
    early = [("bars", {"time": n * SECOND, "ticker": "A", "n": n}) for n in range(5)]
    fill(tmp_path / "log", early)
    job(tmp_path, plan).run()
    fill(tmp_path / "log", [("news", {"time": SECOND, "ticker": "A", "n": 9, "text": "é"})])
    counts = job(tmp_path, plan).run()
    assert (counts.records, counts.late, counts.written) == (1, 1, 0)
    (kept,) = content(tmp_path / "log", "out.late")
    when = "1970-01-01T00:00:01Z"
    assert kept == {"time": when, "ticker": "A", "topic": "news",
                    "record": {"time": when, "ticker": "A", "n": 9, "text": "é"}}  # fmt: skip


def test_topics_with_other_partitions_are_refused(tmp_path):
    log = streams.open(tmp_path / "log")
    log.create("bars", 2)
    log.create("news", 3)
    log.create("marks", 2)
    log.close()
    with pytest.raises(UsageError, match="bars 2, news 3, marks 2"):
        job(tmp_path, JoinPlan(ASOF, TOPICS)).run()


def test_a_state_without_a_join_is_refused(tmp_path):
    rows = [("bars", {"time": SECOND, "ticker": "A", "n": 1})]
    fill(tmp_path / "log", rows)
    job(tmp_path, None).run()
    fill(tmp_path / "log", rows)
    with pytest.raises(BadData, match="the state of the join cannot be read") as refused:
        job(tmp_path, JoinPlan(ASOF, TOPICS)).run()
    assert "--group" in refused.value.hint


@pytest.fixture
def recorded(tmp_path):
    """Record bars as a price file, and news as Parquet a day."""
    days = pd.date_range("2024-01-01", periods=24, tz="UTC")
    rows = [f"{day:%Y-%m-%d},{n + 1},{n + 2}" for n, day in enumerate(days)]
    (tmp_path / "bars.csv").write_text("\n".join(["date,A,B", *rows, ""]))
    news = tmp_path / "news"
    news.mkdir()
    times = [days[1] - pd.Timedelta("1h"), days[3] + pd.Timedelta("1h")]
    data = pd.DataFrame({"time": times, "ticker": "A", "score": [0.5, 0.9]})
    data.to_parquet(news / "2024.parquet")
    (tmp_path / "job.py").write_text(
        "def process(data):\n"
        "    return data[['time', 'ticker', 'close'] + [n for n in data if 'score' in n]]\n"
    )
    return tmp_path


def test_recorded_topics_are_joined_on_the_command_line(mlkit, recorded):
    done = mlkit(
        "pairs", "job", "test", recorded / "job.py", "--on", recorded, "--in", "bars,news",
        "--join", "asof", "--tolerance", "12h", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 48
    assert [
        (row["time"], row["ticker"], row["news.score"]) for row in rows if "news.score" in row
    ] == [("2024-01-02T00:00:00Z", "A", 0.5)]
    done = mlkit(
        "pairs", "job", "test", recorded / "job.py", "--on", recorded, "--in", "bars,news",
        "--join", "window", "--tolerance", "1d", "--json",
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    scores = [row.get("news.score") for row in rows if row["ticker"] == "A"]
    assert scores == [0.5, None, None, 0.9, *[None] * 20]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--in", "bars", "--join", "asof"), "needs several topics"),
        (("--in", "bars,news", "--join", "window"), "a length above 0"),
        (("--in", "bars,news", "--join", "asof", "--tolerance", "soon"), "soon: not a duration"),
        (("--in", "bars,news"), "only with --join"),
        (("--lateness", "5s"), "only with --join"),
    ],
)
def test_options_that_contradict_one_another_are_refused(mlkit, recorded, options, message):
    done = mlkit("pairs", "job", "test", recorded / "job.py", "--on", recorded, *options)
    assert done.returncode == 2
    assert message in done.stderr

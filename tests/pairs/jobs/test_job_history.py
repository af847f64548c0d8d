"""Topics of jobs as Parquet by day, and as JSON Lines."""

from __future__ import annotations

import json

import pandas as pd
import pyarrow.parquet
import pytest
from pairs.jobs.logs import fill

from mlkit import streams
from mlkit.errors import InputMissing, UsageError
from mlkit.pairs.jobs import history
from mlkit.pairs.jobs.file import open_job
from mlkit.pairs.jobs.recorded import run
from mlkit.pairs.prices import prices
from mlkit.streams import Message

DAY = 86_400_000


def append(folder, topic, rows, partitions=1):
    """Write rows to a topic, each with its own time, and return the log."""
    log = streams.open(str(folder))
    log.create(topic, partitions)
    for row in rows:
        content = row if isinstance(row, bytes) else json.dumps(row).encode()
        when = 0 if isinstance(row, bytes) else pd.Timestamp(row["time"]).value // 10**6
        key = b"" if isinstance(row, bytes) else row["ticker"].encode()
        log.append(topic, [Message(content, key, when)])
    return log


def row(time, ticker="A", **fields):
    return {"time": time, "ticker": ticker, **fields}


def test_partitions_become_days_in_the_order_of_time(tmp_path):
    times = pd.date_range("2024-01-01T20:00Z", periods=30, freq="1h").strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = [row(time, "ABC"[n % 3], close=float(n)) for n, time in enumerate(times)]
    log = append(tmp_path / "log", "made", [*rows[:20], *rows[25:], *rows[20:25]], partitions=3)
    written = history.write(log, "made", tmp_path / "files")
    assert written.days == {"2024-01-01": 4, "2024-01-02": 24, "2024-01-03": 2}
    files = sorted((tmp_path / "files").iterdir())
    assert [each.name for each in files] == [f"{day}.parquet" for day in written.days]
    found = pd.concat(map(pd.read_parquet, files), ignore_index=True)
    expected = pd.DataFrame(rows).assign(time=pd.to_datetime(times, utc=True))
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    log.close()


def test_the_files_are_read_by_pandas_by_a_job_and_by_a_backtest(tmp_path):
    times = pd.bdate_range("2024-01-01", periods=25).strftime("%Y-%m-%dT00:00:00Z")
    rows = [row(time, each, close=100.0 + n) for n, time in enumerate(times) for each in "AB"]
    log = append(tmp_path / "log", "bars", rows, partitions=2)
    folder = tmp_path / "bars"
    history.write(log, "bars", folder)
    log.close()
    whole = pd.read_parquet(folder)
    assert (len(whole), whole["close"].max()) == (50, 124.0)
    (tmp_path / "job.py").write_text("def process(data):\n    return data\n")
    made = list(run(open_job(str(tmp_path / "job.py"), "ticker", "Rscript"), folder))
    assert sorted(each["close"] for each in made) == sorted(each["close"] for each in rows)
    read = prices.read([folder])
    assert read.tickers == ("A", "B")
    assert read.close[:, 0].tolist() == [100.0 + n for n in range(25)]


def test_from_a_day_on_and_never_a_part_of_one(tmp_path):
    rows = [
        row(f"2024-01-0{day}T{hour}:00:00Z", n=day) for day in (1, 2, 3) for hour in ("08", "20")
    ]
    log = append(tmp_path / "log", "made", rows)
    written = history.write(log, "made", tmp_path / "files", "2024-01-02T12:00:00Z")
    assert written.days == {"2024-01-02": 2, "2024-01-03": 2}
    assert [each["n"] for each in history.read(log, "made", "2024-01-03")] == [3, 3]
    assert list(history.read(log, "made", "2025-01-01")) == []
    log.close()


def test_a_day_grows_and_is_not_replaced_by_less_of_it(tmp_path):
    files = tmp_path / "files"
    first = [row("2024-01-01T08:00:00Z", n=1), row("2024-01-01T09:00:00Z", n=2)]
    log = append(tmp_path / "log", "made", first[:1])
    history.write(log, "made", files)
    log.append("made", [Message(json.dumps(first[1]).encode(), b"A", 0)])
    assert history.write(log, "made", files).kept == ()
    log.close()
    deleted = append(tmp_path / "other", "made", first[1:])  # as after a retention
    written = history.write(deleted, "made", files)
    deleted.close()
    assert written.kept == ("2024-01-01",)
    assert pd.read_parquet(files / "2024-01-01.parquet")["n"].tolist() == [1, 2]
    (files / "2024-01-01.parquet").write_bytes(b"damaged")
    log = streams.open(str(tmp_path / "log"))
    assert history.write(log, "made", files).kept == ()
    log.close()
    assert len(pyarrow.parquet.read_table(files / "2024-01-01.parquet")) == 2


def test_records_of_any_kind_are_kept_or_counted(tmp_path):
    deep = b'{"time": 5, "ticker": "A", "x": ' + b'{"y": ' * 300 + b"1" + b"}" * 301
    endless = b"[" * 100_000
    rows = [
        b"", b"{", b"[1]", b"3", b"\xff", b'{"ticker": "A"}', b'{"time": "soon"}', endless,
        b'{"time": 1e300}', b'{"time": true}', b'{"time": NaN}', deep,
        row("1969-12-31T23:59:59.5Z", mixed=1, whole=2**63 - 1),
        row("2024-01-01", mixed="x", big=2**64 - 1, score={"of": {"news": 0.5}}, tags=["a", "b"]),
        row("2024-01-01T00:00:00.000000001Z", "\u00e9\n", mixed=[1], tags=[1], empty={}, gone=None),
    ]  # fmt: skip
    log = append(tmp_path / "log", "made", rows)
    written = history.write(log, "made", tmp_path / "files")
    log.close()
    assert written.days == {"1969-12-31": 1, "1970-01-01": 1, "2024-01-01": 2}
    assert written.unreadable == 11
    found = pyarrow.parquet.read_table(tmp_path / "files" / "2024-01-01.parquet").to_pydict()
    assert found["ticker"] == ["A", "\u00e9\n"]
    assert found["mixed"] == ['"x"', "[1]"]
    assert found["score.of.news"] == [0.5, None]
    assert found["big"][0] == str(2**64 - 1)
    assert found["tags"] == ['["a","b"]', "[1]"]
    assert not list((tmp_path / "files").glob(".*"))


def test_what_is_not_there_is_named(tmp_path):
    log = append(tmp_path / "log", "made", [])
    with pytest.raises(InputMissing, match="no topic 'other'"):
        history.write(log, "other", tmp_path / "files")
    with pytest.raises(UsageError, match="--since soon: not a time"):
        history.write(log, "made", tmp_path / "files", "soon")
    assert not (tmp_path / "files").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputMissing, match="cannot be written"):
        history.write(log, "made", tmp_path / "file")
    log.close()


def test_the_command_writes_files_or_lines(mlkit, tmp_path):
    fill(tmp_path / "log", partitions=2)
    log, files = tmp_path / "log", tmp_path / "files"
    done = mlkit("pairs", "job", "history", "bars", "--log", log, "-o", files)
    assert (done.returncode, done.stdout) == (0, f"{files}: 20 records of 1 day\n")
    done = mlkit("pairs", "job", "history", "bars", "--log", log, "-o", files, "--json")
    document = json.loads(done.stdout)
    assert document["days"] == {"1970-01-01": 20}
    assert (document["unreadable"], document["kept"]) == (0, [])
    done = mlkit("pairs", "job", "history", "bars", "--log", log)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(each["close"] for each in rows) == [float(n + 1) for n in range(20)]
    assert rows[0]["time"].startswith("1970-01-01T00:00:0")
    missing = mlkit("pairs", "job", "history", "none", "--log", log)
    assert (missing.returncode, missing.stderr.splitlines()) == (
        66, ["error: no topic 'none' in the log", "hint: its topics: bars"],
    )  # fmt: skip
    assert mlkit("pairs", "job", "history", "bars", "--log", tmp_path / "no").returncode == 66

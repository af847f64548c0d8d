"""Records of topics in InfluxDB: what becomes a point, and a database that goes away."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import pandas as pd
import pytest
from ports import free_ports

from mlkit import streams
from mlkit.errors import ServiceUnavailable, UsageError
from mlkit.streams import Message, Partition, Record
from mlkit.streams.influx import InfluxExport, Refused, points, writer

GENEROUS = 180.0


def wait_for(holds):
    deadline = time.monotonic() + GENEROUS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def record(value):
    return Record(Partition("bars", 0), 0, 1500, b"", value)


def test_numbers_are_fields_and_keys_are_tags():
    row = {"time": "2024-01-02T00:00:00.000000001Z", "ticker": "A", "close": 3, "note": "x",
           "legs": {"A": 1.5, "deep": {"b": True}}, "gone": None, "list": [1]}  # fmt: skip
    (point,) = points(record(json.dumps(row).encode()), ["ticker", "pair"], {"run": "r"})
    assert point == {
        "measurement": "bars", "tags": {"run": "r", "ticker": "A"}, "time": row["time"],
        "fields": {"close": 3.0, "note": "x", "legs.A": 1.5, "legs.deep.b": True},
    }  # fmt: skip
    assert type(point["fields"]["close"]) is float


def test_each_pair_of_a_record_is_a_point_of_its_own():
    row = {"time": "2024-01-02", "pairs": {"A/B": {"z": 1, "beta": None}, "A/C": {"z": 2}}}
    found = list(points(record(json.dumps(row).encode()), ["ticker"]))
    assert [(each["tags"], each["fields"]) for each in found] == [
        ({"pair": "A/B"}, {"z": 1.0}),
        ({"pair": "A/C"}, {"z": 2.0}),
    ]


@pytest.mark.parametrize("value", [b"{", b"[1]", b"3", b'{"time": 1}', b'{"ticker": "A"}', b"\xff"])
def test_what_measures_nothing_is_no_point(value):
    assert list(points(record(value), ["ticker"])) == []


def test_without_a_time_it_is_that_of_the_record():
    (point,) = points(record(b'{"close": 1}'), [])
    assert point["time"] == 1_500_000_000


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("influx", "no database"),
        ("http://127.0.0.1:8086", "no database"),
        ("ftp://127.0.0.1/x", "no database"),
        ("http://127.0.0.1/proxy/x", "no database"),
        ("http://127.0.0.1/x?u=ann&p=secret", "no database"),
        ("http://127.0.0.1:x/db", "no URL"),
        ("http://ann:secret@127.0.0.1/db", "a password in a URL"),
    ],
)
def test_a_bad_url_is_refused_and_never_repeated_with_its_password(url, message):
    with pytest.raises(UsageError, match=message) as refused:
        writer(url)
    assert "secret" not in f"{refused.value} {refused.value.hint}"


def test_without_the_client_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "influxdb", None)
    with pytest.raises(ServiceUnavailable) as missing:
        writer("http://127.0.0.1/db")
    assert missing.value.hint == "pip install 'mlkit[influx]'"


def fill(folder, numbers):
    log = streams.open(folder)
    log.create("bars")
    rows = [
        {"time": f"2024-01-02T00:00:{n:02}Z", "ticker": "AB"[n % 2], "close": n} for n in numbers
    ]
    log.append("bars", [Message(json.dumps(each).encode()) for each in rows])
    log.close()


def committed(folder):
    """Return how many records have been written, as far as the export knows."""
    log = streams.open(folder)
    found = log.committed("influx", Partition("bars", 0))
    log.close()
    return found


def export(folder, write, problem):
    return InfluxExport(
        lambda: streams.open(folder),
        ["bars"],
        ["ticker"],
        {},
        write,
        problem,
        "influx",
        longest=0.5,
    )


def test_what_is_not_written_waits_in_the_log_and_is_tried_again(tmp_path):
    written, problems, failures = [], [], [OSError("away"), OSError("away"), Refused("never")]

    def write(made):
        if failures:
            raise failures.pop(0)
        written.extend(each["fields"]["close"] for each in made)

    exporting = export(tmp_path / "log", write, problems.append)
    exporting.start()  # before there is a topic
    fill(tmp_path / "log", range(5))
    wait_for(lambda: not failures)
    fill(tmp_path / "log", range(5, 10))
    exporting.close()  # writes what there is
    assert written == [float(n) for n in range(5, 10)]
    assert problems == [
        "measurements wait in the log: away",
        "the database refused measurements: never",
    ]


@pytest.fixture
def influxd(tmp_path):
    """Return what starts Debian's InfluxDB, always with the same data, and its address."""
    pytest.importorskip("influxdb")
    if shutil.which("influxd") is None:
        pytest.skip("needs the program influxd")
    port, inner = free_ports(2)
    data = tmp_path / "influxdb"
    settings = tmp_path / "influxdb.conf"
    settings.write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:{inner}"\n'
        f'[meta]\ndir = "{data}/meta"\n'
        f'[data]\ndir = "{data}/data"\nwal-dir = "{data}/wal"\n'
        f'[http]\nbind-address = "127.0.0.1:{port}"\nlog-enabled = false\n'
        "[monitor]\nstore-enabled = false\n"
    )
    running = []

    def start():
        command = ["influxd", "-config", str(settings)]
        silent = subprocess.DEVNULL
        running.append(subprocess.Popen(command, stdout=silent, stderr=silent))
        return running[-1]

    yield start, port
    for each in running:
        each.kill()
        each.wait()


def closes(port, measurement, field="close"):
    """Ask the database what arrived; none while it is away."""
    import influxdb
    import requests

    client = influxdb.InfluxDBClient("127.0.0.1", port, database="prices", retries=1)
    try:
        return [row[field] for row in client.query(f"SELECT * FROM {measurement}").get_points()]
    except (requests.ConnectionError, influxdb.exceptions.InfluxDBClientError):
        return []


@pytest.mark.slow
def test_a_database_that_goes_away_and_comes_back_misses_nothing(mlkit, influxd, tmp_path):
    start, port = influxd
    url, problems = f"http://127.0.0.1:{port}/prices", []
    fill(tmp_path / "log", range(5))
    exporting = export(tmp_path / "log", writer(url), problems.append)
    exporting.start()
    wait_for(lambda: problems)
    away = start()
    wait_for(lambda: committed(tmp_path / "log") == 5)
    assert closes(port, "bars") == [0, 1, 2, 3, 4]
    away.kill()
    away.wait()
    fill(tmp_path / "log", range(5, 10))
    wait_for(lambda: len(problems) == 2)
    start()
    wait_for(lambda: closes(port, "bars") == list(range(10)))
    exporting.close()
    (tmp_path / "job.py").write_text("def process(data):\n    return data[data['close'] > 7]\n")
    done = mlkit(
        "pairs", "job", "run", tmp_path / "job.py", "--in", "bars", "--out", "high",
        "--log", tmp_path / "log", "--until-end", "--influx", url,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert closes(port, "high") == [8, 9]
    days = pd.date_range("2024-01-01", periods=30)
    rows = [f"{day:%Y-%m-%d},{100 + n % 3},{50 + n % 4}" for n, day in enumerate(days)]
    (tmp_path / "prices.csv").write_text("\n".join(["date,A,B", *rows, ""]))
    done = mlkit(
        "pairs", "live", "run", tmp_path / "prices.csv", "--pair", "A,B", "--state",
        tmp_path / "run", "--no-page", "--influx", url,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(closes(port, "account", "equity")) == 30

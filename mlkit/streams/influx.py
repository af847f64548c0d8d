"""Records of topics as points in InfluxDB: line protocol, by its client library.

A thread reads the topics as a consumer group and commits its offsets when a batch has been
written. While the database is away records wait in the log; a batch that is written twice replaces
itself, since a point is known by its measurement, its tags and its time.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from mlkit.errors import MlkitError, PackageMissing, UsageError
from mlkit.streams.log import Consumer, Log, Record

BATCH = 1000
POLL = 0.5
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
TIMEOUT = 10.0
USERNAME, PASSWORD = "INFLUXDB_USERNAME", "INFLUXDB_PASSWORD"
_PARTIAL = 400

Write = Callable[[Sequence[Mapping[str, Any]]], None]
"""Writes points; raises `Refused` for what the database will never take."""


class Refused(Exception):
    """The database does not take some points, however often it is asked."""


def writer(url: str) -> Write:
    """Return what writes points to a database, which is created when it is not there.

    The name and the password of a user come from the variables INFLUXDB_USERNAME and
    INFLUXDB_PASSWORD.

    Args:
        url: `http[s]://HOST:PORT/DATABASE`.

    Raises:
        UsageError: It is no such URL, or holds a password.
        PackageMissing: The client library is not installed.
    """
    host, port, secure, database = _address(url)
    try:
        import influxdb
    except ImportError as error:
        raise PackageMissing.of("--influx needs the package influxdb", "influx") from error
    client = influxdb.InfluxDBClient(
        host, port, os.environ.get(USERNAME), os.environ.get(PASSWORD), database, ssl=secure,
        verify_ssl=secure, timeout=TIMEOUT, retries=1,
    )  # fmt: skip
    created = False

    def write(points: Sequence[Mapping[str, Any]]) -> None:
        nonlocal created
        try:
            if not created:
                client.create_database(database)
                created = True
            client.write_points(points, time_precision="n")
        except influxdb.exceptions.InfluxDBClientError as error:
            if error.code == _PARTIAL:
                raise Refused(str(error)) from error
            created = False
            raise OSError(str(error)) from error
        except influxdb.exceptions.InfluxDBServerError as error:
            raise OSError(str(error)) from error

    return write


def _address(url: str) -> tuple[str, int, bool, str]:
    form = "http[s]://HOST:PORT/DATABASE"
    try:
        found = urlsplit(url)
        port = found.port or 8086
    except ValueError as error:
        raise UsageError("--influx: no URL", hint=form) from error
    if found.username is not None or found.password is not None:
        raise UsageError("--influx: a password in a URL", hint=f"set {USERNAME} and {PASSWORD}")
    database = found.path.strip("/")
    more = "/" in database or found.query or found.fragment
    if found.scheme not in ("http", "https") or not found.hostname or not database or more:
        raise UsageError("--influx: no database in the URL", hint=form)
    return found.hostname, port, found.scheme == "https", database


class InfluxExport:
    """Writes topics to InfluxDB from a thread of its own, so that it holds up nobody.

    Args:
        log: Opens the log.
        topics: The topics; each becomes a measurement of its name. One that is missing is awaited.
        tags: Fields that become tags; numbers and other text become fields.
        always: Tags of all points.
        write: What writes points.
        problem: Called with what went wrong, once until it goes well again.
        group: The consumer group that keeps the place.
        longest: Seconds between two tries at most.
    """

    def __init__(
        self, log: Callable[[], Log], topics: Sequence[str], tags: Sequence[str],
        always: Mapping[str, str], write: Write, problem: Callable[[str], None],
        group: str, longest: float = LONGEST_PAUSE,
    ) -> None:  # fmt: skip
        self._longest = longest
        self._log, self._topics, self._tags, self._always = log, topics, tags, always
        self._write, self._problem, self._group = write, problem, group
        self._stop = threading.Event()
        self._away = False
        self._deadline = math.inf
        self._thread = threading.Thread(target=self._work, name="influx", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Write what there is, if the database takes it, and end."""
        self._deadline = time.monotonic() + TIMEOUT
        self._stop.set()
        self._thread.join(2 * TIMEOUT)

    def _work(self) -> None:
        pause = 0.0
        while True:
            try:
                self._session()
                return
            except (OSError, MlkitError) as error:
                pause = min(self._longest, 2 * pause) if self._away else FIRST_PAUSE
                self._note(f"measurements wait in the log: {error}")
                if self._stop.wait(pause):
                    return

    def _session(self) -> None:
        with contextlib.closing(self._log()) as log:
            while not set(self._topics) <= log.topics().keys():
                if self._stop.is_set():
                    return
                self._stop.wait(POLL)
            with contextlib.closing(log.consume(self._group, self._topics)) as consumer:
                while not self._is_over(consumer):
                    self._pass_on(consumer)

    def _is_over(self, consumer: Consumer) -> bool:
        """Return whether all is written that there was when the export was closed."""
        if not self._stop.is_set():
            return False
        held = consumer.assignment
        return time.monotonic() > self._deadline or (
            bool(held) and all(map(consumer.is_at_end, held))
        )

    def _pass_on(self, consumer: Consumer) -> None:
        """Write some records."""
        records = consumer.poll(BATCH, 0.05 if self._stop.is_set() else POLL)
        made = [each for record in records for each in points(record, self._tags, self._always)]
        if made:
            self._put(made)
        if records:
            consumer.commit()

    def _put(self, made: Sequence[Mapping[str, Any]]) -> None:
        try:
            self._write(made)
            self._away = False
        except Refused as error:
            self._problem(f"the database refused measurements: {error}")

    def _note(self, message: str) -> None:
        if not self._away:
            self._problem(message)
        self._away = True


def points(
    record: Record, tags: Sequence[str], always: Mapping[str, str] = {}
) -> Iterator[dict[str, Any]]:
    """Yield the points of a record: its own, and one for each of its `pairs`.

    What is no JSON object, or has nothing to measure, is none.

    Args:
        record: A record, with its `time` in ISO 8601.
        tags: Its fields that become tags.
        always: More tags.
    """
    try:
        row = msgspec.json.decode(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if not isinstance(row, dict):
        return
    moment = row.pop("time", None)
    time = moment if isinstance(moment, str) else record.timestamp * 10**6
    for own, fields in _parts(row, tags):
        if fields:
            yield {
                "measurement": record.partition.topic, "tags": {**always, **own},
                "fields": fields, "time": time,
            }  # fmt: skip


def _parts(
    row: dict[str, Any], tags: Sequence[str]
) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Yield tags and fields: of the row, and of each pair in it, or series would grow by pair."""
    pairs = row.pop("pairs") if isinstance(row.get("pairs"), dict) else {}
    own = {name: str(row.pop(name)) for name in tags if row.get(name) not in (None, "")}
    yield own, dict(_fields(row))
    for pair, values in pairs.items():
        if isinstance(values, dict):
            yield {**own, "pair": pair}, dict(_fields(values))


def _fields(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield fields; all numbers as floats, for a field has one type for good."""
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _fields(value, f"{prefix}{name}.")
        elif isinstance(value, bool | str):
            yield f"{prefix}{name}", value
        elif isinstance(value, int | float) and math.isfinite(number := float(value)):
            yield f"{prefix}{name}", number

"""What a page shows of a run, read from its log and its status as they grow, in bounded memory."""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from mlkit.errors import InputMissing
from mlkit.pairs.feeds.records import moment
from mlkit.pairs.jobs import job_status
from mlkit.pairs.live.folder import RunFolder
from mlkit.pairs.live.statements import days
from mlkit.streams import Log, Partition

MOST_POINTS = 4000
"""Points of a curve; when there are more, every second one of the older half is dropped."""
MOST_RECORDS = 200
MOST_PAIRS = 200
MOST_DAYS = 30
FIRST = 100_000
"""Records of a topic, from its end, that are read at the start."""
SHOWN = ("orders", "fills", "trades", "events", "promotions")
_FOLLOWED = ("account", "features", *SHOWN)


class Curve:
    """Points in the order of their times, up to a limit."""

    def __init__(self, most: int = MOST_POINTS) -> None:
        self._most = most
        self.times: list[float] = []
        self.values: list[float | None] = []

    def add(self, time: float, value: float | None) -> None:
        """Add a point; one at the last time takes its place."""
        if self.times and self.times[-1] >= time:
            self.values[-1] = value
            return
        self.times.append(time)
        self.values.append(value)
        if len(self.times) > self._most:
            half = self._most // 2
            self.times[:half] = self.times[:half:2]
            self.values[:half] = self.values[:half:2]


class View:
    """Follows a run.

    Args:
        folder: The run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.equity, self.drawdown = Curve(), Curve()
        self.pairs: dict[str, Curve] = {}
        self.records: dict[str, deque[Any]] = {each: deque(maxlen=MOST_RECORDS) for each in SHOWN}
        self._offsets: dict[str, int] = {}
        self._peak = 0.0
        self._log: Log | None = None
        self._shown = b""
        # One thread follows the log, another answers.
        self._lock = threading.Lock()

    def status(self) -> dict[str, Any]:
        """Return what the run shows of itself, and whether a process runs it."""
        more = {
            "runs": self.folder.is_owned(), "statements": days(self.folder)[:MOST_DAYS],
            "jobs": [
                {**each, "behind": self._behind(each)} for each in job_status.read(self._place())
            ],
        }  # fmt: skip
        try:
            return self.folder.status() | more
        except InputMissing:
            return {"status": "starting"} | more

    def _place(self) -> Path:
        """Return the folder of the run's log; that of one on brokers has no jobs to show."""
        url = self.folder.log_url()
        return self.folder.path if "://" in url else Path(url)

    def _behind(self, job: dict[str, Any]) -> int | None:
        """Return how many records wait for a job; None if that is not known yet."""
        log = self._log
        if log is None:
            return None
        there = log.topics()
        places = [
            Partition(topic, n) for topic in job["inputs"] for n in range(there.get(topic, 0))
        ]
        bounds = ((place, *log.bounds(place)) for place in places)
        return sum(end - (log.committed(job["job"], at) or first) for at, first, end in bounds)

    def update(self) -> bool:
        """Take in what is new; return whether there was anything."""
        if self._log is None:
            if not (self.folder.path / "live.json").exists():
                return False
            self._log = self.folder.open_log()
        log, there = self._log, self._log.topics()
        found = [self._follow(log, topic) for topic in _FOLLOWED if topic in there]
        return any(found) or self._is_changed()

    def _is_changed(self) -> bool:
        shown = msgspec.json.encode(self.status())
        changed = bool(shown != self._shown)
        self._shown = shown
        return changed

    def _follow(self, log: Log, topic: str) -> bool:
        """Take in what a topic has got; return whether it has got anything."""
        place = Partition(topic, 0)
        first, end = log.bounds(place)
        offset = start = self._offsets.get(topic, max(first, end - FIRST))
        while offset < end and (records := log.read(place, offset, 5000)):
            with self._lock:
                for record in records:
                    self._take(topic, msgspec.json.decode(record.value))
            offset = records[-1].offset + 1
        self._offsets[topic] = offset
        return offset > start

    def _take(self, topic: str, record: dict[str, Any]) -> None:
        if topic in self.records:
            self.records[topic].append(record)
        elif topic == "account":
            self._peak = max(self._peak, record["equity"])
            time = seconds(record["time"])
            self.equity.add(time, record["equity"])
            self.drawdown.add(time, record["equity"] / self._peak - 1.0 if self._peak else None)
        else:
            time = seconds(record["time"])
            for pair, figures in record["pairs"].items():
                if pair in self.pairs or len(self.pairs) < MOST_PAIRS:
                    self.pairs.setdefault(pair, Curve(2000)).add(time, figures["z"])

    def curves(self) -> dict[str, Any]:
        """Return equity and drawdown."""
        with self._lock:
            return {
                "times": self.equity.times[:], "equity": self.equity.values[:],
                "drawdown": self.drawdown.values[:],
            }  # fmt: skip

    def pair(self, name: str) -> dict[str, Any] | None:
        """Return the z-scores of a pair and its fills; None if nothing is known of it."""
        with self._lock:
            curve = self.pairs.get(name)
            if curve is None:
                return None
            fills = [{**each, "at": seconds(each["time"])} for each in self.records["fills"]
                     if each["name"] == name]  # fmt: skip
            return {"times": curve.times[:], "values": curve.values[:], "fills": fills}

    def latest(self) -> dict[str, Any]:
        """Return the last records of the topics that are shown, the newest first."""
        with self._lock:
            return {topic: list(records)[::-1] for topic, records in self.records.items()}


def seconds(text: str) -> float:
    """Return a record's time as seconds since 1970."""
    return moment(text) / 1e9

"""Daily statements: the report of the backtest about a run, up to the end of a session.

A session is a day in the time zone of the run. Its statement is a replay of what the run recorded
until then, so it takes as long as `verify` does, and is made by a process of its own: nobody who
trades waits for it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from mlkit.errors import MlkitError, NegativeResult, UsageError
from mlkit.pairs.backtest.replay import COSTS, Backtest
from mlkit.pairs.live import verify
from mlkit.pairs.live.folder import RunFolder
from mlkit.pairs.live.plan import RunPlan
from mlkit.pairs.live.topics import Results
from mlkit.pairs.strategy import file

FOLDER = "statements"
SHARE = 4
"""Factor of a statement's time that is left to others before the next one."""
LOOK = 5.0
"""Seconds after which the clock is looked at for the end of a day."""
NICE = 10

_SPAWN = multiprocessing.get_context("spawn")


class Statement(NamedTuple):
    """A statement that was written.

    Attributes:
        day: Its day, in ISO 8601.
        path: Where it is.
        figures: The figures of the day; see `document`.
    """

    day: str
    path: Path
    figures: dict[str, Any]


def write(folder: RunFolder, day: str | None = None, path: Path | None = None) -> Statement:
    """Write the statement of a session.

    Args:
        folder: The run.
        day: The day, in ISO 8601; None: the last one that the run has bars of.
        path: Where to; None: `statements/DAY.html` in the run's folder.

    Raises:
        InputMissing: There is no run, or the file cannot be written.
        NegativeResult: The run had traded no bars by then.
        BadData: The beginning of its log is no longer kept.
        UsageError: It is no day.
    """
    from mlkit.pairs.report import backtest as report

    plan = folder.plan()
    result = _replay(folder, plan, day)
    if result is None or not result.windows or len(result.prices) < result.first + 2:
        until = "" if day is None else f" by the end of {day}"
        raise NegativeResult(f"{folder.path}: nothing to state: not two bars were traded{until}")
    day = day or day_of(int(result.prices.timestamps[-1].astype(np.int64)), plan)
    if path is None:
        path = folder.path / FOLDER / f"{day}.html"
        path.parent.mkdir(mode=0o700, exist_ok=True)
    figures = document(folder.name, result, plan, day)
    report.write(path, result, figures)
    return Statement(day, path, figures)


def _replay(folder: RunFolder, plan: RunPlan, day: str | None) -> Backtest | None:
    strategy = None if plan.strategy is None else file.reload(plan.strategy)
    log = folder.open_log()
    try:
        return verify.backtest(log, plan, strategy, None if day is None else end_of(day, plan))
    finally:
        log.close()


def document(name: str, result: Backtest, plan: RunPlan, day: str) -> dict[str, Any]:
    """Return the figures of a statement's session, as JSON values."""
    times = result.prices.timestamps.astype(np.int64)
    first = int(np.searchsorted(times, end_of(day, plan) - _length(day, plan)))
    account, before = result.account, result.account[max(first - 1, 0)]
    opening = float(before["equity"]) if first else plan.settings.sizing.capital
    closing = float(account["equity"][-1])
    closed = result.trades[result.trades["closed"] >= first]
    spent = {
        each: float(account["ledger"][each][-1] - (before["ledger"][each] if first else 0.0))
        for each in (*COSTS, "dividends")
    }
    return {
        "run": name, "day": day, "bars": len(times) - first, "opening": opening,
        "closing": closing, "result": closing - opening, "return": closing / opening - 1.0,
        "spent": spent, "closed": _list_closed(result, closed), "open": _open(result),
        "gross": float(account["gross"][-1]),
    }  # fmt: skip


def _list_closed(result: Backtest, trades: Any) -> list[dict[str, Any]]:
    net = result.net_results()[len(result.trades) - len(trades) :]
    return [
        {"pair": _name(result, each), "side": _side(each), "net_result": float(amount)}
        for each, amount in zip(trades, net, strict=True)
    ]


def _open(result: Backtest) -> list[dict[str, Any]]:
    found = []
    for each in result.open_trades if result.open_trades is not None else ():
        legs: list[dict[str, Any]] = [
            {"ticker": ticker, "shares": float(each["shares"][leg]),
             "entry": float(each["entry_price"][leg]), "last": _last(result, ticker)}
            for leg, ticker in zip("yx", result.pair_names(int(each["pair"])), strict=True)
        ]  # fmt: skip
        found.append({"pair": _name(result, each), "side": _side(each), "legs": legs,
                      "result": sum(map(_gain, legs))})  # fmt: skip
    return found


def _gain(leg: dict[str, Any]) -> float:
    return float(leg["shares"] * (leg["last"] - leg["entry"]))


def _name(result: Backtest, trade: Any) -> str:
    return "/".join(result.pair_names(int(trade["pair"])))


def _side(trade: Any) -> str:
    return "long" if trade["side"] > 0 else "short"


def _last(result: Backtest, ticker: str) -> float:
    closes = result.prices.close[:, result.prices.tickers.index(ticker)]
    return float(closes[np.flatnonzero(~np.isnan(closes))[-1]])


def days(folder: RunFolder) -> list[str]:
    """Return the days that have a statement in the run's folder, the newest first."""
    return sorted((each.stem for each in (folder.path / FOLDER).glob("[0-9]*.html")), reverse=True)


# Days


def day_of(moment: int, plan: RunPlan) -> str:
    """Return the day of a time, nanoseconds since 1970, in the time zone of a run."""
    found = datetime.fromtimestamp(moment // 10**9, UTC).astimezone(ZoneInfo(plan.timezone))
    return found.date().isoformat()


def end_of(day: str, plan: RunPlan) -> int:
    """Return when a day ends, nanoseconds since 1970.

    Raises:
        UsageError: It is no day.
    """
    try:
        following = date.fromisoformat(day) + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"'{day}' is not a day", hint="2024-01-31") from error
    midnight = datetime.combine(following, clock(), ZoneInfo(plan.timezone))
    return round(midnight.timestamp()) * 10**9


def _length(day: str, plan: RunPlan) -> int:
    """Return how long a day is: not 24 hours where clocks change."""
    before = (date.fromisoformat(day) - timedelta(days=1)).isoformat()
    return end_of(day, plan) - end_of(before, plan)


class Statements:
    """Writes the statement of each session that ends, while a run goes on.

    A replay may end sessions faster than statements are written. They take a fifth of a core at
    most: the newest session that waits is next, and those before it are left out.

    Args:
        folder: The run.
        plan: Its plan.
        problem: Called with what could not be written, and why.
        by_clock: A day also ends by the clock, not only by a bar of the next one.
    """

    def __init__(
        self, folder: RunFolder, plan: RunPlan, problem: Callable[[str], None], *, by_clock: bool
    ) -> None:
        self._folder, self._plan, self._problem = folder, plan, problem
        self._by_clock, self._finished = by_clock, False
        self._next: str | None = None
        self._day, self._written = "", ""
        self._changed, self._closed = threading.Event(), False
        self._thread = threading.Thread(target=self._work, name="statements", daemon=True)
        self._thread.start()

    def take(self, results: Results) -> None:
        """Look for ends of sessions among some results."""
        for message in results.messages.get("account", ())[-1:]:
            self._day = day_of((message.timestamp or 0) * 10**6, self._plan)
        for message in results.messages.get("events", ()):
            event = msgspec.json.decode(message.value)
            if event["kind"] == "session_end":
                self._end(event["day"])
            self._finished |= event["kind"] == "finished"

    def _end(self, day: str) -> None:
        if day > self._written:
            self._next = day
            self._changed.set()

    def close(self) -> None:
        """End; when the run has finished, so has its last session, whose statement is written."""
        self._closed = True
        self._changed.set()
        self._thread.join()
        if self._finished and self._day:
            self._attempt(lambda: write(self._folder, self._day))

    def _work(self) -> None:
        while not self._closed:
            self._changed.wait(LOOK)
            self._changed.clear()
            if self._by_clock and self._day and day_of(time.time_ns(), self._plan) > self._day:
                self._end(self._day)
            day, self._next = self._next, None
            if day is not None and not self._closed:
                begin = time.monotonic()
                self._attempt(lambda day=day: self._apart(day))  # type: ignore[misc]
                self._written = day
                self._rest(SHARE * (time.monotonic() - begin))

    def _rest(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._closed and time.monotonic() < deadline:
            time.sleep(min(0.2, seconds))

    def _attempt(self, work: Callable[[], object]) -> None:
        try:
            work()
        except NegativeResult:
            return  # nothing has been traded yet
        except (MlkitError, OSError) as error:
            self._problem(f"no statement: {error}")

    def _apart(self, day: str) -> None:
        """Write a statement in a process of its own, which ends with this one."""
        ours, theirs = _SPAWN.Pipe(duplex=False)
        process = _SPAWN.Process(target=_write, args=(self._folder.path, day, theirs), daemon=True)
        process.start()
        theirs.close()
        with contextlib.closing(ours):
            while not ours.poll(0.2):
                if self._closed:
                    process.kill()
                    break
            else:
                self._hear(ours, process)
        process.join()

    @staticmethod
    def _hear(channel: Any, process: Any) -> None:
        try:
            error = channel.recv()
        except EOFError:
            process.join()
            raise OSError(f"its process ended with {process.exitcode}") from None
        if error is not None:
            raise error


def _write(path: Path, day: str, channel: Any) -> None:
    """Write a statement, and report why not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the run decides
    os.nice(NICE)
    try:
        write(RunFolder(path), day)
        channel.send(None)
    except MlkitError as error:
        channel.send(error)

"""The trader: a state and an input give a state and results, and nothing else has a say.

It sees no clock, no file and no network: whoever feeds it the records of `inputs` in their order
gets the same results, bit for bit, however often it was saved and restored on the way.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData
from mlkit.pairs.feeds.assembly import Assembler, Bar
from mlkit.pairs.feeds.records import encode, iso
from mlkit.pairs.live.engine import LiveEngine, Step
from mlkit.pairs.live.limits import Breach, Risk, Waiting
from mlkit.pairs.live.orders import Change, OrderBook
from mlkit.pairs.live.plan import RunPlan
from mlkit.pairs.live.promotion import Promoter
from mlkit.pairs.live.schedule import Schedule, name_pair
from mlkit.pairs.live.topics import Input, Results, plain, plain_rows
from mlkit.pairs.strategy.strategy import Order, Strategy

Row = NDArray[np.float64]
OPERATOR, KILLED = "operator", "kill"
MOST_FEATURES = 200
"""Pairs whose features are recorded at each bar; with more, those that have a position."""
LEDGER = ("commission", "slippage", "half_spread", "borrow", "dividends")


class Trader:
    """Trades the plan of a run.

    Args:
        plan: The plan.
        strategy: Decides in place of the built-in rule.
    """

    def __init__(self, plan: RunPlan, strategy: Strategy | None = None) -> None:
        self.plan = plan
        self.assembler = Assembler(
            plan.tickers, length=plan.length, lateness=plan.lateness,
            halted_after=plan.halted_after,
        )  # fmt: skip
        self.engine = LiveEngine(
            plan.tickers, plan.settings, bars_per_year=plan.bars_per_year,
            delisted_after=plan.delisted_after, strategy=strategy,
        )  # fmt: skip
        self.risk = Risk(plan.limits, plan.tickers, plan.settings.sizing.capital)
        self.schedule, self.book = Schedule(plan), OrderBook()
        self.promoter = Promoter.of(plan)
        self.names: dict[int, tuple[str, str]] = {}
        self.position: Any = None
        self.rejected: Counter[str] = Counter()
        self.blocks: list[str] = []
        self.paused: list[str] = []
        self.status = "running"
        self.time = 0
        self._last: Row = np.full(len(plan.tickers), np.nan)
        self._account: dict[str, Any] = {}
        self.changes: list[Change] = []

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {ticker: n for n, ticker in enumerate(self.plan.tickers)}

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.plan.timezone)

    def take(self, given: Input) -> Results:
        """Take an input, and return what follows from it."""
        results, self.changes = Results(), []
        if given.command:
            self._obey(given, results)
        if given.broken:
            self._event(results, "feed_broken", problem=given.broken, at=given.at)
        for record in given.records:
            for bar in self.assembler.take(record):
                self._bar(bar, results)
        if given.close_until is not None:
            for bar in self.assembler.close_until(given.close_until):
                self._bar(bar, results)
        self.rejected.update(given.rejected)
        if given.position is not None:
            self.position = given.position
        if given.end:
            self._end(results)
        return results

    # Bars

    def _bar(self, bar: Bar, results: Results) -> None:
        self.time, number = bar.time, self.engine.bars
        self._start_pairs(number, results)
        close, opens = _row(bar, "close"), _row(bar, "open")
        bid, ask = (_row(bar, name) if self.plan.quotes else None for name in ("bid", "ask"))
        dividends = np.nan_to_num(_row(bar, "dividend"))
        self._check_orders(close, opens, results)
        step = self.engine.step(close, opens, dividends, bids=bid, asks=ask)
        self._last = np.where(np.isnan(close), self._last, close)
        self._report_bar(bar, results)
        self._report(number, step, results)
        self._check_account(step.account, results)
        self.schedule.take(number, bar.time, close)
        if self.promoter is not None:
            self._promote(close, results)

    def _start_pairs(self, number: int, results: Results) -> None:
        due = self.schedule.due(number)
        for problem in due.skipped:
            self._event(results, "pair_refused", problem=problem)
        for start in due.starts:
            self._add(start, results)

    def _add(self, start: Any, results: Results) -> int:
        history = start.history if len(start.history) else None
        number = self.engine.add(start.pair, history, stop=start.stop)
        self.names[number] = start.pair.y, start.pair.x
        name = name_pair(self.names[number])
        self._event(results, "pair_started", pair=name, number=number, beta=start.pair.beta)
        if name in self.paused:
            self._intervene("block", "paused", results, number)
        return number

    def _check_orders(self, close: Row, opens: Row, results: Results) -> None:
        pending = self.engine.pending_orders()
        entries = pending[pending["entry"] == 1]
        if not len(entries):
            return
        fills = np.where(np.isnan(opens), close, opens)
        waiting = [self._waiting(each) for each in entries]
        for breach in self.risk.check_orders(self.time, waiting, self._last, fills):
            self._breach(breach, results)

    def _waiting(self, entry: np.void) -> Waiting:
        number = int(entry["pair"])
        y, x = self.names[number]
        shares = float(entry["shares"]["y"]), float(entry["shares"]["x"])
        since = self._decided.get(number, self.time)
        return Waiting(
            number, name_pair((y, x)), (self._columns[y], self._columns[x]), shares, since
        )

    @cached_property
    def _decided(self) -> dict[int, int]:
        """The times at which entries that wait were decided."""
        return {}

    def _check_account(self, account: np.void, results: Results) -> None:
        moment = datetime.fromtimestamp(self.time // 10**9, UTC).astimezone(self._zone)
        day = moment.date().isoformat()
        if self.risk.day and day != self.risk.day:
            self._event(results, "session_end", day=self.risk.day, equity=self.risk.equity)
            self._unblock("daily_loss", results)
        cells = (float(account[name]) for name in ("equity", "gross", "positions"))
        for breach in self.risk.check_account(day, *cells):
            if breach.limit not in self.blocks:
                self._breach(breach, results)

    def _breach(self, breach: Breach, results: Results) -> None:
        action = self.plan.limits.action(breach.limit)
        self._event(results, "limit", limit=breach.limit, text=breach.text, action=action)
        if breach.pair >= 0:
            self._intervene("cancel", breach.limit, results, breach.pair)
        if action != "refuse":
            self._block(breach.limit, results)
        if action in ("flatten", "stop"):
            self._intervene("flatten", breach.limit, results)
        if action == "stop":
            self.status = "stopped"

    def _promote(self, close: Row, results: Results) -> None:
        assert self.promoter is not None
        live = {names: number for number, names in self.names.items()}
        for move in self.promoter.take(close, self.schedule, live):
            if move.start is not None:
                number = self._add(move.start, results)
            else:
                number = live[move.pair]
                self.engine.remove(number)
            results.add("promotions", self.time,
                        {"time": iso(self.time), "bar": self.engine.bars, "number": number,
                         **move.document()}, name_pair(move.pair))  # fmt: skip

    # Commands

    def _obey(self, given: Input, results: Results) -> None:
        numbers = [n for n, names in self.names.items() if name_pair(names) == given.pair]
        self._event(results, "command", command=given.command, pair=given.pair or None,
                    by=given.by, at=given.at)  # fmt: skip
        if given.pair:
            self._obey_for_pair(given, numbers, results)
        elif given.command == "resume":
            self.status = "running"
            for reason in list(self.blocks):
                self._unblock(reason, results)
        else:
            self._block(KILLED if given.command == "kill" else OPERATOR, results)
            if given.command == "flatten":
                self._intervene("flatten", OPERATOR, results)
            elif given.command == "kill":
                self._intervene("cancel", OPERATOR, results)
                self.status = "killed"

    def _obey_for_pair(self, given: Input, numbers: list[int], results: Results) -> None:
        resumes = given.command == "resume"
        if resumes and given.pair in self.paused:
            self.paused.remove(given.pair)
        elif not resumes and given.pair not in self.paused:
            self.paused.append(given.pair)
        ends = {"flatten": "flatten", "kill": "flatten"}.get(given.command)
        for number in numbers:
            self._intervene("allow" if resumes else "block", OPERATOR, results, number)
            if ends is not None:
                self._intervene(ends, OPERATOR, results, number)

    def _block(self, reason: str, results: Results) -> None:
        if not self.blocks:
            self._intervene("block", reason, results)
        if reason not in self.blocks:
            self.blocks.append(reason)

    def _unblock(self, reason: str, results: Results) -> None:
        if reason in self.blocks:
            self.blocks.remove(reason)
            if not self.blocks:
                self._intervene("allow", reason, results)

    def _intervene(self, action: str, reason: str, results: Results, pair: int = -1) -> None:
        self.engine.intervene(action, pair)
        results.add("interventions", self.time,
                    {"time": iso(self.time), "bar": self.engine.bars, "action": action,
                     "pair": pair, "reason": reason})  # fmt: skip

    def _end(self, results: Results) -> None:
        for bar in self.assembler.finish():
            self._bar(bar, results)
        if self.engine.bars and self.status != "finished":
            step = self.engine.finish()
            self._report(self.engine.bars - 1, step, results)
        self.status = "finished"
        self._event(results, "finished", bars=self.engine.bars)

    # Results

    def _event(self, results: Results, kind: str, **cells: Any) -> None:
        results.add("events", self.time, {"time": iso(self.time), "kind": kind, **cells})

    def _report_bar(self, bar: Bar, results: Results) -> None:
        moment = iso(bar.time)
        known = [record for record in bar.records if record is not None]
        encoded = [(encode(record, moment), record.ticker) for record in known]
        results.extend("bars", bar.time, encoded)

    def _report(self, number: int, step: Step, results: Results) -> None:
        moment = {"time": iso(self.time), "bar": number}
        for choice in plain_rows(step.choices):
            self._report_choice(choice, moment, results)
        changes = self.book.take(number, self.time, self.engine.positions(),
                                 self.engine.pending_orders(), step.trades, self.names)  # fmt: skip
        for change in changes:
            self._report_change(change, moment, results)
        for trade in step.trades:
            name = name_pair(self.names[int(trade["pair"])])
            results.add("trades", self.time, {**moment, "name": name, **plain(trade)}, name)
        self._report_account(step.account, moment, results)
        self._report_features(moment, results)
        if self.engine.count != len(self.names):
            self.names = dict(self.engine.pairs)

    def _report_features(self, moment: dict[str, Any], results: Results) -> None:
        views = self.engine.features()
        if len(views) > MOST_FEATURES:
            views = views[views["side"] != 0][:MOST_FEATURES]
        rows = zip(views["pair"].tolist(), plain_rows(views["features"]), strict=True)
        pairs = {name_pair(self.names[number]): features for number, features in rows}
        if pairs:
            results.add("features", self.time, moment | {"pairs": pairs})

    def _report_choice(
        self, choice: dict[str, Any], moment: dict[str, Any], results: Results
    ) -> None:
        number = choice["pair"]
        name = name_pair(self.names[number])
        if choice["accepted"] and choice["order"] in (Order.ENTER_LONG, Order.ENTER_SHORT):
            self._decided[number] = self.time
        cells = {"name": name, "order_name": Order(choice["order"]).name.lower()}
        results.add("decisions", self.time, {**moment, **cells, **choice}, name)

    def _report_change(self, change: Change, moment: dict[str, Any], results: Results) -> None:
        name = name_pair(self.names[change.pair])
        head = {**moment, "name": name, "pair": change.pair}
        self.changes.append(change)
        if change.order is not None:
            cells = {"id": change.order.id, "status": "new", "legs": dict(change.order.legs)}
            results.add("orders", self.time, head | cells | {"reason": change.reason}, name)
        elif change.fill is not None:
            fill = change.fill
            cells = {"id": fill.order, "shares": dict(fill.shares), "prices": dict(fill.prices)}
            results.add("fills", self.time, head | cells | {"reason": change.reason}, name)
        else:
            cells = {"id": change.cancelled, "status": "cancelled"}
            results.add("orders", self.time, head | cells, name)

    def _report_account(self, account: np.void, moment: dict[str, Any], results: Results) -> None:
        cells = plain(account)
        results.add("account", self.time, moment | cells)
        before = self._account or {"ledger": {}, "interest": 0.0}
        moved = {name: cells["ledger"][name] - before["ledger"].get(name, 0.0) for name in LEDGER}
        moved["interest"] = cells["interest"] - before["interest"]
        entries = {name: amount for name, amount in moved.items() if amount}
        if entries:
            results.add("ledger", self.time, moment | entries)
        self._account = cells

    # State

    @property
    def account(self) -> dict[str, Any]:
        """The account at the last close; empty before the first bar."""
        return self._account

    def last_closes(self) -> dict[str, float]:
        """Return the last close of each ticker that has one."""
        cells = zip(self.plan.tickers, self._last.tolist(), strict=True)
        return {ticker: close for ticker, close in cells if not math.isnan(close)}

    def shares(self) -> dict[str, float]:
        """Return the shares that the engine holds of each ticker."""
        held: dict[str, float] = {}
        for trade in self.engine.positions():
            for leg, ticker in zip("yx", self.names[int(trade["pair"])], strict=True):
                held[ticker] = held.get(ticker, 0.0) + float(trade["shares"][leg])
        return held

    def save(self) -> bytes:
        """Return the whole state as versioned bytes; equal states have equal bytes."""
        waiting = set(self.engine.pending_orders()["pair"].tolist())
        decided = {n: time for n, time in sorted(self._decided.items()) if n in waiting}
        return msgspec.msgpack.encode(
            {
                "version": 1, "engine": self.engine.save(), "assembler": self.assembler.save(),
                "risk": self.risk.save(), "schedule": self.schedule.save(),
                "book": self.book.save(), "position": self.position,
                "rejected": dict(sorted(self.rejected.items())), "blocks": self.blocks,
                "paused": self.paused, "status": self.status, "time": self.time,
                "decided": decided, "last": self._last.tobytes(), "account": self._account,
                "promoter": None if self.promoter is None else self.promoter.save(),
            }
        )  # fmt: skip

    @classmethod
    def load(cls, plan: RunPlan, state: bytes) -> Trader:
        """Restore what `save` returned.

        Raises:
            BadData: The bytes are damaged, or from another version.
        """
        found = cls(plan)
        try:
            cells = msgspec.msgpack.decode(state, strict=False)
            if cells["version"] != 1:
                raise ValueError("another version")
            found._restore(cells)
        except (msgspec.DecodeError, ValueError, KeyError, TypeError) as error:
            raise BadData(f"the saved state of a run cannot be read: {error}") from error
        return found

    def _restore(self, cells: dict[str, Any]) -> None:
        self.engine = LiveEngine.load(cells["engine"])
        self.assembler.load(cells["assembler"])
        self.risk.load(cells["risk"])
        self.schedule.load(cells["schedule"])
        self.book.load(cells["book"])
        self.names = dict(self.engine.pairs)
        self.position, self.rejected = cells["position"], Counter(cells["rejected"])
        self.blocks, self.paused = cells["blocks"], cells["paused"]
        self.status, self.time = cells["status"], cells["time"]
        self._decided.update({int(n): time for n, time in cells["decided"].items()})
        self._last = np.frombuffer(cells["last"]).copy()
        self._account = cells["account"]
        if self.promoter is not None:
            self.promoter.load(cells["promoter"])


def _row(bar: Bar, field: str) -> Row:
    """Return a field of a bar's records, NaN where there is none, shape (tickers,)."""
    cells = (None if each is None else getattr(each, field) for each in bar.records)
    return np.array([np.nan if each is None else each for each in cells])

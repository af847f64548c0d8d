"""A run: the loop that takes the feed into the log, and the log through the trader.

What comes is written to `inputs` and is durable before the trader sees it; what follows is written
with the offset of what it follows from, in one transaction. So a crash at any point loses and
doubles nothing: the inputs that are in the log are taken, and the feed goes on behind them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from mlkit.errors import BadData, Interrupted, NegativeResult
from mlkit.interruption import whole
from mlkit.pairs.feeds.feed import Feed
from mlkit.pairs.feeds.records import iso
from mlkit.pairs.live import status as shown
from mlkit.pairs.live.broker import Fill, PairOrder, PaperBroker, differences
from mlkit.pairs.live.folder import KILL, RunFolder
from mlkit.pairs.live.intake import Intake
from mlkit.pairs.live.orders import Change
from mlkit.pairs.live.plan import RunPlan
from mlkit.pairs.live.topics import (
    INPUTS,
    Input,
    Results,
    decode_input,
    encode_input,
    read_all,
)
from mlkit.pairs.live.trader import Trader
from mlkit.pairs.strategy.strategy import Strategy
from mlkit.streams import Consumer, Log, Output, Partition, Record

GROUP = "trader"
PLACE = Partition(INPUTS, 0)
WAIT = 0.05
SHOWN_EVERY = 0.2
SNAPSHOT_SHARE = 4
"""A snapshot is written after inputs of this many times its size: it costs a quarter of them."""
LEAST_SNAPSHOT = 1 << 16

Watcher = Callable[[Results], None]
"""Called with what was committed."""


class Progress(NamedTuple):
    """How a run ended.

    Attributes:
        status: `finished`, `ended` (the feed has, and the run may go on), `killed` or `stopped`.
        bars: Bars that it has taken.
        account: The account at the last close.
    """

    status: str
    bars: int
    account: dict[str, Any]


class Run:
    """Runs a plan in its folder, from wherever it was left.

    Args:
        folder: The folder, which the caller owns.
        feed: Where records come from.
        strategy: Called for a new strategy; None: the built-in rule.
        watch: Called after each commit.
    """

    def __init__(
        self,
        folder: RunFolder,
        feed: Feed,
        strategy: Callable[[], Strategy] | None = None,
        watch: Watcher | None = None,
        retention_ms: int | None = None,
    ) -> None:
        self.folder, self.feed = folder, feed
        self.plan: RunPlan = folder.plan()
        self._new_strategy = strategy
        self._watchers: list[Watcher] = [] if watch is None else [watch]
        self.log: Log = folder.open_log()
        folder.create_topics(self.log, retention_ms)
        self.broker = PaperBroker()
        self._unsaved = self._snapshot = self._next = 0
        self._shown = 0.0
        self._early: list[Record] = []
        self._results: list[Results] = []
        self._changes: list[Change] = []

    def watch(self, watcher: Watcher) -> None:
        """Call somebody else after each commit, too."""
        self._watchers.append(watcher)

    def close(self) -> None:
        """Release the log."""
        self.log.close()

    def go(self, until: Callable[[], bool] = lambda: False) -> Progress:
        """Run until the feed ends, somebody stops the run, or `until` returns true.

        Raises:
            BadData: A strategy failed, or the log is damaged.
            MlkitError: A replay cannot be read.
        """
        consumer = self.log.consume(GROUP, [INPUTS])
        try:
            self._join(consumer)
            self.trader = self._restore(consumer)
            self._reconcile()
            self._take_rest(consumer)
            self._refuse_killed()
            return self._loop(consumer, until)
        finally:
            consumer.close()

    def _join(self, consumer: Consumer) -> None:
        """Wait until this member has the partition; records that come meanwhile are kept."""
        while PLACE not in consumer.assignment:
            self._early += consumer.poll(1000, timeout=0.0)
            if PLACE not in consumer.assignment:
                time.sleep(0.02)

    # The past

    def _restore(self, consumer: Consumer) -> Trader:
        """Return the trader as it was after the last commit."""
        committed = self.log.committed(GROUP, PLACE) or 0
        state = consumer.state(PLACE)
        self._next = committed
        offset, trader = 0, Trader(self.plan, self._new_strategy and self._new_strategy())
        if state is not None and self._new_strategy is None:
            offset = int.from_bytes(state[:8], "little")
            trader = Trader.load(self.plan, state[8:])
            self._snapshot = len(state)
        first, _ = self.log.bounds(PLACE)
        if first > offset:
            hint = "keep inputs longer, with --keep"
            raise BadData(f"{self.folder.path}: inputs that the run needs are gone", hint=hint)
        while offset < committed:
            for record in self.log.read(PLACE, offset, 1000):
                if record.offset < committed:
                    trader.take(decode_input(record.value))
                offset = record.offset + 1
        return trader

    def _take_rest(self, consumer: Consumer) -> None:
        """Take the inputs that were durable and had no results yet."""
        _, end = self.log.bounds(PLACE)
        while self._next < end:
            self._step(consumer, timeout=0.1)
            self._commit(consumer)

    def _reconcile(self) -> None:
        """Rebuild the paper broker from the log, and compare its positions with the engine's.

        Raises:
            BadData: They differ.
        """
        self.broker = PaperBroker()
        if any(self.log.bounds(Partition(topic, 0))[0] for topic in ("orders", "fills")):
            self.broker.take_over(self.trader.shares())  # the first orders are no longer kept
            return
        for order in read_all(self.log, "orders"):
            if order["status"] == "new":
                self.broker.submit(
                    PairOrder(order["id"], order["pair"], order["legs"], order["time"])
                )
            else:
                self.broker.cancel(order["id"])
        for fill in read_all(self.log, "fills"):
            self.broker.submit(PairOrder(fill["id"], fill["pair"], fill["shares"], fill["time"]))
            self.broker.settle(Fill(fill["id"], fill["shares"], fill["prices"], fill["time"]))
        found = differences(self.broker.positions(), self.trader.shares())
        if found:
            ticker, cells = next(iter(found.items()))
            raise BadData(
                f"{self.folder.path}: the broker holds {cells['broker']:g} of {ticker}, and the "
                f"engine {cells['engine']:g}",
                hint="mlkit pairs live verify RUN finds the first difference",
            )

    def _refuse_killed(self) -> None:
        if self.folder.is_killed():
            hint = f"remove it, then: mlkit pairs live resume {self.folder.path}"
            raise NegativeResult(f"{self.folder.path / KILL}: the kill switch is set", hint=hint)
        if self.trader.status in ("killed", "stopped"):
            raise NegativeResult(
                f"{self.folder.path}: the run was {self.trader.status}",
                hint=f"mlkit pairs live resume {self.folder.path}",
            )

    # The present

    def _loop(self, consumer: Consumer, until: Callable[[], bool]) -> Progress:
        intake = Intake(self.feed, self.trader.position)
        if self.trader.status != "finished":
            intake.start()
        try:
            ended = False
            while self.trader.status == "running" and not ended and not until():
                ended = intake.ended is not None
                given = self._take_in(intake)
                with whole():
                    if given is not None:
                        self.log.append(INPUTS, [encode_input(given)])
                    self._step(consumer, timeout=0.0)
                    self._commit(consumer)
                self._show()
        except Interrupted:
            self._leave(consumer)
            raise
        finally:
            intake.stop()
        self._leave(consumer)
        running = self.trader.status == "running"
        return Progress("ended" if running else self.trader.status,
                        self.trader.engine.bars, self.trader.account)  # fmt: skip

    def _leave(self, consumer: Consumer) -> None:
        with whole():
            self._commit(consumer, snapshot=True)
        self._show(force=True)

    def _take_in(self, intake: Intake) -> Input | None:
        """Return the next input; commands get into the log by themselves."""
        if self.folder.is_killed():
            return Input(command="kill", by="the kill switch file", at=iso(time.time_ns()))
        if intake.ended is not None:
            return None
        given = intake.next(WAIT)
        if given is not None or intake.ended is None:
            return given or self._close_by_clock(intake)
        if intake.ended.error is not None:
            raise intake.ended.error
        return Input(end=True) if self.feed.is_replay else Input(close_until=2**62)

    def _close_by_clock(self, intake: Intake) -> Input | None:
        """Close bars that no record closes, since none comes."""
        newest = self.trader.assembler.newest
        if newest is None or self.feed.is_replay:
            return None
        if not self.plan.length:
            idle = time.monotonic() - intake.last_arrival
            return Input(close_until=newest) if idle > max(1.0, self.plan.lateness / 1e9) else None
        over = time.time_ns() - self.plan.length - self.plan.lateness
        oldest = self.trader.assembler.oldest
        return Input(close_until=over) if oldest is not None and oldest <= over else None

    def _step(self, consumer: Consumer, timeout: float) -> None:
        """Take the inputs that are in the log, each once, and keep their results for a commit."""
        records, self._early = self._early, []
        for record in records or consumer.poll(100, timeout):
            self._results.append(self.trader.take(decode_input(record.value)))
            self._changes += self.trader.changes
            self._unsaved += len(record.value)
            self._next = record.offset + 1

    def _commit(self, consumer: Consumer, *, snapshot: bool = False) -> None:
        """Write results and offsets in one transaction, and then perhaps a snapshot."""
        results, self._results = _join(self._results), []
        if results.messages:
            consumer.commit(results.output({}))
            self._act()
            for watch in self._watchers:
                watch(results)
        due = self._unsaved > max(LEAST_SNAPSHOT, SNAPSHOT_SHARE * self._snapshot)
        if due or (snapshot and self._unsaved):
            self._save(consumer)

    def _save(self, consumer: Consumer) -> None:
        """Write a snapshot, in a transaction of its own: it is large, and no fill waits for it."""
        state = self._next.to_bytes(8, "little") + self.trader.save()
        consumer.commit(Output(states={PLACE: state}))
        self._snapshot, self._unsaved = len(state), 0

    def _act(self) -> None:
        """Hand what was committed to the broker."""
        for change in self._changes:
            if change.order is not None:
                self.broker.submit(change.order)
            elif change.fill is not None:
                self.broker.settle(change.fill)
            else:
                self.broker.cancel(change.cancelled)
        self._changes.clear()

    def _show(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if force or now - self._shown >= SHOWN_EVERY:
            self._shown = now
            self.folder.show(shown.document(self.trader, self.feed.name))


def _join(all_of_them: list[Results]) -> Results:
    found = Results()
    for each in all_of_them:
        for topic, messages in each.messages.items():
            found.messages.setdefault(topic, []).extend(messages)
    return found

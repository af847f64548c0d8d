"""The endpoints of feedback: rewards, one or many, and what amends them."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from mlkit.bandit.server import metrics
from mlkit.bandit.server.api.messages import (
    FeedbackEvent,
    FeedbackReceipt,
    check_length,
    events_decoder,
    feedback_decoder,
)
from mlkit.bandit.server.candidates.variants import Variants
from mlkit.bandit.server.candidates.versions import count_reward
from mlkit.bandit.server.decisions.decision_log import DecisionLog
from mlkit.bandit.server.feedback.amending import Amendments
from mlkit.bandit.server.feedback.commits import Writing, commit
from mlkit.bandit.server.feedback.events import EventReader, event_id
from mlkit.bandit.server.learning.records import Event
from mlkit.bandit.server.processes.protocol import Accepted
from mlkit.web.application import Request, Response
from mlkit.web.bodies import decode
from mlkit.web.metrics import Counters

_encode = msgspec.json.Encoder().encode


class RewardEndpoints:
    """What clients report of decisions.

    Args:
        answering: Returns the versions that answer.
        events: Reads and checks events.
        writing: Makes them durable; None: nothing may be changed.
        most: The most events of a body.
        counters: The counters of this worker.
        log: Where feedback is logged; None: nowhere.
        writer: The counters of the writer.
    """

    def __init__(
        self,
        answering: Callable[[], Variants],
        events: EventReader,
        writing: Writing | None,
        most: int,
        counters: Counters,
        log: DecisionLog | None,
        writer: Counters | None,
    ) -> None:
        self._answering, self._events, self._writing = answering, events, writing
        self._most, self._counters = most, counters
        self._log, self._writer = log, writer

    async def accept(self, request: Request) -> Response:
        """Accept rewards; the answer follows when they are on disk and all workers see them."""
        self._answering()
        document = decode(feedback_decoder, request.body)
        if isinstance(document, FeedbackEvent):
            return Response(_encode((await self._accept([document], [""]))[0]))
        return await self._accept_all(document)

    async def accept_batch(self, request: Request) -> Response:
        """Accept several rewards, all or none."""
        self._answering()
        return await self._accept_all(decode(events_decoder, request.body))

    async def amend(self, request: Request) -> Response:
        """Accept other rewards for events; the answer follows when they are on disk."""
        self._answering()
        assert self._writing is not None
        amendments = Amendments(self._events, self._writing, self._log, self._most)
        return await amendments.amend(request)

    async def _accept_all(self, events: list[FeedbackEvent]) -> Response:
        check_length(len(events), self._most)
        places = [f"[{index}]." for index in range(len(events))]
        return Response(_encode(await self._accept(events, places)))

    async def _accept(
        self, events: list[FeedbackEvent], places: list[str]
    ) -> list[FeedbackReceipt]:
        arrival = time.perf_counter()
        read = [self._events.read(*each) for each in zip(events, places, strict=True)]
        assert self._writing is not None
        accepted = await commit(self._writing, read, places)
        self._counters.observe(metrics.LAG, time.perf_counter() - arrival)
        return self._receipts(events, read, accepted)

    def _receipts(
        self, events: list[FeedbackEvent], read: list[Event], accepted: Accepted
    ) -> list[FeedbackReceipt]:
        receipts = []
        rows = zip(events, read, accepted.repeats, accepted.ignored, strict=True)
        for event, whole, repeat, ignored in rows:
            name = event_id(event)
            queued = accepted.is_queued or msgspec.UNSET
            receipts.append(FeedbackReceipt(name, repeat, ignored, queued))
            if self._log is not None and not repeat and not ignored:
                about = event.decision_id, whole.context, event.arm, event.reward
                self._log.feedback(name, *about, time=whole.at, features=whole.features)
            if not repeat and not ignored and event.decision_id is not None:
                count_reward(self._counters, whole, self._promoted())
        return receipts

    def _promoted(self) -> float:
        """Return when a candidate was promoted; 0: none was."""
        if self._writer is None:
            return 0.0
        return self._writer.values[self._writer.layout.counters[metrics.PROMOTED]]

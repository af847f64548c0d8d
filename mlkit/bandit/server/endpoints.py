"""The endpoints of the server, each a step from a request to its answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec

from mlkit.bandit._posterior_table import PosteriorTable, ThompsonSampler
from mlkit.bandit.server import metrics, openapi
from mlkit.bandit.server.app import Request, Response, Route
from mlkit.bandit.server.decision import DecisionIds, InvalidDecision
from mlkit.bandit.server.decision_log import DecisionLog
from mlkit.bandit.server.journal import Change, Event, Kind
from mlkit.bandit.server.link import WriterLink, WriterUnavailable
from mlkit.bandit.server.messages import (
    ArmDocument,
    ArmsPage,
    FeedbackEvent,
    FeedbackReceipt,
    Prediction,
    PredictRequest,
    RequestError,
    UnknownShare,
    arm_decoder,
    check_arm,
    check_event,
    check_id,
    check_prediction,
    decode,
    feedback_decoder,
    out_of_range,
    predict_decoder,
    unavailable,
)
from mlkit.bandit.server.settings import Settings
from mlkit.bandit.server.wire import ArmChanged, Conflicting, Failed, Reply, TableReady, Taken

_HASH = 16
_encode = msgspec.json.Encoder().encode


class Endpoints:
    """What a worker answers from: the table, its own random stream, the writer.

    Args:
        settings: The server's settings.
        ids: Makes and resolves decision ids.
        counters: The counters of all processes.
        own: Those of this worker.
        started: When the server started, on the monotonic clock.
        clock: Gives the seconds since 1970.
    """

    def __init__(
        self,
        settings: Settings,
        ids: DecisionIds,
        counters: metrics.SharedCounters,
        own: metrics.Counters,
        *,
        started: float,
        log: DecisionLog | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._limits = settings.limits
        self._ids = ids
        self._all_counters = counters
        self._counters = own
        self._started = started
        self._log = log
        self._clock = clock
        self._sampler = ThompsonSampler()
        self._model = ""
        self._table: PosteriorTable | None = None
        self._description = _encode(openapi.document(self._limits, settings.token is not None))
        self._docs = openapi.page(self._limits, settings.token is not None)
        self.link: WriterLink

    def use_table(self, ready: TableReady) -> None:
        """Answer from another table, from the next request on."""
        self._table = PosteriorTable.open(ready.path)
        self._model = ready.model

    def routes(self) -> dict[str, Route]:
        """Give the paths and their methods; a path that ends in `/` is a prefix."""
        return {
            "/predict": Route("/predict", {"POST": self.predict}),
            "/feedback": Route("/feedback", {"POST": self.feedback}),
            "/health": Route("/health", {"GET": self.health}),
            "/arms": Route("/arms", {"GET": self.arms}),
            "/arms/": Route(
                "/arms/{id}",
                {"GET": self.arm, "PUT": self.put_arm, "DELETE": self.remove_arm},
            ),
            "/metrics": Route("/metrics", {"GET": self.metrics}),
            "/openapi.json": Route("/openapi.json", {"GET": self.description}),
            "/docs": Route("/docs", {"GET": self.docs}),
        }

    def _loaded(self) -> PosteriorTable:
        if self._table is None:
            raise unavailable("the posteriors are still being loaded")
        return self._table

    # Predictions

    async def predict(self, request: Request) -> Response:
        """Rank candidates by Thompson sampling."""
        table = self._loaded()
        document = decode(predict_decoder, request.body)
        if isinstance(document, PredictRequest):
            self._check_candidates(len(document.candidates or ()))
            return Response(_encode(self._predicted(table, document, "")))
        self._check_length(len(document), self._limits.max_batch)
        self._check_candidates(sum(len(each.candidates or ()) for each in document))
        answers = [self._predicted(table, each, f"[{i}].") for i, each in enumerate(document)]
        return Response(_encode(answers))

    def _check_candidates(self, count: int) -> None:
        if count > self._limits.max_candidates:
            raise out_of_range("candidates", count, f"at most {self._limits.max_candidates}")

    @staticmethod
    def _check_length(count: int, most: int) -> None:
        if not 1 <= count <= most:
            raise out_of_range("the list", count, f"1 to {most} elements")

    def _predicted(self, table: PosteriorTable, request: PredictRequest, place: str) -> Prediction:
        check_prediction(request, self._limits, place)
        try:
            fetched = table.fetch(request.context, request.candidates)
        except ValueError as error:
            raise RequestError(422, f"{place}{error}", "shorten the id") from None
        arms, scores = self._sampler.top_k(fetched, request.k, request.seed)
        decision_id = self._ids.make(request.context)
        count = len(fetched)
        unknown_contexts, unknown_arms = fetched.unknown_contexts, fetched.unknown_arms
        self._counters.prediction(count, unknown_contexts, unknown_arms)
        if self._log is not None:
            self._log.decision(decision_id, request.context, arms, scores)
        count = count or 1
        share = UnknownShare(unknown_contexts / count, unknown_arms / count)
        return Prediction(decision_id, arms, scores, share)

    # Feedback

    async def feedback(self, request: Request) -> Response:
        """Take rewards; the answer follows when they are on disk and all workers see them."""
        arrival = time.perf_counter()
        self._loaded()
        document = decode(feedback_decoder, request.body)
        single = isinstance(document, FeedbackEvent)
        events = [document] if isinstance(document, FeedbackEvent) else document
        self._check_length(len(events), self._limits.max_events)
        places = [""] if single else [f"[{index}]." for index in range(len(events))]
        resolved = [self._event(*each) for each in zip(events, places, strict=True)]
        taken = await self._taken(resolved, places)
        self._counters.lag(time.perf_counter() - arrival)
        receipts = self._receipts(events, resolved, taken)
        return Response(_encode(receipts[0] if single else receipts))

    def _event(self, event: FeedbackEvent, place: str) -> Event:
        check_event(event, place)
        context = event.context
        if event.decision_id is not None:
            context = self._context_of(event.decision_id, place)
        body = msgspec.msgpack.encode((event.decision_id, context, event.arm, event.reward + 0.0))
        return Event(_hash(_event_id(event)), _hash(body), context, event.arm, event.reward)

    def _context_of(self, decision_id: str, place: str) -> str | None:
        try:
            decision = self._ids.resolve(decision_id)
        except InvalidDecision:
            hint = "send the decision_id of an answer of /predict as it is"
            error = f"{place}decision_id: not made by this server"
            raise RequestError(422, error, hint) from None
        if decision.at < self._clock() - self._settings.dedupe_window:
            days = self._settings.dedupe_window / 86400
            error = f"{place}decision_id: the decision is older than {days:g} days"
            raise RequestError(410, error, "--dedupe-window sets how old it may be")
        return decision.context

    async def _taken(self, events: list[Event], places: list[str]) -> Taken:
        reply = await self._answer(self.link.feedback(events))
        if isinstance(reply, Conflicting):
            error = f"{places[reply.index]}event_id: it was used with another body"
            hint = "nothing was taken; send a new event with an event_id of its own"
            raise RequestError(409, error, hint)
        assert isinstance(reply, Taken)
        return reply

    @staticmethod
    async def _answer(asked: Any) -> Reply:
        """Wait for the writer."""
        try:
            reply: Reply = await asked
        except WriterUnavailable:
            raise unavailable("the journal's writer does not answer") from None
        if isinstance(reply, Failed):
            raise unavailable(f"the journal cannot be written: {reply.error}")
        return reply

    def _receipts(
        self, events: list[FeedbackEvent], resolved: list[Event], taken: Taken
    ) -> list[FeedbackReceipt]:
        receipts = []
        rows = zip(events, resolved, taken.repeats, taken.ignored, strict=True)
        for event, hashed, repeat, ignored in rows:
            event_id = _event_id(event)
            receipts.append(FeedbackReceipt(event_id, repeat, ignored))
            if self._log is not None and not (repeat or ignored):
                self._log.feedback(
                    event_id, event.decision_id, hashed.context, event.arm, event.reward
                )
        return receipts

    # Arms

    async def arms(self, request: Request) -> Response:
        """List the arms, a page at a time."""
        table = self._loaded()
        query = _query(request.scope["query_string"])
        limit = _whole_number(query.get("limit", "100"), self._limits.max_page)
        after = query.get("after")
        if after is not None:
            check_id("after", after)
        rows = table.arms(after, limit + 1)
        page = [_arm_document(*row) for row in rows[:limit]]
        return Response(_encode(ArmsPage(page, page[-1].arm if len(rows) > limit else None)))

    async def arm(self, request: Request) -> Response:
        """Show one arm."""
        arm = _arm_of(request)
        found = self._loaded().arm(arm)
        if found is None:
            raise _no_arm(arm)
        return Response(_encode(_arm_document(arm, *found)))

    async def put_arm(self, request: Request) -> Response:
        """Add an arm, or set its posterior."""
        table = self._loaded()
        arm = _arm_of(request)
        parameters = decode(arm_decoder, request.body or b"{}")
        check_arm(parameters)
        a, b = parameters.a, parameters.b
        if a is None or b is None:
            a, b = table.prior
        reply = await self._changed(Change(Kind.PUT, None, arm, a, b, parameters.pulls))
        document = _arm_document(arm, a, b, parameters.pulls)
        return Response(_encode(document), 200 if reply.existed else 201)

    async def remove_arm(self, request: Request) -> Response:
        """Remove an arm and all that is known of it."""
        self._loaded()
        arm = _arm_of(request)
        reply = await self._changed(Change(Kind.REMOVE, None, arm))
        if not reply.existed:
            raise _no_arm(arm)
        return Response(b"", 204, ())

    async def _changed(self, change: Change) -> ArmChanged:
        reply = await self._answer(self.link.change_arm(change))
        assert isinstance(reply, ArmChanged)
        return reply

    # The server itself

    async def health(self, request: Request) -> Response:
        """Tell whether predictions can be served."""
        table = self._loaded()
        uptime = time.monotonic() - self._started
        facts = {
            "status": "ok",
            "model": self._model,
            "arms": len(table),
            "uptime": uptime,
        }
        return Response(_encode(facts))

    async def metrics(self, request: Request) -> Response:
        """Give the metrics of all workers."""
        uptime = time.monotonic() - self._started
        gauges = {
            "uptime_seconds": ("Since the start of the server.", uptime),
            "workers": ("Processes that answer requests.", self._settings.workers),
        }
        if self._table is not None:
            pairs = self._table.used()["posteriors"]
            gauges["arms"] = "Arms that can be recommended.", len(self._table)
            gauges["context_posteriors"] = "(context, arm) posteriors.", pairs
        body = metrics.exposition(self._all_counters, gauges)
        return Response(body, headers=((b"content-type", metrics.CONTENT_TYPE),))

    async def description(self, request: Request) -> Response:
        """Give the OpenAPI document."""
        return Response(self._description)

    async def docs(self, request: Request) -> Response:
        """Give the documentation page, which loads nothing else."""
        return Response(self._docs, headers=((b"content-type", b"text/html; charset=utf-8"),))


def _no_arm(arm: str) -> RequestError:
    return RequestError(404, f"no arm {arm!r}", "GET /arms lists the arms")


def _event_id(event: FeedbackEvent) -> str:
    return event.event_id if event.event_id is not None else f"{event.decision_id}:{event.arm}"


def _hash(data: str | bytes) -> bytes:
    return blake2b(data.encode() if isinstance(data, str) else data, digest_size=_HASH).digest()


def _arm_document(arm: str, a: float, b: float, pulls: float) -> ArmDocument:
    return ArmDocument(arm, a, b, int(pulls), a / (a + b))


def _arm_of(request: Request) -> str:
    """Decode the rest of the path, once."""
    try:
        arm = unquote_to_bytes(request.rest).decode()
    except UnicodeDecodeError:
        raise RequestError(400, "the arm's id in the path is not UTF-8", _PATH_HINT) from None
    check_id("the arm's id in the path", arm)
    return arm


_PATH_HINT = "percent-encode the UTF-8 of the id"


def _query(raw: bytes) -> dict[str, str]:
    try:
        fields = parse_qs(raw.decode("ascii"), errors="strict", max_num_fields=10)
    except (UnicodeDecodeError, ValueError):
        raise RequestError(400, "the query is not percent-encoded UTF-8", _PATH_HINT) from None
    return {name: values[-1] for name, values in fields.items()}


def _whole_number(text: str, most: int) -> int:
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= value <= most:
        raise out_of_range("limit", text, f"1 to {most}")
    return value

"""The endpoints of the server, each a step from a request to its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec

from mlkit.bandit._posterior_table import Fetched, ThompsonSampler
from mlkit.bandit.policies.policy import NoExactPropensities
from mlkit.bandit.policies.ranking import mixed
from mlkit.bandit.server import metrics
from mlkit.bandit.server.amending import Amendments
from mlkit.bandit.server.choice import Wanted
from mlkit.bandit.server.commits import Writing, answer, commit
from mlkit.bandit.server.decision import DecisionIds
from mlkit.bandit.server.decision_log import DecisionLog
from mlkit.bandit.server.feedback import EventReader, event_id, packed_features
from mlkit.bandit.server.messages import (
    Arm,
    ArmParameters,
    ArmsPage,
    FeedbackEvent,
    FeedbackReceipt,
    Health,
    Limits,
    Prediction,
    PredictRequest,
    UnknownShare,
    arm_decoder,
    batch_decoder,
    check_arm,
    check_id,
    check_prediction,
    events_decoder,
    feedback_decoder,
    predict_decoder,
)
from mlkit.bandit.server.policy_reader import ArmState, PolicyReader
from mlkit.bandit.server.predictor import Predicted, Predictor, fallback, plain
from mlkit.bandit.server.protocol import Accepted, ArmChanged, Switched
from mlkit.bandit.server.rails import KillSwitch
from mlkit.bandit.server.recorder import Recorder
from mlkit.bandit.server.records import Change, Event, Kind
from mlkit.bandit.server.settings import Settings
from mlkit.bandit.server.variants import CANDIDATE, STABLE, Variant, Variants
from mlkit.bandit.server.versions import compared, count_reward
from mlkit.bandit.server.waiting import WaitingDecisions
from mlkit.bandit.stores.store import PosteriorReader, settle
from mlkit.errors import BadData
from mlkit.web.application import Request, Response
from mlkit.web.bodies import decode, out_of_range
from mlkit.web.errors import RequestError, unavailable
from mlkit.web.metrics import CONTENT_TYPE, Counters, Gauge, SharedCounters, exposition

_encode = msgspec.json.Encoder().encode


class Endpoints:
    """What a worker answers from: the store, its own random stream, the writer.

    Args:
        settings: The server's settings.
        ids: Makes and resolves decision ids.
        counters: The counters of all processes.
        own: Those of this worker.
        writing: Makes changes durable.
        started: When the server started, on the monotonic clock.
        log: Where decisions and feedback are logged.
        writer: The counters of the writer.
        clock: Returns the seconds since 1970.
    """

    def __init__(
        self,
        settings: Settings,
        ids: DecisionIds,
        counters: SharedCounters,
        own: Counters,
        writing: Writing | None = None,
        *,
        started: float,
        log: DecisionLog | None = None,
        writer: Counters | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._limits: Limits = settings.limits
        self._ids = ids
        self._all_counters = counters
        self._counters = own
        self._predictions = metrics.PredictionCounters(own)
        self._started = started
        self._decided = own.layout.counters[metrics.DECISIONS]
        self._log = log
        self._writer = writer
        waits = settings.attribution is not None
        window, examination = settings.dedupe_window, settings.examination
        self._events = EventReader(ids, window, clock, examination, waits=waits)
        self._sampler = ThompsonSampler()
        self._predictor = Predictor(settings.rails, self._sampler)
        self._switch: KillSwitch | None = None
        if settings.kill_switch is not None:
            self._switch = KillSwitch(settings.kill_switch, settings.fallback)
        self._variants: Variants | None = None
        self._store: PosteriorReader | PolicyReader | None = None
        self._writing = writing
        self._clock = clock
        self._waiting: WaitingDecisions | None = None
        if settings.attribution is not None and writing is not None:
            self._waiting = WaitingDecisions(writing, settings.attribution, examination, own)

    def use_store(
        self,
        store: PosteriorReader | PolicyReader,
        model: str,
        base: str = "",
        candidate: tuple[PosteriorReader | PolicyReader, str, str] | None = None,
    ) -> None:
        """Answer from other stores, from the next request on.

        Args:
            store: The posteriors.
            model: The model's name.
            base: The begin of the posteriors file's hash.
            candidate: The same of a candidate version; None: there is none.
        """
        self._store = store
        self._events.use_model(store if isinstance(store, PolicyReader) else None)
        stable = self._variant(STABLE, store, model, base)
        other = None if candidate is None else self._variant(CANDIDATE, *candidate)
        self._variants = Variants(stable, other, self._settings.share)

    def _variant(
        self, name: str, store: PosteriorReader | PolicyReader, model: str, base: str
    ) -> Variant:
        reader = store if isinstance(store, PolicyReader) else None
        recorder = Recorder(self._log, self._settings.propensities, self._writer)
        recorder.use(None if reader is None else reader.spec, base)
        plain = reader is None and self._settings.rails.are_none
        return Variant(name, model, store, recorder, base, plain)

    def _loaded(self) -> PosteriorReader | PolicyReader:
        return self._answering().stable.store

    def _answering(self) -> Variants:
        if self._variants is None:
            raise unavailable("the posteriors are still being loaded")
        return self._variants

    # Predictions

    async def predict(self, request: Request) -> Response:
        """Rank candidates by Thompson sampling; a list is answered as a batch."""
        variants = self._answering()
        store = variants.stable.store
        document = decode(predict_decoder, request.body)
        if isinstance(document, PredictRequest):
            if document.candidates is None:
                await self._check_candidates(store, [document])
            elif len(document.candidates) > self._limits.max_candidates:
                raise self._too_many(len(document.candidates))
            answer = await self._predict(variants, document, "")
            if self._waiting is not None:
                await self._waiting.keep([document], [answer])
            return Response(_encode(answer))
        return await self._predict_all(variants, document)

    async def predict_batch(self, request: Request) -> Response:
        """Answer several predictions."""
        return await self._predict_all(self._answering(), decode(batch_decoder, request.body))

    async def _predict_all(self, variants: Variants, documents: list[PredictRequest]) -> Response:
        _check_length(len(documents), self._limits.max_batch)
        await self._check_candidates(variants.stable.store, documents)
        answers = [
            await self._predict(variants, each, f"[{index}].")
            for index, each in enumerate(documents)
        ]
        if self._waiting is not None:
            await self._waiting.keep(documents, answers)
        return Response(_encode(answers))

    async def _check_candidates(
        self, store: PosteriorReader | PolicyReader, documents: Sequence[PredictRequest]
    ) -> None:
        """Refuse more candidates than allowed: those that are named, and those that are meant."""
        implied = sum(each.candidates is None for each in documents)
        count = sum(len(each.candidates or ()) for each in documents)
        if implied:
            count += implied * (await settle(store.size()))[0]
        if count > self._limits.max_candidates:
            raise self._too_many(count)

    def _too_many(self, count: int) -> RequestError:
        hint = "name fewer candidates, or start the server with a larger --max-candidates"
        expected = f"at most {self._limits.max_candidates} (without candidates: all arms)"
        return out_of_range("candidates", count, expected, hint)

    async def _predict(self, variants: Variants, request: PredictRequest, place: str) -> Prediction:
        check_prediction(request, self._limits, place)
        variant = variants.stable if variants.candidate is None else variants.of(request)
        if self._switch is not None and (fixed := self._switch.arms()) is not None:
            found, mark = fallback(fixed, request), variant.recorder.mark()
            return self._answered(variants.stable, request, found, request.seed or 0, mark, place)
        is_special = variants.candidate is not None or not variant.is_plain
        if is_special or request.propensities or request.features is not None:
            return await self._predict_specially(variants, variant, request, place)
        store, recorder = variant.store, variant.recorder
        assert not isinstance(store, PolicyReader)
        seed, mark = request.seed, 0.0
        if self._log is not None:
            seed = recorder.seed() if seed is None else seed
            mark = recorder.mark()
        try:
            fetched = store.fetch(request.context, request.candidates)
            if not isinstance(fetched, Fetched):
                fetched = await fetched
        except ValueError as error:
            raise RequestError(422, f"{place}{error}", "correct the id") from None
        arms, scores = self._sampler.top_k(fetched, request.k, seed)
        decision_id = self._ids.make(request.context, arms)
        count = len(fetched)
        unknown_contexts, unknown_arms = fetched.unknown_contexts, fetched.unknown_arms
        self._predictions.add(count, unknown_contexts, unknown_arms)
        self._counters.values[self._decided] += 1
        if seed is not None and self._log is not None:
            wanted = recorder.wants_propensities()
            whole = plain(fetched, arms, scores, propensities=wanted)
            recorder.decision(decision_id, request, whole, seed, mark)
        count = count or 1
        share = UnknownShare(unknown_contexts / count, unknown_arms / count)
        return Prediction(decision_id, arms, scores, share)

    async def _predict_specially(
        self, variants: Variants, variant: Variant, request: PredictRequest, place: str
    ) -> Prediction:
        """Answer with limits, with propensities, by a model, or beside a candidate."""
        recorder = variant.recorder
        seed = recorder.seed() if request.seed is None else request.seed
        logged, mark = recorder.wants_propensities(), recorder.mark()
        wanted = Wanted(logged or request.propensities, logged)
        found = await self._predictor.predict(variant.store, request, seed, place, wanted)
        other = variants.mixed_with(request, variant)
        if other is not None and found.propensities is not None:
            found = await self._mixed(found, *other, request, seed, place)
        if request.propensities and found.propensities is None:
            raise RequestError(422, f"{place}{found.refusal}", "ask without propensities")
        answer = self._answered(variant, request, found, seed, mark, place)
        if variants.candidate is not None:
            answer.version = variant.name
        return answer

    async def _mixed(
        self,
        found: Predicted,
        other: Variant,
        share: float,
        request: PredictRequest,
        seed: int,
        place: str,
    ) -> Predicted:
        """Mix the propensities with those of a version that might have answered."""
        assert found.propensities is not None
        try:
            its = await self._predictor.ranks(other.store, request, found.arms, place)
        except NoExactPropensities as error:
            return found._replace(propensities=None, refusal=error.message, first=None)
        return found._replace(propensities=mixed(share, its, found.propensities), first=None)

    def _answered(
        self,
        variant: Variant,
        request: PredictRequest,
        found: Predicted,
        seed: int,
        mark: float,
        place: str,
    ) -> Prediction:
        """Count and log a decision, and return the answer."""
        named = request.features
        features = None if named is None else packed_features(named, place)
        by_candidate = variant.name == CANDIDATE
        decision_id = self._ids.make(
            request.context, found.arms, features, by_candidate=by_candidate
        )
        count = len(found.candidates)
        self._counters.add(metrics.CANDIDATE_DECISIONS if by_candidate else metrics.DECISIONS)
        self._predictions.add(count, found.unknown_contexts, found.unknown_arms)
        if self._log is not None:
            variant.recorder.decision(decision_id, request, found, seed, mark, features=features)
        count = max(count + (found.unknown_arms if self._is_model else 0), 1)
        share = UnknownShare(found.unknown_contexts / count, found.unknown_arms / count)
        answer = Prediction(decision_id, found.arms, found.scores, share)
        if request.propensities and found.propensities is not None:
            answer.propensities = variant.recorder.document(found.propensities, found.source)
        return answer

    @property
    def _is_model(self) -> bool:
        return isinstance(self._store, PolicyReader)

    # Feedback

    async def feedback(self, request: Request) -> Response:
        """Accept rewards; the answer follows when they are on disk and all workers see them."""
        self._loaded()
        document = decode(feedback_decoder, request.body)
        if isinstance(document, FeedbackEvent):
            return Response(_encode((await self._accept([document], [""]))[0]))
        return await self._accept_all(document)

    async def feedback_batch(self, request: Request) -> Response:
        """Accept several rewards, all or none."""
        self._loaded()
        return await self._accept_all(decode(events_decoder, request.body))

    async def amend(self, request: Request) -> Response:
        """Accept other rewards for events; the answer follows when they are on disk."""
        self._loaded()
        assert self._writing is not None
        most = self._limits.max_events
        return await Amendments(self._events, self._writing, self._log, most).amend(request)

    async def _accept_all(self, events: list[FeedbackEvent]) -> Response:
        _check_length(len(events), self._limits.max_events)
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
            receipts.append(FeedbackReceipt(name, repeat, ignored))
            if self._log is not None and not repeat and not ignored:
                about = event.decision_id, whole.context, event.arm, event.reward
                self._log.feedback(name, *about, time=whole.at, features=whole.features)
            if not repeat and not ignored and event.decision_id is not None:
                count_reward(self._counters, whole)
        return receipts

    # Arms

    async def arms(self, request: Request) -> Response:
        """List the arms, a page at a time."""
        store = self._loaded()
        query = _query(request.scope["query_string"])
        limit = _whole_number(query.get("limit", "100"), self._limits.max_page)
        after = query.get("after")
        if after is not None:
            check_id("after", after)
        if isinstance(store, PolicyReader):
            found = [_state_document(row) for row in store.arms(after, limit + 1)]
        else:
            rows = await settle(store.arms(after, limit + 1))
            found = [_arm_document(*row) for row in rows]
        page = found[:limit]
        return Response(_encode(ArmsPage(page, page[-1].arm if len(found) > limit else None)))

    async def arm(self, request: Request) -> Response:
        """Show one arm."""
        arm = _arm_of(request)
        store = self._loaded()
        if isinstance(store, PolicyReader):
            state = store.arm(arm)
            document = None if state is None else _state_document(state)
        else:
            found = await settle(store.arm(arm))
            document = None if found is None else _arm_document(arm, *found)
        if document is None:
            raise _no_arm(arm)
        return Response(_encode(document))

    async def put_arm(self, request: Request) -> Response:
        """Add an arm, or set its posterior."""
        store = self._loaded()
        arm = _arm_of(request)
        parameters = decode(arm_decoder, request.body or b"{}")
        check_arm(parameters)
        if isinstance(store, PolicyReader):
            return await self._put_model_arm(store, arm, parameters)
        if parameters.features is not None:
            raise RequestError(422, "features: the policy reads none", "send a and b, or nothing")
        a, b = parameters.a, parameters.b
        if a is None or b is None:
            a, b = self._settings.new_arm_prior or store.prior
        put = Change(Kind.PUT, None, arm, a, b, parameters.pulls, at=self._clock())
        reply = await self._change(put)
        document = _arm_document(arm, a, b, parameters.pulls)
        return Response(_encode(document), 200 if reply.existed else 201)

    async def _put_model_arm(
        self, store: PolicyReader, arm: str, parameters: ArmParameters
    ) -> Response:
        """Add an arm to a model, or make it new."""
        if parameters.a is not None or parameters.pulls:
            hint = "send {}, or the features of the arm"
            raise RequestError(422, f"a: an arm of {store.spec} has no such parameters", hint)
        named = parameters.features
        try:
            store.check_arm(named)
        except BadData as error:
            raise RequestError(
                422, error.message, error.hint or "send the arm's features"
            ) from None
        features = None if named is None else packed_features(named, "")
        put = Change(Kind.PUT, None, arm, features=features, at=self._clock())
        reply = await self._change(put)
        return Response(_encode(Arm(arm)), 200 if reply.existed else 201)

    async def remove_arm(self, request: Request) -> Response:
        """Remove an arm and all that is known of it."""
        self._loaded()
        arm = _arm_of(request)
        reply = await self._change(Change(Kind.REMOVE, None, arm))
        if not reply.existed:
            raise _no_arm(arm)
        return Response(b"", 204, ())

    async def _change(self, change: Change) -> ArmChanged:
        assert self._writing is not None
        reply = await answer(self._writing.change_arm(change))
        assert isinstance(reply, ArmChanged)
        return reply

    # The server itself

    async def health(self, request: Request) -> Response:
        """Report whether predictions can be served."""
        arms, _ = await settle(self._loaded().size())
        model = self._answering().stable.model
        return Response(_encode(Health("ok", model, arms, self._uptime())))

    async def versions(self, request: Request) -> Response:
        """Compare the versions of the model."""
        return Response(_encode(compared(self._answering(), self._all_counters)))

    async def promote(self, request: Request) -> Response:
        """Let the candidate take the stable version's place."""
        return await self._switched(promote=True)

    async def roll_back(self, request: Request) -> Response:
        """Forget the candidate."""
        return await self._switched(promote=False)

    async def _switched(self, *, promote: bool) -> Response:
        self._loaded()
        assert self._writing is not None
        reply = await answer(self._writing.switch(promote=promote))
        if not (isinstance(reply, Switched) and reply.existed):
            hint = "`mlkit bandit serve --candidate FILE --share 0.1` starts one"
            raise RequestError(409, "there is no candidate", hint)
        return Response(b"", 204, ())

    async def metrics(self, request: Request) -> Response:
        """Return the metrics of all workers."""
        gauges = {
            "uptime_seconds": Gauge("Since the start of the server.", self._uptime()),
            "workers": Gauge("Processes that answer requests.", self._settings.workers),
        }
        if self._store is not None:
            arms, posteriors = await settle(self._store.size())
            gauges["arms"] = Gauge("Arms that can be recommended.", arms)
            gauges["context_posteriors"] = Gauge("(context, arm) posteriors.", posteriors)
        body = exposition(self._all_counters, metrics.shown(gauges))
        return Response(body, headers=((b"content-type", CONTENT_TYPE),))

    def _uptime(self) -> float:
        return time.monotonic() - self._started


def _check_length(count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise out_of_range("the list", count, f"1 to {most} elements")


def _no_arm(arm: str) -> RequestError:
    return RequestError(404, f"no arm {arm!r}", "GET /arms lists the arms")


def _arm_document(arm: str, a: float, b: float, pulls: float) -> Arm:
    return Arm(arm, a, b, int(pulls), a / (a + b))


def _state_document(state: ArmState) -> Arm:
    mean = msgspec.UNSET if state.mean is None else state.mean
    return Arm(state.arm, pulls=int(state.pulls), mean=mean)


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
        fields = parse_qs(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=10
        )
    except (UnicodeDecodeError, ValueError):
        raise RequestError(400, "the query is not percent-encoded UTF-8", _PATH_HINT) from None
    return {name: values[-1] for name, values in fields.items()}


def _whole_number(text: str, most: int) -> int:
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= value <= most:
        raise out_of_range("limit", text, f"1 to {most}")
    return value

"""The endpoints of predictions, each a step from a request to its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from mlkit.bandit._posterior_table import Fetched, PosteriorTable, ThompsonSampler
from mlkit.bandit.models.features import FeatureSchema, Named
from mlkit.bandit.policies.ranking import mix
from mlkit.bandit.propensities import NoExactPropensities
from mlkit.bandit.server import metrics
from mlkit.bandit.server.api.arms import ArmEndpoints
from mlkit.bandit.server.api.messages import (
    Limits,
    Prediction,
    PredictRequest,
    UnknownShare,
    batch_decoder,
    check_id,
    check_length,
    check_prediction,
    predict_decoder,
)
from mlkit.bandit.server.api.rewards import RewardEndpoints
from mlkit.bandit.server.api.status import StatusEndpoints
from mlkit.bandit.server.candidates.variants import CANDIDATE, STABLE, Variant, Variants
from mlkit.bandit.server.dashboard import calibration
from mlkit.bandit.server.dashboard.shares import ShownArms
from mlkit.bandit.server.decisions.choice import Wanted
from mlkit.bandit.server.decisions.decision import DecisionIds
from mlkit.bandit.server.decisions.decision_log import DecisionLog
from mlkit.bandit.server.decisions.direct import DirectPredictions
from mlkit.bandit.server.decisions.policy_reader import PolicyReader
from mlkit.bandit.server.decisions.predictor import Predicted, Predictor, fallback, plain
from mlkit.bandit.server.decisions.rails import KillSwitch
from mlkit.bandit.server.decisions.recorder import Recorder
from mlkit.bandit.server.features.fetching import NO_ARM_FEATURES, ArmFeatures, FeatureFetcher
from mlkit.bandit.server.features.packed import pack
from mlkit.bandit.server.feedback.commits import Writing
from mlkit.bandit.server.feedback.events import EventReader
from mlkit.bandit.server.feedback.waiting import WaitingDecisions
from mlkit.bandit.server.post_process.stage import Decision, PostProcess
from mlkit.bandit.server.settings import Settings
from mlkit.bandit.stores.store import PosteriorReader, settle
from mlkit.web.application import Request, Response
from mlkit.web.bodies import decode, out_of_range
from mlkit.web.errors import RequestError, unavailable
from mlkit.web.metrics import Counters, SharedCounters

NO_FEATURES = FeatureSchema()
_encode = msgspec.json.Encoder().encode


class Endpoints:
    """What a worker answers from: the store, its own random stream, the writer.

    Predictions are answered here; arms, rewards and the server's status by what it has.

    Attributes:
        arms: What clients may do with arms.
        rewards: What clients report of decisions.
        status: How the server is, and which version of the model answers.

    Args:
        settings: The server's settings.
        ids: Makes and resolves decision ids.
        counters: The counters of all processes.
        own: Those of this worker.
        writing: Makes changes durable.
        started: When the server started, on the monotonic clock.
        log: Where decisions and feedback are logged.
        writer: The counters of the writer.
        shown: Counts which arms come first; None: nobody asks.
        post_process: Applies business rules; None: there are none.
        features: Fetches features; None: they come with requests, and from the model.
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
        shown: ShownArms | None = None,
        features: FeatureFetcher | None = None,
        post_process: PostProcess | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._limits: Limits = settings.limits
        self._ids = ids
        self._counters = own
        self._predictions = metrics.PredictionCounters(own)
        self._stages = metrics.StageTimers(own)
        self._shown = shown
        self._features, self._post_process = features, post_process
        self._decided = own.layout.counters[metrics.DECISIONS]
        self._log = log
        self._writer = writer
        waits = settings.attribution is not None
        window, examination = settings.dedupe_window, settings.examination
        self._events = EventReader(ids, window, clock, examination, waits=waits)
        self._sampler = ThompsonSampler()
        self._predictor = Predictor(settings.rails, self._sampler)
        self._direct = DirectPredictions(ids, self._sampler, own, settings.limits, shown)
        self._switch: KillSwitch | None = None
        if settings.kill_switch is not None:
            self._switch = KillSwitch(settings.kill_switch, settings.fallback)
        self._variants: Variants | None = None
        self._store: PosteriorReader | PolicyReader | None = None
        self._waiting: WaitingDecisions | None = None
        if settings.attribution is not None and writing is not None:
            self._waiting = WaitingDecisions(writing, settings.attribution, examination, own, ids)
        self.rewards = RewardEndpoints(
            self.answering, self._events, writing, settings.limits.max_events, own, log, writer
        )
        self.arms = ArmEndpoints(
            self.answering, writing, settings.new_arm_prior, settings.limits.max_page, clock
        )
        self.status = StatusEndpoints(settings, self.answering, writing, counters, writer, started)

    def use_store(
        self,
        store: PosteriorReader | PolicyReader,
        model: str,
        base: str = "",
        candidate: tuple[PosteriorReader | PolicyReader, str, str] | None = None,
        share: float | None = None,
    ) -> None:
        """Answer from other stores, from the next request on.

        Args:
            store: The posteriors.
            model: The model's name.
            base: The first digits of the posteriors file's hash.
            candidate: The same of a candidate version; None: there is none.
            share: Its share of the traffic; None: that of the settings.
        """
        self._store = store
        self._events.use_model(store if isinstance(store, PolicyReader) else None)
        stable = self._variant(STABLE, store, model, base)
        other = None if candidate is None else self._variant(CANDIDATE, *candidate)
        share = self._settings.share if share is None else share
        self._variants = Variants(stable, other, share)
        recorder = None if self._log is None else stable.recorder
        self._direct.use(self._direct_table(self._variants), recorder)

    def _direct_table(self, variants: Variants) -> PosteriorTable | None:
        """Return the table if nothing else takes part in a prediction; None: something does."""
        store = variants.stable.store
        is_alone = variants.candidate is None and variants.stable.is_plain
        is_direct = is_alone and self._waiting is None
        if isinstance(store, PosteriorTable) and is_direct:
            return store if self._switch is None else None
        return None

    def predict_directly(self, body: bytes) -> bytes | None:
        """Answer a usual request for one prediction; None: `predict` has to."""
        return self._direct.answer(body)

    def _variant(
        self, name: str, store: PosteriorReader | PolicyReader, model: str, base: str
    ) -> Variant:
        reader = store if isinstance(store, PolicyReader) else None
        recorder = Recorder(self._log, self._settings.propensities, self._writer)
        recorder.use(None if reader is None else reader.spec, base)
        is_limited = not self._settings.rails.are_none or self._post_process is not None
        plain = reader is None and not is_limited
        return Variant(name, model, store, recorder, base, plain)

    def answering(self) -> Variants:
        """Return the versions that answer.

        Raises:
            RequestError: 503: there is none yet.
        """
        if self._variants is None:
            raise unavailable("the posteriors are still being loaded")
        return self._variants

    async def predict(self, request: Request) -> Response:
        """Rank candidates by Thompson sampling; a list is answered as a batch."""
        variants, timer = self.answering(), self._stages.begin()
        store = variants.stable.store
        document = decode(predict_decoder, request.body)
        if isinstance(document, PredictRequest):
            if document.candidates is None:
                await self._check_candidates(store, [document])
            elif len(document.candidates) > self._limits.max_candidates:
                raise self._too_many(len(document.candidates))
            timer.end(metrics.DECODE)
            arms = NO_ARM_FEATURES
            if self._features is not None:
                arms = (await self._fetch_features(store, [document], [""]))[0]
                timer.end(metrics.FEATURES)
            left = self._direct.take_left(request.body)
            answer = await self._predict(variants, document, "", arms, timer, logged=left)
            if self._waiting is not None:
                await self._waiting.keep([document], [answer])
            timer.end(metrics.PREDICT)
            response = Response(_encode(answer))
            timer.end(metrics.ENCODE)
            return response
        return await self._predict_all(variants, document)

    async def predict_batch(self, request: Request) -> Response:
        """Answer several predictions."""
        return await self._predict_all(self.answering(), decode(batch_decoder, request.body))

    async def _predict_all(self, variants: Variants, documents: list[PredictRequest]) -> Response:
        check_length(len(documents), self._limits.max_batch)
        await self._check_candidates(variants.stable.store, documents)
        places = [f"[{index}]." for index in range(len(documents))]
        arms = await self._fetch_features(variants.stable.store, documents, places)
        rows = zip(documents, places, arms, strict=True)
        answers = [await self._predict(variants, *row, self._stages.idle) for row in rows]
        if self._waiting is not None:
            await self._waiting.keep(documents, answers)
        return Response(_encode(answers))

    async def _fetch_features(
        self,
        store: PosteriorReader | PolicyReader,
        documents: Sequence[PredictRequest],
        places: Sequence[str],
    ) -> list[ArmFeatures]:
        """Complete requests with the features of the store, and return those of their arms."""
        if self._features is None:
            return [NO_ARM_FEATURES] * len(documents)
        for document, place in zip(documents, places, strict=True):
            check_prediction(document, self._limits, place)
            for arm in document.candidates or ():
                check_id(f"{place}candidates", arm)
        schema = store.schema if isinstance(store, PolicyReader) else NO_FEATURES
        every: Sequence[str] = ()
        if self._features.reads_arms(schema) and any(x.candidates is None for x in documents):
            every = await every_arm(store)
        return await self._features.complete(schema, documents, every)

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

    async def _predict(
        self,
        variants: Variants,
        request: PredictRequest,
        place: str,
        own: ArmFeatures,
        timer: metrics.StageTimer,
        *,
        logged: bool = False,
    ) -> Prediction:
        """Answer one request; `logged`: its propensities are logged in any case."""
        check_prediction(request, self._limits, place)
        variant = variants.stable if variants.candidate is None else variants.of(request)
        if self._switch is not None and (fixed := self._switch.arms()) is not None:
            found, mark = fallback(fixed, request), variant.recorder.mark()
            about = request.seed or 0, mark, place, own.named
            return self._answer(variants.stable, request, found, *about)
        is_special = variants.candidate is not None or not variant.is_plain
        if is_special or request.propensities or request.features is not None:
            return await self._predict_specially(variants, variant, request, place, own, timer)
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
        if self._shown is not None:
            self._shown.add(arms)
        if seed is not None and self._log is not None:
            wanted = logged or recorder.wants_propensities()
            whole = plain(fetched, arms, scores, propensities=wanted)
            self._check(whole)
            recorder.decision(decision_id, request, whole, seed, mark)
        count = count or 1
        share = UnknownShare(unknown_contexts / count, unknown_arms / count)
        return Prediction(decision_id, arms, scores, share)

    async def _predict_specially(
        self,
        variants: Variants,
        variant: Variant,
        request: PredictRequest,
        place: str,
        arms: ArmFeatures,
        timer: metrics.StageTimer,
    ) -> Prediction:
        """Answer with limits or rules, with propensities, by a model, or beside a candidate."""
        recorder = variant.recorder
        seed = recorder.seed() if request.seed is None else request.seed
        logged, mark = recorder.wants_propensities(), recorder.mark()
        wanted = Wanted(logged or request.propensities, logged)
        asked, decision = request, await self._begin(variant.store, request, place, arms)
        if decision is not None and self._post_process is not None:
            asked, wanted = decision.request, self._post_process.plan_policy(wanted)
        about = seed, place, wanted, arms.vectors
        found = await self._predictor.predict(variant.store, asked, *about)
        other = variants.find_alternative(request, variant)
        if other is not None and found.propensities is not None:
            found = await self._mix(found, *other, asked, place, arms)
        if decision is not None:
            found = decision.end(found, seed)
            timer.took(metrics.POST_PROCESS, decision.seconds)
        if request.propensities and found.propensities is None:
            raise RequestError(422, f"{place}{found.refusal}", "ask without propensities")
        answer = self._answer(variant, request, found, seed, mark, place, arms.named)
        if variants.candidate is not None:
            answer.version = variant.name
        return answer

    async def _begin(
        self,
        store: PosteriorReader | PolicyReader,
        request: PredictRequest,
        place: str,
        arms: ArmFeatures,
    ) -> Decision | None:
        """Return a decision that business rules may change; None: there are none."""
        if self._post_process is None:
            return None
        named = request.candidates
        every = await every_arm(store) if named is None else named

        def may_pin(arm: str) -> bool:
            is_there = not isinstance(store, PolicyReader) or store.arm(arm) is not None
            return is_there and arm not in self._settings.rails.blocked

        decision = self._post_process.begin(request, every, may_pin, arms.others)
        decision.refuse_propensities(place)
        return decision

    async def _mix(
        self,
        found: Predicted,
        other: Variant,
        share: float,
        request: PredictRequest,
        place: str,
        arms: ArmFeatures,
    ) -> Predicted:
        """Mix the propensities with those of a version that might have answered."""
        assert found.propensities is not None
        try:
            its = await self._predictor.ranks(other.store, request, found.arms, place, arms.vectors)
        except NoExactPropensities as error:
            return found._replace(propensities=None, refusal=error.message, first=None)
        return found._replace(propensities=mix(share, its, found.propensities), first=None)

    def _answer(
        self,
        variant: Variant,
        request: PredictRequest,
        found: Predicted,
        seed: int,
        mark: float,
        place: str,
        arms: Mapping[str, Named] = NO_ARM_FEATURES.named,
    ) -> Prediction:
        """Count and log a decision, and return the answer."""
        shown = {arm: arms[arm] for arm in found.arms if arm in arms}
        features = pack(request.features, shown, place)
        by_candidate = variant.name == CANDIDATE
        decision_id = self._ids.make(
            request.context, found.arms, features, by_candidate=by_candidate
        )
        count = len(found.candidates)
        self._counters.add(metrics.CANDIDATE_DECISIONS if by_candidate else metrics.DECISIONS)
        self._predictions.add(count, found.unknown_contexts, found.unknown_arms)
        if self._shown is not None:
            self._shown.add(found.arms)
        if self._log is not None:
            self._check(found)
            variant.recorder.decision(decision_id, request, found, seed, mark, arms=arms)
        count = max(count + (found.unknown_arms if self._is_model else 0), 1)
        share = UnknownShare(found.unknown_contexts / count, found.unknown_arms / count)
        answer = Prediction(decision_id, found.arms, found.scores, share)
        if request.propensities and found.propensities is not None:
            answer.propensities = variant.recorder.document(found.propensities, found.source)
        return answer

    def _check(self, found: Predicted) -> None:
        """Count whether the first arm fits the propensities, if they were computed."""
        if found.first is not None and found.arms:
            calibration.count(self._counters, found.candidates, found.first, found.arms[0])

    @property
    def _is_model(self) -> bool:
        return isinstance(self._store, PolicyReader)


async def every_arm(store: PosteriorReader | PolicyReader) -> list[str]:
    """Return the ids of all arms."""
    if isinstance(store, PolicyReader):
        return store.names()
    count, _ = await settle(store.size())
    return [row[0] for row in await settle(store.arms(None, count or 1))]

"""From a feedback event of a client to one that can be committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

import msgspec

from mlkit.bandit.server.api.messages import (
    Amendment,
    FeedbackEvent,
    check_amendment,
    check_event,
)
from mlkit.bandit.server.decisions.decision import Decision, DecisionIds, InvalidDecision
from mlkit.bandit.server.decisions.policy_reader import PolicyReader
from mlkit.bandit.server.features.packed import for_arm, pack, unpack
from mlkit.bandit.server.feedback.attribution import decision_key, settled_key
from mlkit.bandit.server.learning.records import Event
from mlkit.errors import BadData
from mlkit.web.errors import RequestError

SKEW = 60.0
"""Seconds that a decision may be ahead of the clock."""
_HASH = 16


class EventReader:
    """Checks events and the decisions that they name.

    Args:
        ids: Resolves decision ids.
        window: Seconds for which a decision accepts feedback.
        clock: Returns the seconds since 1970.
        examination: Probabilities that an arm is examined at each position, the last one for all
            further ones; empty: it always is.
        waits: Whether decisions wait for rewards.
    """

    def __init__(
        self,
        ids: DecisionIds,
        window: float,
        clock: Callable[[], float],
        examination: Sequence[float] = (),
        *,
        waits: bool = False,
    ) -> None:
        self._ids = ids
        self._examination = examination
        self._window = window
        self._waits = waits
        self._clock = clock
        self._model: PolicyReader | None = None

    def use_model(self, model: PolicyReader | None) -> None:
        """Check rewards and features by another model; None: Beta posteriors."""
        self._model = model

    def read(self, event: FeedbackEvent, place: str) -> Event:
        """Return an event with its context, and the hashes by which a repeat is known.

        Raises:
            RequestError: 422: a value is wrong, the decision id is not ours or is of the
                future, or the decision did not show the arm; 410: it is too old.
        """
        check_event(event, place, _UNIT if self._model is None else self._model.spec.rewards)
        context, decided, features = event.context, 0.0, self._features(event, place)
        examined, by_candidate = None, False
        if event.decision_id is not None:
            decision = self._decision(event.decision_id, event.arm, place)
            context, decided = decision.context, decision.at
            features = for_arm(decision.features, event.arm)
            by_candidate = decision.by_candidate
            examined = self._look_up_examination(decision, event.arm)
        self._check(features, event.arm, place)
        content = (event.decision_id, context, event.arm, event.reward + 0.0)
        own = () if event.features is None else (features,)
        body = msgspec.msgpack.encode((*content, *own))
        name = _hash(event_id(event).encode())
        now = self._clock()
        earned = min(decided, now) if decided else now
        about = context, event.arm, event.reward, decided, features, examined, earned
        settles = self._settles(event)
        return Event(name, _hash(body), *about, settles, by_candidate=by_candidate)

    def _settles(self, event: FeedbackEvent) -> bytes | None:
        if not self._waits or event.decision_id is None:
            return None
        return settled_key(decision_key(event.decision_id), event.arm)

    def read_amendment(self, amendment: Amendment, place: str) -> Event:
        """Return an amendment as an event of its own.

        Raises:
            RequestError: 422: a value is wrong, or the policy cannot take rewards back.
        """
        spec = None if self._model is None else self._model.spec
        check_amendment(amendment, place, _UNIT if spec is None else spec.rewards)
        if spec is not None and not spec.takes_back:
            error = f"{place}amends: the policy {spec} cannot take rewards back"
            raise RequestError(422, error, "nothing was accepted; fit the logs again without them")
        target = _hash(amendment.amends.encode())
        body = msgspec.msgpack.encode(("amendment", amendment.amends, amendment.reward))
        name = _hash(amendment.event_id.encode())
        return Event(name, _hash(body), None, "", amendment.reward, amends=target)

    def _look_up_examination(self, decision: Decision, arm: str) -> float | None:
        position = decision.position(arm)
        if position is None or not self._examination:
            return None
        return self._examination[min(position, len(self._examination) - 1)]

    @staticmethod
    def _features(event: FeedbackEvent, place: str) -> bytes | None:
        return pack(event.features, {}, place)

    def _check(self, features: bytes | None, arm: str, place: str) -> None:
        """Refuse features that the model cannot learn from."""
        if self._model is None:
            if features is not None:
                raise RequestError(422, f"{place}features: the policy reads none", _NO_FEATURES)
            return
        try:
            context, arms = unpack(features)
            self._model.check_context(context)
            if arm in arms:
                self._model.check_arm(arms[arm])
        except BadData as error:
            hint = error.hint or "nothing was accepted; send the features of the context"
            raise RequestError(422, f"{place}{error.message}", hint) from None

    def _decision(self, decision_id: str, arm: str, place: str) -> Decision:
        try:
            decision = self._ids.resolve(decision_id)
        except InvalidDecision:
            hint = "send the decision_id of an answer of /predict unchanged"
            error = f"{place}decision_id: not made by this server"
            raise RequestError(422, error, hint) from None
        self._check_age(decision.at, place)
        if not decision.has_shown(arm):
            hint = "nothing was accepted; send one of the arms that the decision returned"
            error = f"{place}arm: the decision did not show {arm!r:.80}"
            raise RequestError(422, error, hint)
        return decision

    def _check_age(self, decided: float, place: str) -> None:
        now = self._clock()
        if decided < now - self._window:
            days = self._window / 86400
            error = f"{place}decision_id: the decision is older than {days:g} days"
            raise RequestError(410, error, "--dedupe-window sets how old it may be")
        if decided > now + SKEW:
            ahead = decided - now
            error = f"{place}decision_id: the decision is {ahead:.0f} seconds in the future"
            hint = "the server's clock was set back: send it again when the clock has caught up"
            raise RequestError(422, error, hint)


_UNIT = (0.0, 1.0)
_NO_FEATURES = "send a context, or serve a model with features"


def event_id(event: FeedbackEvent) -> str:
    """Return an event's id: the client's own, or the decision and the arm."""
    return event.event_id if event.event_id is not None else f"{event.decision_id}:{event.arm}"


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=_HASH).digest()

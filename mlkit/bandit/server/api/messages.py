"""What clients send and get: JSON documents, and the limits of their values.

The constraints in the annotations describe the documents for OpenAPI; they are checked here, with
errors that name the place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mlkit.bandit.defaults import MAX_BODY, MAX_CANDIDATES, MAX_K
from mlkit.bandit.posteriors.posterior import ID_BYTES
from mlkit.web.bodies import LIMITS_HINT, out_of_range
from mlkit.web.errors import RequestError

EVENT_ID_BYTES = 8192
"""The longest event id: by default it is a decision id and an arm."""
PARAMETERS = 1e-300, 1e15
MOST_PULLS = 10**15


def _describe(text: str, **schema: Any) -> Meta:
    return Meta(description=text, extra_json_schema=schema)


def id_schema(most: int = ID_BYTES) -> dict[str, Any]:
    """Return the schema of an id; JSON Schema counts characters, of up to 4 bytes."""
    return {"type": "string", "minLength": 1, "maxLength": most // 4}


_ID = _describe(f"1 to {ID_BYTES} bytes of UTF-8.", **id_schema())
_SHARE = {"minimum": 0, "maximum": 1}
_PARAMETER = {"minimum": PARAMETERS[0], "maximum": PARAMETERS[1]}
_PULLS = {"minimum": 0, "maximum": MOST_PULLS}
Id = Annotated[str, _ID]
Features = dict[str, Any]
"""Features by name; the model checks the values, since generated clients know no unions."""
_FEATURES = _describe("Features of the context: texts, numbers or truth, by name.")


@dataclass(frozen=True)
class Limits:
    """What one request may ask for.

    Attributes:
        max_body: Bytes of a body.
        max_candidates: Candidates of a body, over all its predictions; without candidates all
            arms are candidates, and count.
        max_batch: Predictions of a body.
        max_k: Arms that one prediction returns.
        max_events: Feedback events of a body.
        max_page: Arms on a page of `GET /arms`.
    """

    max_body: int = MAX_BODY
    max_candidates: int = MAX_CANDIDATES
    max_batch: int = 100
    max_k: int = MAX_K
    max_events: int = 1_000
    max_page: int = 1_000

    def bounds(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the keywords that they add to the schemas of fields."""
        return {
            "PredictRequest": {
                "candidates": {"maxItems": self.max_candidates},
                "k": {"maximum": self.max_k},
            }
        }


class PredictRequest(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One prediction that a client asks for."""

    context: Id | None = None
    candidates: (
        Annotated[
            list[Id],
            _describe("Arms to choose from (default: all arms). One named twice is drawn twice."),
        ]
        | None
    ) = None
    k: Annotated[int, _describe("How many arms to return.", minimum=1)] = 10
    seed: (
        Annotated[
            int,
            _describe(
                "Makes the answer repeatable while the posteriors stay the same.",
                minimum=0,
                maximum=(1 << 64) - 1,
                format="uint64",
            ),
        ]
        | None
    ) = None
    features: Annotated[Features, _FEATURES] | None = None
    propensities: Annotated[bool, _describe("Whether to return the propensities.")] = False


class UnknownShare(msgspec.Struct, gc=False):
    """Shares of the candidates that fell back."""

    contexts: Annotated[float, _describe("Without a posterior in the context.", **_SHARE)]
    arms: Annotated[
        float, _describe("Without a posterior of their own: the prior was used.", **_SHARE)
    ]


class Propensities(msgspec.Struct, gc=False):
    """The exact probabilities of a decision, in the order of its arms."""

    first: Annotated[list[float], _describe("That the arm is first.")]
    included: Annotated[list[float], _describe("That it is among those shown.")]
    position: Annotated[list[float], _describe("That it is where it is shown.")]
    slate: Annotated[float, _describe("That all are where they are shown.", **_SHARE)]
    error: Annotated[
        float | None,
        _describe("Relative error of the integration; null: a closed form, or counted draws."),
    ] = None


class Prediction(msgspec.Struct, gc=False):
    """The best arms first, with the scores that ranked them."""

    decision_id: Annotated[str, _describe("Send it back with the feedback.")]
    arms: Annotated[list[str], _describe("Best first.")]
    scores: Annotated[list[float], _describe("Their draws, or the scores of the policy.")]
    unknown: UnknownShare
    propensities: Propensities | msgspec.UnsetType = msgspec.UNSET
    version: (
        Annotated[str, _describe("Beside a candidate: `stable` or `candidate`.")]
        | msgspec.UnsetType
    ) = msgspec.UNSET


class FeedbackEvent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The reward of an arm: of a decision, or with an `event_id` and perhaps a `context`."""

    arm: Id
    reward: Annotated[float, _describe("From 0 to 1; by the policy, counts or any number.")]
    decision_id: (
        Annotated[str, _describe("From the answer that showed the arm.", minLength=1)] | None
    ) = None
    context: Id | None = None
    event_id: (
        Annotated[
            str,
            _describe(
                f"1 to {EVENT_ID_BYTES} bytes of UTF-8; by default the decision and the arm.",
                **id_schema(EVENT_ID_BYTES),
            ),
        ]
        | None
    ) = None
    features: Annotated[Features, _FEATURES] | None = None


class FeedbackReceipt(msgspec.Struct, gc=False):
    """That an event is on disk."""

    event_id: str
    duplicate: Annotated[bool, _describe("It was accepted before; nothing changed.")]
    ignored: Annotated[bool, _describe("The arm was removed; nothing changed.")]
    queued: (
        Annotated[bool, _describe("It waits on this host's disk for the fleet's store.")]
        | msgspec.UnsetType
    ) = msgspec.UNSET


class Amendment(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Another reward for an event that was accepted, or none: it is withdrawn."""

    event_id: Annotated[
        str,
        _describe(
            f"Of the amendment itself: 1 to {EVENT_ID_BYTES} bytes of UTF-8.",
            **id_schema(EVENT_ID_BYTES),
        ),
    ]
    amends: Annotated[
        str,
        _describe("The event's id; by default DECISION_ID:ARM.", **id_schema(EVENT_ID_BYTES)),
    ]
    reward: Annotated[float | None, _describe("The right reward; null: it is withdrawn.")]


class ArmParameters(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The posterior to set: both a and b, or neither for the prior."""

    a: Annotated[float, _describe("Successes and prior.", **_PARAMETER)] | None = None
    b: Annotated[float, _describe("Failures and prior.", **_PARAMETER)] | None = None
    pulls: Annotated[int, _describe("Rewards that it rests on.", **_PULLS)] = 0
    features: Annotated[Features, _describe("Of the arm, for a shared model.")] | None = None


class Arm(msgspec.Struct, gc=False):
    """An arm and its posterior; of a model, without parameters."""

    arm: str
    a: Annotated[float, Meta(extra_json_schema=_PARAMETER)] | msgspec.UnsetType = msgspec.UNSET
    b: Annotated[float, Meta(extra_json_schema=_PARAMETER)] | msgspec.UnsetType = msgspec.UNSET
    pulls: Annotated[int, Meta(extra_json_schema=_PULLS)] = 0
    mean: Annotated[float, _describe("Expected reward.")] | msgspec.UnsetType = msgspec.UNSET


class ArmsPage(msgspec.Struct, gc=False):
    """Arms in the order of their UTF-8 bytes."""

    arms: list[Arm]
    next: Annotated[
        str | None, _describe("Send it as `after` to get the next page; null: there is none.")
    ]


class Version(msgspec.Struct, gc=False):
    """A version of the model, and what its decisions earned since the server started.

    In a fleet: on all hosts, since the candidate started.
    """

    model: str
    policy: str
    file: Annotated[str, _describe("The first digits of the posteriors file's hash.")]
    decisions: int
    rewards: Annotated[float, _describe("Sum of the rewards of its decisions.")]
    mean: Annotated[float | None, _describe("Per decision; null: there is none.")]
    error: Annotated[float | None, _describe("Standard error of the mean.")]


class Versions(msgspec.Struct, gc=False):
    """The versions of the model beside one another; without a candidate it is left out."""

    stable: Version
    share: Annotated[float, _describe("Of users whom the candidate answers.", **_SHARE)]
    difference: Annotated[float | None, _describe("The candidate's mean less the stable one's.")]
    p: Annotated[float | None, _describe("P-value of no difference (Welch's test).", **_SHARE)]
    candidate: Version | msgspec.UnsetType = msgspec.UNSET


class FleetHealth(msgspec.Struct, gc=False):
    """How current a host of a fleet is."""

    name: str
    connected: Annotated[bool, _describe("Whether the fleet's store answers.")]
    stale: Annotated[
        float | None,
        _describe("Seconds since this host had all that the fleet had; null: not yet."),
    ]
    entries: Annotated[int, _describe("Entries of the fleet's stream that this host has.")]
    queued: Annotated[int, _describe("Messages that wait on this host's disk for the store.")]


class Health(msgspec.Struct, gc=False):
    """That predictions can be served."""

    status: Literal["ok"]
    model: str
    arms: int
    uptime: Annotated[float, _describe("Seconds since the start of the server.")]
    fleet: Annotated[FleetHealth, _describe("Of a host of a fleet.")] | msgspec.UnsetType = (
        msgspec.UNSET
    )


predict_decoder = msgspec.json.Decoder(PredictRequest | list[PredictRequest])
batch_decoder = msgspec.json.Decoder(list[PredictRequest])
feedback_decoder = msgspec.json.Decoder(FeedbackEvent | list[FeedbackEvent])
events_decoder = msgspec.json.Decoder(list[FeedbackEvent])
amendment_decoder = msgspec.json.Decoder(Amendment | list[Amendment])
arm_decoder = msgspec.json.Decoder(ArmParameters)


def check_id(field: str, text: str, most: int = ID_BYTES) -> None:
    """Refuse an id that is empty or too long.

    Raises:
        RequestError: 422 with the field.
    """
    size = len(text) if text.isascii() else len(text.encode())
    if not 0 < size <= most:
        raise RequestError(
            422, f"{field}: {size} bytes, expected 1 to {most} bytes of UTF-8", LIMITS_HINT
        )


def check_prediction(request: PredictRequest, limits: Limits, place: str = "") -> None:
    """Refuse a prediction that is out of the limits; the ids are checked by the fetch.

    Raises:
        RequestError: 422 with the field.
    """
    if not 1 <= request.k <= limits.max_k:
        raise out_of_range(f"{place}k", request.k, f"1 to {limits.max_k}")
    if request.seed is not None and not 0 <= request.seed < 1 << 64:
        raise out_of_range(f"{place}seed", request.seed, "a 64-bit unsigned integer")
    if request.context is not None:
        check_id(f"{place}context", request.context)


def check_event(
    event: FeedbackEvent, place: str = "", rewards: tuple[float, float] = (0, 1)
) -> None:
    """Refuse an event with a wrong value, or one that names no decision and no context.

    Args:
        event: The event.
        place: Where it is in the body.
        rewards: The range of rewards.

    Raises:
        RequestError: 422 with the field.
    """
    check_id(f"{place}arm", event.arm)
    if not rewards[0] <= event.reward <= rewards[1]:
        expected = f"{rewards[0]:g} to {rewards[1]:g}"
        raise out_of_range(f"{place}reward", event.reward, expected)
    if event.context is not None:
        check_id(f"{place}context", event.context)
    if event.event_id is not None:
        check_id(f"{place}event_id", event.event_id, EVENT_ID_BYTES)
    if event.decision_id is None and event.event_id is None:
        hint = "an event without a decision_id needs an event_id of the client"
        raise RequestError(422, f"{place}event_id: missing", hint)
    if event.decision_id is not None and event.context is not None:
        hint = "the decision_id carries its context: leave one of them out"
        raise RequestError(422, f"{place}context: sent beside a decision_id", hint)
    if event.decision_id is not None and event.features is not None:
        hint = "the decision_id carries the features: leave one of them out"
        raise RequestError(422, f"{place}features: sent beside a decision_id", hint)


def check_amendment(amendment: Amendment, place: str, rewards: tuple[float, float]) -> None:
    """Refuse an amendment with a wrong value.

    Raises:
        RequestError: 422 with the field.
    """
    check_id(f"{place}event_id", amendment.event_id, EVENT_ID_BYTES)
    check_id(f"{place}amends", amendment.amends, EVENT_ID_BYTES)
    if amendment.reward is not None and not rewards[0] <= amendment.reward <= rewards[1]:
        expected = f"null, or {rewards[0]:g} to {rewards[1]:g}"
        raise out_of_range(f"{place}reward", amendment.reward, expected)


def check_arm(parameters: ArmParameters) -> None:
    """Refuse parameters that are not those of a posterior.

    Raises:
        RequestError: 422 with the field.
    """
    if (parameters.a is None) != (parameters.b is None):
        missing = "a" if parameters.a is None else "b"
        raise RequestError(422, f"{missing}: missing", "send both a and b, or neither")
    low, high = PARAMETERS
    for field in ("a", "b"):
        value = getattr(parameters, field)
        if value is not None and not low <= value <= high:
            raise out_of_range(field, value, f"a number in [{low:g}, {high:g}]")
    if not 0 <= parameters.pulls <= MOST_PULLS:
        raise out_of_range("pulls", parameters.pulls, f"a number in [0, {MOST_PULLS:g}]")


def check_length(count: int, most: int) -> None:
    """Refuse a batch of no or too many elements."""
    if not 1 <= count <= most:
        raise out_of_range("the list", count, f"1 to {most} elements")

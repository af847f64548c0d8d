"""What clients send and get: JSON documents, their limits, and the errors they lead to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

ID_BYTES = 256
"""The longest arm or context id, in bytes of UTF-8."""
EVENT_ID_BYTES = 1024
"""The longest event id: by default it is a decision id and an arm."""
_PARAMETERS = 1e-300, 1e15
T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """What one request may ask for.

    Attributes:
        max_body: Bytes of a body.
        max_candidates: Candidates of a body, over all its predictions.
        max_batch: Predictions of a body.
        max_k: Arms that one prediction gives.
        max_events: Feedback events of a body.
        max_page: Arms on a page of `GET /arms`.
    """

    max_body: int = 1 << 20
    max_candidates: int = 10_000
    max_batch: int = 100
    max_k: int = 1_000
    max_events: int = 1_000
    max_page: int = 1_000


class RequestError(Exception):
    """A request that is answered with an error document.

    Args:
        status: The HTTP status.
        error: One line that says what is wrong, and where.
        hint: One line that says what to do about it.
        headers: Further response headers.
    """

    def __init__(
        self, status: int, error: str, hint: str, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.hint = hint
        self.headers = headers


def unavailable(error: str) -> RequestError:
    """Give the error of a request that may well succeed when it is sent again."""
    return RequestError(503, error, "try again in a moment", ((b"retry-after", b"1"),))


class PredictRequest(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One prediction that a client asks for."""

    context: str | None = None
    candidates: list[str] | None = None
    k: int = 10
    seed: int | None = None


class UnknownShare(msgspec.Struct, gc=False):
    """Shares of the candidates: without a posterior in the context; without one of their own."""

    contexts: float
    arms: float


class Prediction(msgspec.Struct, gc=False):
    """The best arms first, with the draws that ranked them."""

    decision_id: str
    arms: list[str]
    scores: list[float]
    unknown: UnknownShare


class FeedbackEvent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The reward that an arm got."""

    arm: str
    reward: float
    decision_id: str | None = None
    context: str | None = None
    event_id: str | None = None


class FeedbackReceipt(msgspec.Struct, gc=False):
    """That an event is on disk; `duplicate`: it was there before; `ignored`: its arm is gone."""

    event_id: str
    duplicate: bool
    ignored: bool


class ArmParameters(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The posterior that `PUT /arms/{id}` sets; without `a` and `b`, the prior."""

    a: float | None = None
    b: float | None = None
    pulls: int = 0


class ArmDocument(msgspec.Struct, gc=False):
    """An arm and its posterior."""

    arm: str
    a: float
    b: float
    pulls: float
    mean: float


class ArmsPage(msgspec.Struct, gc=False):
    """Arms in the order of their UTF-8 bytes; `next`: give it as `after` to go on."""

    arms: list[ArmDocument]
    next: str | None


predict_decoder = msgspec.json.Decoder(PredictRequest | list[PredictRequest])
feedback_decoder = msgspec.json.Decoder(FeedbackEvent | list[FeedbackEvent])
arm_decoder = msgspec.json.Decoder(ArmParameters)

_PLACE = re.compile(r" - at `\$(.*)`$")
_POSITION = re.compile(r"\(byte (\d+)\)")


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Read a body.

    Raises:
        RequestError: 400 with the position if it is no JSON, 422 with the field if it is
            another document.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _wrong_document(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _no_json(body, error) from None


def _wrong_document(message: str) -> RequestError:
    place = _PLACE.search(message)
    field = place[1].lstrip(".") if place else ""
    found = _PLACE.sub("", message)
    where = f"{field}: {found}" if field else found
    return RequestError(422, where, "GET /openapi.json describes the document")


def _no_json(body: bytes, error: Exception) -> RequestError:
    if isinstance(error, UnicodeDecodeError):
        valid = body.decode("utf-8", errors="ignore").encode()
        reason = f"not UTF-8 (byte {_first_difference(valid, body)})"
    elif not body.strip():
        reason = "an empty body (byte 0)"
    else:
        reason = str(error) if _POSITION.search(str(error)) else f"{error} (byte {len(body)})"
    return RequestError(400, f"malformed JSON: {reason}", "the body is one JSON document in UTF-8")


def _first_difference(one: bytes, other: bytes) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (x, y) in pairs if x != y), min(len(one), len(other)))


def out_of_range(field: str, found: Any, expected: str) -> RequestError:
    """Give the error of a field with the right type and a wrong value."""
    return RequestError(422, f"{field}: {found!r:.80}, expected {expected}", _LIMITS_HINT)


_LIMITS_HINT = "GET /openapi.json lists the limits"


def check_id(field: str, text: str, most: int = ID_BYTES) -> None:
    """Refuse an id that is empty or too long.

    Raises:
        RequestError: 422 with the field.
    """
    size = len(text) if text.isascii() else len(text.encode())
    if not 0 < size <= most:
        raise RequestError(
            422, f"{field}: {size} bytes, expected 1 to {most} bytes of UTF-8", _LIMITS_HINT
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


def check_event(event: FeedbackEvent, place: str = "") -> None:
    """Refuse an event with a wrong value, or one that names no decision and no context.

    Raises:
        RequestError: 422 with the field.
    """
    check_id(f"{place}arm", event.arm)
    if not 0 <= event.reward <= 1:
        raise out_of_range(f"{place}reward", event.reward, "0 to 1")
    if event.context is not None:
        check_id(f"{place}context", event.context)
    if event.event_id is not None:
        check_id(f"{place}event_id", event.event_id, EVENT_ID_BYTES)
    if event.decision_id is None and event.event_id is None:
        hint = "an event without a decision_id carries an event_id of the client's"
        raise RequestError(422, f"{place}event_id: missing", hint)
    if event.decision_id is not None and event.context is not None:
        hint = "the decision_id knows its context: leave one of them out"
        raise RequestError(422, f"{place}context: given beside a decision_id", hint)


def check_arm(parameters: ArmParameters) -> None:
    """Refuse parameters that are no posterior.

    Raises:
        RequestError: 422 with the field.
    """
    if (parameters.a is None) != (parameters.b is None):
        missing = "a" if parameters.a is None else "b"
        raise RequestError(422, f"{missing}: missing", "give both a and b, or neither")
    low, high = _PARAMETERS
    for field in ("a", "b"):
        value = getattr(parameters, field)
        if value is not None and not low <= value <= high:
            raise out_of_range(field, value, f"a number in [{low:g}, {high:g}]")
    if not 0 <= parameters.pulls <= high:
        raise out_of_range("pulls", parameters.pulls, f"a number in [0, {high:g}]")

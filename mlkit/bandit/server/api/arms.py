"""The endpoints of arms: listed, shown, added, set and removed."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec

from mlkit.bandit.server.api.messages import (
    Arm,
    ArmParameters,
    ArmsPage,
    arm_decoder,
    check_arm,
    check_id,
)
from mlkit.bandit.server.candidates.variants import Variants
from mlkit.bandit.server.decisions.policy_reader import ArmState, PolicyReader
from mlkit.bandit.server.features.packed import pack
from mlkit.bandit.server.feedback.commits import Writing, answer
from mlkit.bandit.server.learning.records import Change, Kind
from mlkit.bandit.server.processes.protocol import ArmChanged
from mlkit.bandit.stores.store import PosteriorReader, settle
from mlkit.errors import BadData
from mlkit.web.application import Request, Response
from mlkit.web.bodies import decode, out_of_range
from mlkit.web.errors import RequestError

_encode = msgspec.json.Encoder().encode


class ArmEndpoints:
    """What clients may do with arms.

    Args:
        answering: Returns the versions that answer.
        writing: Makes changes durable; None: nothing may be changed.
        prior: The Beta prior of new arms; None: that of the posteriors.
        most: The most arms of a page.
        clock: Returns the seconds since 1970.
    """

    def __init__(
        self,
        answering: Callable[[], Variants],
        writing: Writing | None,
        prior: tuple[float, float] | None,
        most: int,
        clock: Callable[[], float],
    ) -> None:
        self._answering, self._writing = answering, writing
        self._prior, self._most, self._clock = prior, most, clock

    def _store(self) -> PosteriorReader | PolicyReader:
        return self._answering().stable.store

    async def page(self, request: Request) -> Response:
        """List the arms, a page at a time."""
        store = self._store()
        query = _query(request.scope["query_string"])
        limit = _whole_number(query.get("limit", "100"), self._most)
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

    async def get(self, request: Request) -> Response:
        """Show one arm."""
        arm = _arm_of(request)
        store = self._store()
        if isinstance(store, PolicyReader):
            state = store.arm(arm)
            document = None if state is None else _state_document(state)
        else:
            found = await settle(store.arm(arm))
            document = None if found is None else _arm_document(arm, *found)
        if document is None:
            raise _no_arm(arm)
        return Response(_encode(document))

    async def put(self, request: Request) -> Response:
        """Add an arm, or set its posterior."""
        store = self._store()
        arm = _arm_of(request)
        parameters = decode(arm_decoder, request.body or b"{}")
        check_arm(parameters)
        if isinstance(store, PolicyReader):
            return await self._put_into_model(store, arm, parameters)
        if parameters.features is not None:
            raise RequestError(422, "features: the policy reads none", "send a and b, or nothing")
        a, b = parameters.a, parameters.b
        if a is None or b is None:
            a, b = self._prior or store.prior
        put = Change(Kind.PUT, None, arm, a, b, parameters.pulls, at=self._clock())
        reply = await self._change(put)
        document = _arm_document(arm, a, b, parameters.pulls)
        return Response(_encode(document), 200 if reply.existed else 201)

    async def _put_into_model(
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
        features = pack(named, {}, "")
        put = Change(Kind.PUT, None, arm, features=features, at=self._clock())
        reply = await self._change(put)
        return Response(_encode(Arm(arm)), 200 if reply.existed else 201)

    async def remove(self, request: Request) -> Response:
        """Remove an arm and all that is known of it."""
        self._store()
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

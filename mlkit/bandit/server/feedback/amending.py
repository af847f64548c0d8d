"""`POST /feedback/amend`: rewards that turn out to be others, or are withdrawn."""

from __future__ import annotations

import msgspec

from mlkit.bandit.server.api.messages import Amendment, FeedbackReceipt, amendment_decoder
from mlkit.bandit.server.decisions.decision_log import DecisionLog
from mlkit.bandit.server.feedback.commits import Writing, commit
from mlkit.bandit.server.feedback.events import EventReader
from mlkit.bandit.server.learning.records import Effect
from mlkit.web.application import Request, Response
from mlkit.web.bodies import decode, out_of_range

_encode = msgspec.json.Encoder().encode


class Amendments:
    """Accepts amendments of events.

    Args:
        events: Checks them.
        writing: Makes changes durable.
        log: Where they are logged; None: nowhere.
        most: The most amendments of a body.
    """

    def __init__(
        self, events: EventReader, writing: Writing, log: DecisionLog | None, most: int
    ) -> None:
        self._events, self._writing, self._log, self._most = events, writing, log, most

    async def amend(self, request: Request) -> Response:
        """Accept one amendment, or several, all or none."""
        document = decode(amendment_decoder, request.body)
        if isinstance(document, Amendment):
            return Response(_encode((await self._accept([document], [""]))[0]))
        if not 1 <= len(document) <= self._most:
            raise out_of_range("the list", len(document), f"1 to {self._most} elements")
        places = [f"[{index}]." for index in range(len(document))]
        return Response(_encode(await self._accept(document, places)))

    async def _accept(
        self, amendments: list[Amendment], places: list[str]
    ) -> list[FeedbackReceipt]:
        pairs = zip(amendments, places, strict=True)
        read = [self._events.read_amendment(*each) for each in pairs]
        accepted = await commit(self._writing, read, places)
        rows = zip(amendments, *accepted.outcomes(), strict=True)
        return [self._receipt(*row) for row in rows]

    def _receipt(
        self, amendment: Amendment, repeat: bool, ignored: bool, replaced: Effect | None
    ) -> FeedbackReceipt:
        if self._log is not None and replaced is not None and not ignored:
            about = amendment.event_id, amendment.amends, amendment.reward
            self._log.amendment(*about, replaced)
        return FeedbackReceipt(amendment.event_id, repeat, ignored)

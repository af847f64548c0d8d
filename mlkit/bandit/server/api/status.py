"""The endpoints of the server itself: its health, its metrics, and its versions of the model."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import msgspec

from mlkit.bandit.server import metrics
from mlkit.bandit.server.api.messages import FleetHealth, Health
from mlkit.bandit.server.candidates.variants import Variants
from mlkit.bandit.server.candidates.versions import compare
from mlkit.bandit.server.decisions.policy_reader import PolicyReader
from mlkit.bandit.server.feedback.commits import Writing, answer
from mlkit.bandit.server.fleet.health import fleet_gauges, fleet_health
from mlkit.bandit.server.processes.protocol import Switched
from mlkit.bandit.server.settings import Settings
from mlkit.bandit.stores.store import PosteriorReader, settle
from mlkit.web.application import Request, Response
from mlkit.web.errors import RequestError
from mlkit.web.metrics import CONTENT_TYPE, Counters, Gauge, SharedCounters, exposition

_encode = msgspec.json.Encoder().encode


class StatusEndpoints:
    """How the server is, and which version of the model answers.

    Args:
        settings: The server's settings.
        answering: Returns the versions that answer.
        writing: Switches versions; None: nothing may be changed.
        counters: The counters of all processes.
        writer: Those of the writer.
        started: When the server started, on the monotonic clock.
    """

    def __init__(
        self,
        settings: Settings,
        answering: Callable[[], Variants],
        writing: Writing | None,
        counters: SharedCounters,
        writer: Counters | None,
        started: float,
    ) -> None:
        self._settings, self._answering, self._writing = settings, answering, writing
        self._all_counters, self._writer = counters, writer
        self._started = started

    def _store(self) -> PosteriorReader | PolicyReader:
        return self._answering().stable.store

    async def health(self, request: Request) -> Response:
        """Report whether predictions can be served."""
        arms, _ = await settle(self._store().size())
        model = self._answering().stable.model
        health = Health("ok", model, arms, self._uptime())
        if (fleet := self._fleet()) is not None:
            health.fleet = fleet
        return Response(_encode(health))

    def _fleet(self) -> FleetHealth | None:
        fleet, writer = self._settings.fleet, self._writer
        return None if fleet is None or writer is None else fleet_health(fleet.name, writer)

    async def versions(self, request: Request) -> Response:
        """Compare the versions of the model."""
        return Response(_encode(compare(self._answering(), self._all_counters)))

    async def promote(self, request: Request) -> Response:
        """Let the candidate take the stable version's place."""
        return await self._switch(promote=True)

    async def roll_back(self, request: Request) -> Response:
        """Forget the candidate."""
        return await self._switch(promote=False)

    async def _switch(self, *, promote: bool) -> Response:
        self._answering()
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
        if (fleet := self._fleet()) is not None:
            gauges |= fleet_gauges(fleet)
        with contextlib.suppress(RequestError):  # While the posteriors are being loaded.
            arms, posteriors = await settle(self._store().size())
            gauges["arms"] = Gauge("Arms that can be recommended.", arms)
            gauges["context_posteriors"] = Gauge("(context, arm) posteriors.", posteriors)
        body = exposition(self._all_counters, metrics.collect(gauges, in_fleet=fleet is not None))
        return Response(body, headers=((b"content-type", CONTENT_TYPE),))

    def _uptime(self) -> float:
        return time.monotonic() - self._started

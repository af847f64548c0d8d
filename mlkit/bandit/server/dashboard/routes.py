"""The page of the dashboard, the document behind it, and an event whenever that changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mlkit.bandit.server.dashboard.documents import Overview
from mlkit.bandit.server.dashboard.overview import Overviews
from mlkit.web.application import Answer, Operation, Request, Response, Route
from mlkit.web.events import EventStream, Feed
from mlkit.web.pages import Pages

PAGES = Path(__file__).parent / "pages"
_LOOK_EVERY = 1.0


class Dashboard:
    """Answers with what a server does.

    Attributes:
        pages: Templates and assets.

    Args:
        overviews: Makes the document.
        secured: Whether callers need a token.
    """

    def __init__(self, overviews: Overviews, *, secured: bool) -> None:
        self._overviews, self._secured = overviews, secured
        self._feed = Feed(interval=_LOOK_EVERY)
        self.pages = Pages(PAGES)

    def close(self) -> None:
        """End all streams of events."""
        self._feed.close()

    async def follow(self) -> None:
        """Notify watchers of changes, for ever; while nobody watches it costs nothing."""
        before, has_changed = self._overviews.signature(), False
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if not len(self._feed):
                continue
            now, had_changed = self._overviews.signature(), has_changed
            has_changed, before = now != before, now
            # And once more: what was asked for just after a change may have been made before it.
            if has_changed or had_changed:
                self._feed.publish("overview", {"changed": True})

    def routes(self, role: str) -> dict[str, Route]:
        """Return the paths: the page is open and holds no data, the rest needs a role."""
        overview = Operation(
            self._overview,
            id="getOverview",
            summary="Summarise what all workers do: arms, rewards, latency, propensities, drift.",
            tag="server",
            role=role,
            answers={200: Answer("The summary, at most a second old.", Overview)},
            problems={503: "The posteriors are still being loaded: try again."},
        )
        events = Operation(
            self._events,
            id="followOverview",
            summary="Send an event whenever the summary has changed, at most once a second.",
            tag="server",
            role=role,
            answers={200: Answer("Server-sent events.", media="text/event-stream")},
        )
        page = Operation(self._page, id="getDashboard", summary="The dashboard.", tag="server")
        return {
            "/": Route("/", {"GET": page}, hidden=True),
            "/overview": Route("/overview", {"GET": overview}),
            "/overview/events": Route("/overview/events", {"GET": events}),
        }

    async def _page(self, request: Request) -> Response:
        return self.pages.page("dashboard.html", {"secured": self._secured})

    async def _overview(self, request: Request) -> Response:
        return Response(await self._overviews.document())

    async def _events(self, request: Request) -> EventStream:
        return self._feed.stream("")

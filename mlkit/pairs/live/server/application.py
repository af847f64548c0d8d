"""The page of a run and the interface behind it: what is shown, and the commands."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs

import msgspec

from mlkit.errors import MlkitError
from mlkit.pairs.live.control import send
from mlkit.pairs.live.server.view import View
from mlkit.pairs.live.statements import FOLDER, days
from mlkit.web.access import Access, Loopback
from mlkit.web.application import (
    OTHER,
    Answer,
    Application,
    Handler,
    Operation,
    Parameter,
    Request,
    Response,
    Route,
)
from mlkit.web.bodies import decode
from mlkit.web.errors import RequestError
from mlkit.web.events import EventStream, Feed
from mlkit.web.metrics import Counters, Layout, SharedCounters
from mlkit.web.pages import HTML, Pages

PAGES = Path(__file__).parent / "pages"
VIEWER, OPERATOR = "viewer", "operator"


class Command(msgspec.Struct, forbid_unknown_fields=True):
    """A command to the run."""

    command: Literal["pause", "resume", "flatten", "kill"]
    pair: str = ""


class Obeyed(msgspec.Struct):
    """Whether the run has obeyed, or will when it goes on."""

    obeyed: bool


_COMMAND = msgspec.json.Decoder(Command)


class Server:
    """Answers for one run.

    Args:
        view: What is shown.
        feed: Tells watchers that something has changed.
        access: Finds out who calls.
    """

    def __init__(self, view: View, feed: Feed, access: Access | None = None) -> None:
        self._view, self._feed = view, feed
        self._access = access or Loopback(name="the page")
        self._pages = Pages(PAGES)

    def application(self) -> tuple[Application, Counters]:
        """Return the ASGI application, and where it counts."""
        found = self.routes()
        path, assets = self._pages.route()
        page = Operation(self._page, id="getPage", summary="The page.", tag="run", role=VIEWER)
        found |= {path: assets, "/": Route("/", {"GET": page}, hidden=True)}
        names = [each.name for each in found.values()]
        counters = SharedCounters(Layout([*names, OTHER]), 1).row(0)
        made = Application(found, counters, max_body=1 << 16, access=self._access)
        return made, counters

    def routes(self) -> dict[str, Route]:
        """Return the paths."""
        reads: dict[str, tuple[Handler, str, str]] = {
            "/status": (self._status, "getStatus", "What the run is doing."),
            "/curves": (self._curves, "getCurves", "Equity and drawdown at each close."),
            "/records": (self._records, "getRecords", "The last orders, fills, trades, events."),
            "/pair": (self._pair, "getPair", "The z-scores and fills of a pair."),
            "/statement": (self._statement, "getStatement", "The statement of a day, as HTML."),
            "/events": (self._events, "getEvents", "An event whenever something has changed."),
        }
        text = {"type": "string"}
        query = {
            "/pair": (Parameter("name", "query", text, "Y/X"),),
            "/statement": (Parameter("day", "query", text, "2024-01-31"),),
        }
        found = {
            path: Route(path, {"GET": Operation(
                handler, id=name, summary=text, tag="run", role=VIEWER,
                answers={200: Answer(text)}, parameters=query.get(path, ()),
            )})
            for path, (handler, name, text) in reads.items()
        }  # fmt: skip
        command = Operation(
            self._command, id="sendCommand", summary="Pause, resume, flatten or kill.", tag="run",
            role=OPERATOR, body=Command, example={"command": "pause"},
            answers={200: Answer("It is in the log.", Obeyed)},
        )  # fmt: skip
        return found | {"/commands": Route("/commands", {"POST": command})}

    async def follow(self, stopped: asyncio.Event) -> None:
        """Watch the run, and tell watchers, until it is stopped."""
        while not stopped.is_set():
            if await asyncio.to_thread(self._view.update):
                self._feed.publish("run", {"changed": True})
            try:
                await asyncio.wait_for(stopped.wait(), 0.25)
            except TimeoutError:
                continue

    async def _page(self, request: Request) -> Response:
        return self._pages.page("live.html", {"name": self._view.folder.name})

    async def _status(self, request: Request) -> Response:
        return _json(self._view.status())

    async def _curves(self, request: Request) -> Response:
        return _json(self._view.curves())

    async def _records(self, request: Request) -> Response:
        return _json(self._view.latest())

    async def _pair(self, request: Request) -> Response:
        found = self._view.pair(_query(request, "name"))
        if found is None:
            raise RequestError(404, "nothing is known of this pair", "GET /status lists them")
        return _json(found)

    async def _statement(self, request: Request) -> Response:
        """Answer with a file to keep: what a report draws is styled inside it, as no page here."""
        day = _query(request, "day")
        if day not in days(self._view.folder):
            raise RequestError(404, "there is no statement of this day", "GET /status lists them")
        body = await asyncio.to_thread((self._view.folder.path / FOLDER / f"{day}.html").read_bytes)
        name = f'attachment; filename="statement-{day}.html"'.encode()
        return Response(body, headers=(*HTML, (b"content-disposition", name)))

    async def _events(self, request: Request) -> EventStream:
        return self._feed.stream("")

    async def _command(self, request: Request) -> Response:
        given = decode(_COMMAND, request.body)
        by = request.caller.name or "a client"
        try:
            obeyed = await asyncio.to_thread(
                send, self._view.folder, given.command, given.pair, by=by, timeout=5.0
            )
        except MlkitError as error:
            raise RequestError(400, error.message, error.hint or "GET /status") from error
        return Response(msgspec.json.encode(Obeyed(obeyed)))


def _query(request: Request, name: str) -> str:
    text: str = request.scope["query_string"].decode("latin-1")
    return parse_qs(text).get(name, [""])[0]


def _json(document: Any) -> Response:
    return Response(msgspec.json.encode(document))

"""The incidents, grouped by cause; what somebody has selected, and nothing else, is tried again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.journal.listings import Retried, Stopped
from mlkit.bpmn.journal.parts import Index
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.answers import Page, page
from mlkit.bpmn.server.console.console_pages import ConsolePages, hide
from mlkit.bpmn.server.console.home_page import incident
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.reach import Reach
from mlkit.errors import MlkitError
from mlkit.web.application import Request, Response, Route
from mlkit.web.errors import RequestError

SHOWN = 200
MOST_SHOWN = 500
"""Incidents of a page, at most; a form may have 1,000 fields."""
_VARYING = re.compile(r"0x[0-9a-fA-F]+|[0-9]+")
_NAME = re.compile(r"([0-9a-f]{4,64})/([0-9]{1,15})")


def routes(context: Context) -> dict[str, Route]:
    """Return the path of the page."""
    return list_routes(IncidentsPage(context))


def list_routes(pages: IncidentsPage) -> dict[str, Route]:
    """Return the path of a page that lists attempts and begins those that are selected."""
    get, post = (
        pages.operation(pages.show, "viewer", is_partial=True),
        pages.operation(pages.retry, "operator", is_partial=True),
    )
    return hide(f"/{pages.section}", GET=get, POST=post)


class IncidentsPage(ConsolePages):
    """Answers for the page of incidents."""

    section = "incidents"
    texts: ClassVar = {
        "title": "Incidents",
        "path": "incidents",
        "now": "",
        "nothing": "No incident: nothing needs an operator.",
    }

    async def show(self, request: Request) -> Response:
        """Return the page."""
        wanted = page(request, ("process", "element"))
        shown = await self.context.call(lambda service: self._build_view(service, request, wanted))
        return self._page(request, {**shown, "outcome": None})

    def _page(self, request: Request, shown: dict[str, Any]) -> Response:
        return self.console(request, "incidents.html", {**self.texts, **shown})

    async def retry(self, request: Request) -> Response:
        """Retry what is selected, and nothing else; the page shows the outcome of each."""
        given = await self.read_submitted(request)
        chosen = [_name(each) for each in dict.fromkeys(given.values.get("incident", ()))]
        if not chosen:
            raise RequestError(422, "nothing is selected", "tick what to try again")

        def act(service: Service, by: str) -> dict[str, Any]:
            operated = self.context.reach(service, request, "operator")
            outcome = _retry(service, chosen, by, operated)
            return {**self._build_view(service, request, Page(SHOWN, None, {})), "outcome": outcome}

        return self._page(request, await self.perform(request, act))

    def _build_view(self, service: Service, request: Request, wanted: Page) -> dict[str, Any]:
        viewed, operated = (
            self.context.reach(service, request, role) for role in ("viewer", "operator")
        )
        limit = min(wanted.limit, MOST_SHOWN) if "limit" in wanted.query else SHOWN
        index = service.journal.index.within(viewed.processes)
        found = self.found(service, index, wanted, limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        return {
            "causes": [
                {**each, "operates": operated.covers(each["process"])}
                for each in causes(found[:limit])
            ],
            "count": self.count(index),
            "next": urlencode(
                {**wanted.query, "limit": limit, "cursor": f"{last.number}.{last.activation}"}
            ) if last else "",
        }  # fmt: skip

    def found(
        self, service: Service, index: Index, wanted: Page, limit: int
    ) -> Sequence[Stopped | Retried]:
        """Return what the page lists, oldest instance first."""
        process, element = wanted.query.get("process"), wanted.query.get("element")
        return service.mask(index.list_incidents(process, element, wanted.pair(), limit))

    def count(self, index: Index) -> int:
        """Return how many there are."""
        return index.incident_count()


def _name(text: object) -> tuple[str, int]:
    found = _NAME.fullmatch(str(text))
    if found is None:
        raise RequestError(422, f"incident: {text!r:.40} is not an incident", "open the page again")
    return found[1], int(found[2])


def _retry(
    service: Service, chosen: Sequence[tuple[str, int]], by: str, operated: Reach
) -> dict[str, Any]:
    """Return how many are tried again, and why others are not."""
    refused = []
    for instance, number in chosen:
        try:
            # The number 0 would mean all of the instance.
            if not number:
                raise RequestError(422, "there is no such incident", "")
            if not operated.covers(service.journal.find(instance).process):
                raise RequestError(403, "it is of a definition that you do not operate", "")
            service.retry(instance, number, by)
        except (MlkitError, RequestError) as error:
            reason = error.message if isinstance(error, MlkitError) else error.error
            refused.append((f"{instance}/{number}", reason))
    return {"retried": len(chosen) - len(refused), "refused": refused}


def causes(found: Iterable[Stopped | Retried]) -> list[dict[str, Any]]:
    """Return incidents or retries by cause: the same element and message but for its numbers.

    The cause with most of them comes first.
    """
    groups: dict[tuple[str, str, str], list[Stopped | Retried]] = {}
    for each in found:
        key = each.process, each.element, _VARYING.sub("#", each.message)
        groups.setdefault(key, []).append(each)
    shown = [
        {
            "process": process, "element": element, "message": group[0].message,
            "incidents": [_line(each) for each in group],
        }
        for (process, element, _), group in groups.items()
    ]  # fmt: skip
    return sorted(shown, key=lambda each: -len(each["incidents"]))


def _line(found: Stopped | Retried) -> dict[str, Any]:
    if isinstance(found, Stopped):
        return {**incident(found), "due": None}
    name = f"{found.instance}/{found.activation}"
    return {
        "id": name, "instance": found.instance, "attempt": found.attempt,
        "due": instant(found.due),
    }  # fmt: skip

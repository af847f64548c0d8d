"""The list of instances: filters, and pages of it, all read from the journal's index."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from mlkit.bpmn.journal.records import STATES
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.answers import Page, page
from mlkit.bpmn.server.console.console_pages import ConsolePages, hide
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.instances import criteria, search, summarize
from mlkit.bpmn.server.reach import Reach
from mlkit.web.application import Request, Response, Route

FILTERS = ("state", "process", "business_key", "variable", "text")
SHOWN = 50
"""Instances of a page, where the query names no `limit`."""


def routes(context: Context) -> dict[str, Route]:
    """Return the path of the list."""
    pages = InstanceListPage(context)
    return hide("/instances", GET=pages.operation(pages.instances, "viewer", is_partial=True))


class InstanceListPage(ConsolePages):
    """Answers for the list of instances."""

    section = "instances"

    async def instances(self, request: Request) -> Response:
        """Return a page of the list, newest first."""
        wanted = page(request, FILTERS)
        shown = await self.context.call(
            lambda service: _build_view(
                service, wanted, self.context.reach(service, request, "viewer")
            )
        )
        return self.console(request, "instances.html", shown)


def _build_view(service: Service, wanted: Page, reached: Reach) -> dict[str, Any]:
    # A form sends the fields that are empty too: they filter nothing.
    given = {name: text for name in FILTERS if (text := wanted.query.get(name, "").strip())}
    limit = wanted.limit if "limit" in wanted.query else SHOWN
    index = service.journal.index.within(reached.processes)
    searched = criteria(service, given)
    found = search(service, index, searched, wanted.number(), limit + 1)
    more = {**given, "limit": limit, "cursor": found[limit - 1].number} if found[limit:] else {}
    return {
        "instances": [summarize(each) for each in found[:limit]],
        "given": {name: given.get(name, "") for name in FILTERS},
        "filtered": bool(given),
        "states": STATES,
        "processes": [
            each.process
            for each in service.journal.deployments.all()
            if reached.covers(each.process)
        ],
        "first": urlencode(given) if wanted.cursor else None,
        "next": urlencode(more),
    }

"""What people did, newest first, and what the data stores hold."""

from __future__ import annotations

import json
from typing import Any

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.journal.notices import Audited
from mlkit.bpmn.people.masking import Mask
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.console.console_pages import ConsolePages, hide
from mlkit.bpmn.server.context import Context
from mlkit.web.application import Request, Response, Route
from mlkit.web.errors import RequestError
from mlkit.web.paths import query

SHOWN = 100
"""Entries of a page."""
_LONGEST = 2000
"""Characters of a value that are shown."""


def routes(context: Context) -> dict[str, Route]:
    """Return the paths of the pages."""
    activity, stores = ActivityPage(context), StoresPage(context)
    return {
        **hide("/activity", GET=activity.operation(activity.show, "operator")),
        **hide("/stores", GET=stores.operation(stores.show, "viewer")),
    }


class ActivityPage(ConsolePages):
    """Answers for the page of who did what."""

    section = "activity"

    async def show(self, request: Request) -> Response:
        """Return a page of the audit log."""
        before = query(request, ("before",)).get("before", "")
        if before and not (before.isascii() and before.isdigit() and len(before) < 19):
            raise RequestError(404, f"before: {before!r:.40}, expected a number", "leave it out")

        def find(service: Service) -> list[tuple[int, Audited]]:
            return service.journal.audit.entries(None, int(before) if before else None, SHOWN + 1)

        found = await self.context.call(find)
        entries = [{**each._asdict(), "at": instant(each.at)} for _, each in found[:SHOWN]]
        older = found[SHOWN - 1][0] if len(found) > SHOWN else None
        return self.console(request, "activity.html", {"entries": entries, "older": older})


class StoresPage(ConsolePages):
    """Answers for the page of data stores."""

    section = "stores"

    async def show(self, request: Request) -> Response:
        """Return what the data stores hold, secrets masked."""
        query(request, ())
        found = await self.context.call(lambda service: service.journal.stores.all())
        mask = Mask()
        shown: list[dict[str, Any]] = [
            {
                "name": each.name,
                "value": json.dumps(mask.value(each.name, each.value), ensure_ascii=False),
                "instance": each.instance,
                "updated": instant(each.updated),
            }
            for each in found
        ]
        return self.console(request, "stores.html", {"stores": shown, "longest": _LONGEST})

"""The tasks that wait for another attempt, grouped by cause; what is selected begins it now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mlkit.bpmn.journal.listings import Retried, Stopped
from mlkit.bpmn.journal.parts import Index
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.answers import Page
from mlkit.bpmn.server.console.incidents_page import IncidentsPage, list_routes
from mlkit.bpmn.server.context import Context
from mlkit.web.application import Route


def routes(context: Context) -> dict[str, Route]:
    """Return the path of the page."""
    return list_routes(RetriesPage(context))


class RetriesPage(IncidentsPage):
    """Answers for the page of what is being retried."""

    section = "retries"
    texts: ClassVar = {
        "title": "Retries",
        "path": "retries",
        "now": " now",
        "nothing": "No task waits for another attempt.",
    }

    def found(
        self, service: Service, index: Index, wanted: Page, limit: int
    ) -> Sequence[Stopped | Retried]:
        """Return what the page lists, oldest instance first."""
        process, element = wanted.query.get("process"), wanted.query.get("element")
        return service.mask(index.list_retries(process, element, wanted.pair(), limit))

    def count(self, index: Index) -> int:
        """Return how many there are."""
        return index.retry_count()

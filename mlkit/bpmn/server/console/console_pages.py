"""What the pages of the console share: the navigation, their forms, and where those lead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.roles import acting
from mlkit.bpmn.server.task_form import Submitted
from mlkit.bpmn.server.task_pages import TaskPages
from mlkit.web.application import Request, Response, Route
from mlkit.web.errors import RequestError
from mlkit.web.paths import read_form

T = TypeVar("T")
SECTIONS = {
    "home": ("", "Home"),
    "instances": ("instances", "Instances"),
    "definitions": ("definitions", "Definitions"),
    "incidents": ("incidents", "Incidents"),
    "retries": ("retries", "Retries"),
    "schedules": ("schedules", "Schedules"),
    "tasks": ("tasks", "Tasks"),
    "stores": ("stores", "Data stores"),
    "activity": ("activity", "Activity"),
}
"""The path and the name of each entry of the navigation."""
_FORM = "console"


class ConsolePages(TaskPages):
    """Answers for pages of the console.

    Attributes:
        section: The entry of the navigation that the pages belong to.
    """

    section = ""

    def console(
        self, request: Request, template: str, shown: dict[str, Any], status: int = 200
    ) -> Response:
        """Return a page with the navigation."""
        frame = {
            "section": self.section,
            "sections": [
                (key, *each)
                for key, each in SECTIONS.items()
                if key != "activity" or request.caller.may("operator")
            ],
            "operates": request.caller.may("operator"),
            "form_token": self.context.people.links.form(_FORM, request.caller.name),
        }
        return self.page(request, template, {**frame, **shown}, status)

    async def read_submitted(self, request: Request) -> Submitted:
        """Return what a form of the console has sent.

        Raises:
            Forged: It comes from elsewhere.
        """
        given = Submitted.of(await read_form(request))
        token = given.text("form_token")
        self.context.people.links.require_form(token, _FORM, request.caller.name)
        return given

    async def perform(self, request: Request, function: Callable[[Service, str], T]) -> T:
        """Call a function with a service and with who acts, for the audit log."""
        by = acting(request.caller, None)
        return await self.context.call(lambda service: function(service, by), request)


def go(request: Request, path: str) -> Response:
    """Return the answer that leads to a path of the server, whatever path a proxy puts before."""
    up = "../" * (str(request.scope["path"]).count("/") - 1)
    place = (f"{up}{path}" if path or up else "./").encode("ascii")
    return Response(b"", 303, ((b"location", place), (b"cache-control", b"no-store")))


def escape(name: str) -> str:
    """Return a name as a part of a path or a query."""
    return quote(name, safe="")


def hide(name: str, **methods: Any) -> dict[str, Route]:
    """Return the route of a page, which the description of the API leaves out."""
    return {name: Route(name, methods, hidden=True)}


def variables_of(text: str) -> dict[str, Any]:
    """Return the variables that somebody has typed as a JSON object; none where it is empty.

    Raises:
        RequestError: 422: it is something else.
    """
    if not text.strip():
        return {}
    hint = 'a JSON object, such as {"rows": 1000}'
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestError(422, f"variables: this is not JSON: {error}", hint) from None
    if not isinstance(found, dict):
        raise RequestError(422, "variables: this is JSON, but not an object", hint)
    return found

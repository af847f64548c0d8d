"""The application of a server: the routes of all its modules, described in one document.

A module of this room that has paths offers `routes(context)`, and is named in `MODULES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlkit.bpmn.server import (
    console,
    definitions,
    engine_rest,
    health,
    instance_exports,
    instances,
    link_pages,
    login_pages,
    me_page,
    messages,
    metrics,
    oidc_pages,
    operations,
    schedules,
    task_pages,
    tasks,
)
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.errors import Problems
from mlkit.bpmn.server.reach import guard_route
from mlkit.bpmn.server.telemetry import SECONDS
from mlkit.web.access import Loopback
from mlkit.web.application import OTHER, Request, Response, Route, Scope
from mlkit.web.description import Description
from mlkit.web.errors import RequestError
from mlkit.web.metrics import Counters, Layout, SharedCounters
from mlkit.web.openapi import document
from mlkit.web.paths import PathApplication

MODULES: tuple[Callable[[Context], dict[str, Route]], ...] = (
    health.routes,
    login_pages.routes,
    oidc_pages.routes,
    metrics.routes,
    definitions.routes,
    instances.routes,
    instance_exports.routes,
    tasks.routes,
    messages.routes,
    operations.routes,
    schedules.routes,
    engine_rest.routes,
    task_pages.routes,
    link_pages.routes,
    me_page.routes,
    console.routes,
)
_FOR_PROGRAMS = ("/api/", "/engine-rest/")
_TITLE = "mlkit pipelines"
_DESCRIPTION = "Deploy, start, watch and move BPMN pipelines."


def routes(context: Context) -> dict[str, Route]:
    """Return all paths of a server."""
    found: dict[str, Route] = {}
    for module in MODULES:
        found |= module(context)
    return {path: guard_route(context, route) for path, route in found.items()}


def description(found: dict[str, Route], context: Context) -> dict[str, Any]:
    """Return the OpenAPI document of a server's paths."""
    access = context.access
    described = [each for each in found.values() if not each.hidden]
    secured = None if isinstance(access, Loopback) else access
    return document(_TITLE, _DESCRIPTION, described, access=secured, errors=Problems())


class Interface(PathApplication):
    """Answers HTTP requests: errors are documents for programs, and pages for browsers.

    The arguments are those of `PathApplication`, and:

    Args:
        context: What the routes share.
    """

    def __init__(self, context: Context, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._logs_in = context.login is not None
        self._pages = task_pages.TaskPages(context)

    def _refuse(self, error: RequestError, scope: Scope) -> Response:
        document = super()._refuse(error, scope)
        if not _shows_pages(scope):
            return document
        if error.status == 401 and self._logs_in and scope["method"] in ("GET", "HEAD"):
            return login_pages.to_login(scope)
        page = self._pages.problem(Request(scope, b"", b""), error)
        return page._replace(headers=(*page.headers, *error.headers))


def _shows_pages(scope: Scope) -> bool:
    """Return whether somebody sees an answer in a browser."""
    accepted = dict(scope["headers"]).get(b"accept", b"")
    return b"text/html" in accepted and not scope["path"].startswith(_FOR_PROGRAMS)


def application(context: Context) -> tuple[PathApplication, Counters]:
    """Return the ASGI application of a server, and where it counts."""
    found = routes(context)
    pages = context.pages
    about = Description("viewer")
    found |= about.routes()
    about.describe(description(found, context), pages)
    path, assets = pages.route()
    found[path] = assets
    names = [each.name for each in found.values()]
    layout = Layout([*names, OTHER], metrics.COUNTERS, metrics.HISTOGRAMS, SECONDS)
    context.counters = SharedCounters(layout, 1)
    counters = context.counters.row(0)
    made = Interface(
        context,
        found,
        counters,
        max_body=context.settings.max_body,
        access=context.access,
        errors=Problems(),
    )
    return made, counters

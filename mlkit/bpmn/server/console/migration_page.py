"""Moving an instance to another version: what it would come to, then the button that does it."""

from __future__ import annotations

from typing import Any

from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.console.console_pages import ConsolePages, escape, go, hide
from mlkit.bpmn.server.context import Context
from mlkit.web.application import Request, Response, Route
from mlkit.web.errors import RequestError
from mlkit.web.paths import path_parameter, query

_PATH = "/instances/{instance}/migrate"
_LONGEST = 10_000
_HINT = "a line for each element: OLD=NEW"


def routes(context: Context) -> dict[str, Route]:
    """Return the path of the page."""
    pages = MigrationPage(context)
    get = pages.operation(pages.migration, "operator")
    return hide(_PATH, GET=get, POST=pages.operation(pages.move, "operator"))


class MigrationPage(ConsolePages):
    """Answers for the page on which an instance is moved to another version."""

    section = "instances"

    async def migration(self, request: Request) -> Response:
        """Return the report, with a button where nothing prevents the move."""
        name, given = path_parameter(request, "instance"), query(request, ("version", "mapping"))
        version, text = _version(given.get("version", "")), given.get("mapping")
        shown = await self.context.call(lambda service: _build_view(service, name, version, text))
        return self.console(request, "migration.html", shown)

    async def move(self, request: Request) -> Response:
        """Move the instance, as reported."""
        given, name = await self.read_submitted(request), path_parameter(request, "instance")
        version, mapping = _version(given.text("version")), mapping_of(given.text("mapping"))

        def move(service: Service, by: str) -> Row:
            return service.migrate(name, version, mapping, by)

        row = await self.perform(request, move)
        return go(request, f"instances/{escape(row.id)}?done=migrate")


def _build_view(
    service: Service, name: str, version: int | None, text: str | None
) -> dict[str, Any]:
    row = service.journal.find(name)
    mapping = mapping_of(text or "")
    report = service.migration(name, version, mapping)
    if text is None:  # At first, what has to be filled in.
        text = "".join(f"{e['element']}=\n" for e in report["tokens"] if e["to"] is None)
    versions = [
        each.version
        for each in service.journal.deployments.versions(row.process)
        if each.definition != row.definition
    ]
    return {"row": row, "report": report, "versions": versions, "mapping": text}


def mapping_of(text: str) -> dict[str, str]:
    """Return the mapping that somebody has typed; a line without a new element is ignored.

    Raises:
        RequestError: 422: a line is something else.
    """
    if len(text) > _LONGEST:
        raise RequestError(422, f"mapping: more than {_LONGEST} characters", _HINT)
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        old, equals, new = (each.strip() for each in line.partition("="))
        if not (old and equals) or found.get(old, new) != new:
            raise RequestError(422, f"mapping: {line!r:.80}", _HINT)
        if new:
            found[old] = new
    return found


def _version(text: str) -> int | None:
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RequestError(422, f"version: {text!r:.40} is not a version", "1, 2, 3, ...")
    return int(text) if text else None

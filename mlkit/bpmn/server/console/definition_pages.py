"""The definitions: their versions, the diagram with what waits at each element, and a start."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from mlkit.bpmn import render
from mlkit.bpmn.engine.events import Start
from mlkit.bpmn.journal.listings import Criteria
from mlkit.bpmn.journal.records import Deployed, encode
from mlkit.bpmn.render.heat import HEAT, heat
from mlkit.bpmn.render.progress import brief
from mlkit.bpmn.runtime import deployment
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.console.console_pages import (
    ConsolePages,
    escape,
    go,
    hide,
    variables_of,
)
from mlkit.bpmn.server.console.tallies import MOST_READ, Tallies, Tally
from mlkit.bpmn.server.context import Context, client
from mlkit.bpmn.server.definitions import describe as described
from mlkit.bpmn.server.definitions import measure_durations
from mlkit.bpmn.server.instances import summarize
from mlkit.bpmn.server.roles import acting
from mlkit.bpmn.server.start_form import StartForm
from mlkit.bpmn.server.task_form import Submitted
from mlkit.bpmn.server.task_pages import picture_for, svg_response
from mlkit.web.application import Request, Response, Route
from mlkit.web.errors import RequestError
from mlkit.web.paths import path_parameter, query

SHOWN = 10
"""Instances of a definition that its page shows."""
_PATH = "/definitions/{process}"


def routes(context: Context) -> dict[str, Route]:
    """Return the paths of the pages of definitions."""
    pages = DefinitionPages(context)
    operation = pages.operation
    get, post = operation(pages.definition, "viewer"), operation(pages.start, "operator")
    return {
        **hide("/definitions", GET=operation(pages.definitions, "viewer", is_partial=True)),
        **hide(_PATH, GET=get, POST=post),
        **hide(f"{_PATH}/picture.svg", GET=operation(pages.drawing, "viewer")),
    }


class DefinitionPages(ConsolePages):
    """Answers for the pages of definitions."""

    section = "definitions"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._tallies = Tallies()

    def _count(self, service: Service, deployed: Deployed) -> tuple[Mapping[str, Tally], bool]:
        engine = self.context.starter.engine(service.journal, deployed)
        return self._tallies.count(service, deployed, engine)

    async def definitions(self, request: Request) -> Response:
        """Return the list: the newest version of each."""
        query(request, ())

        def find(service: Service) -> list[Deployed]:
            reached = self.context.reach(service, request, "viewer")
            found = service.journal.deployments.all()
            return [each for each in found if reached.covers(each.process)]

        shown = {"definitions": [described(each) for each in await self.context.call(find)]}
        return self.console(request, "definitions.html", shown)

    async def definition(self, request: Request) -> Response:
        """Return the page of a version, the newest where none is named."""
        process, (version, heats) = path_parameter(request, "process"), _view(request)
        shown = await self.context.call(
            lambda it: self._build_view(it, process, version, heats=heats)
        )
        # Who views a part watches its instances one by one.
        shown["live"] = request.caller.may("viewer") and not heats
        return self.console(request, "definition.html", shown)

    def _build_view(
        self, service: Service, process: str, version: int | None,
        form: Mapping[str, Any] | None = None, key: str = "", heats: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        deployed = service.journal.deployments.require(process, version)
        if form is None:
            form = StartForm(self.context, service, deployed).page()
        times = self._times(service, deployed) if heats else None
        shown = {
            **self._describe(service, deployed),
            **form,
            "business_key": key,
            "begins_at_once": self.context.starter.begins_at_once(service.journal, deployed),
            "durations": times,
        }
        return {**shown, "live": False}

    def _describe(self, service: Service, deployed: Deployed) -> dict[str, Any]:
        journal, process = service.journal, deployed.process
        criteria = Criteria(process=process, definition=deployed.definition)
        found, is_whole = self._count(service, deployed)
        open_ = sorted((element, each.text) for element, each in found.items())
        return {
            "definition": described(deployed),
            "versions": [described(each) for each in journal.deployments.versions(process)],
            "tallies": open_,
            "counted": None if is_whole else MOST_READ,
            # The name of the picture changes with what it shows.
            "stamp": hashlib.sha256(encode(open_)).hexdigest()[:12],
            "instances": [summarize(e) for e in journal.index.search(criteria, None, SHOWN)],
        }

    def _times(self, service: Service, deployed: Deployed) -> list[tuple[str, str, str]]:
        """Return the durations as the page lists them: a name, what it took, and its share."""
        return [
            (
                each.name,
                f"median {brief(each.median)}, 9 of 10 within {brief(each.p90)}",
                f"{100 * each.share:.0f} % of the time, completed {each.completions} \u00d7",
            )
            for each in measure_durations(self.context, service, deployed)
        ]

    async def drawing(self, request: Request) -> Response:
        """Return the diagram of a version, with what waits at its elements, or with durations."""
        process, (version, heats) = path_parameter(request, "process"), _view(request)

        def draw(service: Service) -> Response:
            deployed = service.journal.deployments.require(process, version)
            file, content, _ = service.journal.definition(deployed.definition)
            picture = picture_for(content, file, process)
            if heats:
                spent = measure_durations(self.context, service, deployed)
                return svg_response(render.svg(picture, heat(spent), palette=HEAT))
            return svg_response(render.svg(picture, self._count(service, deployed)[0] or None))

        return await self.context.call(draw)

    async def start(self, request: Request) -> Response:
        """Start an instance, with a business key and variables."""
        given = await self.read_submitted(request)
        process, version = path_parameter(request, "process"), _number(given.text("version"))
        key = given.text("business_key")[:255]

        def read(service: Service) -> tuple[StartForm, dict[str, Any] | Response]:
            form = StartForm(
                self.context, service, service.journal.deployments.require(process, version)
            )
            filled, problems, values = form.values(given) if form.form else ({}, [], {})
            is_update = form.form and given.text("action") != "start"
            if not problems and not is_update:
                return form, values
            page = form.page(filled, [] if is_update else problems)
            shown = self._build_view(service, process, version, page, key)
            status = 200 if is_update else 422
            return form, self.console(request, "definition.html", shown, status)

        form, found = await self.context.call(read, request, uses_store=True)
        if isinstance(found, Response):
            return found
        if form.form:
            start = Start(found, "", key, by=acting(request.caller, None))
            source = client(request)
            row = await self.context.write(
                lambda it: self.context.starter.begin(it, form.deployed, start, None, source)[0]
            )
            return go(request, f"instances/{escape(row.id)}?done=start")
        return await self._start(request, given, process, version, key)

    async def _start(
        self, request: Request, given: Submitted, process: str, version: int | None, key: str
    ) -> Response:
        """Start a version without a form, with the variables that somebody has typed."""
        wanted = deployment.Request(
            process, version, variables_of(given.text("variables")), key,
            by=acting(request.caller, None), source=client(request),
        )  # fmt: skip
        starter = self.context.starter
        row = await self.context.write(lambda journal: starter.start(journal, wanted))
        return go(request, f"instances/{escape(row.id)}?done=start")


def _view(request: Request) -> tuple[int | None, bool]:
    """Return which version is looked at, and whether with durations."""
    given = query(request, ("version", "show", "at"))
    wanted = given.get("show", "open")
    if wanted not in ("open", "durations"):
        raise RequestError(404, f"there is no view {wanted!r:.40}", "views: open, durations")
    return _number(given.get("version", "")), wanted == "durations"


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RequestError(404, f"there is no version {text!r:.40}", "versions are 1, 2, 3, ...")
    return int(text)

"""`/api/v1/definitions`: deploy, list and inspect what can be started."""

from __future__ import annotations

from typing import Any

from msgspec import convert

from mlkit.bpmn.engine.events import Start
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Deployed
from mlkit.bpmn.people import start_forms
from mlkit.bpmn.people.forms import pack_variables
from mlkit.bpmn.runtime import durations
from mlkit.bpmn.runtime.deployment import deploy
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.answers import BAD_BODY, GONE, answer, body, moment
from mlkit.bpmn.server.context import Context, client
from mlkit.bpmn.server.instances import describe_started
from mlkit.bpmn.server.reach import deployable
from mlkit.bpmn.server.roles import acting
from mlkit.bpmn.server.types import (
    Definition,
    Definitions,
    Duration,
    Durations,
    FormField,
    Instance,
    StartFormFields,
    SubmitStartForm,
)
from mlkit.web.application import Answer, Operation, Parameter, Request, Response, Route
from mlkit.web.errors import RequestError
from mlkit.web.paths import path_parameter, query, read_form

_KEY = Parameter("process", "path", {"type": "string"}, "The key of the definition.")
_VERSION = Parameter("version", "path", {"type": "integer"}, "1, 2, 3, ...")


def routes(context: Context) -> dict[str, Route]:
    """Return the paths of definitions."""
    made = _Definitions(context)
    listed = Operation(
        made.all,
        id="listDefinitions",
        summary="The newest version of every definition.",
        tag="definitions",
        role="viewer",
        answers={200: Answer("The definitions.", Definitions)},
        is_partial=True,
    )
    deployed = Operation(
        made.deploy,
        id="deploy",
        summary="Deploy diagrams with their scripts, forms, decisions and called diagrams.",
        tag="definitions",
        role="deployer",
        body=dict[str, str],
        body_media="multipart/form-data",
        max_body=context.settings.max_upload,
        answers={201: Answer("The newest version of each process.", Definitions)},
        problems={**BAD_BODY, 415: "The body is not a form with files."},
        is_partial=True,
    )
    versions = Operation(
        made.versions,
        id="listVersions",
        summary="All versions of a definition, newest first.",
        tag="definitions",
        role="viewer",
        answers={200: Answer("The versions.", Definitions)},
        problems=GONE,
    )
    diagram = Operation(
        made.diagram,
        id="getDiagram",
        summary="The diagram of a version.",
        tag="definitions",
        role="viewer",
        answers={200: Answer("BPMN as XML.", media="application/xml")},
        problems=GONE,
    )
    spent = Operation(
        made.durations,
        id="getDurations",
        summary="How long the newest instances of a version spent at its elements.",
        tag="definitions",
        role="viewer",
        answers={200: Answer("The largest share of the time first.", Durations)},
        problems=GONE,
    )
    asked = Operation(
        made.form,
        id="getStartForm",
        summary="The form that starts the newest version of a definition; no fields: it has none.",
        tag="definitions",
        role="viewer",
        answers={200: Answer("The fields.", StartFormFields)},
        problems=GONE,
    )
    submitted = Operation(
        made.submit,
        id="submitStartForm",
        summary="Start the newest version of a definition with the values of its form.",
        tag="definitions",
        role="operator",
        body=SubmitStartForm,
        answers={201: Answer("It is started.", Instance)},
        problems={**BAD_BODY, **GONE, 503: "The engine does not answer."},
    )
    base = "/api/v1/definitions"
    form = f"{base}/{{process}}/form"
    one, version = f"{base}/{{process}}", f"{base}/{{process}}/versions/{{version}}"
    file, times = f"{version}/diagram", f"{version}/durations"
    return {
        base: Route(base, {"GET": listed, "POST": deployed}),
        one: Route(one, {"GET": versions}, (_KEY,)),
        form: Route(form, {"GET": asked, "POST": submitted}, (_KEY,)),
        file: Route(file, {"GET": diagram}, (_KEY, _VERSION)),
        times: Route(times, {"GET": spent}, (_KEY, _VERSION)),
    }


def describe(deployed: Deployed) -> Definition:
    """Return a version as documents have it."""
    return Definition(
        process=deployed.process,
        version=deployed.version,
        name=deployed.name,
        file=deployed.file,
        hash=deployed.definition,
        deployed=moment(deployed.at) or "",
        by=deployed.by,
        is_new=deployed.is_new,
    )


def measure_durations(
    context: Context, service: Service, deployed: Deployed
) -> list[durations.Duration]:
    """Return how long the newest instances of a version spent at its elements."""
    engine = context.starter.engine(service.journal, deployed)
    return durations.durations(service.journal, engine, deployed)


class _Definitions:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def all(self, request: Request) -> Response:
        query(request, ())

        def find(service: Service) -> list[Deployed]:
            reached = self._context.reach(service, request, "viewer")
            found = service.journal.deployments.all()
            return [each for each in found if reached.covers(each.process)]

        found = await self._context.call(find)
        return answer(Definitions([describe(each) for each in found]))

    async def deploy(self, request: Request) -> Response:
        form = await read_form(request)
        files = {each.name: each.content for each in form.files}
        if len(files) != len(form.files):
            raise RequestError(400, "two files have the same name", "deploy them one by one")
        by, check = acting(request.caller, None), deployable(self._context.tags, request.caller)
        found = await self._context.call(
            lambda service: deploy(service.session, files, by, check), request
        )
        return answer(Definitions([describe(each) for each in found]), 201)

    async def versions(self, request: Request) -> Response:
        process = path_parameter(request, "process")

        def find(service: Service) -> list[Deployed]:
            service.journal.deployments.require(process)
            return service.journal.deployments.versions(process)

        found = await self._context.call(find)
        return answer(Definitions([describe(each) for each in found]))

    async def form(self, request: Request) -> Response:
        process = path_parameter(request, "process")

        def read(service: Service) -> StartFormFields:
            deployed = service.journal.deployments.require(process)
            form = self._context.starter.form(service.journal, deployed)
            fields = convert(start_forms.describe(form), list[FormField])
            return StartFormFields(process, deployed.version, fields)

        return answer(await self._context.call(read))

    async def submit(self, request: Request) -> Response:
        given, process = body(request, SubmitStartForm), path_parameter(request, "process")
        by = acting(request.caller, given.person)

        def check(service: Service) -> tuple[Deployed, dict[str, Any]]:
            deployed = service.journal.deployments.require(process)
            form = self._context.starter.form(service.journal, deployed)
            if not form:
                return deployed, pack_variables(given.variables)
            return deployed, start_forms.fill(form, given.variables)

        deployed, variables = await self._context.call(check)
        start = Start(variables, "", given.business_key, by=by)
        starter, source = self._context.starter, client(request)

        def begin(journal: Journal) -> Instance:
            row, _ = starter.begin(journal, deployed, start, None, source)
            return describe_started(journal, row)

        return answer(await self._context.write(begin), 201)

    async def durations(self, request: Request) -> Response:
        query(request, ())
        process, version = path_parameter(request, "process"), _version(request)

        def read(service: Service) -> list[durations.Duration]:
            deployed = service.journal.deployments.require(process, version)
            return measure_durations(self._context, service, deployed)

        found = [Duration(**each._asdict()) for each in await self._context.call(read)]
        return answer(Durations(process, version, found))

    async def diagram(self, request: Request) -> Response:
        process, version = path_parameter(request, "process"), _version(request)

        def read(service: Service) -> bytes:
            deployed = service.journal.deployments.require(process, version)
            return service.journal.definition(deployed.definition)[1]

        content = await self._context.call(read)
        return Response(content, headers=((b"content-type", b"application/xml"),))


def _version(request: Request) -> int:
    text = path_parameter(request, "version")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RequestError(404, f"there is no version {text!r:.40}", "versions are 1, 2, 3, ...")
    return int(text)

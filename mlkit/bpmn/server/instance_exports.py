"""`/api/v1/instances/{instance}/scenario, picture, diagram, files, progress`: taken along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import to_builtins

from mlkit.bpmn import render
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.scenarios.recording import record
from mlkit.bpmn.scenarios.secrets import mask_secrets
from mlkit.bpmn.server.answers import GONE, answer
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.task_pages import FILE_HEADERS, picture_for
from mlkit.bpmn.server.types import InstanceFiles, InstanceProgress, Reached, RecordedScenario
from mlkit.web.application import Answer, Operation, Parameter, Request, Response, Route
from mlkit.web.errors import RequestError
from mlkit.web.paths import path_parameter, query

T = TypeVar("T")
_ONE = "/api/v1/instances/{instance}"
_ID = Parameter("instance", "path", {"type": "string"}, "The instance's id.")
_THEMES = ("auto", "light", "dark")
_BOOLEANS = ("false", "true")
_SCRIPTS = Parameter(
    "run_scripts", "query", {"type": "string", "enum": list(_BOOLEANS)},
    "Whether script tasks run instead of being mocked (false).",
)  # fmt: skip
_PICTURE = (
    Parameter(
        "theme", "query", {"type": "string", "enum": list(_THEMES)},
        "The colours; auto follows the reader's system, and is light in a PNG (auto).",
    ),
    Parameter(
        "diagram", "query", {"type": "string"},
        "One of several diagrams of the file: its number, id or name.",
    ),
)  # fmt: skip


def routes(context: Context) -> dict[str, Route]:
    """Return the paths of what is made of an instance."""
    made = _Exports(context)
    found = (
        (
            "scenario",
            made.scenario,
            "getScenario",
            "A scenario that plays an instance again, with secrets masked.",
            Answer("The scenario, and what it cannot express.", RecordedScenario),
            (_SCRIPTS,),
        ),
        (
            "picture.svg",
            made.svg,
            "getPicture",
            "The diagram of an instance as SVG, coloured by how far it has come.",
            Answer("The picture.", media="image/svg+xml"),
            _PICTURE,
        ),
        (
            "picture.png",
            made.png,
            "getPicturePng",
            "The diagram of an instance as PNG, coloured by how far it has come.",
            Answer("The picture.", media="image/png"),
            _PICTURE,
        ),
        (
            "diagram",
            made.diagram,
            "getInstanceDiagram",
            "The diagram that an instance follows, deployed or not.",
            Answer("BPMN as XML.", media="application/xml"),
            (),
        ),
        (
            "files",
            made.files,
            "getInstanceFiles",
            "The scripts, forms, decisions and called diagrams beside the diagram of an instance.",
            Answer("The files, by their names.", InstanceFiles),
            (),
        ),
        (
            "progress",
            made.progress,
            "getProgress",
            "How far an instance has come, by element.",
            Answer("The elements that it has reached.", InstanceProgress),
            (),
        ),
    )
    return {
        f"{_ONE}/{name}": Route(
            f"{_ONE}/{name}",
            {"GET": _read(handler, operation, summary, shape, parameters)},
            (_ID,),
        )
        for name, handler, operation, summary, shape, parameters in found
    }


def _read(
    handler: Any, operation: str, summary: str, shape: Answer, parameters: tuple[Parameter, ...]
) -> Operation:
    return Operation(
        handler,
        id=operation,
        summary=summary,
        tag="instances",
        role="viewer",
        parameters=parameters,
        answers={200: shape},
        problems={**GONE, 422: "It cannot be drawn.", 503: "It cannot be drawn here."},
    )


class _Exports:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def scenario(self, request: Request) -> Response:
        chosen = _choose(query(request, ("run_scripts",)), "run_scripts", _BOOLEANS)

        def find(service: Service, name: str) -> RecordedScenario:
            session, row = service.session, service.journal.find(name)
            recording = record(session, row, None, chosen == "true")
            masked = mask_secrets(recording, session.mask(row))
            return RecordedScenario(
                row.id, to_builtins(recording.scenario), recording.notes, masked
            )

        return answer(await self._find(request, find))

    async def svg(self, request: Request) -> Response:
        return await self._draw(request, b"image/svg+xml", lambda drawn, theme: drawn)

    async def png(self, request: Request) -> Response:
        return await self._draw(request, b"image/png", render.png)

    async def _draw(
        self, request: Request, media: bytes, write: Callable[[bytes, str], bytes]
    ) -> Response:
        given = query(request, ("theme", "diagram"))
        theme, wanted = _choose(given, "theme", _THEMES), given.get("diagram")

        def draw(service: Service, name: str) -> bytes:
            row = service.journal.find(name)
            file, content, _ = service.journal.definition(row.definition)
            if wanted is None:
                picture = picture_for(content, file, row.process)
            else:
                picture = render.choose(render.parse(content, file), wanted, file)
            return write(render.svg(picture, render.progress(service.session, row), theme), theme)

        content = await self._find(request, draw)
        return Response(content, headers=((b"content-type", media), *FILE_HEADERS))

    async def diagram(self, request: Request) -> Response:
        query(request, ())

        def read(service: Service, name: str) -> bytes:
            return service.journal.definition(service.journal.find(name).definition)[1]

        headers = ((b"content-type", b"application/xml"),)
        return Response(await self._find(request, read), headers=headers)

    async def files(self, request: Request) -> Response:
        query(request, ())

        def read(service: Service, name: str) -> InstanceFiles:
            row = service.journal.find(name)
            file, _, resources = service.journal.definition(row.definition)
            return InstanceFiles(row.id, file, dict(resources))

        return answer(await self._find(request, read))

    async def progress(self, request: Request) -> Response:
        query(request, ())

        def read(service: Service, name: str) -> InstanceProgress:
            row = service.journal.find(name)
            found = render.progress(service.session, row)
            reached = {
                element: Reached(each.state, each.count, each.seconds, each.tokens)
                for element, each in found.items()
            }
            file = service.journal.definition(row.definition)[0]
            return InstanceProgress(row.id, row.process, file, reached)

        return answer(await self._find(request, read))

    async def _find(self, request: Request, function: Callable[[Service, str], T]) -> T:
        name = path_parameter(request, "instance")
        return await self._context.call(lambda service: function(service, name))


def _choose(given: dict[str, str], name: str, known: tuple[str, ...]) -> str:
    found = given.get(name, known[0])
    if found not in known:
        raise RequestError(400, f"{name}: {found!r:.40} is not known", f"one of {', '.join(known)}")
    return found

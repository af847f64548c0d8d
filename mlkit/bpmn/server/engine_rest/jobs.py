"""What a worker of mlkit asks beyond Camunda's API: the job of a task, and files both ways.

A worker elsewhere gets a script with its variables as they are stored, and the working folder as a
list of files. Contents travel by their hash: those that the job names to the worker, and those
that its result names to the server, before the result. Only who has locked the task may do so.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from mlkit.bpmn.definition.model import Callable, Script
from mlkit.bpmn.engine.work_file import WorkFile
from mlkit.bpmn.journal.artifacts import ArtifactStore, is_hash, names
from mlkit.bpmn.journal.external import ExternalTask
from mlkit.bpmn.runtime import external, jobs
from mlkit.bpmn.runtime.external import Report
from mlkit.bpmn.runtime.running import Running
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.runtime.working_folders import check_all
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.engine_rest.answers import NOTHING, Verb, answer, path, settle
from mlkit.bpmn.server.engine_rest.errors import invalid, missing, refused
from mlkit.bpmn.server.engine_rest.fields import body, printed_of, query
from mlkit.bpmn.server.engine_rest.typed import check_name
from mlkit.errors import BadData, InputMissing
from mlkit.web.application import Request, Response
from mlkit.workers.child.values import unpack

_MINE = "External Task {} cannot be read by worker '{}'."
_FILES = dict[str, WorkFile | None]
_BYTES = ((b"content-type", b"application/octet-stream"), (b"content-disposition", b"attachment"))


class Jobs:
    """The operations of mlkit's own workers.

    Args:
        context: The server's.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def verbs(self) -> dict[str, dict[str, Verb]]:
        """Return the operations by path and method."""
        one, limit = "/external-task/{id}", self._context.settings.max_upload
        return {
            f"{one}/job": {"GET": Verb(self.show, "Show a locked task as a job.")},
            f"{one}/content/{{hash}}": {
                "GET": Verb(self.download, "Return a content that the job names."),
                "PUT": Verb(self.upload, "Store a content by its hash.", max_body=limit),
            },
            f"{one}/result": {"POST": Verb(self.finish, "Complete a job.", max_body=limit)},
        }

    async def show(self, request: Request) -> Response:
        """Return what is to be run, with which variables and files."""
        identifier, worker = path(request, "id"), _worker(request)
        limit = self._context.settings.max_upload
        job = await self._context.call(lambda it: _job(it, _mine(it, identifier, worker)))
        return answer({**job, "limit": limit})

    async def download(self, request: Request) -> Response:
        """Return a content that the variables or the files of the job name."""
        identifier, worker, name = path(request, "id"), _worker(request), path(request, "hash")

        def read(service: Service) -> bytes:
            job = _job(service, _mine(service, identifier, worker))
            named = names(job["variables"]) | {each.hash for each in job["files"].values()}
            with _unusable():
                if not is_hash(name) or name not in named:
                    raise InputMissing(f"the job names no content {name!r:.80} any more")
                return service.journal.artifacts.read(name)

        return Response(await self._context.call(read, uses_store=True), headers=_BYTES)

    async def upload(self, request: Request) -> Response:
        """Store a content, as a whole or not at all, where all hosts find it."""
        identifier, worker, name = path(request, "id"), _worker(request), path(request, "hash")
        if not is_hash(name):
            raise invalid(f"{name!r:.80} is not the hash of a content")

        def keep(service: Service) -> None:
            _mine(service, identifier, worker)
            with _unusable():
                service.journal.artifacts.keep(name, io.BytesIO(request.body))

        await self._context.call(keep, uses_store=True)
        return NOTHING

    async def finish(self, request: Request) -> Response:
        """Complete a task with variables as they are stored, and with its files."""
        identifier, given = path(request, "id"), body(request)
        worker = given.text("workerId")
        if worker is None:
            raise missing("workerId")
        variables, files = _variables(given.values), _files(given.values)
        report = Report(worker, variables, files=files, printed=printed_of(given))

        def check(service: Service) -> None:
            _mine(service, identifier, worker)
            _require_stored(service.journal.artifacts, variables, files)

        await self._context.call(check, uses_store=True)
        await settle(
            self._context, lambda it: [external.complete(it, identifier, report)], identifier
        )
        return NOTHING


@contextmanager
def _unusable() -> Iterator[None]:
    """Let a content that is missing or damaged be an error of its own: the task is still there."""
    try:
        yield
    except (InputMissing, BadData) as error:
        raise refused(422, error.message) from error


def _worker(request: Request) -> str:
    found = query(request).text("workerId")
    if found is None:
        raise missing("workerId")
    return found


def _mine(service: Service, identifier: str, worker: str) -> ExternalTask:
    return external.require_held(service.journal, identifier, worker, _MINE)


def _job(service: Service, task: ExternalTask) -> dict[str, Any]:
    """Return a task as a worker runs it; its folders are the worker's own."""
    row = service.journal.get(task.instance)
    engine, state = service.session.engine(row), service.session.state(row)
    activation = state.activations.get(task.activation)
    work = engine.graph.behaviors[task.element].node.work
    if activation is None or not isinstance(work, Script | Callable):
        raise external.UnknownTask(task.id)
    running = Running(engine, state, row.number, row.id, row.options)
    job = jobs.request(running, activation, work)
    return {**job, "folder": "", "work": "", "files": dict(state.files)}


def _variables(given: Mapping[str, Any]) -> dict[str, Any]:
    found = given.get("variables") or {}
    if not isinstance(found, dict):
        raise invalid("variables: it is not an object")
    for name, each in found.items():
        check_name(name)
        try:
            unpack(each, lambda reference: reference)
        except Exception:  # Whatever a reader of a tag raises: it is not as `pack` writes it.
            raise invalid(f"variable {name!r:.80} is not a stored value") from None
    return found


def _files(given: Mapping[str, Any]) -> _FILES:
    try:
        files = msgspec.convert(given.get("files") or {}, _FILES)
        check_all({path: each for path, each in files.items() if each is not None})
    except msgspec.ValidationError as error:
        raise invalid(f"files: {error}") from None
    except BadData as error:
        raise invalid(error.message) from None
    return files


def _require_stored(store: ArtifactStore, variables: Mapping[str, Any], files: _FILES) -> None:
    """Refuse a result that names contents which nobody has sent."""
    wanted = {each.hash: f"the file {path!r:.200}" for path, each in files.items() if each}
    for name, each in variables.items():
        wanted.update(dict.fromkeys(names(each), f"variable {name!r:.80}"))
    for name, what in wanted.items():
        is_there = not name or store.is_here(name)
        if not (is_there or (store.is_shared and store.shared.find(name))):
            raise refused(409, f"the content of {what} was not received")

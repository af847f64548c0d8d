"""`/api/v1/instances`: start, find, inspect and steer instances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.journal.artifacts import is_hash
from mlkit.bpmn.journal.listings import Criteria, Found
from mlkit.bpmn.journal.parts import Index
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import ENDED, STATES, Row
from mlkit.bpmn.runtime import deployment, documents
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.answers import (
    BAD_BODY,
    BAD_QUERY,
    GONE,
    PAGE,
    REFUSED,
    answer,
    body,
    page,
)
from mlkit.bpmn.server.context import Context, client
from mlkit.bpmn.server.roles import acting
from mlkit.bpmn.server.types import (
    Instance,
    Instances,
    MigrateInstance,
    Person,
    Reason,
    Rerun,
    RetryIncidents,
    SetVariables,
    StartActivity,
    StartInstance,
)
from mlkit.web.application import Answer, Operation, Parameter, Request, Response, Route
from mlkit.web.errors import RequestError
from mlkit.web.paths import path_parameter

_BASE = "/api/v1/instances"
_ID = Parameter("instance", "path", {"type": "string"}, "The instance's id.")
_FILTERS = {
    "state": "running, waiting, incident, suspended, completed, failed or cancelled.",
    "process": "The key of the definition.",
    "version": "Of the definition.",
    "business_key": "The business key.",
    "variable": "NAME=VALUE; JSON keeps its type.",
    "text": "Part of the id, the business key or the definition's key.",
    "started_after": "A time (ISO 8601).",
    "started_before": "A time (ISO 8601).",
    "ended_after": "A time (ISO 8601).",
    "ended_before": "A time (ISO 8601).",
}
_LONGEST_TEXT = 255
_MOVED = {200: Answer("The instance as it is now.", dict[str, Any])}
_STEERED = {**BAD_BODY, **GONE, **REFUSED}


def routes(context: Context) -> dict[str, Route]:
    """Return the paths of instances."""
    made = _Instances(context)
    found = {_BASE: Route(_BASE, {"GET": _list(made), "POST": _start(made)})}
    one = f"{_BASE}/{{instance}}"
    found[one] = Route(one, {"GET": _read(made.show, "getInstance", "One instance.")}, (_ID,))
    for name, handler, summary in (
        ("history", made.history, "The flow nodes that an instance went through."),
        ("logs", made.logs, "What the attempts at an instance's tasks printed."),
        ("artifacts", made.artifacts, "The stored values of an instance."),
    ):
        path = f"{one}/{name}"
        found[path] = Route(path, {"GET": _read(handler, f"get{name.title()}", summary)}, (_ID,))
    for name, handler, kind, summary in (
        ("cancel", made.cancel, Reason, "End an instance."),
        ("suspend", made.suspend, Reason, "Suspend an instance; what runs may end."),
        ("unsuspend", made.unsuspend, Person, "Let a suspended instance continue."),
        ("retry", made.retry, RetryIncidents, "Try an incident again, or all of an instance."),
        ("variables", made.assign, SetVariables, "Set variables, and remove some."),
        ("rerun", made.rerun, Rerun, "Begin a new instance from an activity of this one."),
    ):
        path = f"{one}/{name}"
        found[path] = Route(path, {"POST": _steer(handler, name, kind, summary)}, (_ID,))
    path = f"{one}/migrate"
    found[path] = Route(path, {"POST": _migrate(made)}, (_ID,))
    path = f"{one}/activities"
    summary = "Start an activity of an ad-hoc sub-process, or end the sub-process."
    begin = _steer(made.begin, "begin", StartActivity, summary)
    found[path] = Route(path, {"POST": begin}, (_ID,))
    path = f"{one}/artifacts/{{hash}}"
    file = Parameter("hash", "path", {"type": "string"}, "The artifact's name.")
    found[path] = Route(path, {"GET": _download(made)}, (_ID, file))
    return found


def _list(made: _Instances) -> Operation:
    filters = [Parameter(n, "query", {"type": "string"}, text) for n, text in _FILTERS.items()]
    return Operation(
        made.list,
        id="listInstances",
        summary="Find instances, newest first.",
        tag="instances",
        role="viewer",
        parameters=(*filters, *PAGE),
        answers={200: Answer("A page of instances.", Instances)},
        problems={**BAD_QUERY, **GONE},
        is_partial=True,
    )


def _start(made: _Instances) -> Operation:
    return Operation(
        made.start,
        id="startInstance",
        summary="Start a definition; the same `Idempotency-Key` starts once.",
        tag="instances",
        role="operator",
        body=StartInstance,
        example={"process": "training", "variables": {"rows": 1000}},
        parameters=(
            Parameter(
                "Idempotency-Key", "header", {"type": "string", "maxLength": 255},
                "A key of the client's.",
            ),
        ),
        answers={201: Answer("It is started.", Instance)},
        problems=_STEERED,
        is_partial=True,
    )  # fmt: skip


def _read(handler: Any, operation: str, summary: str) -> Operation:
    return Operation(
        handler,
        id=operation,
        summary=summary,
        tag="instances",
        role="viewer",
        answers={200: Answer("What is known.", dict[str, Any])},
        problems={400: "It is not an id.", **GONE},
    )


def _steer(handler: Any, name: str, kind: Any, summary: str) -> Operation:
    return Operation(
        handler,
        id=f"{name}Instance",
        summary=summary,
        tag="instances",
        role="operator",
        body=kind,
        body_required=False,
        answers=_MOVED,
        problems=_STEERED,
    )


def _migrate(made: _Instances) -> Operation:
    return Operation(
        made.migrate,
        id="migrateInstance",
        summary="Move an instance to another version of its definition; or report, in a dry run.",
        tag="instances",
        role="operator",
        body=MigrateInstance,
        example={"version": 2, "mapping": {"approve": "decide"}, "dry_run": True},
        answers={200: Answer("Where each token is then, and what prevents it.", dict[str, Any])},
        problems=_STEERED,
    )


def _download(made: _Instances) -> Operation:
    return Operation(
        made.download,
        id="downloadArtifact",
        summary="A stored value, as the task has stored it (Python pickles run code when loaded).",
        tag="instances",
        role="viewer",
        answers={200: Answer("The bytes.", media="application/octet-stream")},
        problems=GONE,
    )


def summarize(found: Found) -> Instance:
    """Return an instance as lists have it."""
    return Instance(
        found.id, found.process, found.version, found.status, found.key,
        instant(found.created), instant(found.updated),
        instant(found.updated) if found.status in ENDED else None,
    )  # fmt: skip


class _Instances:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def list(self, request: Request) -> Response:
        wanted = page(request, tuple(_FILTERS))

        def find(service: Service) -> Instances:
            searched = criteria(service, wanted.query)
            reached = self._context.reach(service, request, "viewer")
            index = service.journal.index.within(reached.processes)
            found = search(service, index, searched, wanted.number(), wanted.limit + 1)
            shown = [summarize(each) for each in found[: wanted.limit]]
            more = len(found) > wanted.limit
            return Instances(shown, str(found[wanted.limit - 1].number) if more else None)

        return answer(await self._context.call(find))

    async def start(self, request: Request) -> Response:
        given = body(request, StartInstance)
        await self._context.require_at(request, "operator", given.process)
        once = _header(request, b"idempotency-key")
        wanted = deployment.Request(
            given.process, given.version, given.variables, given.business_key, given.message,
            once=once, by=acting(request.caller, given.person), source=client(request),
        )  # fmt: skip
        starter = self._context.starter
        row = await self._context.write(lambda journal: _start_instance(starter, journal, wanted))
        return answer(row, 201)

    async def show(self, request: Request) -> Response:
        return await self._show(request, lambda service, name: service.show(name))

    async def history(self, request: Request) -> Response:
        def find(service: Service, name: str) -> dict[str, Any]:
            row = service.journal.find(name)
            found = documents.describe_run(service.journal, row, service.session.engine(row))
            masked: dict[str, Any] = service.session.mask(row).document(found)
            return masked

        return await self._show(request, find)

    async def logs(self, request: Request) -> Response:
        return await self._show(request, lambda service, name: service.logs(name))

    async def artifacts(self, request: Request) -> Response:
        def find(service: Service, name: str) -> dict[str, Any]:
            row = service.journal.find(name)
            return {
                "instance": row.id,
                "artifacts": documents.artifacts(service.journal, row),
            }

        return await self._show(request, find)

    async def _show(
        self, request: Request, find: Callable[[Service, str], dict[str, Any]]
    ) -> Response:
        name = path_parameter(request, "instance")
        return answer(await self._context.call(lambda service: find(service, name)))

    async def download(self, request: Request) -> Response:
        name, wanted = path_parameter(request, "instance"), path_parameter(request, "hash")

        def read(service: Service) -> bytes:
            row = service.journal.find(name)
            listed = documents.artifacts(service.journal, row)
            known = {each["artifact"] for each in listed}
            mask = service.session.mask(row)
            if any(mask.hides(e["name"]) for e in listed if e["artifact"] == wanted):
                raise RequestError(403, "it is a secret", "scripts and workers read it")
            if not is_hash(wanted) or wanted not in known:
                raise RequestError(404, f"no artifact {wanted!r:.80}", "see /artifacts")
            return service.journal.artifacts.read(wanted)

        headers = (
            (b"content-type", b"application/octet-stream"),
            (b"content-disposition", b"attachment"),
        )
        return Response(await self._context.call(read, uses_store=True), headers=headers)

    async def cancel(self, request: Request) -> Response:
        given = body(request, Reason)
        by = acting(request.caller, given.person)
        return await self._perform(request, lambda s, name: s.cancel(name, given.reason, by))

    async def suspend(self, request: Request) -> Response:
        given = body(request, Reason)
        by = acting(request.caller, given.person)
        return await self._perform(request, lambda s, name: s.suspend(name, given.reason, by))

    async def unsuspend(self, request: Request) -> Response:
        by = acting(request.caller, body(request, Person).person)
        return await self._perform(request, lambda s, name: s.unsuspend(name, by))

    async def migrate(self, request: Request) -> Response:
        given, name = body(request, MigrateInstance), path_parameter(request, "instance")
        by = acting(request.caller, given.person)

        def move(service: Service) -> dict[str, Any]:
            report = service.migration(name, given.version, given.mapping)
            if not given.dry_run:
                service.migrate(name, report["to"], given.mapping, by)
            return {**report, "migrated": not given.dry_run}

        return answer(await self._context.call(move, request))

    async def retry(self, request: Request) -> Response:
        given = body(request, RetryIncidents)
        by = acting(request.caller, given.person)
        return await self._perform(request, lambda s, name: s.retry(name, given.incident, by))

    async def assign(self, request: Request) -> Response:
        given = body(request, SetVariables)
        by = acting(request.caller, given.person)
        variables, removed = given.variables, given.removed
        return await self._perform(request, lambda s, name: s.assign(name, variables, removed, by))

    async def rerun(self, request: Request) -> Response:
        given = body(request, Rerun)
        by = acting(request.caller, given.person)
        return await self._perform(request, lambda s, name: s.rerun(name, given.element, by))

    async def begin(self, request: Request) -> Response:
        given = body(request, StartActivity)
        by = acting(request.caller, given.person)
        element, end = given.element, given.end
        return await self._perform(request, lambda s, name: s.start(name, element, by, end))

    async def _perform(self, request: Request, act: Callable[[Service, str], Row]) -> Response:
        name = path_parameter(request, "instance")
        found = await self._context.call(
            lambda service: service.show(act(service, name).id), request
        )
        return answer(found)


def _start_instance(
    starter: deployment.Starter, journal: Journal, wanted: deployment.Request
) -> Instance:
    return describe_started(journal, starter.start(journal, wanted))


def describe_started(journal: Journal, row: Row) -> Instance:
    """Return an instance that has just been started, as lists have it."""
    deployed = journal.deployments.of_definition(row.process, row.definition)
    return Instance(
        row.id, row.process, None if deployed is None else deployed.version,
        row.status.replace("interrupted", "running"), row.key,
        instant(row.created), instant(row.updated), None,
    )  # fmt: skip


def _header(request: Request, wanted: bytes) -> str | None:
    for name, value in request.scope["headers"]:
        if name == wanted:
            text: str = value.decode("latin-1")
            if not 1 <= len(text) <= 255 or not text.isprintable():
                raise RequestError(400, "Idempotency-Key: 1 to 255 characters", "a UUID is usual")
            return text
    return None


def criteria(service: Service, given: Mapping[str, str]) -> Criteria:
    """Return what a query searches for.

    Raises:
        RequestError: 400: it cannot be read.
        InputMissing: There is no such version.
    """
    state = given.get("state")
    if state is not None and state not in STATES:
        raise RequestError(400, f"state: {state!r:.40} is not known", f"one of {', '.join(STATES)}")
    if len(given.get("text", "")) > _LONGEST_TEXT:
        raise RequestError(400, f"text: more than {_LONGEST_TEXT} characters", "shorten it")
    definition = None
    if "version" in given:
        version = given["version"]
        if "process" not in given or not (version.isascii() and version.isdigit()):
            raise RequestError(400, "version: a number, with `process`", "1, 2, 3, ...")
        deployed = service.journal.deployments.require(given["process"], int(version[:9]))
        definition = deployed.definition
    times = {name: _time(name, given) for name in _FILTERS if name.endswith(("after", "before"))}
    return Criteria(
        state, given.get("process"), definition, given.get("business_key"),
        variables=_variable(given.get("variable")), text=given.get("text"), **times,
    )  # fmt: skip


def search(
    service: Service, index: Index, criteria: Criteria, before: int | None, limit: int
) -> list[Found]:
    """Return instances, newest first, as if those of which a secret is searched for were not there.

    Else the length of a page would tell whether a secret was guessed.
    """
    hides = service.session.hides
    kept: list[Found] = []
    while len(kept) < limit:
        found = index.search(criteria, before, limit)
        kept += [
            each for each in found if not any(hides(each, name) for name in criteria.variables)
        ]
        if len(found) < limit:
            break
        before = found[-1].number
    return kept[:limit]


def _variable(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise RequestError(400, f"variable: {text!r:.80}", "expected NAME=VALUE")
    try:
        return {name: msgspec.json.decode(value)}
    except msgspec.DecodeError:
        return {name: value}


def _time(name: str, given: Any) -> float | None:
    text = given.get(name)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        hint = "2026-01-31T12:00:00Z; `+` is written %2B in a query"
        raise RequestError(400, f"{name}: {text!r:.40} is not a time", hint) from None

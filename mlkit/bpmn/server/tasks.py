"""`/api/v1/tasks`: what waits for people, and their own data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import convert

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.journal.listings import OpenTask
from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.people import tasks
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.answers import (
    BAD_BODY,
    BAD_QUERY,
    GONE,
    PAGE,
    REFUSED,
    USUAL,
    answer,
    body,
    page,
)
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.people import People
from mlkit.bpmn.server.reach import own_tasks, require_for, require_seen, task_of
from mlkit.bpmn.server.roles import TASKS, acting, list_roles
from mlkit.bpmn.server.types import CompleteTask, Delegate, FormField, Me, Person, Task, Tasks
from mlkit.errors import UsageError
from mlkit.web.access import ANY
from mlkit.web.application import Answer, Operation, Parameter, Request, Response, Route
from mlkit.web.errors import RequestError
from mlkit.web.paths import path_parameter, query

_BASE = "/api/v1/tasks"
_PATH = (
    Parameter("instance", "path", {"type": "string"}, "The instance's id; `-`: any instance."),
    Parameter("task", "path", {"type": "string"}, "The task's number, or its element's id."),
)
_FILTERS = (
    Parameter("assignee", "query", {"type": "string"}, "Only what this person may do."),
    Parameter("group", "query", {"type": "string"}, "Only what this group may do."),
    Parameter(
        "forms", "query", {"type": "string", "enum": ["true", "false"]},
        "Whether the tasks have their forms (pages of 100 at most).",
    ),
)  # fmt: skip
_ANY = "-"
"""Stands for any instance where a task is named by its element's id alone."""
_MINE = 100


def routes(context: Context) -> dict[str, Route]:
    """Return the paths of user tasks."""
    made = _Tasks(context)
    listed = Operation(
        made.list,
        id="listTasks",
        summary="The user tasks that wait, oldest instance first.",
        tag="tasks",
        role=TASKS,
        parameters=(*_FILTERS, *PAGE),
        answers={200: Answer("A page of tasks.", Tasks)},
        problems=BAD_QUERY,
        is_partial=True,
    )
    shown = Operation(
        made.show,
        id="getTask",
        summary="A user task, with the fields of its form.",
        tag="tasks",
        role=TASKS,
        answers={200: Answer("The task.", dict[str, Any])},
        problems={400: "It is not an id.", **GONE, 409: "Somebody has completed it."},
    )
    me = Operation(
        made.me,
        id="getMe",
        summary="Who calls, what they may do, and their tasks.",
        tag="people",
        role=ANY,
        answers={200: Answer("About the caller.", Me)},
        problems=BAD_QUERY,
    )
    one = f"{_BASE}/{{instance}}/{{task}}"
    found = {
        _BASE: Route(_BASE, {"GET": listed}),
        one: Route(one, {"GET": shown}, _PATH),
        "/api/v1/me": Route("/api/v1/me", {"GET": me}),
    }
    for name, handler, kind, summary in (
        ("complete", made.complete, CompleteTask, "Complete a task with the values of its form."),
        ("claim", made.claim, Person, "Take a task, so that it is the caller's."),
        ("release", made.release, Person, "Give a task back."),
        ("delegate", made.delegate, Delegate, "Hand a task to another person."),
    ):
        path = f"{one}/{name}"
        found[path] = Route(path, {"POST": _act(handler, name, kind, summary)}, _PATH)
    return found


def _act(handler: Any, name: str, kind: Any, summary: str) -> Operation:
    return Operation(
        handler,
        id=f"{name}Task",
        summary=summary,
        tag="tasks",
        role="participant",
        body=kind,
        body_required=False,
        answers={200: Answer("The instance as it is now.", dict[str, Any])},
        problems={**BAD_BODY, **GONE, **REFUSED},
    )


def summarize(service: Service, people: People, each: OpenTask) -> Task:
    """Return a task as lists have it."""
    name, created = each.name or _find_drawn_name(service, each), instant(each.since)
    return Task(
        f"{each.instance}/{each.activation}", each.instance, each.process, each.element, name,
        each.assignee, each.users, each.groups, created, created, each.due, each.priority,
        each.activation, without_mail=people.list_unreached(task_of(each)),
    )  # fmt: skip


def _with_forms(service: Service, people: People, found: list[OpenTask]) -> list[Task]:
    """Return tasks with their forms; those that have just been completed are left out."""
    journal = service.journal
    rows = journal.rows_of({each.number for each in found})
    waiting = {
        task.id: task
        for row, recorded in journal.load_recorded(rows)
        for task in service.session.tasks(row, recorded)
    }
    made = []
    for each in found:
        shown = summarize(service, people, each)
        task = waiting.get(shown.task)
        if task is not None:
            shown.iteration = task.iteration
            shown.form = convert(tasks.describe(task), list[FormField])
            made.append(shown)
    return made


def _find_drawn_name(service: Service, each: OpenTask) -> str:
    """Return the name that a task has in its diagram."""
    return engine_of(service, each).graph.behaviors[each.element].node.name or each.element


def engine_of(service: Service, each: OpenTask) -> Engine:
    """Return the engine of a task's definition, without a look at its instance where it is known.

    Raises:
        Damaged: The definition cannot be read.
    """
    known = service.session.engines.get((each.definition, each.process))
    return known or service.session.engine(service.journal.get(each.number))


class _Tasks:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def list(self, request: Request) -> Response:
        wanted = page(request, ("assignee", "group", "forms"))
        assignee, group = wanted.query.get("assignee"), wanted.query.get("group")
        forms = _forms(wanted.query)

        def find(service: Service) -> Tasks:
            after = wanted.pair()
            limit = min(wanted.limit, USUAL) if forms else wanted.limit
            names = None if assignee is None else service.people().names_of(assignee)
            found = service.journal.index.tasks(names, group, after, limit + 1)
            seen = own_tasks(service, self._context, request.caller, found[:limit])
            people = self._context.people
            shown = (
                _with_forms(service, people, seen)
                if forms
                else [summarize(service, people, each) for each in seen]
            )
            last = found[limit - 1] if len(found) > limit else None
            return Tasks(shown, f"{last.number}.{last.activation}" if last else None)

        return answer(await self._context.call(find))

    async def show(self, request: Request) -> Response:
        name = _name(request)

        def find(service: Service) -> dict[str, Any]:
            _, task = service.task(name)
            require_seen(service, self._context, request.caller, task)
            unreached = self._context.people.list_unreached(task)
            return {**tasks.document(task), "without_mail": unreached}

        return answer(await self._context.call(find))

    async def me(self, request: Request) -> Response:
        query(request, ())
        name, roles = acting(request.caller, None), list_roles(request.caller)
        if not request.caller.may_somewhere(TASKS):
            return answer(Me(name, roles, []))

        def find(service: Service) -> list[Task]:
            names = service.people().names_of(name)
            found = service.journal.index.tasks(names, None, (0, 0), _MINE)
            return [summarize(service, self._context.people, each) for each in found]

        return answer(Me(name, roles, await self._context.call(find)))

    async def complete(self, request: Request) -> Response:
        given = body(request, CompleteTask)
        by, checked = acting(request.caller, given.person), _is_person(request, given.person)
        if given.approved is None:
            return await self._perform(
                request, lambda s, name: s.complete(name, given.variables, by, checked)
            )
        if given.variables:
            raise UsageError("a task is completed by its values or by a decision, not by both")
        approved, comment = given.approved, given.comment
        return await self._perform(
            request, lambda s, name: s.decide(name, approved, comment, by, checked)
        )

    async def claim(self, request: Request) -> Response:
        by = acting(request.caller, body(request, Person).person)
        return await self._perform(request, lambda s, name: s.claim(name, by))

    async def release(self, request: Request) -> Response:
        by = acting(request.caller, body(request, Person).person)
        operates = request.caller.may("operator")
        return await self._perform(request, lambda s, name: s.release(name, by, operates))

    async def delegate(self, request: Request) -> Response:
        given = body(request, Delegate)
        by, operates = acting(request.caller, given.person), request.caller.may("operator")
        return await self._perform(
            request, lambda s, name: s.delegate(name, given.to, by, True, operates)
        )

    async def _perform(self, request: Request, act: Callable[[Service, str], Row]) -> Response:
        name = _name(request)

        def work(service: Service) -> dict[str, Any]:
            if not request.caller.may("operator"):
                require_for(service, self._context, request.caller, service.task(name)[1])
            return service.show(act(service, name).id)

        found = await self._context.call(work, request)
        if not request.caller.may("viewer"):
            # Who does a task sees how far its instance is, and not what others have filled in.
            found = {**found, "variables": {}, "incidents": []}
        return answer(found)


def _is_person(request: Request, person: str | None) -> bool:
    """Return whether who completes a task must be one who may: a named person, or no operator."""
    return person is not None or not request.caller.may("operator")


def _name(request: Request) -> str:
    instance, task = path_parameter(request, "instance"), path_parameter(request, "task")
    return task if instance == _ANY else f"{instance}/{task}"


def _forms(given: Mapping[str, str]) -> bool:
    wanted = given.get("forms", "false")
    if wanted not in ("true", "false"):
        raise RequestError(400, f"forms: {wanted!r:.40}, expected true or false", "leave it out")
    return wanted == "true"

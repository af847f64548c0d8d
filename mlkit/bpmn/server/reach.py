"""Roles for a part of the definitions: what a caller reaches, in lists and one by one.

A role may be had for one definition (`operator@loans`) or for those with a tag
(`operator#finance`): the tags are those of the newest deployed version. An operation about one
definition or instance is guarded: its caller has there the roles that they have for it. A list
shows what its caller reaches. All else needs a role for everything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from mlkit.bpmn.definition.parser import tags_of
from mlkit.bpmn.journal.listings import OpenTask
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Deployed
from mlkit.bpmn.people.tasks import Task
from mlkit.bpmn.runtime.deployment import Check
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.people import visitor
from mlkit.web.access import Caller, part_of, require
from mlkit.web.application import Operation, Request, Response, Route, Stream
from mlkit.web.errors import RequestError
from mlkit.web.paths import path_parameter

if TYPE_CHECKING:
    from mlkit.bpmn.server.context import Context

_ENGINE_REST = "/engine-rest"
_EXTERNAL_TASK = f"{_ENGINE_REST}/external-task/{{id}}"
_NAMES = ("process", "instance")


class Tags:
    """The tags of deployed definitions; those of a stored one never change."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], frozenset[str]] = {}

    def of(self, journal: Journal, deployed: Deployed) -> frozenset[str]:
        """Return the tags of a version of a process."""
        place = deployed.process, deployed.definition
        if place not in self._known:
            content = journal.definition(deployed.definition)[1]
            self._known[place] = tags_of(content, deployed.process)
        return self._known[place]

    def newest(self, journal: Journal, process: str) -> frozenset[str]:
        """Return the tags of the newest version of a process; none where it is not deployed."""
        found = journal.deployments.newest(process)
        return frozenset() if found is None else self.of(journal, found)


class Reach(NamedTuple):
    """What a caller reaches in a role.

    Attributes:
        processes: The keys of the definitions; None: everything.
    """

    processes: frozenset[str] | None

    def covers(self, process: str) -> bool:
        """Return whether a definition is among them."""
        return self.processes is None or process in self.processes


def reach(service: Service, tags: Tags, caller: Caller, role: str) -> Reach:
    """Return what a caller reaches in a role."""
    if caller.may(role):
        return Reach(None)
    names, wanted = caller.parts(role)
    found = set(names)
    if wanted:
        newest = service.journal.deployments.all()
        found |= {each.process for each in newest if tags.of(service.journal, each) & wanted}
    return Reach(frozenset(found))


def at(caller: Caller, process: str, tags: frozenset[str]) -> Caller:
    """Return a caller as they are for one definition: what they may do there, they may do."""
    if caller.roles is None:
        return caller
    parts = map(part_of, caller.roles)
    found = {e.role for e in parts if e.name == process or e.tag in tags}
    return caller._replace(roles=caller.roles | found)


def guard_route(context: Context, route: Route) -> Route:
    """Return a route whose operations take their caller's roles for what the path names."""
    named = next((each for each in _NAMES if f"{{{each}}}" in route.name), None)
    if route.name.startswith(_ENGINE_REST):
        named = "id" if route.name.startswith(_EXTERNAL_TASK) else None
    if named is None:
        return route
    methods = {
        method: each if each.role is None else _guard_operation(context, each, named)
        for method, each in route.methods.items()
    }
    return replace(route, methods=methods)


def _guard_operation(context: Context, operation: Operation, named: str) -> Operation:
    handler: Callable[[Request], Awaitable[Response | Stream]] = operation.handler
    role = str(operation.role)

    async def answer(request: Request) -> Response | Stream:
        if request.caller.roles is None or not any(map(_is_part, request.caller.roles)):
            return await handler(request)
        name = path_parameter(request, named)
        caller = await context.call(
            lambda service: _caller_at(service, context.tags, request.caller, named, name)
        )
        require(caller, role)
        return await handler(request._replace(caller=caller))

    return replace(operation, handler=answer, is_partial=True)


def _is_part(role: str) -> bool:
    return part_of(role).role != role


def _caller_at(service: Service, tags: Tags, caller: Caller, named: str, name: str) -> Caller:
    process: str | None = name
    if named == "id":
        task = service.journal.external.get(name)
        process = None if task is None else task.process
    elif named == "instance":
        process = None if name == "-" else service.journal.find(name).process
    if process is None:
        return caller
    return at(caller, process, tags.newest(service.journal, process))


def require_at(service: Service, tags: Tags, caller: Caller, role: str, process: str) -> Caller:
    """Return a caller as they are for a definition.

    Raises:
        RequestError: 403: they lack a role there.
    """
    found = at(caller, process, tags.newest(service.journal, process))
    require(found, role)
    return found


def deployable(tags: Tags, caller: Caller) -> Check:
    """Return what refuses a deployment of definitions for which a caller lacks the role.

    Who deploys a part may neither take a definition of others nor give theirs other tags.
    """

    def check(journal: Journal, process: str, content: bytes) -> None:
        known = journal.deployments.newest(process)
        if known is not None:
            require(at(caller, process, tags.of(journal, known)), "deployer")
        require(at(caller, process, tags_of(content, process)), "deployer")

    return check


def own_tasks(
    service: Service, context: Context, caller: Caller, found: Iterable[OpenTask]
) -> list[OpenTask]:
    """Return the tasks that a caller sees."""
    return list(filter(sight(service, context, caller), found))


def sight(service: Service, context: Context, caller: Caller) -> Callable[[OpenTask], bool]:
    """Return whether a caller sees a task: all of what they view, else those that they may do.

    It looks at nothing of a task but its process and whom it waits for.
    """
    viewed = reach(service, context.tags, caller, "viewer")
    if viewed.processes is None:
        return lambda task: True
    joined = reach(service, context.tags, caller, "participant")
    who = visitor(context.people, service.journal, caller.name)
    return lambda task: (
        viewed.covers(task.process) or (joined.covers(task.process) and who.may(task_of(task)))
    )


def require_seen(service: Service, context: Context, caller: Caller, task: Task) -> None:
    """Refuse a task to who neither views the definition nor may do the task.

    The caller is as `at` has them for the task's definition.

    Raises:
        RequestError: 403.
    """
    if not caller.may("viewer"):
        require_for(service, context, caller, task)


def require_for(service: Service, context: Context, caller: Caller, task: Task) -> None:
    """Refuse a task to who may not do it: members of groups are known here, not to the service.

    Raises:
        RequestError: 403.
    """
    if not visitor(context.people, service.journal, caller.name).may(task):
        raise RequestError(403, "the task is for others", "participants see their own tasks")


def task_of(found: OpenTask) -> Task:
    """Return an open task as its assignment is looked at, without its form."""
    return Task(
        found.instance, found.activation, found.element, found.name or found.element, "",
        found.assignee, found.users, found.groups, found.since, found.due, found.priority,
    )  # fmt: skip

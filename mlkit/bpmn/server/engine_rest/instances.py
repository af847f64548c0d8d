"""`/engine-rest/process-instance` and `/execution`: instances and their variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlkit.bpmn.engine.events import AnyEvent, Assign, Cancel, Suspend, Unsuspend
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.runtime.auditing import audit
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.context import Context, client
from mlkit.bpmn.server.engine_rest import documents, queries, typed
from mlkit.bpmn.server.engine_rest.answers import NOTHING, Verb, answer, path, settle
from mlkit.bpmn.server.engine_rest.errors import RestError, invalid, refused, within
from mlkit.bpmn.server.engine_rest.fields import Fields, body, query
from mlkit.errors import MlkitError
from mlkit.web.application import Request, Response

_SORTS: dict[str, Callable[[Row], Any]] = {
    "instanceId": lambda row: row.id,
    "definitionKey": lambda row: row.process,
    "definitionId": lambda row: row.definition,
    "tenantId": lambda row: 0,
    "businessKey": lambda row: row.key,
}


class Instances:
    """The operations on process instances.

    Args:
        context: The server's.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def verbs(self) -> dict[str, dict[str, Verb]]:
        """Return the operations by path and method."""
        one = "/process-instance/{id}"
        variables, execution = f"{one}/variables", "/execution/{id}/localVariables"
        return {
            "/process-instance": {
                "GET": Verb(self.find, "List instances that have not ended.", "viewer"),
                "POST": Verb(self.find, "List instances by a body of filters.", "viewer"),
            },
            "/process-instance/count": {
                "GET": Verb(self.count, "Count instances.", "viewer"),
                "POST": Verb(self.count, "Count instances by a body of filters.", "viewer"),
            },
            one: {
                "GET": Verb(self.show, "Show an instance.", "viewer"),
                "DELETE": Verb(self.cancel, "Cancel an instance.", "operator"),
            },
            f"{one}/suspended": {
                "PUT": Verb(self.suspend, "Suspend an instance, or let it continue.", "operator"),
            },
            variables: {
                "GET": Verb(self.variables, "Show the variables.", "viewer"),
                "POST": Verb(self.modify, "Set and remove variables.", "operator"),
            },
            f"{variables}/{{name}}": {
                "GET": Verb(self.variable, "Show a variable.", "viewer"),
                "PUT": Verb(self.put, "Set a variable.", "operator"),
                "DELETE": Verb(self.remove, "Remove a variable.", "operator"),
            },
            f"{variables}/{{name}}/data": {"GET": Verb(self.data, "Its bytes.", "viewer")},
            execution: {"GET": Verb(self.variables, "Show local variables.")},
            f"{execution}/{{name}}": {"GET": Verb(self.variable, "Show a local variable.")},
            f"{execution}/{{name}}/data": {"GET": Verb(self.data, "Its bytes.")},
        }

    # -- instances -------------------------------------------------------------------------

    async def find(self, request: Request) -> Response:
        """List instances."""
        given = query(request) if request.scope["method"] != "POST" else body(request)
        limit, offset = queries.page(query(request))
        order = queries.order(given, _SORTS)

        def find(service: Service) -> list[dict[str, Any]]:
            rows = _rows(service, given)
            for by, direction in reversed(order):
                rows.sort(key=_SORTS[by], reverse=direction == "desc")
            end = None if limit is None else offset + limit
            return [documents.instance(service.journal, each) for each in rows[offset:end]]

        return answer(await self._context.call(find))

    async def count(self, request: Request) -> Response:
        """Count instances."""
        given = query(request) if request.scope["method"] != "POST" else body(request)
        return answer({"count": await self._context.call(lambda it: len(_rows(it, given)))})

    async def show(self, request: Request) -> Response:
        """Show an instance."""
        identifier = path(request, "id")

        def show(service: Service) -> dict[str, Any]:
            row = open_row(service, identifier)
            if row is None:
                raise invalid(f"Process instance with id {identifier} does not exist", 404)
            return documents.instance(service.journal, row)

        return answer(await self._context.call(show))

    async def cancel(self, request: Request) -> Response:
        """Cancel an instance."""
        identifier, by = path(request, "id"), request.caller.name
        row = await self._context.call(lambda it: open_row(it, identifier))
        if row is None:
            message = f"No process instance found for id '{identifier}': processInstance is null"
            raise RestError(404, "InvalidRequestException", message, 0)
        await self._deliver(request, row, Cancel("", by))
        return NOTHING

    async def suspend(self, request: Request) -> Response:
        """Suspend an instance, or let it go on; nothing changes where it is so already."""
        identifier, by = path(request, "id"), request.caller.name
        wanted = body(request).flag("suspended")
        row = await self._context.call(lambda it: open_row(it, identifier))
        if row is None:
            message = f"No process instance found for id '{identifier}': processInstance is null"
            raise RestError(404, "InvalidRequestException", message, 0)
        if wanted != (row.status == "suspended"):
            await self._deliver(request, row, Suspend("", by) if wanted else Unsuspend(by))
        return NOTHING

    # -- variables -------------------------------------------------------------------------

    async def variables(self, request: Request) -> Response:
        """Show variables."""
        given = query(request)
        shown = given.flag("deserializeValues") or "deserializeValues" not in given.values
        found = await self._read_variables(request)
        return answer(documents.variables(found, shown))

    async def variable(self, request: Request) -> Response:
        """Show a variable."""
        given = query(request)
        _, value = await self._value(request)
        for flag in ("deserializeValue", "deserializeValues"):
            if flag in given.values and not given.flag(flag):
                return answer(typed.encode(value, deserialized=False).document)
        return answer(typed.encode(value, deserialized=True).document)

    async def data(self, request: Request) -> Response:
        """Send the bytes of a variable."""
        name, value = await self._value(request)
        found = typed.content(value)
        if found is None:
            place = path(request, "id")
            raise invalid(f"Value of variable with id {place} is not a binary value.")
        content, info = found
        return Response(content, 200, documents.download(name, info))

    async def _read_variables(self, request: Request) -> dict[str, Any]:
        identifier, local = path(request, "id"), _is_local(request)
        return await self._context.call(lambda it: _variables(it, identifier, local))

    async def _value(self, request: Request) -> tuple[str, Any]:
        name = path(request, "name")
        found = await self._read_variables(request)
        if name not in found:
            kind = "execution" if _is_local(request) else "process instance"
            raise invalid(f"{kind} variable with name {name} does not exist", 404)
        return name, found[name]

    async def put(self, request: Request) -> Response:
        """Set a variable."""
        name = path(request, "name")
        try:
            value = typed.decode(body(request).values)
        except RestError as error:
            raise within(f"Cannot put process instance variable {name}", error) from None
        return await self._assign(request, {typed.check_name(name): value}, [])

    async def remove(self, request: Request) -> Response:
        """Remove a variable."""
        return await self._assign(request, {}, [path(request, "name")])

    async def modify(self, request: Request) -> Response:
        """Set and remove several variables."""
        given = body(request)
        variables, removed = given.variables("modifications"), given.texts("deletions")
        return await self._assign(request, variables, list(removed or ()))

    async def _assign(
        self, request: Request, variables: dict[str, Any], removed: list[str]
    ) -> Response:
        identifier = path(request, "id")
        row = await self._context.call(lambda it: open_row(it, identifier))
        if row is None:
            raise _no_execution(identifier)
        await self._deliver(request, row, Assign(variables, removed, request.caller.name))
        return NOTHING

    async def _deliver(self, request: Request, row: Row, event: AnyEvent) -> None:
        def deliver(journal: Journal) -> list[int]:
            if not journal.get(row.number).is_open:
                raise refused(404, f"Process instance with id {row.id} does not exist")
            audit(journal, row, event, client(request))
            return [journal.mailbox.deliver(row.number, event, asks=True)]

        await settle(self._context, deliver)


def find_row(service: Service, identifier: str) -> Row | None:
    """Return an instance by its whole id."""
    try:
        row = service.journal.find(identifier)
    except MlkitError:
        return None
    return row if row.id == identifier else None


def open_row(service: Service, identifier: str) -> Row | None:
    """Return an instance that has not ended, by its whole id."""
    row = find_row(service, identifier)
    return row if row is not None and row.is_open else None


def _no_execution(identifier: str) -> RestError:
    message = f"execution {identifier} doesn't exist: execution is null"
    return RestError(500, "NullValueException", message, 0)


def _is_local(request: Request) -> bool:
    return "/execution/" in request.scope["path"]


def _variables(service: Service, identifier: str, local: bool) -> dict[str, Any]:
    """Return the variables of an instance, or those that an external task sees or has itself."""
    instance, _, number = identifier.partition("-")
    row = open_row(service, instance)
    if row is None:
        raise _no_execution(identifier)
    state = service.session.state(row)
    if not number:
        found = next((each.variables for each in state.roots()), {})
        return service.session.mask(row, state).variables(found)
    found = _of_task(state, number, identifier, local)
    # Workers get what is theirs; who only looks gets no secret.
    return found if local else service.session.mask(row, state).variables(found)


def _of_task(state: State, number: str, identifier: str, local: bool) -> dict[str, Any]:
    activation = state.activations.get(int(number)) if number.isdigit() else None
    if activation is None:
        raise _no_execution(identifier)
    if not local:
        return state.visible(activation.local or activation.scope)
    scope = state.scopes.get(activation.local)
    return {} if scope is None else scope.variables


def _rows(service: Service, given: Fields) -> list[Row]:
    """Return the instances that have not ended and for which all filters hold."""
    checks = [each for each in _checks(service, given) if each is not None]
    rows = [each for each in service.journal.open_rows() if each.is_open]
    return [row for row in rows if all(check(row) for check in checks)]


Check = Callable[[Row], bool]


def _checks(service: Service, given: Fields) -> list[Check | None]:
    wanted = queries.variables_of(given, "variables")
    none = bool(given.texts("tenantIdIn"))
    return [
        _equal(given.text("businessKey"), lambda row: row.key),
        _equal(given.text("processDefinitionKey"), lambda row: row.process),
        _among(given.texts("processDefinitionKeyIn"), lambda row: row.process),
        _among(given.texts("processInstanceIds"), lambda row: row.id),
        _check_definition(given.text("processDefinitionId")),
        _like(given.text("businessKeyLike")),
        (lambda row: row.status == "incident") if given.flag("withIncident") else None,
        (lambda row: False) if none else None,
        (lambda row: row.status == "suspended") if given.flag("suspended") else None,
        (lambda row: row.status != "suspended") if given.flag("active") else None,
        (lambda row: queries.holds_openly(service, row, wanted)) if wanted else None,
    ]


def _equal(value: str | None, read: Callable[[Row], str]) -> Check | None:
    return None if value is None else lambda row: read(row) == value


def _among(values: tuple[str, ...] | None, read: Callable[[Row], str]) -> Check | None:
    return None if values is None else lambda row: read(row) in values


def _like(pattern: str | None) -> Check | None:
    return None if pattern is None else lambda row: queries.like(row.key, pattern)


def _check_definition(identifier: str | None) -> Check | None:
    if identifier is None:
        return None
    wanted = queries.definition_of(identifier)
    return lambda row: (row.process, row.definition) == wanted

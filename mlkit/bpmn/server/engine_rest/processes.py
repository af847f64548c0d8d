"""`/engine-rest/process-definition` and `/deployment`: deploy, list and start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import structs

from mlkit.bpmn.engine.events import Start
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Deployed, Row
from mlkit.bpmn.runtime.deployment import deploy
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.context import Context, client
from mlkit.bpmn.server.engine_rest import definitions, documents, queries
from mlkit.bpmn.server.engine_rest.answers import Verb, answer, path, settle
from mlkit.bpmn.server.engine_rest.errors import RestError, invalid, refused, within
from mlkit.bpmn.server.engine_rest.fields import body, query
from mlkit.bpmn.server.engine_rest.typed import format_time
from mlkit.bpmn.server.roles import acting
from mlkit.errors import MlkitError
from mlkit.web.application import Request, Response
from mlkit.web.paths import read_form


class Processes:
    """The operations on definitions.

    Args:
        context: The server's.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def verbs(self) -> dict[str, dict[str, Verb]]:
        """Return the operations by path and method."""
        all_, by_key, by_id = (
            "/process-definition", "/process-definition/key/{key}", "/process-definition/{id}",
        )  # fmt: skip
        shown, xml = Verb(self.show, "Show a definition.", "viewer"), "The diagram."
        started = Verb(self.start, "Start an instance.", "operator")
        return {
            all_: {"GET": Verb(self.find, "List definitions.", "viewer")},
            f"{all_}/count": {"GET": Verb(self.count, "Count definitions.", "viewer")},
            by_key: {"GET": shown},
            f"{by_key}/xml": {"GET": Verb(self.xml, xml, "viewer")},
            f"{by_key}/start": {"POST": started},
            f"{by_key}/tenant-id/{{tenant}}": {"GET": shown},
            f"{by_key}/tenant-id/{{tenant}}/start": {"POST": started},
            by_id: {"GET": shown},
            f"{by_id}/xml": {"GET": Verb(self.xml, xml, "viewer")},
            f"{by_id}/start": {"POST": started},
            "/deployment": {"GET": Verb(self.deployments, "List deployments.", "viewer")},
            "/deployment/create": {"POST": Verb(self.deploy, "Deploy files.", "deployer")},
        }

    # -- definitions -----------------------------------------------------------------------

    async def find(self, request: Request) -> Response:
        """List definitions."""
        given = query(request)
        limit, offset = queries.page(given)
        order = queries.order(given, definitions.SORTS)
        found = await self._context.call(lambda it: definitions.find(it, given))
        for by, direction in reversed(order):
            column = definitions.SORTS[by]
            found.sort(
                key=lambda each: (each[column] is not None, each[column]),
                reverse=direction == "desc",
            )
        return answer(found[offset : None if limit is None else offset + limit])

    async def count(self, request: Request) -> Response:
        """Count definitions."""
        given = query(request)
        found = await self._context.call(lambda it: definitions.find(it, given))
        return answer({"count": len(found)})

    async def show(self, request: Request) -> Response:
        """Show a definition."""
        return answer(
            await self._context.call(
                lambda it: definitions.document(it, _choose(it.journal, request))
            )
        )

    async def xml(self, request: Request) -> Response:
        """Show the diagram of a definition."""

        def read(service: Service) -> dict[str, str]:
            found = _choose(service.journal, request)
            content = service.journal.definition(found.definition)[1]
            text = content.decode("utf-8", "replace")
            return {"id": definitions.deployed_id(found), "bpmn20Xml": text}

        return answer(await self._context.call(read))

    # -- starting --------------------------------------------------------------------------

    async def start(self, request: Request) -> Response:
        """Start an instance of a definition."""
        given = body(request)
        variables: dict[str, Any] = {}
        wrong: RestError | None = None
        try:
            variables = given.variables("variables")
        except RestError as error:
            wrong = error

        def choose(journal: Journal) -> Chosen:
            found = _choose(journal, request, starting=True)
            if wrong is not None:
                name = definitions.deployed_id(found)
                raise within(f"Cannot instantiate process definition {name}", wrong)
            key = given.text("businessKey") or ""
            return Chosen(found, Start(variables, "", key, by=request.caller.name))

        started = await start_instance(self._context, choose, client(request))
        shown = started.document
        href = f"{self._context.base_url}/engine-rest/process-instance/{started.row.id}"
        shown["links"] = [{"method": "GET", "href": href, "rel": "self"}]
        if given.flag("withVariablesInReturn"):
            shown["variables"] = await self._context.call(lambda it: _variables(it, started.row))
        return answer(shown)

    # -- deployments -----------------------------------------------------------------------

    async def deploy(self, request: Request) -> Response:
        """Deploy files."""
        form = await read_form(request)
        files = {each.name: each.content for each in form.files}
        if not files:
            raise invalid("No deployment resources contained in the form upload.")
        by = acting(request.caller, None)
        name = next(iter(form.fields.get("deployment-name", [])), None)

        def store(service: Service) -> dict[str, Any]:
            found = deploy(service.session, files, by)
            shown = [definitions.document(service, each) for each in found]
            return {**_deployment(found[0], name), "links": [self._link(found[0])],
                    "deployedProcessDefinitions": {each["id"]: each for each in shown},
                    "deployedCaseDefinitions": None, "deployedDecisionDefinitions": None,
                    "deployedDecisionRequirementsDefinitions": None}  # fmt: skip

        try:
            return answer(await self._context.call(store, request))
        except MlkitError as error:
            raise RestError(400, "ParseException", error.message, 0) from error

    def _link(self, found: Deployed) -> dict[str, str]:
        base = f"{self._context.base_url}/engine-rest/deployment"
        return {
            "method": "GET",
            "href": f"{base}/{definitions.deployment_id(found)}",
            "rel": "self",
        }

    async def deployments(self, request: Request) -> Response:
        """List deployments."""

        def find(service: Service) -> list[dict[str, Any]]:
            deployments = service.journal.deployments
            every = [e for each in deployments.all() for e in deployments.versions(each.process)]
            return list({e.at: {"links": [], **_deployment(e, None)} for e in every}.values())

        return answer(await self._context.call(find))


def _deployment(found: Deployed, name: str | None) -> dict[str, Any]:
    return {
        "id": definitions.deployment_id(found),
        "name": name,
        "source": None,
        "deploymentTime": format_time(found.at),
        "tenantId": None,
    }


def _choose(journal: Journal, request: Request, starting: bool = False) -> Deployed:
    """Return the definition that the path names."""
    names = request.scope["path_params"]
    if "key" in names:
        key = path(request, "key")
        found = journal.deployments.newest(key)
        tenant = f"tenant-id: {path(request, 'tenant')}" if "tenant" in names else "no tenant-id"
        if found is None or "tenant" in names:
            message = f"No matching process definition with key: {key} and {tenant}"
            raise RestError(404, "RestException", message)
        return found
    wanted = path(request, "id")
    found = definitions.by_id(journal, wanted)
    if found is None and starting:
        message = f"Cannot instantiate process definition {wanted}: no deployed process definition"
        raise refused(500, f"{message} found with id '{wanted}': processDefinition is null")
    if found is None:
        message = f"No matching definition with id {wanted}"
        raise RestError(404, "InvalidRequestException", message, 0)
    return found


def _variables(service: Service, row: Row) -> dict[str, Any]:
    """Return the variables of an instance, without its secrets, as clients see them."""
    now = service.journal.get(row.number)
    roots = service.session.state(now).roots()
    known = service.session.mask(now).variables(roots[0].variables if roots else {})
    return documents.variables(known, deserialized=False)


class Chosen(NamedTuple):
    """What is to be started."""

    deployed: Deployed
    start: Start
    message: str | None = None


class Started(NamedTuple):
    """An instance that was started: its first row, and its document as it is now."""

    row: Row
    document: dict[str, Any]


async def start_instance(
    context: Context, choose: Callable[[Journal], Chosen], source: str
) -> Started:
    """Start an instance, and wait until it has come to its first waits.

    Args:
        context: The server's.
        choose: Returns, in the transaction of the start, what is to be started; what it raises is
            the answer.
        source: Where the request comes from, for the audit log.
    """
    made: list[Started] = []

    def begin(journal: Journal) -> list[int]:
        deployed, start, message = choose(journal)
        row, number = context.starter.begin(journal, deployed, start, message, source, asks=True)
        made[:] = [Started(row, documents.instance(journal, row))]
        return [number]

    status = await settle(context, begin)
    row, document = made[0]
    if not status:  # Another host has decided.
        now = await context.call(lambda it: it.journal.get(row.number))
    else:
        now = structs.replace(row, status=status)
    return Started(row, {**document, **documents.progress(now)})

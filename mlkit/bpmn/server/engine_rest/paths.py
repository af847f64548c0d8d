"""All paths under `/engine-rest`."""

from __future__ import annotations

from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.engine_rest.answers import Verb, answer, operation
from mlkit.bpmn.server.engine_rest.errors import RestError
from mlkit.bpmn.server.engine_rest.external_tasks import ExternalTasks
from mlkit.bpmn.server.engine_rest.fetching import Fetching
from mlkit.bpmn.server.engine_rest.history import History
from mlkit.bpmn.server.engine_rest.incidents import Incidents
from mlkit.bpmn.server.engine_rest.instances import Instances
from mlkit.bpmn.server.engine_rest.jobs import Jobs
from mlkit.bpmn.server.engine_rest.messages import Messages
from mlkit.bpmn.server.engine_rest.processes import Processes
from mlkit.web.application import Parameter, Request, Response, Route

PREFIX = "/engine-rest"
VERSION = "7.24.0"
"""The version of Camunda 7 whose API this is."""


def routes(context: Context) -> dict[str, Route]:
    """Return the paths that clients of Camunda 7 and Operaton use."""
    fetching = Fetching(context)
    context.host.on_offer = fetching.polling.notify
    verbs = {
        **ExternalTasks(context, fetching).verbs(),
        **Jobs(context).verbs(),
        **Instances(context).verbs(),
        **Incidents(context).verbs(),
        **History(context).verbs(),
        **Processes(context).verbs(),
        **Messages(context).verbs(),
        "/version": {"GET": Verb(_version, "The version of the API.", is_partial=True)},
        "/engine": {"GET": Verb(_engines, "The names of the engines.", is_partial=True)},
    }
    found = {f"{PREFIX}{path}": _route(path, methods) for path, methods in verbs.items()}
    anything = dict.fromkeys(("GET", "POST", "PUT", "DELETE"), Verb(_nothing, "No such path."))
    rest = f"{PREFIX}/{{rest:path}}"
    return {**found, rest: _route("/{rest}", anything)}


def _route(path: str, methods: dict[str, Verb]) -> Route:
    made = {
        method: operation(verb, f"engineRest{method.title()}{_camel(path)}")
        for method, verb in methods.items()
    }
    return Route(f"{PREFIX}{path}", made, _parameters(path), hidden=True)


def _camel(path: str) -> str:
    words = path.replace("{", "").replace("}", "").replace("-", "/").split("/")
    return "".join(f"{each[:1].upper()}{each[1:]}" for each in words)


def _parameters(path: str) -> tuple[Parameter, ...]:
    names = [each[1:-1] for each in path.split("/") if each.startswith("{")]
    return tuple(Parameter(each, "path", {"type": "string"}) for each in names)


async def _version(request: Request) -> Response:
    return answer({"version": VERSION})


async def _engines(request: Request) -> Response:
    return answer([{"name": "default"}])


async def _nothing(request: Request) -> Response:
    raise RestError(404, "NotFoundException", "HTTP 404 Not Found")

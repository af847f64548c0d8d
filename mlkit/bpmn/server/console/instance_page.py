"""One instance: why it waits, its diagram, attempts and logs, values, incidents, who did what."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.journal.records import Log, Refused, Row, RunningAttempt
from mlkit.bpmn.render.progress import brief
from mlkit.bpmn.runtime import documents
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.console import waits
from mlkit.bpmn.server.console.console_pages import (
    ConsolePages,
    escape,
    go,
    hide,
    variables_of,
)
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.task_form import Submitted, size_of
from mlkit.bpmn.server.task_pages import instance_picture
from mlkit.web.application import Request, Response, Route
from mlkit.web.errors import RequestError
from mlkit.web.paths import path_parameter, query

MOST_SHOWN = 200
LONGEST = 4000
"""Characters of a value, or of what an attempt printed, that the page shows."""
_DONE = {"retry": "It is tried again.", "cancel": "It is ended.", "start": "It is started.",
         "suspend": "It is suspended.", "unsuspend": "It goes on.",
         "migrate": "It was migrated to another version."}  # fmt: skip
_ACTIONS = ("retry", "cancel", "suspend", "unsuspend")
_PATH = "/instances/{instance}"


def routes(context: Context) -> dict[str, Route]:
    """Return the paths of an instance's page."""
    pages = InstancePage(context)
    operation = pages.operation
    get, post = operation(pages.instance, "viewer"), operation(pages.change, "operator")
    return {
        **hide(_PATH, GET=get, POST=post),
        **hide(f"{_PATH}/picture.svg", GET=operation(pages.drawing, "viewer")),
    }


class InstancePage(ConsolePages):
    """Answers for the page of an instance."""

    section = "instances"

    async def instance(self, request: Request) -> Response:
        """Return the page."""
        done = query(request, ("done",)).get("done", "")
        name, audited = path_parameter(request, "instance"), request.caller.may("operator")
        shown = await self.context.call(lambda service: self._build_view(service, name, audited))
        return self.console(request, "instance.html", {**shown, "notice": _DONE.get(done, "")})

    async def drawing(self, request: Request) -> Response:
        """Return the diagram, coloured by how far the instance has come."""
        name = path_parameter(request, "instance")
        return await self.context.call(
            lambda service: instance_picture(service, service.journal.find(name))
        )

    async def change(self, request: Request) -> Response:
        """Try incidents again, with other variables where some are given, or end the instance."""
        given, name = await self.read_submitted(request), path_parameter(request, "instance")
        action = given.text("action")
        if action not in _ACTIONS:
            raise RequestError(400, f"action: {action!r:.40}", f"one of {', '.join(_ACTIONS)}")
        row = await self.perform(request, lambda service, by: _change(service, name, given, by))
        return go(request, f"instances/{escape(row.id)}?done={action}")

    def _build_view(self, service: Service, name: str, audited: bool) -> dict[str, Any]:
        shown, row = service.show(name), service.journal.find(name)
        directory = self.context.people.file.directory
        nodes = service.session.engine(row).graph.behaviors
        names = {key: each.node.name or key for key, each in nodes.items()}
        logs = service.attempts(row)
        attempts = _attempts(logs, service.running(row), row, names)
        return {
            "row": row, "others": _others(service, row), "shown": shown,
            "sentence": waits.sentence(shown, directory),
            "waiting": [
                {**each, "reason": waits.reason(each, directory), "named": waits.name_element(each)}
                for each in shown["waiting"]
            ],
            "working": [
                {**each, "named": waits.name_element(each)}
                for each in shown["tokens"] if each["status"] == "working"
            ],
            "incidents": [{**e, "traceback": _traceback(e, logs)} for e in shown["incidents"]],
            "attempts": attempts[-MOST_SHOWN:],
            "attempt_count": len(attempts), "history": shown["trace"][-MOST_SHOWN:],
            "history_count": len(shown["trace"]),
            "variables": [(key, _text(each)) for key, each in sorted(shown["variables"].items())],
            "artifacts": [_artifact(each) for each in documents.artifacts(service.journal, row)],
            "audit": _audit(service, row) if audited else None, "most": MOST_SHOWN,
        }  # fmt: skip


def _change(service: Service, name: str, given: Submitted, by: str) -> Row:
    if given.text("action") == "cancel":
        return service.cancel(name, given.text("reason"), by)
    if given.text("action") == "suspend":
        return service.suspend(name, given.text("reason"), by)
    if given.text("action") == "unsuspend":
        return service.unsuspend(name, by)
    number = given.text("incident") or "0"
    if not (number.isascii() and number.isdigit() and len(number) < 16):
        raise RequestError(
            400, f"incident: {number!r:.40} is not an incident", "open the page again"
        )
    variables = variables_of(given.text("variables"))
    if variables:
        # Nothing is changed for an incident that is not there any more.
        _require_incident(service, name, int(number))
        service.assign(name, variables, [], by)
    return service.retry(name, int(number), by)


def _others(service: Service, row: Row) -> bool:
    """Return whether there is another version that an instance can be moved to."""
    versions = service.journal.deployments.versions(row.process)
    return row.is_open and any(each.definition != row.definition for each in versions)


def _require_incident(service: Service, name: str, number: int) -> None:
    found = service.show(name)["incidents"]
    if not any(number in (0, each["id"]) for each in found if each["id"] is not None):
        raise Refused(f"instance {name}: there is no such incident to try again")


def _attempts(
    logs: Sequence[Log], running: Sequence[RunningAttempt], row: Row, names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the attempts in the order of their beginnings, with their places on a time line.

    `left` and `width` are hundredths of the time from the instance's start to now or its end.
    """
    now = time.time()
    whole = max((now if row.is_open else row.updated) - row.created, 1e-3)
    spans: list[tuple[float, float, str, Log | RunningAttempt]]
    spans = [(each.ended - each.duration, each.duration, each.outcome, each) for each in logs]
    spans += [(each.began, max(now - each.began, 0.0), "running", each) for each in running]
    before: Counter[str] = Counter()
    found = []
    for began, seconds, outcome, each in spans:
        left = min(max(100 * (began - row.created) / whole, 0.0), 99.0)
        # An attempt has the same name while it runs and afterwards: what is open stays open.
        name = f"log-{each.element}-{each.iteration}-{each.attempt}"
        before[name] += 1
        found.append({
            "name": names.get(each.element, each.element), "sort": began,
            "iteration": each.iteration, "attempt": each.attempt, "host": each.host,
            "began": instant(began), "took": brief(seconds), "outcome": outcome,
            "state": outcome if outcome in ("completed", "running") else "failed",
            "left": round(left, 2),
            "width": round(min(max(100 * seconds / whole, 1.0), 100 - left), 2),
            "stdout": _end(each.stdout), "stderr": _end(each.stderr),
            "id": f"{name}-{before[name]}",
        })  # fmt: skip
    return sorted(found, key=lambda each: each["sort"])


def _traceback(incident: Mapping[str, Any], logs: Sequence[Log]) -> str:
    """Return the end of what the attempt that an incident is about has printed as errors."""
    place = incident["element"], incident.get("iteration") or "", incident.get("attempt", 0)
    found = [e.stderr for e in logs if (e.element, e.iteration, e.attempt) == place]
    return _end(found[-1]) if found else ""


def _end(text: str) -> str:
    return text if len(text) <= LONGEST else f"...\n{text[-LONGEST:]}"


def _text(value: Any) -> str:
    text = json.dumps(
        value, ensure_ascii=False, indent=1 if isinstance(value, dict | list) else None
    )
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n..."


def _artifact(artifact: Mapping[str, Any]) -> dict[str, Any]:
    size = artifact.get("size")
    return {
        "name": artifact["name"], "hash": artifact["artifact"],
        "kind": artifact.get("kind", "value"), "by": artifact.get("by", ""),
        "size": size_of(size) if isinstance(size, int) else "",
        "made_from": [str(each)[:12] for each in artifact.get("from", ())],
    }  # fmt: skip


def _audit(service: Service, row: Row) -> list[dict[str, Any]]:
    found = service.journal.audit.entries(row.id, None, MOST_SHOWN)
    return [{**each._asdict(), "at": instant(each.at)} for _, each in found]

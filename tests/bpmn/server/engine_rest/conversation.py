"""Requests that are sent to two servers: what each answers, without ids and times.

Where mlkit answers otherwise on purpose, the request says why.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import requests

TIMES = {
    "lockExpirationTime", "createTime", "incidentTimestamp", "startTime", "endTime",
    "deploymentTime", "durationInMillis",
}  # fmt: skip
IDS = {
    "id", "executionId", "activityInstanceId", "processInstanceId", "processDefinitionId",
    "definitionId", "deploymentId", "configuration", "causeIncidentId", "rootCauseIncidentId",
    "rootProcessInstanceId", "href", "parentActivityInstanceId",
}  # fmt: skip
ASYNCHRONOUS = "an instance that cannot go on is an incident, and nothing that it did is lost"
OUTPUTS = "outputs that cannot be evaluated do not keep an instance from being deleted"
JSON_IS_JSON = "lists and objects without a type are Json, since there is no Java here"
TEXT = "a wrong body is described in the words of mlkit"


class Reply(NamedTuple):
    """What a server answered.

    Attributes:
        differs: Why the body may differ; empty where it must not.
        status_differs: Whether the status may differ as well.
    """

    request: str
    status: int
    body: Any
    differs: str = ""
    status_differs: bool = False


class Peer:
    """A server, and what it has answered.

    Args:
        url: Up to `/engine-rest`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()
        self.replies: list[Reply] = []
        self.ids: dict[str, str] = {}

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        differs: str = "",
        status_differs: bool = False,
        **options: Any,
    ) -> Any:
        """Send a request, keep the answer, and return its body."""
        if body is not None:
            options["json"] = body
        found = self.http.request(method, self.url + path, timeout=60, **options)
        kind = found.headers.get("content-type", "")
        document = found.json() if kind.startswith("application/json") else found.text
        reply = Reply(
            self.named(f"{method} {path} {body or ''}"), found.status_code,
            self.masked(document), differs, status_differs,
        )  # fmt: skip
        self.replies.append(reply)
        return document

    def masked(self, document: Any, key: str = "") -> Any:
        """Replace ids by their order, and times by a mark."""
        if isinstance(document, dict):
            return {name: self.masked(each, name) for name, each in document.items()}
        if isinstance(document, list):
            return [self.masked(each, key) for each in document]
        if key == "removalTime":
            return "when history is cleaned up, which differs"
        if key in TIMES and document is not None:
            return "a time"
        if key in IDS and isinstance(document, str):
            return "an id" if document else document
        return self.named(document) if isinstance(document, str) else document

    def known(self, identifier: str, name: str) -> str:
        """Let an id have a name in what is compared."""
        self.ids[identifier] = name
        return identifier

    def named(self, text: str) -> str:
        """Replace the ids of a text by their names."""
        for identifier in sorted(self.ids, key=len, reverse=True):
            text = text.replace(identifier, self.ids[identifier])
        text = re.sub(r"\b1\d{12}\b", "a time", text)
        return re.sub(r"\b(orders|plain|called):\d+:[\w-]+", r"\1:a definition", text)

    # -- steps that groups share -----------------------------------------------------------

    def start(self, key: str, variables: Any = None, business_key: str = "") -> str:
        """Start an instance; return its id."""
        body = {"variables": variables or {}, "businessKey": business_key}
        found = self("POST", f"/process-definition/key/{key}/start", body)
        return self.known(found["id"], f"instance {len(self.ids)}")

    def fetch(self, topic: str, worker: str = "w1", duration: int = 60_000, **more: Any) -> Any:
        """Fetch tasks of a topic; return the first one's id."""
        asked = {"topicName": topic, "lockDuration": duration, **more}
        body = {"workerId": worker, "maxTasks": 5, "topics": [asked]}
        found = self("POST", "/external-task/fetchAndLock", body)
        return self.known(found[0]["id"], f"task {len(self.ids)}") if found else None

    def task(self, identifier: str, verb: str, body: Any, method: str = "POST", **more: Any) -> Any:
        """Do something with a task."""
        return self(method, f"/external-task/{identifier}/{verb}", body, **more)

    def variables(self, instance: str, **more: Any) -> Any:
        """Ask for the variables of an instance."""
        return self("GET", f"/process-instance/{instance}/variables", **more)


ORDER = {"total": {"value": 12.5, "type": "Double"}, "urgency": {"value": 7, "type": "Integer"}}


def locks(peer: Peer) -> None:
    """Lock, extend, unlock; by others, after the end, with wrong durations."""
    peer.start("orders", ORDER, "locks")
    task = peer.fetch("charge", businessKey="locks", variables=["amount"])
    assert peer.fetch("charge", "w2", businessKey="locks") is None
    peer.task(task, "complete", {"workerId": "w2"})
    peer.task(task, "lock", {"workerId": "w2", "lockDuration": 1000})
    peer.task(task, "lock", {"workerId": "w1", "lockDuration": 1000})
    peer.task(task, "lock", {"workerId": "w1"})
    peer.task(task, "lock", {"lockDuration": 1000})
    peer.task(task, "extendLock", {"workerId": "w2", "newDuration": 1000})
    peer.task(task, "extendLock", {"workerId": "w1", "newDuration": -1})
    peer.task(task, "extendLock", {"workerId": "w1"})
    peer.task(task, "extendLock", {"workerId": "w1", "newDuration": 100_000})
    peer("GET", f"/external-task/{task}")
    peer.task(task, "unlock", {})
    peer("GET", f"/external-task/{task}")
    peer.task(task, "unlock", {})
    peer.task(task, "complete", {"workerId": "w1"})
    peer.task(task, "extendLock", {"workerId": "w1", "newDuration": 1000})
    assert peer.fetch("charge", "w2", businessKey="locks") == task
    peer.task(task, "unlock", {})


def expiry(peer: Peer) -> None:
    """A lock that has ended: extended, taken by another, completed by its holder."""
    instance = peer.start("plain", business_key="expiry")
    task = peer.fetch("work", "w1", 1, businessKey="expiry")
    peer.task(task, "extendLock", {"workerId": "w1", "newDuration": 1000})
    peer("GET", "/external-task/count?locked=true&topicName=work")
    peer("GET", "/external-task/count?notLocked=true&topicName=work")
    peer.task(task, "lock", {"workerId": "w2", "lockDuration": 1})
    peer.task(task, "complete", {"workerId": "w1"})
    peer.task(task, "complete", {"workerId": "w2", "variables": {"late": {"value": True}}})
    peer.task(task, "complete", {"workerId": "w2"})
    peer.variables(instance)
    peer("GET", f"/process-instance/{instance}")
    peer("DELETE", f"/process-instance/{instance}")
    peer("DELETE", f"/process-instance/{instance}")
    peer("GET", f"/process-instance/{instance}")


def results(peer: Peer) -> None:
    """Complete with variables of both kinds, untyped and typed, and with wrong ones."""
    instance = peer.start("orders", ORDER, "results")
    task = peer.fetch("charge", businessKey="results")
    wrong = {"a": {"value": "x", "type": "Integer"}}
    peer.task(task, "complete", {"workerId": "w1", "variables": wrong})
    peer.task(task, "complete", {"workerId": "w1", "variables": {"a": {"type": "Odd", "value": 1}}})
    peer.task(task, "complete", {"variables": {}})
    local = {"number": {"value": "R-1"}, "secret": {"value": 1}}
    given = {"x": {"value": 1}, "f": {"value": 3_000_000_000}, "n": {"value": None}}
    peer.task(task, "complete", {"workerId": "w1", "variables": given, "localVariables": local})
    peer.variables(instance)
    ship = peer.fetch("ship", "w1", businessKey="results", deserializeValues=True)
    peer.task(ship, "complete", {"workerId": "w1"})
    peer("GET", f"/process-instance/{instance}")
    peer("GET", f"/process-instance/{instance}/variables")
    peer("GET", "/history/process-instance/" + instance)


def failures(peer: Peer) -> None:
    """Failures with retries, without, set again; and what they leave."""
    instance = peer.start("orders", ORDER, "failures")
    task = peer.fetch("charge", businessKey="failures")
    peer("GET", f"/external-task/{task}/errorDetails")
    report = {"workerId": "w1", "errorMessage": "no net", "errorDetails": "trace\nline"}
    peer.task(task, "failure", {**report, "retries": -1, "retryTimeout": 0})
    peer.task(task, "failure", {**report, "retries": 1, "retryTimeout": -1})
    peer.task(task, "failure", {**report, "workerId": "w2", "retries": 1, "retryTimeout": 0})
    peer.task(task, "failure", {**report, "retries": 2, "retryTimeout": 1})
    peer("GET", f"/external-task/{task}")
    peer("GET", f"/external-task/{task}/errorDetails")
    peer.task(task, "failure", {**report, "errorMessage": "again", "retries": 0})
    peer("GET", f"/external-task/{task}")
    peer("GET", f"/incident?processInstanceId={instance}")
    peer("GET", f"/incident/count?processInstanceId={instance}&incidentType=failedExternalTask")
    peer("GET", f"/external-task?noRetriesLeft=true&processInstanceId={instance}")
    peer("GET", f"/external-task/count?withRetriesLeft=true&processInstanceId={instance}")
    assert peer.fetch("charge", "w2", businessKey="failures") is None
    peer.task(task, "retries", {"retries": -1}, "PUT")
    peer.task(task, "retries", {}, "PUT")
    peer.task(task, "retries", {"retries": 3}, "PUT")
    peer("GET", f"/incident?processInstanceId={instance}")
    peer.task(task, "retries", {"retries": 0}, "PUT")
    peer("GET", f"/incident/count?processInstanceId={instance}")
    peer("PUT", "/external-task/retries", {"retries": 4})
    peer("PUT", "/external-task/retries", {"externalTaskIds": ["none"], "retries": 4})
    peer("PUT", "/external-task/retries", {"externalTaskIds": [task], "retries": 4})
    peer("GET", f"/incident/count?processInstanceId={instance}")
    peer.task(task, "priority", {"priority": 99}, "PUT")
    peer.task(task, "priority", {}, "PUT", differs="no exception of Java is shown")
    peer("GET", f"/external-task/{task}")
    assert peer.fetch("charge", "w2", businessKey="failures") == task
    local = {"number": {"value": "R"}}
    peer.task(task, "complete", {"workerId": "w2", "localVariables": local})
    peer.variables(instance)


def no_retries_left(peer: Peer) -> None:
    """A task without retries is completed by who had it last; its incident is over."""
    instance = peer.start("plain", business_key="none left")
    task = peer.fetch("work", businessKey="none left")
    peer.task(task, "failure", {"workerId": "w1", "errorMessage": "x", "retries": 0})
    peer.task(task, "complete", {"workerId": "w1"})
    peer("GET", f"/incident/count?processInstanceId={instance}")
    peer("GET", f"/external-task/count?processInstanceId={instance}")


def bpmn_errors(peer: Peer) -> None:
    """BPMN errors: caught at a boundary event, and by nothing."""
    instance = peer.start("orders", ORDER, "errors")
    task = peer.fetch("charge", businessKey="errors")
    peer.task(task, "bpmnError", {"workerId": "w1"})
    peer.task(task, "bpmnError", {"workerId": "w2", "errorCode": "REJECTED"})
    report = {"errorCode": "REJECTED", "errorMessage": "too much"}
    variables = {"seen": {"value": 1}, "number": {"value": "none"}}
    peer.task(task, "bpmnError", {"workerId": "w1", **report, "variables": variables})
    peer.variables(instance)
    peer("GET", f"/external-task/count?processInstanceId={instance}")
    uncaught = peer.start("plain", business_key="uncaught")
    task = peer.fetch("work", businessKey="uncaught")
    peer.task(task, "bpmnError", {"workerId": "w1", "errorCode": "X", "errorMessage": "m"})
    peer("GET", f"/process-instance/{uncaught}")
    peer("GET", f"/history/process-instance/{uncaught}")


def unknown_tasks(peer: Peer) -> None:
    """All operations on a task that is not there."""
    peer("GET", "/external-task/none")
    peer("GET", "/external-task/none/errorDetails")
    peer.task("none", "complete", {"workerId": "w"})
    peer.task("none", "failure", {"workerId": "w", "errorMessage": "x", "retries": 0})
    peer.task("none", "bpmnError", {"workerId": "w", "errorCode": "x"})
    peer.task("none", "lock", {"workerId": "w", "lockDuration": 1000})
    peer.task("none", "extendLock", {"workerId": "w", "newDuration": 1000})
    peer.task("none", "unlock", {})
    peer.task("none", "retries", {"retries": 1}, "PUT")
    peer.task("none", "priority", {"priority": 1}, "PUT")


def wrong_requests(peer: Peer) -> None:
    """Requests for tasks that are no such; paths, methods and media that are not known."""
    path, topic = "/external-task/fetchAndLock", {"topicName": "nix", "lockDuration": 1000}
    asked = {"workerId": "w", "maxTasks": 5, "topics": [topic]}
    peer("POST", path, {"maxTasks": 5, "topics": [topic]})
    peer("POST", path, {"workerId": "w", "topics": [topic]})
    peer("POST", path, {"workerId": "w", "maxTasks": 5})
    peer("POST", path, {**asked, "topics": []})
    peer("POST", path, {**asked, "topics": [{"lockDuration": 1}]})
    peer("POST", path, {**asked, "topics": [{"topicName": "nix"}]})
    peer("POST", path, {**asked, "topics": [{**topic, "lockDuration": -1}]})
    peer("POST", path, {**asked, "maxTasks": -5})
    peer("POST", path, {**asked, "maxTasks": "x"}, differs=TEXT)
    peer("POST", path, {**asked, "asyncResponseTimeout": 99_999_999})
    peer("POST", path, {**asked, "asyncResponseTimeout": -1})
    peer("POST", path, {**asked, "asyncResponseTimeout": 50})
    peer("POST", path, {**asked, "unknown": 1})
    peer("POST", path, {**asked, "topics": [topic, topic]})
    peer("POST", path, {**asked, "sorting": [{"sortBy": "bad", "sortOrder": "asc"}]})
    peer("POST", path, {**asked, "sorting": [{"sortBy": "createTime", "sortOrder": "asc"}]})
    peer("POST", path, {**asked, "topics": [{**topic, "tenantIdIn": ["x"]}]})
    json = {"Content-Type": "application/json"}
    peer("POST", path, data="[]", headers=json, differs=TEXT)
    peer("POST", path, data="{bad", headers=json, differs=TEXT)
    peer("POST", path, data="{}", headers={"Content-Type": "text/plain"})
    peer("GET", "/nowhere")
    peer("GET", "/external-task?sortBy=bad&sortOrder=asc")
    peer("GET", "/external-task?sortBy=id")
    peer("GET", "/external-task?lockExpirationBefore=bad")
    peer("GET", "/external-task?locked=yes")
    peer("GET", "/external-task?maxResults=x")


def lists(peer: Peer) -> None:
    """Lists of tasks: filters, orders, pages, topics, counts; in queries and bodies."""
    first = peer.start("orders", {**ORDER, "urgency": {"value": 50}}, "lists-1")
    second = peer.start("orders", {**ORDER, "urgency": {"value": 60}}, "lists-2")
    task = peer.fetch("charge", "lister", businessKey="lists-1")
    both = f"processInstanceIdIn={first},{second}"
    for filters in (
        "", "&locked=true", "&notLocked=true", "&workerId=lister", "&activityId=charge",
        "&priorityHigherThanOrEquals=60", "&priorityLowerThanOrEquals=59", "&suspended=true",
        "&active=true", "&topicName=other", f"&externalTaskId={task}", "&tenantIdIn=x",
        "&activityIdIn=charge,ship", f"&processInstanceId={second}", "&locked=false",
        "&lockExpirationBefore=2000-01-01T00:00:00.000%2B0000",
        "&lockExpirationAfter=2000-01-01T00:00:00.000%2B0000",
    ):  # fmt: skip
        peer("GET", f"/external-task?{both}{filters}&sortBy=taskPriority&sortOrder=desc")
        peer("GET", f"/external-task/count?{both}{filters}")
    peer("GET", f"/external-task?{both}&sortBy=taskPriority&sortOrder=asc&maxResults=1")
    peer("GET", f"/external-task?{both}&sortBy=taskPriority&sortOrder=asc&firstResult=1")
    body = {"processInstanceIdIn": [first, second]}
    order = [{"sortBy": "taskPriority", "sortOrder": "desc"}]
    peer("POST", "/external-task", {**body, "sorting": order})
    peer("POST", "/external-task/count", {**body, "workerId": "lister"})
    peer("GET", "/external-task/topic-names?withLockedTasks=true")
    for instance in (first, second):
        path = f"/process-instance/{instance}"
        peer("DELETE", path, differs=OUTPUTS, status_differs=True)


def priorities(peer: Peer) -> None:
    """Tasks of several topics by priority, and their filters."""
    peer("POST", "/message", {"messageName": "order", "businessKey": "P1"})
    peer("POST", "/message", {"messageName": "paid", "businessKey": "P1"})
    topics = [{"topicName": each, "lockDuration": 60_000} for each in ("left", "right")]
    asked = {"workerId": "p", "maxTasks": 5, "usePriority": True, "topics": topics}
    keyed = [{**each, "processDefinitionKey": "plain"} for each in topics]
    peer("POST", "/external-task/fetchAndLock", {**asked, "topics": keyed})
    found = peer("POST", "/external-task/fetchAndLock", asked)
    for each in found:
        peer.known(each["id"], each["activityId"])
        peer.task(each["id"], "complete", {"workerId": "p"})
    tell = peer.fetch("tell", "p", processDefinitionKeyIn=["called", "other"])
    peer.task(tell, "complete", {"workerId": "p"})


def messages(peer: Peer) -> None:
    """Messages: to an instance, to a start event, to nobody, to several."""
    instance = peer.start("plain", business_key="M1")
    go = {"messageName": "go", "businessKey": "M1"}
    peer("POST", "/message", go)
    peer.task(peer.fetch("work", businessKey="M1"), "complete", {"workerId": "w1"})
    peer("PUT", f"/process-instance/{instance}/suspended", {"suspended": True})
    peer("POST", "/message", go)
    peer("PUT", f"/process-instance/{instance}/suspended", {"suspended": False})
    peer("POST", "/message", {**go, "processInstanceId": instance, "tenantId": "x"})
    peer("POST", "/message", {**go, "resultEnabled": True,
                              "processVariables": {"z": {"value": 1}}})  # fmt: skip
    peer("GET", f"/process-instance/{instance}")
    peer("POST", "/message", go)
    peer("POST", "/message", {})
    order = {"messageName": "order", "businessKey": "M2", "resultEnabled": True}
    found = peer("POST", "/message", order)
    started = peer.known(found[0]["processInstance"]["id"], "started")
    peer("POST", "/message", {"messageName": "order", "businessKey": "M3"})
    peer("POST", "/message", {"messageName": "paid"})
    peer("POST", "/message", {"messageName": "paid", "processInstanceId": started})
    peer("POST", "/message", {"messageName": "paid", "businessKey": "M3", "all": True,
                              "resultEnabled": True})  # fmt: skip
    peer("POST", "/message", {"messageName": "paid", "all": True})


def instances(peer: Peer) -> None:
    """Instances: shown, listed, counted; their variables shown and changed."""
    instance = peer.start("plain", {"a": {"value": 1}, "b": {"value": "x"}}, "I1")
    peer("GET", "/process-instance?businessKey=I1")
    peer("GET", "/process-instance/count?businessKey=I1&processDefinitionKey=plain")
    peer("GET", "/process-instance/count?businessKey=I1&processDefinitionKey=orders")
    for condition in ("a_eq_1", "a_gt_0", "a_gt_1", "b_eq_x", "b_like_x%25", "b_neq_x", "c_eq_1"):
        peer("GET", f"/process-instance/count?businessKey=I1&variables={condition}")
    peer("POST", "/process-instance/count", {"businessKey": "I1", "variables": [
        {"name": "a", "operator": "eq", "value": 1}]})  # fmt: skip
    peer("GET", "/process-instance/none")
    peer("GET", "/process-instance/none/variables")
    peer("DELETE", "/process-instance/none")
    path = f"/process-instance/{instance}/variables"
    peer("GET", f"{path}/zz")
    peer("GET", f"{path}/b/data")
    peer("PUT", f"{path}/a", {"value": 7, "type": "Long"})
    peer("PUT", f"{path}/a2", {"value": "x", "type": "Integer"})
    peer("POST", path, {"modifications": {"new": {"value": "n"}}, "deletions": ["b"]})
    peer("DELETE", f"{path}/none")
    peer.variables(instance)
    peer("GET", f"/history/process-instance/{instance}")
    peer("DELETE", f"/process-instance/{instance}")
    peer("GET", f"/history/process-instance/{instance}")
    peer("GET", "/history/process-instance/none")


FILE = {"filename": "a b.txt", "mimeType": "text/plain", "encoding": "UTF-8"}
OBJECT = {"objectTypeName": "java.util.HashMap", "serializationDataFormat": "application/json"}
VALUES: tuple[tuple[str, Any, Any], ...] = (
    ("String", "é", {}), ("String", 5, {}), ("Boolean", True, {}), ("Boolean", "true", {}),
    ("Integer", 5, {}), ("integer", 5, {}), ("Integer", None, {}), ("Short", 5, {}),
    ("Long", 5, {}), ("Long", "5", {}), ("Double", 5, {}), ("Null", None, {}),
    ("Date", "2013-01-23T13:42:42.123+0200", {}),
    ("Bytes", base64.b64encode(b"ab\0").decode(), {}),
    ("File", base64.b64encode(b"hello").decode(), FILE),
    ("Json", '{"a":[1,2.5],"b":null}', {}), ("Json", "5", {}), ("Xml", "<a>1</a>", {}),
    ("Object", '{"a":1}', OBJECT),
    # Wrong ones.
    ("Integer", 3_000_000_000, {}), ("Integer", 1.5, {}), ("Integer", True, {}),
    ("Integer", "x", {}), ("Short", 70_000, {}), ("Double", "x", {}), ("Odd", 1, {}),
    ("Date", "2013-01-23", {}), ("Date", "2013-01-23T13:42:42", {}), ("Bytes", "***", {}),
    ("File", "aGk=", None), ("Object", "{}", {}), ("Null", 5, {}),
)  # fmt: skip


def types(peer: Peer) -> None:
    """Every type of variable: set by a worker, shown as text and as an object, downloaded."""
    instance = peer.start("plain", business_key="types")
    task = peer.fetch("work", businessKey="types")
    for number, (kind, value, info) in enumerate(VALUES):
        given = {"type": kind, "value": value}
        given |= {} if info is None else {"valueInfo": info}
        peer("PUT", f"/process-instance/{instance}/variables/v{number}", given)
        path = f"/process-instance/{instance}/variables/v{number}"
        peer("GET", f"{path}?deserializeValue=false")
        if kind in ("Bytes", "File"):
            peer("GET", f"{path}/data")
    peer("GET", f"/execution/{instance}/localVariables/v14/data")
    peer.task(task, "unlock", {})
    peer.fetch("work", businessKey="types")
    given = {"l": {"value": [1, 2]}, "o": {"value": {"x": 1}}}
    peer.task(task, "complete", {"workerId": "w1", "variables": given})
    peer("GET", f"/process-instance/{instance}/variables/o?deserializeValue=false",
         differs=JSON_IS_JSON)  # fmt: skip


def definitions(peer: Peer) -> None:
    """Definitions: by key and id, listed and counted; starts that cannot be."""
    found = peer("GET", "/process-definition/key/orders")
    peer("GET", f"/process-definition/{found['id']}")
    peer("GET", "/process-definition/key/none")
    peer("GET", "/process-definition/none")
    peer("GET", "/process-definition?latestVersion=true&sortBy=key&sortOrder=asc")
    peer("GET", "/process-definition/count?latestVersion=true")
    peer("GET", "/process-definition?key=plain&latestVersion=true")
    peer("GET", "/process-definition?keyLike=pl%25&latestVersion=true")
    peer("POST", "/process-definition/key/none/start", {})
    peer("POST", "/process-definition/none/start", {})
    path = "/process-definition/key/orders/start"
    peer("POST", path, {"variables": {"a": {"value": "x", "type": "Integer"}}})
    peer("POST", path, {"variables": {"a": {"value": 1, "type": "Odd"}}})
    peer("POST", path, {}, differs=ASYNCHRONOUS, status_differs=True)
    body = {"variables": ORDER, "businessKey": "by id", "withVariablesInReturn": True}
    peer("POST", f"/process-definition/{found['id']}/start", body)
    peer("POST", "/process-definition/key/plain/start", data="",
         headers={"Content-Type": "application/json"})  # fmt: skip
    peer("GET", "/version")


GROUPS: tuple[Callable[[Peer], None], ...] = (
    definitions, locks, expiry, results, failures, no_retries_left, bpmn_errors, unknown_tasks,
    wrong_requests, lists, priorities, messages, instances, types,
)  # fmt: skip

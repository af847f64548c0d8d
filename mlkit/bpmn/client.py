"""A client of a server of pipelines: `from mlkit.bpmn import Client`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from mlkit.bpmn.defaults import MESSAGE_LIFE
from mlkit.bpmn.journal.records import Refused
from mlkit.bpmn.runtime.deployment import files_of
from mlkit.errors import (
    BadData,
    ConfigurationError,
    InputMissing,
    MlkitError,
    NegativeResult,
    ServiceUnavailable,
    UsageError,
    Waiting,
)

if TYPE_CHECKING:
    import requests

Document = dict[str, Any]
_API = "/api/v1"
_ANY = "-"
_STRANGE = "is it a server of mlkit?"
_ERRORS: dict[int, type[MlkitError]] = {
    400: UsageError,
    401: ConfigurationError,
    403: ConfigurationError,
    404: InputMissing,
    409: Refused,
    413: BadData,
    422: BadData,
    503: ServiceUnavailable,
}
_EXIT_CODES: dict[int, type[MlkitError]] = {
    each.exit_code: each
    for each in (MlkitError, NegativeResult, Waiting, ServiceUnavailable, ConfigurationError)
}
"""The errors that have no status of their own."""


class Client:
    """Asks a server of `mlkit bpmn serve`; documents are those of its interface.

    Every method raises the error that the same use case raises on a state folder: `BadData` for
    wrong values, `Refused` where somebody came first, `InputMissing` for what is not there; and
    `ServiceUnavailable` where the server cannot be reached, `ConfigurationError` where the token
    is missing, wrong, or has not the role.

    Args:
        url: The server's, such as `http://127.0.0.1:8080`.
        token: The bearer token, where the server needs one.
        timeout: Seconds to wait for an answer.

    Raises:
        UsageError: The URL is none.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 60.0) -> None:
        import requests

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{url!r} is not the URL of a server", hint="http://127.0.0.1:8080")
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False  # No password of a .netrc takes the token's place.
        if token is not None:
            self._session.headers["authorization"] = f"Bearer {token}"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    # -- definitions -----------------------------------------------------------------------

    def deploy(self, paths: Iterable[Path | str]) -> list[Document]:
        """Deploy diagrams with the scripts, forms, decisions and diagrams that they use."""
        files = files_of([Path(each) for each in paths])
        parts = [("file", (name, content)) for name, content in files.items()]
        return self._list("POST", "/definitions", "definitions", files=parts)

    def definitions(self, process: str | None = None) -> list[Document]:
        """Return the newest version of every definition, or all versions of one."""
        path = "/definitions" if process is None else _path("definitions", process)
        return self._list("GET", path, "definitions")

    # -- instances -------------------------------------------------------------------------

    def start(
        self,
        process: str,
        variables: Mapping[str, Any] | None = None,
        *,
        version: int | None = None,
        business_key: str = "",
        message: str | None = None,
        once: str | None = None,
        person: str | None = None,
    ) -> Document:
        """Start a definition.

        Args:
            process: Its key.
            variables: The first variables.
            version: None for the newest.
            business_key: Correlates messages.
            message: Start at the event of this message.
            once: A key of the caller's: whatever is sent again with it starts nothing more.
            person: Who starts it, where that is not the caller.
        """
        body = {"process": process, "variables": dict(variables or {})}
        body |= {"business_key": business_key}
        body |= _drop_none(version=version, message=message, person=person)
        headers = {} if once is None else {"idempotency-key": once}
        return self.request("POST", "/instances", json=body, headers=headers)

    def instances(self, **criteria: Any) -> Iterator[Document]:
        """Yield the instances that match, newest first.

        Args:
            criteria: `state`, `process`, `version`, `business_key`, `variable` (`name=value`),
                `started_after`, `started_before`, `ended_after`, `ended_before` (ISO 8601).
        """
        return self._pages("/instances", "instances", criteria)

    def instance(self, instance: str) -> Document:
        """Return one instance: state, variables, tokens, trace, what it waits for, incidents."""
        return self.request("GET", _path("instances", instance))

    def logs(self, instance: str) -> list[Document]:
        """Return what the attempts at an instance's tasks printed."""
        return self._list("GET", _path("instances", instance, "logs"), "logs")

    def history(self, instance: str) -> list[Document]:
        """Return the flow nodes that an instance went through."""
        return self._list("GET", _path("instances", instance, "history"), "trace")

    def artifacts(self, instance: str) -> list[Document]:
        """Return the stored values of an instance."""
        return self._list("GET", _path("instances", instance, "artifacts"), "artifacts")

    def download(self, instance: str, artifact: str) -> bytes:
        """Return the bytes of a stored value; loading a pickle runs its code."""
        return self._send("GET", _path("instances", instance, "artifacts", artifact)).content

    def scenario(self, instance: str, run_scripts: bool = False) -> Document:
        """Return a `scenario` that plays an instance again, with its secrets masked.

        `notes` are what it cannot express, and `masked` the names of the secrets.
        """
        query = {"run_scripts": "true"} if run_scripts else {}
        return self.request("GET", _path("instances", instance, "scenario"), params=query)

    def picture(
        self,
        instance: str,
        format: str = "svg",  # noqa: A002 - as files and `savefig` call it
        theme: str = "auto",
        diagram: str | None = None,
    ) -> bytes:
        """Return the diagram of an instance, coloured by how far it has come.

        Args:
            instance: Its id.
            format: `svg` or `png`.
            theme: `auto`, `light` or `dark`.
            diagram: One of several diagrams of the file: its number, id or name.
        """
        query = _drop_none(theme=theme, diagram=diagram)
        path = _path("instances", instance, f"picture.{format}")
        return self._send("GET", path, params=query).content

    def diagram(self, instance: str) -> bytes:
        """Return the diagram that an instance follows, as XML."""
        return self._send("GET", _path("instances", instance, "diagram")).content

    def files(self, instance: str) -> dict[str, bytes]:
        """Return the diagram that an instance follows, and the files that it uses, by name."""
        found = self.request("GET", _path("instances", instance, "files"))
        beside = {name: text.encode() for name, text in found["files"].items()}
        return {**beside, found["diagram"]: self.diagram(instance)}

    def progress(self, instance: str) -> Document:
        """Return how far an instance has come, by the ids of its `elements`."""
        return self.request("GET", _path("instances", instance, "progress"))

    def cancel(self, instance: str, reason: str = "", person: str | None = None) -> Document:
        """End an instance; return it as it is now, as all that steer one do."""
        return self._steer(instance, "cancel", reason=reason, person=person)

    def suspend(self, instance: str, reason: str = "", person: str | None = None) -> Document:
        """Suspend an instance; scripts that run may end."""
        return self._steer(instance, "suspend", reason=reason, person=person)

    def unsuspend(self, instance: str, person: str | None = None) -> Document:
        """Resume a suspended instance."""
        return self._steer(instance, "unsuspend", person=person)

    def migrate(
        self,
        instance: str,
        version: int | None = None,
        mapping: Mapping[str, str] | None = None,
        *,
        dry_run: bool = False,
        person: str | None = None,
    ) -> Document:
        """Move an instance to another version of its definition.

        Args:
            instance: Its id.
            version: None for the newest.
            mapping: Elements and flows that are called something else there.
            dry_run: Whether to report what it would come to, and change nothing.
            person: Who does it, where that is not the caller.

        Returns:
            `tokens` with where each would be (`to`), `problems` that prevent the move, `notes` of
            what else changes, where the history `differs` on that version, and `migrated`.

        Raises:
            Refused: Something prevents it, and it is no dry run.
        """
        body = {"mapping": dict(mapping or {}), "dry_run": dry_run}
        body |= _drop_none(version=version, person=person)
        return self._steer(instance, "migrate", **body)

    def retry(self, instance: str, incident: int = 0, person: str | None = None) -> Document:
        """Try an incident again (0: all of the instance), or what waits for that at once."""
        return self._steer(instance, "retry", incident=incident, person=person)

    def assign(
        self,
        instance: str,
        variables: Mapping[str, Any] | None = None,
        removed: Iterable[str] = (),
        person: str | None = None,
    ) -> Document:
        """Set variables of an instance, and remove some."""
        given = dict(variables or {})
        names = list(removed)
        return self._steer(instance, "variables", variables=given, removed=names, person=person)

    def start_activity(
        self, instance: str, element: str, end: bool = False, person: str | None = None
    ) -> Document:
        """Start an activity of an ad-hoc sub-process; or, with `end`, end the sub-process."""
        return self._steer(instance, "activities", element=element, end=end, person=person)

    def rerun(self, instance: str, element: str) -> Document:
        """Begin a new instance from an activity of another one; return the new one."""
        return self._steer(instance, "rerun", element=element)

    def _steer(self, instance: str, what: str, **body: Any) -> Document:
        return self.request("POST", _path("instances", instance, what), json=_drop_none(**body))

    # -- people ----------------------------------------------------------------------------

    def tasks(
        self, assignee: str | None = None, group: str | None = None, forms: bool = False
    ) -> Iterator[Document]:
        """Yield the user tasks that wait and that a person, or a group, may do.

        With `forms`, each has the fields of its form.
        """
        query = {"assignee": assignee, "group": group, "forms": "true" if forms else None}
        return self._pages("/tasks", "tasks", query)

    def task(self, task: str) -> Document:
        """Return a task with the fields of its form.

        Args:
            task: `INSTANCE/TASK`, or the id of its element, where only one task of it waits.
        """
        return self.request("GET", _task(task))

    def complete(
        self, task: str, variables: Mapping[str, Any] | None = None, person: str | None = None
    ) -> Document:
        """Complete a task with the values of its form; return the instance as it is now."""
        return self._act(task, "complete", variables=dict(variables or {}), person=person)

    def decide(
        self, task: str, approved: bool, comment: str | None = None, person: str | None = None
    ) -> Document:
        """Approve or reject: complete a task by its decision."""
        return self._act(task, "complete", approved=approved, comment=comment, person=person)

    def claim(self, task: str, person: str | None = None) -> Document:
        """Take a task."""
        return self._act(task, "claim", person=person)

    def release(self, task: str, person: str | None = None) -> Document:
        """Release a task."""
        return self._act(task, "release", person=person)

    def delegate(self, task: str, to: str, person: str | None = None) -> Document:
        """Hand a task to another person."""
        return self._act(task, "delegate", to=to, person=person)

    def _act(self, task: str, what: str, **body: Any) -> Document:
        return self.request("POST", f"{_task(task)}/{what}", json=_drop_none(**body))

    def me(self) -> Document:
        """Return who the caller is, what it may do, and its tasks."""
        return self.request("GET", "/me")

    # -- schedules -------------------------------------------------------------------------

    def schedules(self) -> list[Document]:
        """Return what starts by itself, with the next five times of each."""
        return self._list("GET", "/schedules", "schedules")

    def pause_schedule(self, name: str, paused: bool = True, person: str | None = None) -> Document:
        """Let a schedule (`PROCESS`, or `PROCESS/ELEMENT`) start nothing, or start again."""
        what = "pause" if paused else "resume"
        return self.request("POST", _schedule(name, what), json=_drop_none(person=person))

    def run_schedule(self, name: str, person: str | None = None) -> Document:
        """Start an instance now, beside the times of a schedule."""
        return self.request("POST", _schedule(name, "run"), json=_drop_none(person=person))

    # -- messages, data stores, operators --------------------------------------------------

    def message(
        self,
        name: str,
        key: str = "",
        variables: Mapping[str, Any] | None = None,
        ttl: float = MESSAGE_LIFE,
    ) -> list[str]:
        """Send a message; return the instance that got it, none where it is kept."""
        body = {"name": name, "key": key, "variables": dict(variables or {}), "ttl": ttl}
        return self._list("POST", "/messages", "instances", json=body)

    def signal(self, name: str, variables: Mapping[str, Any] | None = None) -> list[str]:
        """Broadcast a signal; return the instances that got it."""
        body = {"name": name, "variables": dict(variables or {})}
        return self._list("POST", "/signals", "instances", json=body)

    def stores(self) -> list[Document]:
        """Return the data stores."""
        return self._list("GET", "/stores", "stores")

    def set_store(self, name: str, value: Any) -> None:
        """Set a data store."""
        self._send("PUT", f"/stores/{quote(name)}", json={"value": value})

    def incidents(
        self, process: str | None = None, element: str | None = None
    ) -> Iterator[Document]:
        """Yield what operators must look at."""
        return self._pages("/incidents", "incidents", {"process": process, "element": element})

    def retries(self, process: str | None = None, element: str | None = None) -> Iterator[Document]:
        """Yield the tasks that wait for another attempt; `retry` begins it at once."""
        return self._pages("/retries", "retries", {"process": process, "element": element})

    def retry_incidents(self, process: str, element: str | None = None) -> Document:
        """Try all incidents of a process, at an element or anywhere, again."""
        body = _drop_none(process=process, element=element)
        return self.request("POST", "/incidents/retry", json=body)

    def audit(self, instance: str | None = None) -> Iterator[Document]:
        """Yield who did what, newest first."""
        return self._pages("/audit", "entries", {"instance": instance})

    def watch(self, instance: str = "") -> Iterator[Document]:
        """Yield what changes from now on, of one instance or of all, without an end."""
        query = _drop_none(instance=instance or None)
        with self._send("GET", "/events", params=query, stream=True) as answer:
            for line in answer.iter_lines():
                if line.startswith(b"data: "):
                    yield from json.loads(line.removeprefix(b"data: "))

    # -- requests --------------------------------------------------------------------------

    def request(self, method: str, path: str, **options: Any) -> Document:
        """Send a request of the interface that no other method sends; return its document.

        Args:
            method: `GET`, `POST`, ...
            path: Below `/api/v1`.
            options: `params` and `json`, as requests has them.
        """
        answer = self._send(method, path, **options)
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ServiceUnavailable(f"{self.url}: the answer is not a document", hint=_STRANGE)
        return found

    def _pages(self, path: str, name: str, query: Mapping[str, Any]) -> Iterator[Any]:
        cursor = None
        while True:
            page = self.request("GET", path, params=_drop_none(**query, cursor=cursor, limit=1000))
            yield from page[name]
            cursor = page["next"]
            if cursor is None:
                return

    def _list(self, method: str, path: str, name: str, **options: Any) -> list[Any]:
        found: list[Any] = self.request(method, path, **options)[name]
        return found

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        import requests

        try:
            answer = self._session.request(
                method, self.url + _API + path, timeout=self._timeout, allow_redirects=False,
                **options,
            )  # fmt: skip
        except requests.RequestException as error:
            raise ServiceUnavailable(
                f"{self.url}: the server cannot be reached: {_cause(error)}",
                hint="`mlkit bpmn serve` starts one",
            ) from None
        if not answer.ok or answer.is_redirect:
            raise _error(self.url, answer)
        return answer


def _error(url: str, answer: requests.Response) -> MlkitError:
    try:
        problem = answer.json()
        detail, hint = str(problem["detail"]), str(problem.get("hint", "")) or None
    except (ValueError, KeyError, TypeError):
        return ServiceUnavailable(f"{url}: status {answer.status_code}", hint=_STRANGE)
    usual = _ERRORS.get(answer.status_code, MlkitError)
    return _EXIT_CODES.get(problem.get("exit_code"), usual)(detail, hint=hint)


def _cause(error: Exception) -> str:
    cause: BaseException = error
    while cause.__context__ is not None:
        cause = cause.__context__
    return getattr(cause, "strerror", None) or type(cause).__name__


def _drop_none(**values: Any) -> Document:
    return {name: value for name, value in values.items() if value is not None}


def _path(*parts: str) -> str:
    return "".join(f"/{quote(each, safe='')}" for each in parts)


def _task(task: str) -> str:
    instance, slash, number = task.partition("/")
    return _path("tasks", instance, number) if slash else _path("tasks", _ANY, task)


def _schedule(name: str, what: str) -> str:
    process, slash, element = name.partition("/")
    return _path("schedules", process, element if slash else _ANY, what)

"""The pages of user tasks: the list, and a task with its form, documents and diagram."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from mlkit.bpmn import render
from mlkit.bpmn.journal.listings import OpenTask, Word
from mlkit.bpmn.journal.records import Damaged, Row
from mlkit.bpmn.people import attachments
from mlkit.bpmn.people.tasks import Task
from mlkit.bpmn.render.picture import Picture
from mlkit.bpmn.runtime.service import Completed, Service
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.errors import Problems
from mlkit.bpmn.server.people import Visitor, visitor
from mlkit.bpmn.server.reach import require_seen, sight, task_of
from mlkit.bpmn.server.roles import TASKS
from mlkit.bpmn.server.task_form import Submitted, TaskForm, ago
from mlkit.bpmn.server.tasks import engine_of
from mlkit.errors import MlkitError
from mlkit.web.application import Operation, Request, Response, Route
from mlkit.web.errors import Headers, RequestError
from mlkit.web.paths import path_parameter, query, read_form

MOST_SHOWN = 200
VIEWS = {"mine": "Mine", "groups": "My groups'", "all": "All"}
FILE_HEADERS: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    (b"cache-control", b"private, no-store"),
    (b"referrer-policy", b"no-referrer"),
)
"""What goes with a document: whatever it holds, it runs nothing and reads nothing."""
_TASK = "/tasks/{instance}/{activation}"
_HEADINGS = {403: "You may not see this", 404: "Not found", 409: "Somebody else was faster"}
T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


class Outcome(NamedTuple):
    """What a submitted form led to: a page to show, or a place to go to."""

    context: dict[str, Any] | None = None
    status: int = 200
    go: str = ""


def routes(context: Context) -> dict[str, Route]:
    """Return the paths of the pages of tasks."""
    pages = TaskPages(context)
    get, read = pages.operation, TASKS
    return {
        "/tasks": _route("/tasks", GET=get(pages.list, read, is_partial=True)),
        _TASK: _route(_TASK, GET=get(pages.show, read), POST=get(pages.submit, "participant")),
        f"{_TASK}/picture.svg": _route(f"{_TASK}/picture.svg", GET=get(pages.picture, read)),
        f"{_TASK}/documents/{{name}}": _route(
            f"{_TASK}/documents/{{name}}", GET=get(pages.document, read)
        ),
    }


def _route(name: str, **methods: Operation) -> Route:
    return Route(name, methods, hidden=True)


class TaskPages:
    """Answers for the pages of tasks.

    Args:
        context: What the routes of the server share.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._problems = Problems()

    def operation(
        self, handler: Handler, role: str | None, *, is_partial: bool = False
    ) -> Operation:
        """Return the operation of a page, whose errors are pages too."""

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestError as error:
                return self.problem(request, error)
            except MlkitError as error:
                known = self._problems.translate(error)
                assert known is not None
                return self.problem(request, known, is_done=isinstance(error, Completed))

        limit = self.context.settings.max_upload
        name = handler.__name__.strip("_")
        return Operation(
            answer, f"{name}Page", name, "pages", role, max_body=limit, is_partial=is_partial
        )

    def problem(self, request: Request, error: RequestError, *, is_done: bool = False) -> Response:
        """Return the page of an error; of a task that is done, whoever did it, to report that."""
        heading, status = _HEADINGS.get(error.status, "That did not work"), error.status
        if is_done:
            heading = "This task is done"
            status = 200 if request.scope["method"] == "GET" else status
        shown = {"heading": heading, "message": error.error, "hint": error.hint, "back": ""}
        return self.page(request, "notice.html", shown, status)

    def page(
        self, request: Request, template: str, shown: dict[str, Any], status: int = 200
    ) -> Response:
        """Return a page; links in it are relative to the root of the server."""
        depth = str(request.scope["path"]).count("/") - 1
        account = self._account(request)
        answer = self.context.pages.page(template, {"account": account, **shown}, depth=depth)
        return answer._replace(status=status)

    def _account(self, request: Request) -> dict[str, str] | None:
        """Return who has logged in, with what logs them out; None where nobody has."""
        caller = request.caller
        if not caller.session:
            return None
        token = self.context.people.links.form("logout", caller.session)
        return {"name": self.context.people.file.directory.name_of(caller.name), "token": token}

    # -- the list --------------------------------------------------------------------------

    async def list(self, request: Request) -> Response:
        """Return the page of the tasks that wait."""
        wanted = query(request, ("show", "find", "done"))
        show = wanted.get("show", "mine")
        if show not in VIEWS:
            raise RequestError(400, f"show: {show!r:.40}", f"one of {', '.join(VIEWS)}")
        shown = await self.context.call(
            lambda service: self._build_list(service, request, show, wanted.get("find", ""))
        )
        shown["views_pipelines"] = request.caller.may_somewhere("viewer")
        shown["is_participant"] = request.caller.may_somewhere("participant")
        shown["notice"] = "Your task is done." if "done" in wanted else ""
        return self.page(request, "tasks.html", shown)

    def _build_list(
        self, service: Service, request: Request, show: str, find: str
    ) -> dict[str, Any]:
        who = self._visitor(service, request)
        words = _find_words(service, find.casefold().split(), who)
        sees = sight(service, self.context, request.caller)
        index = service.journal.index
        # Whom tasks wait for decides who sees them: one of those alike stands for the others.
        found = index.find_tasks(words)
        seen = [each for each in found.assignments() if sees(each.task)]
        chosen = {
            "mine": [each for each in seen if who.holds(task_of(each.task))],
            "groups": [each for each in seen if who.shares(task_of(each.task))],
            "all": seen,
        }
        counts = {name: sum(each.number for each in group) for name, group in chosen.items()}
        tasks = found.oldest([each.task for each in chosen[show]], MOST_SHOWN)
        return {
            "person": who.name, "groups": sorted(who.directory.groups_of(who.person)),
            "views": [(name, label, counts[name]) for name, label in VIEWS.items()],
            "show": show, "wanted": find, "more": counts[show] - len(tasks),
            "nothing": "Nothing waits here." if not find else "Nothing like that waits here.",
            "tasks": [self._card(service, each, task_of(each), who) for each in tasks],
        }  # fmt: skip

    def _card(self, service: Service, found: OpenTask, task: Task, who: Visitor) -> dict[str, Any]:
        name, process = _names(service, found)
        free = task.assignee is None and who.person and who.may(task)
        token = self.context.people.links.form(task.id, who.person) if free else ""
        return {
            "id": task.id, "name": name, "process": process, "key": found.key,
            "since": ago(task.since), "due": task.due, "whom": who.whom(task), "token": token,
            "unreached": self.context.people.list_unreached(task),
        }  # fmt: skip

    def _visitor(self, service: Service, request: Request) -> Visitor:
        caller = request.caller
        found = visitor(
            self.context.people, service.journal, caller.name, everything=caller.may("operator")
        )
        return found._replace(acts=caller.may_somewhere("participant"))

    # -- a task ----------------------------------------------------------------------------

    async def show(self, request: Request) -> Response:
        """Return the page of a task."""
        place = self._place(request)

        def shown(service: Service) -> dict[str, Any]:
            form = self.form(service, self._visitor(service, request), self._name(request))
            require_seen(service, self.context, request.caller, form.task)
            return form.page(place)

        found = await self.context.call(shown, uses_store=True)
        return self.page(request, "task.html", found)

    async def submit(self, request: Request) -> Response:
        """Do what the form of a task asks for."""
        submitted = Submitted.of(await read_form(request))
        place, name = self._place(request), self._name(request)
        outcome = await self.context.call(
            lambda service: self.act(
                self.form(service, self._visitor(service, request), name), submitted, place
            ),
            request,
            uses_store=True,
        )
        return self.answer(request, outcome, f"{'../' * 2}tasks?done=")

    def answer(self, request: Request, outcome: Outcome, done: str) -> Response:
        """Return the page that a submitted form leads to."""
        if outcome.context is not None:
            return self.page(request, "task.html", outcome.context, outcome.status)
        place = (outcome.go or done).encode("ascii")
        return Response(b"", 303, ((b"location", place), (b"cache-control", b"no-store")))

    def form(self, service: Service, who: Visitor, name: str) -> TaskForm:
        """Return a task as its page has it.

        Raises:
            Refused: Somebody has completed it.
            InputMissing: There is none.
        """
        row, task = service.task(name)
        return TaskForm(service, self.context.people, who, row, task)

    def act(self, form: TaskForm, submitted: Submitted, place: str) -> Outcome:
        """Do what a submitted form asks for.

        Raises:
            Refused: Somebody else came first, or may do it and not the visitor.
            Forged: The form comes from elsewhere.
        """
        task, who, service = form.task, form.visitor, form.service
        self.context.people.links.require_form(submitted.text("form_token"), task.id, who.person)
        form.require_allowed()
        action = submitted.text("action")
        if action == "claim":
            service.claim(task.id, who.person)
            return Outcome(go=place)
        if action == "release":
            service.release(task.id, who.person, who.everything)
            return Outcome(go=place)
        given, problems, values = form.values(submitted)
        finishes = action in ("approve", "reject", "complete")
        comment = submitted.text("comment")
        if not finishes:
            return Outcome(form.page(place, given, comment=comment))
        if problems:
            return Outcome(form.page(place, given, problems, comment), 422)
        service.submit(task, values, who.person)
        return Outcome()

    async def document(self, request: Request) -> Response:
        """Return a document of a task."""
        name, wanted = self._name(request), path_parameter(request, "name")
        return await self._call_for_task(
            request, lambda service: file_of(service, name, wanted), uses_store=True
        )

    async def picture(self, request: Request) -> Response:
        """Return the diagram of a task's instance, with its tokens."""
        name = self._name(request)
        return await self._call_for_task(request, lambda service: picture_of(service, name))

    async def _call_for_task(
        self, request: Request, function: Callable[[Service], T], *, uses_store: bool = False
    ) -> T:
        """Call a function about the task of a request, where its caller may see it."""
        name = self._name(request)

        def work(service: Service) -> T:
            require_seen(service, self.context, request.caller, service.task(name)[1])
            return function(service)

        return await self.context.call(work, uses_store=uses_store)

    @staticmethod
    def _name(request: Request) -> str:
        instance, task = (path_parameter(request, each) for each in ("instance", "activation"))
        return f"{instance}/{task}"

    def _place(self, request: Request) -> str:
        instance, task = (path_parameter(request, each) for each in ("instance", "activation"))
        return f"../../tasks/{quote(instance, safe='')}/{quote(task, safe='')}"


def _find_words(service: Service, texts: list[str], who: Visitor) -> list[Word]:
    """Return words that tasks are searched by, with which elements and people have them."""
    if not texts:
        return []
    index = service.journal.index
    elements = [
        ((each.definition, each.element), *_names(service, each), each.element)
        for each in index.elements_with_tasks()
    ]
    people = [(who.whom(task_of(each.task)).casefold(), each.task) for each in index.assignments()]
    return [
        Word(
            text,
            [place for place, _, *others in elements if text in "\n".join(others).casefold()],
            [place for place, name, *_ in elements if text in name.casefold()],
            [task for name, task in people if text in name],
        )
        for text in texts
    ]


def _names(service: Service, found: OpenTask) -> tuple[str, str]:
    """Return the names of a task and of its process; their ids where the definition is damaged."""
    try:
        engine = engine_of(service, found)
    except Damaged:
        return found.name or found.element, found.process
    name = found.name or engine.graph.behaviors[found.element].node.name or found.element
    return name, engine.processes[0].name or engine.processes[0].id


def file_of(service: Service, name: str, wanted: str) -> Response:
    """Return a document of a task that waits, as a file to download.

    Raises:
        InputMissing: There is none.
        Refused: The task is done.
    """
    _, task = service.task(name)
    journal = service.journal
    found = attachments.document(task, wanted, journal.folder, journal.artifacts)
    encoded = quote(found.name, safe="").encode("ascii")
    headers: Headers = (
        (b"content-type", found.media.encode("ascii", "replace")),
        (b"content-disposition", b"attachment; filename*=UTF-8''" + encoded),
        *FILE_HEADERS,
    )
    return Response(found.content or b"", headers=headers)


def picture_of(service: Service, name: str) -> Response:
    """Return the diagram of a task's instance as SVG, with where its tokens are.

    Raises:
        InputMissing: There is no such task.
        Refused: The task is done.
    """
    row, _ = service.task(name)
    return instance_picture(service, row)


def instance_picture(service: Service, row: Row) -> Response:
    """Return the diagram of an instance as SVG, coloured by how far it has come."""
    file, content, _ = service.journal.definition(row.definition)
    picture = picture_for(content, file, row.process)
    return svg_response(render.svg(picture, render.progress(service.session, row)))


def picture_for(content: bytes, file: str, process: str) -> Picture:
    """Return the picture of a process in a document that may have several, else the first."""
    found = render.parse(content, file)
    return next((each for each in found if each.element == process), found[0])


def svg_response(svg: bytes) -> Response:
    """Return a picture, which runs nothing whatever it holds."""
    return Response(svg, headers=((b"content-type", b"image/svg+xml"), *FILE_HEADERS))

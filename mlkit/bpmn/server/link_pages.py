"""What a link in a mail opens: one task, for one person, without a login.

Programs that look at mail open links: a GET changes nothing. What the form's button sends is done
once; whoever comes later sees who decided, and when.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mlkit.bpmn.people.links import Link
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.people import visitor
from mlkit.bpmn.server.task_form import Submitted, TaskForm
from mlkit.bpmn.server.task_pages import TaskPages, file_of, picture_of
from mlkit.errors import MlkitError
from mlkit.web.application import Request, Response, Route
from mlkit.web.errors import RequestError
from mlkit.web.paths import path_parameter, read_form

_LINK = "/links/{token}"
T = TypeVar("T")


def routes(context: Context) -> dict[str, Route]:
    """Return the paths of links."""
    pages = LinkPages(context)
    names = {
        _LINK: {"GET": pages.show, "POST": pages.submit},
        f"{_LINK}/picture.svg": {"GET": pages.picture},
        f"{_LINK}/documents/{{name}}": {"GET": pages.document},
    }
    return {
        name: Route(name, {m: pages.operation(each, None) for m, each in methods.items()},
                    hidden=True)
        for name, methods in names.items()
    }  # fmt: skip


class LinkPages(TaskPages):
    """Answers for the pages that links open."""

    async def show(self, request: Request) -> Response:
        """Return the page of the link's task; nothing changes by it."""
        link, place = self._link(request), self._place(request)
        shown = await self._with_form(link, lambda form: form.page(place))
        return self._private(self.page(request, "task.html", shown))

    async def submit(self, request: Request) -> Response:
        """Do what the form asks for."""
        link, place = self._link(request), self._place(request)
        submitted = Submitted.of(await read_form(request))
        outcome = await self._with_form(
            link, lambda form: self.act(form, submitted, place), request
        )
        return self._private(self.answer(request, outcome, place))

    async def picture(self, request: Request) -> Response:
        """Return the diagram of the task's instance."""
        link = self._link(request)
        return await self._with_form(link, lambda form: picture_of(form.service, link.task))

    async def document(self, request: Request) -> Response:
        """Return a document of the task."""
        link, name = self._link(request), path_parameter(request, "name")
        return await self._with_form(link, lambda form: file_of(form.service, link.task, name))

    async def _with_form(
        self, link: Link, function: Callable[[TaskForm], T], request: Request | None = None
    ) -> T:
        def work(service: Service) -> T:
            who = visitor(self.context.people, service.journal, link.person)
            form = self.form(service, who, link.task)
            form.require_allowed()  # It may have been given to somebody else since.
            return function(form)

        return await self.context.call(work, request, uses_store=True)

    def _link(self, request: Request) -> Link:
        people = self.context.people
        if not people.open_links:
            raise RequestError(403, "links do not open tasks here", "log in to do the task")
        try:
            return people.links.read(path_parameter(request, "token"))
        except MlkitError as error:
            raise RequestError(403, error.message, error.hint or "") from None

    def _place(self, request: Request) -> str:
        return f"../links/{path_parameter(request, 'token')}"

    @staticmethod
    def _private(response: Response) -> Response:
        """Keep the link from other sites and from caches."""
        kept = [each for each in response.headers
                if each[0] not in (b"referrer-policy", b"cache-control")]  # fmt: skip
        more = [(b"referrer-policy", b"no-referrer"), (b"cache-control", b"no-store")]
        return response._replace(headers=(*kept, *more))

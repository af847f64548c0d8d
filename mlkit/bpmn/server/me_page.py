"""The page of one's own: who stands in for me, and how I get mail."""

from __future__ import annotations

import time
from datetime import date, datetime, timedelta
from typing import Any

from mlkit.bpmn.journal.notices import Absence
from mlkit.bpmn.people.recipients import find_digests, require_absence
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.people import Visitor
from mlkit.bpmn.server.task_form import Submitted
from mlkit.bpmn.server.task_pages import TaskPages
from mlkit.errors import UsageError
from mlkit.web.application import Request, Response, Route
from mlkit.web.paths import query, read_form

_FORM = "me"
MOST_SHOWN = 100


def routes(context: Context) -> dict[str, Route]:
    """Return the path of the page."""
    page = MePage(context)
    methods = {
        "GET": page.operation(page.show, "participant", is_partial=True),
        "POST": page.operation(page.submit, "participant", is_partial=True),
    }
    return {"/me": Route("/me", methods, hidden=True)}


class MePage(TaskPages):
    """Answers for the page of one's own."""

    async def show(self, request: Request) -> Response:
        """Return the page."""
        done = "done" in query(request, ("done",))
        shown = await self.context.call(lambda service: self._build_view(service, request))
        return self.page(request, "me.html", {**shown, "notice": "This is kept." if done else ""})

    async def submit(self, request: Request) -> Response:
        """Keep what the person chose."""
        submitted = Submitted.of(await read_form(request))

        def work(service: Service) -> dict[str, Any] | None:
            token = submitted.text("form_token")
            self.context.people.links.require_form(token, _FORM, request.caller.name)
            try:
                self._keep(service, self._visitor(service, request), submitted)
            except UsageError as error:
                return {**self._build_view(service, request, submitted), "problem": error.message}
            return None

        shown = await self.context.call(work, request)
        if shown is not None:
            return self.page(request, "me.html", {**shown, "notice": ""}, 422)
        return Response(b"", 303, ((b"location", b"me?done="),))

    def _keep(self, service: Service, who: Visitor, submitted: Submitted) -> None:
        now, action = time.time(), submitted.text("action")
        write, person = service.session.write, who.person
        if action in ("daily", "single"):
            write(lambda it: it.absences.choose_digest(person, action == "daily", person, now))
        elif action == "away":
            begins = _day(submitted.text("begins"), "From") if submitted.text("begins") else now
            ends = _day(submitted.text("ends"), "Until", 1)
            substitute = who.directory.id_of(submitted.text("substitute").strip())
            require_absence(person, substitute, begins, ends, now)
            write(lambda it: it.absences.add(person, substitute, begins, ends, person, now))
        elif action == "revoke":
            number = submitted.text("absence")
            own = [each for each in service.journal.absences.all() if str(each.id) == number]
            if not own or who.directory.id_of(own[0].person) != person:
                raise UsageError("there is no such absence of yours")
            write(lambda it: it.absences.revoke(own[0].id, person, now))

    def _build_view(
        self, service: Service, request: Request, submitted: Submitted | None = None
    ) -> dict[str, Any]:
        who, people = self._visitor(service, request), self.context.people
        absences = service.journal.absences
        member = who.directory.get(who.person)
        digests = find_digests(absences, who.directory)
        daily = digests.get(who.person, member is not None and member.digest)
        mine = [
            each
            for each in absences.all()
            if who.person in map(who.directory.id_of, (each.person, each.substitute))
        ]
        fields = ("substitute", "begins", "ends")
        return {
            "person": who.name, "daily": daily, "problem": "",
            "form_token": people.links.form(_FORM, who.person),
            "members": [(e.id, e.name) for e in who.directory.members.values() if e is not member],
            "given": {each: submitted.text(each) if submitted else "" for each in fields},
            "absences": [_describe(each, who) for each in reversed(mine)][:MOST_SHOWN],
        }  # fmt: skip


def _describe(absence: Absence, who: Visitor) -> dict[str, Any]:
    now = time.time()
    text = (
        f"{absence.substitute} stands in for {absence.person} from {_format_time(absence.begins)}"
        f" to {_format_time(absence.ends)}; entered by {absence.by}"
    )
    if absence.revoked is not None:
        text += f"; ended by {absence.revoked_by} at {_format_time(absence.revoked)}"
    is_own = who.directory.id_of(absence.person) == who.person
    revocable = absence.revoked is None and absence.ends > now and is_own
    return {"id": absence.id, "text": text, "revocable": revocable}


def _format_time(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}"


def _day(text: str, label: str, later: int = 0) -> float:
    try:
        day = date.fromisoformat(text) + timedelta(days=later)
    except (ValueError, OverflowError):
        raise UsageError(f"{label}: a day such as 2026-12-31 is needed") from None
    return datetime(day.year, day.month, day.day).astimezone().timestamp()

"""The form of a user task in a browser: what its page shows, and what a submitted one does."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.people import attachments, browser_forms, forms, tasks
from mlkit.bpmn.people.attachments import Document
from mlkit.bpmn.people.browser_forms import Input
from mlkit.bpmn.people.forms import Entry
from mlkit.bpmn.people.masking import Mask
from mlkit.bpmn.people.tasks import Task
from mlkit.bpmn.runtime import documents
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.people import People, Visitor
from mlkit.errors import BadData, ServiceUnavailable
from mlkit.web.errors import RequestError
from mlkit.web.paths import Form, Upload

MOST_PREVIEWED = 4000
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"))


@dataclass(frozen=True)
class Submitted:
    """A submitted form: the values of each name, in order; files are `Upload`s."""

    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, form: Form) -> Submitted:
        """Return what a form has sent; a field of files that was left empty has none."""
        values: dict[str, list[Any]] = {name: list(each) for name, each in form.fields.items()}
        for each in form.files:
            if each.name or each.content:
                values.setdefault(each.field, []).append(each)
        return cls(values)

    def text(self, name: str) -> str:
        """Return the last value of a name, empty where there is none."""
        found = self.values.get(name, ())
        return str(found[-1]) if found else ""


class TaskForm:
    """A task as its page has it.

    Args:
        service: The use cases.
        people: Who they are, and their links.
        visitor: Who looks at it.
        row: The instance.
        task: The task.
    """

    def __init__(
        self, service: Service, people: People, visitor: Visitor, row: Row, task: Task
    ) -> None:
        self.service = service
        self.people = people
        self.visitor = visitor
        self.row = row
        self.task = task
        self.decision = browser_forms.decision_field(task.form)

    # -- what is shown ---------------------------------------------------------------------

    def page(
        self,
        place: str,
        given: Mapping[str, Any] | None = None,
        problems: Sequence[str] = (),
        comment: str = "",
    ) -> dict[str, Any]:
        """Return what the page shows.

        Args:
            place: The path of the page, for its form and its documents.
            given: What was filled in.
            problems: What is wrong with it, in the form of `Entry.values`.
            comment: What was written beside the decision.
        """  # fmt: skip
        task, known = self.task, browser_forms.problems_by_field(problems)
        entry = tasks.entry(task, given or {})
        decides = self._decides(entry)
        question = next((e.label for e in task.form if e.id == self.decision), "")
        fields = browser_forms.inputs(
            entry, known, lambda each: self.people.links.sign_file(task.id, each),
            self.decision if decides else None, mask=task.mask,
        )  # fmt: skip
        process = self.service.session.engine(self.row).processes[0]
        return {
            "task": task, "key": self.row.key, "process": process.name or process.id,
            "since": ago(task.since), "whom": self.visitor.whom(task),
            "unreached": self.people.list_unreached(task),
            "person": self.visitor.name, "may": self.visitor.may(task),
            "asked_by": self._requester(), "fields": fields, "decides": decides,
            "question": question if decides else "", "comment": comment,
            "commented": not task.form, "dynamic": browser_forms.is_dynamic(task.form),
            "problems": summary(fields, known), "action": place, "picture": f"{place}/picture.svg",
            "form_token": self.people.links.form(task.id, self.visitor.person),
            "documents": [_describe_document(each, place) for each in self._documents()],
            "can_claim": task.assignee is None and bool(self.visitor.person),
            "can_release": self.visitor.has(task),
        }  # fmt: skip

    def _decides(self, entry: Entry) -> bool:
        if self.decision == "":
            return True
        shown = {each.id for each in entry.list_shown() if not each.readonly}
        return self.decision is not None and self.decision in shown

    def _requester(self) -> str:
        found = documents.requester(self.service.journal, self.row)
        return self.visitor.directory.name_of(found)

    def _documents(self) -> list[Document]:
        journal = self.service.journal
        return attachments.documents(self.task, journal.folder, journal.artifacts, now=True)

    # -- what a submitted form does --------------------------------------------------------

    def values(self, submitted: Submitted) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
        """Return what was given, what is wrong with it, and the values that complete the task.

        Raises:
            Forged: A file was not uploaded for this task.
        """
        task, action = self.task, submitted.text("action")
        given, unstored = read_given(task.form, submitted, self._keep, task.mask)
        if self.decision and action in ("approve", "reject"):
            given[self.decision] = action == "approve"
        entry, given = browser_forms.drop_hidden(task.form, given, lambda it: tasks.entry(task, it))
        if not task.form:
            try:
                comment = submitted.text("comment").replace("\r\n", "\n") or None
                return {}, [], tasks.decide(task, action == "approve", comment)
            except BadData as error:
                return {}, [error.message], {}
        if unstored:
            return given, unstored, {}
        values, problems = entry.values()
        return given, problems, values

    def _keep(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, Upload):
            return self.people.links.upload(self.task.id, str(value))
        name = attachments.file_name(value.name)
        return attachments.upload(
            self.service.journal.artifacts,
            (self.task.element, self.task.iteration),
            name,
            value.content,
        )

    def require_allowed(self) -> None:
        """Refuse who may not do the task.

        Raises:
            RequestError: 403.
        """
        if not self.visitor.may(self.task):
            whom = self.visitor.whom(self.task)
            hint = "whoever has it may release it, or delegate it to you"
            raise RequestError(403, f"the task waits for {whom}", hint)


def read_given(
    form: forms.Form, submitted: Submitted, keep: browser_forms.Keep, mask: Mask
) -> tuple[dict[str, Any], list[str]]:
    """Return what a form gives, and what is wrong where a file of it cannot be stored now.

    The fields that are filled in are given back then, to be sent again with the files.
    """
    try:
        return browser_forms.read_submitted(form, submitted.values, keep, mask), []
    except ServiceUnavailable:
        left = {
            name: [each for each in values if not isinstance(each, Upload)]
            for name, values in submitted.values.items()
        }
        given = browser_forms.read_submitted(form, left, keep, mask)
        return given, [f"the file was not stored: {attachments.AWAY}; choose it again later"]


def summary(fields: list[Input], known: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return the id, label and problem of each field for the list above the form."""
    places = {each.name.removeprefix(browser_forms.PREFIX): each for each in fields}
    return [
        (places[name].id, places[name].label, problem) if name in places else ("", name, problem)
        for name, problem in known.items()
    ]


def _describe_document(document: Document, place: str) -> dict[str, Any]:
    if document.content is None:
        return {"name": document.name, "url": "", "problem": document.problem}
    return {
        "name": document.name, "url": f"{place}/documents/{quote(document.name, safe='')}",
        "size": size_of(document.size), "picture": document.media in _PICTURES,
        "preview": _preview(document),
    }  # fmt: skip


def _preview(document: Document) -> str:
    readable = document.media.startswith("text/") or document.media == "application/json"
    if not readable or document.content is None:
        return ""
    text = document.content[: 4 * MOST_PREVIEWED].decode("utf-8", "replace")
    return text if len(text) <= MOST_PREVIEWED else text[:MOST_PREVIEWED] + "\n..."


def size_of(size: int) -> str:
    """Write a number of bytes."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1000:.0f} kB" if size < 1_000_000 else f"{size / 1e6:.1f} MB"


def ago(at: float) -> str:
    """Return for how long somebody waits."""
    seconds = max(0, int(time.time() - at))
    for size, unit in _UNITS:
        if seconds >= size:
            count = seconds // size
            return f"for {count} {unit}{'' if count == 1 else 's'}"
    return "for less than a minute"

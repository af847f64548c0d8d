"""The start form of a definition: in a browser and over the interface, checked on the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlkit.bpmn.journal.records import Deployed
from mlkit.bpmn.people import attachments, browser_forms, start_forms
from mlkit.bpmn.people.masking import NO_MASK
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.task_form import Submitted, read_given, summary
from mlkit.web.paths import Upload


class StartForm:
    """The form that starts a version of a definition.

    Args:
        context: What the routes share.
        service: The use cases.
        deployed: The version.
    """

    def __init__(self, context: Context, service: Service, deployed: Deployed) -> None:
        self.deployed = deployed
        self.form = context.starter.form(service.journal, deployed)
        self._links = context.people.links
        self._store = service.journal.artifacts
        self._name = f"start/{deployed.process}"

    def page(
        self, given: Mapping[str, Any] | None = None, problems: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Return what a page shows of it.

        Args:
            given: What was filled in.
            problems: What is wrong with it, in the form of `Entry.values`.
        """
        known = browser_forms.problems_by_field(problems)
        fields = browser_forms.inputs(
            start_forms.entry(self.form, given or {}), known,
            lambda each: self._links.sign_file(self._name, each), mask=NO_MASK,
        )  # fmt: skip
        dynamic = browser_forms.is_dynamic(self.form) or any(e.fields for e in self.form)
        return {"fields": fields, "dynamic": dynamic, "problems": summary(fields, known)}

    def values(self, submitted: Submitted) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
        """Return what was given, what is wrong with it, and the values to start with, as stored.

        Raises:
            Forged: A file was not uploaded for this form.
        """
        given, unstored = read_given(self.form, submitted, self._keep, NO_MASK)
        entry, given = browser_forms.drop_hidden(
            self.form, given, lambda it: start_forms.entry(self.form, it)
        )
        if unstored:
            return given, unstored, {}
        values, problems = entry.values()
        return given, problems, values

    def _keep(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, Upload):
            return self._links.upload(self._name, str(value))
        name = attachments.file_name(value.name)
        return attachments.upload(self._store, ("start", ""), name, value.content)

"""Who asks for which event of an instance, as the audit log has it."""

from __future__ import annotations

import time

from mlkit.bpmn.engine.events import (
    AnyEvent,
    Assign,
    Begin,
    Cancel,
    Claim,
    Complete,
    Migrate,
    Retry,
    Start,
    Suspend,
    Unsuspend,
)
from mlkit.bpmn.journal.notices import Audited
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Row

_AUDITED: dict[type, str] = {
    Start: "start", Claim: "claim", Complete: "complete", Begin: "begin", Retry: "retry",
    Assign: "variables", Cancel: "cancel", Suspend: "suspend", Unsuspend: "unsuspend",
    Migrate: "migrate",
}  # fmt: skip


def audit(journal: Journal, row: Row, event: AnyEvent, source: str) -> None:
    """Record, inside a transaction, who asks for an event, and where from."""
    action = _AUDITED.get(type(event))
    if action is not None:
        number = getattr(event, "id", 0)
        subject = str(number or "")
        if isinstance(event, Assign):
            subject = ", ".join([*event.variables, *event.removed])
        elif isinstance(event, Claim) and event.handed:
            action, subject = "delegate", f"{number} to {event.assignee}"
        elif isinstance(event, Claim) and not event.assignee:
            action = "release"
        elif isinstance(event, Migrate):
            deployed = journal.deployments.of_definition(row.process, event.definition)
            subject = f"version {deployed.version}" if deployed else event.definition[:12]
        who = getattr(event, "by", "")
        journal.audit.add(Audited(time.time(), who, source, action, row.id, subject[:1000]))

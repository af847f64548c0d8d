"""Set data stores from outside of instances."""

from __future__ import annotations

import time
from typing import Any

from mlkit.bpmn.journal.notices import Audited
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.people.forms import pack_variables
from mlkit.bpmn.runtime.session import Session


def set_store(session: Session, name: str, value: Any, by: str) -> None:
    """Set a data store, and record who did so.

    Raises:
        BadData: The value cannot be stored.
    """
    packed, now = pack_variables({"value": value})["value"], time.time()
    entry = Audited(now, by, session.source, "store", "", name[:1000])

    def change(journal: Journal) -> None:
        journal.stores.set(name, packed, 0, now)
        journal.audit.add(entry)

    session.write(change)

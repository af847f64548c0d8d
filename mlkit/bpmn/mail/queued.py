"""Mail that a task of a diagram sends, as mails of the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from email.headerregistry import Address
from typing import Any

from mlkit.bpmn.journal.notices import NewMail
from mlkit.errors import BadData

TASK = "mlkit.bpmn.mail:send"
"""The callable of the task, as a diagram names it."""


def make_mails(variables: Mapping[str, Any], name: str, instance: int) -> list[NewMail]:
    """Return a mail for each address that a task sends to.

    Args:
        variables: `mail_to`, `mail_subject` and `mail_text`, as `mlkit.bpmn.mail:send` takes them.
        name: Names the attempt; no other has the same.
        instance: The number of the instance.

    Raises:
        BadData: A variable is missing, or there is no address to send to.
    """
    lacking = [each for each in ("mail_to", "mail_subject", "mail_text") if each not in variables]
    if lacking:
        raise BadData(f"{TASK}: the variable {lacking[0]} is missing")
    addresses = [each.strip() for each in str(variables["mail_to"]).split(",") if each.strip()]
    for each in addresses:
        _require_address(each)
    if not addresses:
        raise BadData(f"{TASK}: mail_to names nobody")
    content = {
        "to": addresses, "subject": str(variables["mail_subject"]),
        "text": str(variables["mail_text"]),
    }  # fmt: skip
    return [
        NewMail(f"send.{name}.{number}", "text", instance, 0, "", each, content)
        for number, each in enumerate(addresses)
    ]


def _require_address(text: str) -> None:
    try:
        found = Address(addr_spec=text)
    except Exception as error:  # The parser of the standard library raises many kinds.
        raise BadData(f"{TASK}: mail_to: {text!r} is not an address") from error
    if not found.username or not found.domain or not text.isprintable():
        raise BadData(f"{TASK}: mail_to: {text!r} is not an address")

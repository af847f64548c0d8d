"""Mails as messages: headers that hold only what they should, texts, a picture, documents."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Any

from mlkit.bpmn.mail.texts import Templates
from mlkit.bpmn.people.attachments import Document
from mlkit.errors import UsageError

MOST_HEADER = 200
_PICTURE = "picture"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a mail is besides its text.

    Attributes:
        message: Its Message-ID, the same in each attempt.
        thread: The Message-ID that the mails about one instance refer to; empty: none.
        at: When it was written, in seconds since 1970.
    """

    message: str
    sender: Address
    recipients: Sequence[Address]
    thread: str = ""
    at: float = 0.0


def sender(text: str) -> Address:
    """Read the address of a sender: `mlkit@example.org`, or with a name before it in `<>`.

    Raises:
        UsageError: It is none.
    """
    name, address = parseaddr(text)
    try:
        found = Address(display_name=header_text(name), addr_spec=address)
    except Exception as error:  # The parser of the standard library raises many kinds.
        raise UsageError(f"--mail-from {text!r}: not an address") from error
    if not found.username or not found.domain or not text.isprintable():
        raise UsageError(f"--mail-from {text!r}: not an address", hint="such as mlkit@example.org")
    return found


def header_text(text: str) -> str:
    """Return text that fits in a header: one line, of characters that can be seen.

    What looks like an encoded word (RFC 2047) would be decoded, and may hold ends of lines.
    """
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    kept = "".join(each for each in line if each.isprintable()).replace("=?", "= ?")
    return kept if len(kept) <= MOST_HEADER else kept[: MOST_HEADER - 3] + "..."


def body_text(text: str) -> str:
    """Return text that can be encoded, without control characters but ends of lines and tabs."""
    sound = text.encode("utf-8", "replace").decode()
    return "".join(each for each in sound if each in "\n\t" or (ord(each) >= 32 and each != "\x7f"))


def message(envelope: Envelope, subject: str, text: str, html: str = "") -> EmailMessage:
    """Return a mail with a text, and the same as HTML where there is some."""
    found = EmailMessage(policy=SMTP)
    found["Message-ID"] = envelope.message
    if envelope.thread and envelope.thread != envelope.message:
        found["In-Reply-To"] = found["References"] = envelope.thread
    found["Date"] = format_datetime(datetime.fromtimestamp(envelope.at or time.time(), UTC))
    found["From"] = envelope.sender
    found["To"] = list(envelope.recipients)
    found["Subject"] = header_text(subject)
    # Answering machines let such mail alone (RFC 3834).
    found["Auto-Submitted"] = "auto-generated"
    found.set_content(body_text(text))
    if html:
        found.add_alternative(body_text(html), subtype="html")
    return found


def fill(
    kind: str,
    envelope: Envelope,
    context: Mapping[str, Any],
    templates: Templates,
    picture: bytes | None = None,
    documents: Sequence[Document] = (),
) -> EmailMessage:
    """Return a mail whose texts templates make.

    Args:
        kind: `task` or `digest`: the templates.
        envelope: Who sends it to whom.
        context: What the templates may use.
        templates: The templates.
        picture: A PNG that the HTML shows.
        documents: What is attached.

    Raises:
        ConfigurationError: A template fails.
    """
    # The HTML names the picture by its Content-ID.
    cid = "" if picture is None else f"{_PICTURE}.{envelope.message.strip('<>')}"
    known = {**context, "picture": cid}
    subject, text, html = (
        templates.fill(f"{kind}.{part}", known) for part in ("subject.txt", "txt", "html")
    )
    found = message(envelope, subject, text, html)
    if picture is not None:
        shown = found.get_body(("html",))
        assert isinstance(shown, EmailMessage)
        shown.add_related(picture, "image", "png", cid=f"<{cid}>", disposition="inline",
                          filename="instance.png")  # fmt: skip
    for each in documents:
        kind_of, _, part = each.media.partition("/")
        if kind_of in ("message", "multipart") or not part:
            kind_of, part = "application", "octet-stream"
        found.add_attachment(each.content or b"", kind_of, part, filename=header_text(each.name))
    return found

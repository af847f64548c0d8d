"""The ways in which the options of a live run send alerts."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlkit.errors import UsageError

if TYPE_CHECKING:
    from mlkit.cli.output import Output
    from mlkit.pairs.live.alerts import Alerts, Send


@dataclass(frozen=True)
class Ways:
    """The options.

    Attributes:
        url: The URL of a webhook.
        command: A command line.
        mail: An e-mail address.
        smtp: The URL of the mail server.
        password_file: The file of its password.
    """

    url: str | None = None
    command: str | None = None
    mail: str | None = None
    smtp: str | None = None
    password_file: Path | None = None


def alerts_of(out: Output, state: Path, ways: Ways) -> Alerts:
    """Return what sends a run's alerts.

    Raises:
        UsageError: A URL, an address or a command line is none, or of a mail server and an address
            one is missing.
    """
    from mlkit.pairs.live import alerts

    if ways.mail is None and (ways.smtp, ways.password_file) != (None, None):
        hint = "--alert-mail ADDRESS"
        raise UsageError("a mail server sends alerts to an address, and there is none", hint=hint)
    sends = [] if ways.url is None else [alerts.webhook(ways.url)]
    sends += [] if ways.command is None else [alerts.command(_words(ways.command))]
    sends += [] if ways.mail is None else [mail(ways.mail, ways.smtp, ways.password_file)]
    return alerts.Alerts(state.resolve().name, sends, lambda text: out.note(f"warning: {text}"))


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"--alert-command {line}: {error}", hint="close the quotes") from error


def mail(address: str, smtp: str | None, password_file: Path | None = None) -> Send:
    """Return a way to send an alert by e-mail, from the address that it goes to.

    Raises:
        UsageError: It is no address, or the server is missing or not the URL of one.
    """
    from mlkit.bpmn.mail.smtp import Connection, Deferred, Rejected, Undelivered, parse
    from mlkit.pairs.live.alerts import TIMEOUT, Refused

    name, _, domain = address.partition("@")
    if not (name and domain and address.isprintable()) or "@" in domain or " " in address:
        raise UsageError(f"--alert-mail {address!r}: not an address", hint="ops@example.org")
    if smtp is None:
        raise UsageError("--alert-mail needs a mail server", hint="--smtp smtp://localhost")
    server = parse(smtp, password_file)

    def send(event: dict[str, Any]) -> None:
        try:
            with Connection(server, TIMEOUT) as connection:
                connection.send(_message(address, event), address)
        except Rejected as error:
            raise Refused(f"{address}: {error}") from error
        except (Deferred, Undelivered) as error:
            raise OSError(f"{address}: {error}") from error

    return send


def _message(address: str, event: dict[str, Any]) -> EmailMessage:
    message = EmailMessage()
    message["From"] = message["To"] = address
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="mlkit.invalid")
    message["Subject"] = f"{event['run']}: {event['kind']}"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(json.dumps(event, indent=2) + "\n")
    return message

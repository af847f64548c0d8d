"""SMTP servers: an address with its security, and sending over one connection."""

from __future__ import annotations

import contextlib
import os
import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from mlkit.errors import InputMissing, UsageError
from mlkit.web.listeners import is_loopback

PASSWORD_VARIABLE = "MLKIT_BPMN_SMTP_PASSWORD"
TIMEOUT = 30.0
"""Seconds to wait for each answer of a server."""
_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
_CLOSING = (-1, 421)
"""A server that answers neither 4xx nor 5xx is gone; 421 announces that it is about to be."""
_HINT = "smtp://HOST[:25], smtp+starttls://USER@HOST[:587] or smtps://USER@HOST[:465]"


class Rejected(Exception):
    """The server will never take this mail."""


class Deferred(Exception):
    """The server does not take this mail now; it may later (an answer of 4xx)."""


class Undelivered(Exception):
    """The server cannot be used now, for this mail and any other."""


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mail is handed over.

    Attributes:
        security: `smtp` (none), `smtp+starttls`, or `smtps` (TLS from the first byte).
        password: Never shown.
    """

    host: str
    port: int
    security: str = "smtp"
    user: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        return f"{self.security}://{user}{self.host}:{self.port}"


def parse(url: str, password_file: Path | None = None) -> SmtpServer:
    """Read the URL of an SMTP server; a password comes from a file, else the environment.

    Raises:
        UsageError: It is no such URL, holds a password, or a login would go over the wire in
            clear.
        InputMissing: The file of the password cannot be read.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"--smtp: {error}", hint=_HINT) from None
    if parts.password is not None:  # Whatever it is, it is not repeated here.
        hint = f"set {PASSWORD_VARIABLE}, or name a file with --smtp-password-file"
        raise UsageError("--smtp: a password must not be in a URL", hint=hint)
    extra = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in _PORTS or not parts.hostname or extra:
        raise UsageError(f"--smtp {url!r}: not the URL of an SMTP server", hint=_HINT)
    user = unquote(parts.username or "")
    server = SmtpServer(
        parts.hostname, port or _PORTS[parts.scheme], parts.scheme, user,
        _password(password_file) if user else "",
    )  # fmt: skip
    if user and parts.scheme == "smtp" and not is_loopback(parts.hostname):
        raise UsageError("--smtp: a login needs TLS", hint=_HINT)
    return server


def _password(file: Path | None) -> str:
    if file is None:
        found = os.environ.get(PASSWORD_VARIABLE)
        if found is None:
            hint = f"set {PASSWORD_VARIABLE}, or name a file with --smtp-password-file"
            raise UsageError("--smtp: there is a user and no password", hint=hint)
        return found
    try:
        return file.read_text("utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise InputMissing(f"{file}: {reason}", hint="--smtp-password-file") from error


class Connection:
    """A session with a server, for one mail after the other; a `with` block ends it.

    Raises:
        Undelivered: The server is not there, or refuses the login.
    """

    def __init__(self, server: SmtpServer, timeout: float = TIMEOUT) -> None:
        self.server = server
        self.timeout = timeout

    def __enter__(self) -> Self:
        try:
            self._smtp = self._connect()
        except (OSError, smtplib.SMTPException) as error:
            raise Undelivered(f"{self.server}: {reason(error)}") from error
        return self

    def _connect(self) -> smtplib.SMTP:
        server, context = self.server, ssl.create_default_context()
        smtp: smtplib.SMTP
        if server.security == "smtps":
            smtp = smtplib.SMTP_SSL(server.host, server.port, timeout=self.timeout, context=context)
        else:
            smtp = smtplib.SMTP(server.host, server.port, timeout=self.timeout)
        try:
            if server.security == "smtp+starttls":
                smtp.starttls(context=context)
            if server.user:
                smtp.login(server.user, server.password)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError, smtplib.SMTPException):
            self._smtp.quit()
        self._smtp.close()

    def send(self, message: EmailMessage, recipient: str) -> None:
        """Hand a mail over for one address; when this returns, the server has taken it.

        Raises:
            Rejected: It refuses this mail for good (an answer of 5xx).
            Deferred: It does not take this mail now.
            Undelivered: It takes none now, or is gone.
        """
        try:
            self._smtp.send_message(message, to_addrs=[recipient])
        except smtplib.SMTPRecipientsRefused as error:
            code, text = next(iter(error.recipients.values()))
            raise _refusal(code, _decode(text)) from error
        except smtplib.SMTPResponseException as error:
            raise _refusal(error.smtp_code, _decode(error.smtp_error)) from error
        except (smtplib.SMTPNotSupportedError, UnicodeError) as error:
            raise Rejected(reason(error)) from error
        except (OSError, smtplib.SMTPException) as error:
            raise Undelivered(reason(error)) from error


def _refusal(code: int, text: str) -> Exception:
    if 500 <= code < 600:
        return Rejected(f"{code} {text}")
    return (Undelivered if code in _CLOSING else Deferred)(f"{code} {text}")


def _decode(text: str | bytes) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text


def reason(error: BaseException) -> str:
    """Return in a line why a server cannot be used."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_decode(error.smtp_error)}"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())

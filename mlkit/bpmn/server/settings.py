"""The settings of a server, and the rule of who may reach it without a login."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from mlkit.bpmn.mail.composition import MailSettings
from mlkit.bpmn.mail.messages import sender
from mlkit.bpmn.mail.smtp import SmtpServer
from mlkit.bpmn.people.directory import PeopleFile
from mlkit.bpmn.people.links import Links, key_of
from mlkit.bpmn.runtime import session
from mlkit.bpmn.server.people import People
from mlkit.errors import ConfigurationError, InputMissing, UsageError
from mlkit.web.access import Access, Caller, Loopback, RawHeaders, read_tokens
from mlkit.web.errors import RequestError
from mlkit.web.listeners import is_loopback

MAIL_FROM = "mlkit@localhost"
ROLES = {
    "viewer": "reads everything",
    "worker": "takes external tasks",
    "participant": "claims and completes tasks",
    "operator": "starts, retries, cancels, sends messages and signals, changes variables",
    "deployer": "deploys definitions, which is running code",
}
_IMPLIED = {
    "participant": {"viewer"},
    "operator": {"viewer", "participant"},
    "deployer": {"viewer"},
}


@dataclass(frozen=True)
class Settings:
    """How a server runs.

    Attributes:
        state: The state folder.
        base_url: How others reach the server, where that is not its own address.
        grace: Seconds that running scripts have to end after SIGTERM.
        token_file: The tokens of clients; needed where the address is no loopback one.
        scripts: How scripts run.
        max_body: Bytes that a body may have.
        max_upload: Bytes that a deployment, or a form with files, may have.
        watch: A folder whose diagrams are deployed.
        people_file: Who people are; None: nobody is known.
        smtp: Where mail is handed over; None: none is sent.
        mail: How mail is written.
        links: Whether a link of a mail opens a task without a login.
        secret_file: The secret that signs links; None: one that is made in the state folder.
    """

    state: Path
    host: str = "127.0.0.1"
    port: int = 8080
    base_url: str | None = None
    grace: float = 8.0
    token_file: Path | None = None
    scripts: session.Settings = field(default_factory=session.Settings)
    max_body: int = 4 << 20
    max_upload: int = 64 << 20
    watch: Path | None = None
    people_file: Path | None = None
    smtp: SmtpServer | None = None
    mail: MailSettings = field(default_factory=lambda: MailSettings(sender(MAIL_FROM)))
    links: bool = True
    secret_file: Path | None = None

    def people(self) -> People:
        """Return who the people of the server are.

        Raises:
            MlkitError: The people file, or the secret, cannot be used.
        """
        links = Links(key_of(self.state, self.secret_file))
        return People(PeopleFile(self.people_file), links, self.links)

    def access(self) -> Access:
        """Return how the server finds out who calls.

        Raises:
            ConfigurationError: Others can reach the server, and it has no login.
        """
        if self.token_file is not None:
            return _Implied(read_tokens(self.token_file, tuple(ROLES)))
        if not is_loopback(self.host):
            raise ConfigurationError(
                f"--host {self.host}: others can reach this address, and there is no login",
                hint="--token-file names a file of tokens; without one, use --host 127.0.0.1",
            )
        names = [urlsplit(self.base_url).hostname or ""] if self.base_url else []
        return Loopback(names, user())

    def require_sound(self) -> None:
        """Refuse settings that contradict one another.

        Raises:
            ConfigurationError: Others can reach the server, and it has no login.
            InputMissing: The folder to watch is missing.
            UsageError: The base URL is none.
        """
        self.access()
        if self.watch is not None and not self.watch.is_dir():
            raise InputMissing(f"{self.watch}: no such folder", hint="--watch names a folder")
        PeopleFile(self.people_file)
        if self.base_url is not None:
            parts = urlsplit(self.base_url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
                raise UsageError(
                    f"--base-url {self.base_url!r}: expected a URL",
                    hint="https://flows.example.org",
                )


class _Implied:
    """Callers with the roles that theirs imply."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self.scheme = access.scheme
        self.description = access.description

    def caller(self, headers: RawHeaders) -> Caller:
        """Return the caller of a request."""
        caller = self._access.caller(headers)
        if caller.roles is None:
            return caller
        implied = set().union(*(_IMPLIED.get(each, set()) for each in caller.roles))
        return caller._replace(roles=caller.roles | implied)


def user() -> str:
    """Return the user of the system that runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # A container may have no name for its user.
        return f"user {os.getuid()}"


def acting(caller: Caller, person: str | None) -> str:
    """Return who acts: the caller, or whom it acts for.

    Raises:
        RequestError: 403: the caller may act for nobody else.
    """
    own = caller.name or "anybody"
    if person is None or person == own:
        return own
    if not caller.may("operator"):
        raise RequestError(
            403, f"{own} may not act for {person:.80}", "the role 'operator' may act for others"
        )
    return person

"""The settings of a server, and the rule of who may reach it without a login."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from mlkit.bpmn.defaults import MAIL_FROM, MAX_BODY, MAX_UPLOAD, PORT
from mlkit.bpmn.mail.composition import MailSettings
from mlkit.bpmn.mail.messages import sender
from mlkit.bpmn.mail.smtp import SmtpServer
from mlkit.bpmn.people.directory import PeopleFile
from mlkit.bpmn.people.links import Links, key_of
from mlkit.bpmn.runtime import session
from mlkit.bpmn.server.federation import Claims, Federation
from mlkit.bpmn.server.login import Login, LoginAccess
from mlkit.bpmn.server.people import People
from mlkit.bpmn.server.roles import HOW_TO_ADD, ROLES, KnownCallers, user
from mlkit.bpmn.server.telemetry import require_endpoint
from mlkit.errors import BadData, ConfigurationError, InputMissing, UsageError
from mlkit.web import base_url
from mlkit.web.access import Access, Loopback, read_tokens
from mlkit.web.defaults import DRAIN_TIMEOUT, HOST, SESSION_HOURS
from mlkit.web.listeners import is_loopback
from mlkit.web.oidc import Client, Provider
from mlkit.web.sessions import Cookies, Ended, Sessions
from mlkit.web.users import NOBODY, UsersFile, read_users


@dataclass(frozen=True)
class Settings:
    """How a server runs.

    Attributes:
        state: The state folder.
        base_url: How others reach the server, where that is not its own address.
        drain_timeout: Seconds that running scripts have to end after SIGTERM.
        token_file: The tokens of clients; needed where the address is not a loopback one.
        scripts: How scripts run.
        max_body: Bytes that a body may have.
        max_upload: Bytes that a deployment, or a form with files, may have.
        watch: A folder whose diagrams are deployed.
        people_file: Who people are; None: nobody is known.
        smtp: Where mail is handed over; None: none is sent.
        mail: How mail is written.
        links: Whether a link of a mail opens a task without a login.
        secret_file: The secret that signs links and sessions; None: one that is made in the state
            folder.
        users_file: Who may log in.
        oidc: What an OpenID Connect provider knows the server as; None: nobody logs in there.
        oidc_claims: Which of its claims identify somebody.
        session_hours: Hours for which a login is good.
        keep: Seconds for which instances that have ended are kept; None: for ever.
        otlp: The endpoint of a collector of OpenTelemetry; None: nothing is reported.
    """

    state: Path
    host: str = HOST
    port: int = PORT
    base_url: str | None = None
    drain_timeout: float = DRAIN_TIMEOUT
    token_file: Path | None = None
    scripts: session.Settings = field(default_factory=session.Settings)
    max_body: int = MAX_BODY
    max_upload: int = MAX_UPLOAD
    watch: Path | None = None
    people_file: Path | None = None
    smtp: SmtpServer | None = None
    mail: MailSettings = field(default_factory=lambda: MailSettings(sender(MAIL_FROM)))
    links: bool = True
    secret_file: Path | None = None
    users_file: Path | None = None
    oidc: Client | None = None
    oidc_claims: Claims = field(default_factory=Claims)
    session_hours: float = SESSION_HOURS
    otlp: str | None = None
    keep: float | None = None

    @property
    def place(self) -> str:
        """Where the journal is, without a password: a database, or the state folder."""
        if self.scripts.journal is None:
            return str(self.state)
        from mlkit.storage.postgresql_failures import place

        return place(self.scripts.journal)

    def people(self) -> People:
        """Return who the people of the server are.

        Raises:
            MlkitError: The people file, or the secret, cannot be used.
        """
        links = Links(key_of(self.state, self.secret_file))
        mails = self.smtp is not None or self.people_file is not None
        return People(PeopleFile(self.people_file), links, self.links, mails)

    def access(self, people: People, login: Login | None = None) -> Access:
        """Return how the server finds out who calls.

        Args:
            people: Who they are.
            login: How people log in; None: they do not.

        Raises:
            ConfigurationError: Others can reach the server, and it has no login.
        """
        names = self.names
        tokens = None
        if self.token_file is not None:
            tokens = read_tokens(self.token_file, tuple(ROLES))
        if login is not None:
            return KnownCallers(LoginAccess(login, tokens, names), people.file)
        if tokens is not None:
            return KnownCallers(tokens, people.file)
        self._require_alone()
        return Loopback(names, user())

    def login(self, people: People, base_url: str) -> Login | None:
        """Return how people log in; None: they do not.

        Args:
            people: Who they are.
            base_url: How browsers reach the server.

        Raises:
            MlkitError: The users file cannot be used.
        """
        if self.users_file is None and self.oidc is None:
            return None
        users = (
            None
            if self.users_file is None
            else UsersFile(self.users_file, tuple(ROLES), HOW_TO_ADD)
        )
        cookies = Cookies(secure=(self.base_url or "").startswith("https://"))
        key = key_of(self.state, self.secret_file)
        sessions = Sessions(key, Ended(), cookies, self.session_hours * 3600)
        federation = None
        if self.oidc is not None:
            federation = Federation(self.oidc, self.oidc_claims, base_url, key)
        return Login(users, sessions, people.file, federation)

    @property
    def names(self) -> list[str]:
        """Names of the server at a proxy before it."""
        return [urlsplit(self.base_url).hostname or ""] if self.base_url else []

    def _require_alone(self) -> None:
        if not is_loopback(self.host):
            raise ConfigurationError(
                f"--host {self.host}: others can reach this address, and there is no login",
                hint="use --users, --oidc or --token-file, or else --host 127.0.0.1",
            )

    def _require_access(self) -> None:
        """Refuse files of users and tokens that cannot be used, and an address without either."""
        if self.token_file is not None:
            read_tokens(self.token_file, tuple(ROLES))
        users = NOBODY
        if self.users_file is not None:
            users = read_users(self.users_file, tuple(ROLES), HOW_TO_ADD)
        if self.users_file is not None and self.oidc is None and not users.users:
            raise BadData(
                f"{self.users_file}: there is no user", hint="`mlkit bpmn user add` adds one"
            )
        if self.oidc is not None:
            self._require_oidc(self.oidc)
        if self.token_file is None and self.users_file is None and self.oidc is None:
            self._require_alone()

    def _require_oidc(self, client: Client) -> None:
        Provider(client, "")
        if self.base_url is None and not is_loopback(self.host):
            hint = "--base-url names how browsers reach the server: the provider sends them there"
            raise UsageError("--oidc needs --base-url", hint=hint)

    def require_sound(self) -> None:
        """Refuse settings that contradict one another.

        Raises:
            ConfigurationError: Others can reach the server, and it has no login.
            BadData: A file of users or tokens cannot be used.
            InputMissing: The folder to watch is missing.
            UsageError: The base URL is none.
        """
        self._require_access()
        if self.otlp is not None:
            require_endpoint(self.otlp)
        if self.watch is not None and not self.watch.is_dir():
            raise InputMissing(f"{self.watch}: no such folder", hint="--watch names a folder")
        PeopleFile(self.people_file)
        if self.base_url is not None:
            base_url.parse(self.base_url)

"""A mail server to talk to, and instances that ask people."""

from __future__ import annotations

import email
import email.policy
import ssl
import time
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from ports import free_port

from mlkit.bpmn.mail.composition import MailSettings
from mlkit.bpmn.mail.messages import sender
from mlkit.bpmn.mail.sender import Sender
from mlkit.bpmn.mail.smtp import SmtpServer
from mlkit.bpmn.people.directory import PeopleFile
from mlkit.bpmn.runtime.session import Session

PEOPLE = """
[[people]]
id = "ann"
name = "Ann Lée"
email = "ann@example.org"
groups = ["owners"]
[[people]]
id = "bob"
name = "Bob"
email = "bob@example.org"
groups = ["owners", "night"]
[[people]]
id = "cem"
name = "Cem"
email = "cem@example.org"
digest = true
groups = ["night"]
"""


@dataclass
class MailServer:
    """A real SMTP server that keeps what it gets."""

    port: int = 0
    mails: list[tuple[str, EmailMessage]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    secured: list[bool] = field(default_factory=list)
    users: list[bytes] = field(default_factory=list)

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.answers and self.answers[0].startswith("RCPT "):
            return self.answers.pop(0).removeprefix("RCPT ")
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.answers:
            return self.answers.pop(0)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.SMTP)
        self.mails.append((envelope.rcpt_tos[0], mail))
        self.secured.append(server.transport.get_extra_info("sslcontext") is not None)
        return "250 kept"

    def authenticate(self, server, session, envelope, mechanism, data):
        assert isinstance(data, LoginPassword)
        self.users.append(data.login)
        known = (data.login, data.password) == (b"bot", b"s3cret")
        return AuthResult(success=known, handled=known)

    @property
    def recipients(self) -> list[str]:
        return sorted(to for to, _ in self.mails)


@pytest.fixture
def start_server():
    """Start a mail server; `security` as in the URL of one."""
    running = []

    def start(security: str = "smtp", **options) -> MailServer:
        server = MailServer(free_port())
        if "context" in options:
            options["server_kwargs"] = {
                "authenticator": server.authenticate, "auth_required": True,
                **({"tls_context": options["context"], "require_starttls": True}
                   if security == "smtp+starttls" else {"auth_require_tls": False}),
            }  # fmt: skip
            context = options.pop("context")
            if security == "smtps":
                options["ssl_context"] = context
        kwargs = options.pop("server_kwargs", {})
        made = Controller(server, hostname="127.0.0.1", port=server.port, **options, **kwargs)
        made.start()
        running.append(made)
        return server

    yield start
    for each in running:
        each.stop()


@pytest.fixture
def mail_server(start_server) -> MailServer:
    return start_server()


@pytest.fixture
def tls_context(tmp_path, monkeypatch) -> ssl.SSLContext:
    """A server's certificate, which this process trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@dataclass
class Office:
    """A state folder with people, and what sends its mail."""

    folder: Path
    port: int
    settings: MailSettings

    def session(self) -> Session:
        return Session(self.folder / "state", create=True)

    def begin(self, xml: str, **variables) -> str:
        """Start an instance; it runs until it waits."""
        path = self.folder / "diagram.bpmn"
        path.write_text(xml)
        with self.session() as session:
            row = session.begin(path, variables)
            session.advance([row])
            return row.id

    def sender(self, session: Session) -> Sender:
        server = SmtpServer("127.0.0.1", self.port)
        return Sender(session, PeopleFile(self.folder / "people.toml"), server, self.settings)

    def send(self):
        with self.session() as session:
            return self.sender(session).empty()

    def mails(self):
        with self.session() as session:
            return session.journal.outbox.mails()

    def retry(self):
        with self.session() as session:
            journal = session.journal
            return journal.atomically(journal.outbox.retry)

    def await_hour(self):
        """Let the hour of all digests come."""
        with self.session() as session:
            database = session.journal.outbox.database
            session.write(lambda _: database.execute("UPDATE mails SET due = 0"))

    def send_away(self, person: str, substitute: str) -> None:
        """Let somebody be away from now on."""
        now = time.time()
        with self.session() as session:
            session.write(
                lambda journal: journal.absences.add(
                    person, substitute, now - 9, now + 999, person, now
                )
            )

    def bring_back(self) -> None:
        """Let everybody be back."""
        with self.session() as session:
            for each in session.journal.absences.all():
                session.write(
                    lambda journal, each=each: journal.absences.revoke(each.id, "ann", time.time())
                )


@pytest.fixture
def office(tmp_path, mail_server) -> Office:
    (tmp_path / "people.toml").write_text(PEOPLE)
    settings = MailSettings(sender("mlkit <bot@mlkit.example>"))
    return Office(tmp_path, mail_server.port, settings)

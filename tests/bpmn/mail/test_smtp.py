"""Servers of mail: their addresses, TLS, login, and what never leaves this machine in clear."""

from __future__ import annotations

from email.headerregistry import Address

import pytest

from mlkit.bpmn.mail import smtp
from mlkit.bpmn.mail.messages import Envelope, message, sender
from mlkit.errors import InputMissing, UsageError

# The server is a test's: whatever it asks for, it is on this machine.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")
FROM = sender("bot@mlkit.example")
MAIL = message(Envelope("<1@mlkit.example>", FROM, [Address(addr_spec="ann@x.org")]), "Hi", "Text")


@pytest.mark.parametrize("security", ["smtp+starttls", "smtps"])
def test_mail_goes_over_tls_after_a_login(start_server, tls_context, monkeypatch, security):
    server = start_server(security, context=tls_context)
    monkeypatch.setenv(smtp.PASSWORD_VARIABLE, "s3cret")
    with smtp.Connection(smtp.parse(f"{security}://bot@127.0.0.1:{server.port}")) as connection:
        connection.send(MAIL, "ann@x.org")
    assert server.recipients == ["ann@x.org"]
    assert server.secured == [True]
    assert server.users == [b"bot"]


def test_a_wrong_password_is_reported_without_it(start_server, tls_context, tmp_path):
    server = start_server("smtps", context=tls_context)
    (tmp_path / "password").write_text("wr0ng\n")
    address = smtp.parse(f"smtps://bot@127.0.0.1:{server.port}", tmp_path / "password")
    with pytest.raises(smtp.Undelivered, match="535") as caught, smtp.Connection(address):
        pass
    assert "wr0ng" not in f"{caught.value} {address} {address!r}"


def test_a_certificate_that_nobody_vouches_for_is_refused(start_server, tls_context, monkeypatch):
    server = start_server("smtps", context=tls_context)
    monkeypatch.delenv("SSL_CERT_FILE")
    with (
        pytest.raises(smtp.Undelivered, match="certificate"),
        smtp.Connection(smtp.SmtpServer("127.0.0.1", server.port, "smtps")),
    ):
        pass
    assert server.mails == []


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("smtp://bot:hunter2@mail.example.org", "a password must not be in a URL"),
        ("smtp://bot@mail.example.org", "a login needs TLS"),
        ("http://mail.example.org", "not the URL of an SMTP server"),
        ("smtp://", "not the URL of an SMTP server"),
        ("smtps://mail.example.org/folder", "not the URL of an SMTP server"),
        ("smtp://mail.example.org:99999", "--smtp"),
    ],
)
def test_addresses_that_are_none_or_unsafe_are_refused(monkeypatch, url, problem):
    monkeypatch.setenv(smtp.PASSWORD_VARIABLE, "x")
    with pytest.raises(UsageError, match=problem) as caught:
        smtp.parse(url)
    assert "hunter2" not in caught.value.message


def test_a_user_needs_a_password(monkeypatch, tmp_path):
    monkeypatch.delenv(smtp.PASSWORD_VARIABLE, raising=False)
    with pytest.raises(UsageError, match="no password"):
        smtp.parse("smtps://bot@mail.example.org")
    with pytest.raises(InputMissing):
        smtp.parse("smtps://bot@mail.example.org", tmp_path / "none")

"""Alerts by e-mail, at a mail server."""

from __future__ import annotations

import email
import json
import socketserver
import threading

import pytest

from mlkit.cli.pairs.live.alerts import mail
from mlkit.errors import UsageError

EVENT = {"run": "r1", "kind": "limit", "limit": "drawdown", "action": "stop"}


class MailServer(socketserver.StreamRequestHandler):
    """Takes mails, or refuses their recipients."""

    def handle(self):
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.mails.append(email.message_from_bytes(b"".join(lines)))
            refused = word == b"RCPT" and self.server.refuses
            self.wfile.write(b"550 nobody here\r\n" if refused else b"250 yes\r\n")


@pytest.fixture
def server():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), MailServer) as made:
        made.daemon_threads, made.mails, made.refuses = True, [], False
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def url_of(server):
    return f"smtp://127.0.0.1:{server.server_address[1]}"


def test_an_alert_arrives_as_a_mail(server):
    mail("ops@example.org", url_of(server))(EVENT)
    (found,) = server.mails
    assert (found["To"], found["Subject"]) == ("ops@example.org", "r1: limit")
    assert json.loads(found.get_payload()) == EVENT


def test_a_refusal_is_a_problem_that_is_reported(server):
    server.refuses = True
    with pytest.raises(OSError, match=r"ops@example.org: 550 nobody here"):
        mail("ops@example.org", url_of(server))(EVENT)
    assert server.mails == []


@pytest.mark.parametrize("address", ["ops", "@x", "a@b@c", "a b@c", "a@b\nBcc: c@d", ""])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UsageError, match="not an address"):
        mail(address, "smtp://localhost")


def test_a_url_of_a_mail_server_is_needed():
    with pytest.raises(UsageError, match="not the URL of an SMTP server"):
        mail("ops@example.org", "http://localhost")

"""Alerts by a webhook and a command: at a real server, which fails, sends elsewhere, or is slow."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from contextlib import contextmanager

import msgspec
import pytest

from mlkit.errors import UsageError
from mlkit.pairs.live import alerts
from mlkit.pairs.live.alerts import Alerts, Refused, command, webhook
from mlkit.pairs.live.topics import Results

EVENT = {"run": "r1", "kind": "limit", "text": 'A/B"\r\nx-evil: 1\r\n\r\n$(touch /tmp/x)\x1b[31m'}


class Hook(http.server.BaseHTTPRequestHandler):
    """Answers with the server's next code, and keeps what came."""

    def do_POST(self):
        headers = {name.lower(): text for name, text in self.headers.items()}
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.came.append((self.path, headers, json.loads(body)))
        codes = self.server.codes
        self.send_response(codes.pop(0) if codes else 204, "secret-reason")
        self.send_header("location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self):
        self.do_POST()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as made:
        made.came, made.codes = [], []
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join(60)


def url_of(server, user=""):
    return f"http://{user}127.0.0.1:{server.server_port}/hook?token=s3cret"


def report(kinds, *sends, waits=(0.0, 0.0, 0.0)):
    """Send an event of each kind, and return the problems that were reported."""
    problems = []
    sender = Alerts("r1", list(sends), problems.append, waits)
    results = Results()
    for kind in kinds:
        results.add("events", 0, {"kind": kind})
    sender.take(results)
    sender.close()
    return problems


def test_an_alert_arrives_whole_and_its_content_stays_in_the_body(server):
    webhook(url_of(server))(EVENT)
    ((path, headers, event),) = server.came
    assert (path, event) == ("/hook?token=s3cret", EVENT)
    assert headers["content-type"] == "application/json"
    assert not {name for name in headers if "evil" in name}


def test_only_what_somebody_must_know_is_sent(server):
    assert report(["limit", "pair_started", "finished"], webhook(url_of(server))) == []
    assert [event["kind"] for *_, event in server.came] == ["limit", "finished"]


def test_a_webhook_that_fails_is_asked_again_until_it_has_each_alert(server):
    server.codes = [500, 429, 503]
    assert report(["limit", "finished"], webhook(url_of(server))) == []
    assert [event["kind"] for *_, event in server.came] == ["limit"] * 4 + ["finished"]


def test_what_fails_for_good_is_reported_without_the_url_and_the_next_one_is_sent(server):
    server.codes = [500] * 4
    problems = report(["limit", "finished"], webhook(url_of(server)))
    assert problems == ["an alert could not be sent: the webhook answered 500"]
    assert server.came[-1][2]["kind"] == "finished"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308, 400, 401, 404, 410])
def test_a_redirect_or_a_refusal_is_an_error_and_not_tried_again(server, code):
    server.codes = [code]
    with pytest.raises(Refused, match=f"^the webhook answered {code}$"):
        webhook(url_of(server))(EVENT)
    assert [path for path, *_ in server.came] == ["/hook?token=s3cret"]
    server.codes = [code]
    assert len(report(["limit"], webhook(url_of(server)))) == 1
    assert len(server.came) == 2


def test_a_user_and_password_go_into_a_header(server):
    webhook(url_of(server, "me:p%40ss@"))(EVENT)
    assert server.came[0][1]["authorization"] == "Basic bWU6cEBzcw=="


@contextmanager
def answering(content):
    """Serve a port that answers anything with some bytes, or never, and yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        held = []

        def serve():
            while True:
                try:
                    held.append(listening.accept()[0])
                except OSError:
                    return
                if content is not None:
                    held[-1].recv(65536)
                    held[-1].sendall(content)
                    held[-1].close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/s3cret"
        listening.shutdown(socket.SHUT_RDWR)
        for each in held:
            each.close()


@pytest.mark.parametrize("content", [b"\x1b[31mgarbage\r\n\r\n", b"", b"HTTP/1.1 abc\r\n\r\n"])
def test_what_is_no_http_is_reported_and_the_others_get_their_alerts(server, content):
    with answering(content) as url:
        problems = report(["limit", "finished"], webhook(url), webhook(url_of(server)))
    assert len(problems) == 2
    assert not any("s3cret" in each or "\x1b" in each for each in problems)
    assert len(server.came) == 2


def test_a_webhook_that_never_answers_is_left_after_a_while(monkeypatch):
    monkeypatch.setattr(alerts, "TIMEOUT", 0.2)
    with answering(None) as url, pytest.raises(OSError, match="timed out"):
        webhook(url)(EVENT)


def test_the_end_does_not_wait_for_alerts_without_limit(monkeypatch):
    monkeypatch.setattr(alerts, "TIMEOUT", 0.1)
    monkeypatch.setattr(alerts, "MOST_WAITING", 3)
    asked, go_on = threading.Event(), threading.Event()

    def slow(event):
        asked.set()
        go_on.wait(60)

    problems = []
    sender = Alerts("r1", [slow], problems.append)
    for count in (1, 5):  # one is being sent, three wait
        results = Results()
        for _ in range(count):
            results.add("events", 0, {"kind": "limit"})
        sender.take(results)
        assert asked.wait(60)
    sender.close()
    go_on.set()
    dropped = ["alerts: too many wait; one was dropped"] * 2
    assert problems == [*dropped, "alerts: the last ones were not sent before the end"]


def test_nobody_there_is_reported_without_the_url():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    (problem,) = report(["limit"], webhook(f"http://127.0.0.1:{port}/s3cret"))
    assert "refused" in problem
    assert "s3cret" not in problem


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://h/s3cret", "http://", "http:///s3cret", "http://h:x/s3cret",
     "http://h/s3cret\r\nx: 1", "http://h/s 3cret", "http://h/s3cret\x00", "http://[h/s3cret",
     "//h/s3cret", ""],
)  # fmt: skip
def test_what_is_no_url_is_refused_without_repeating_it(url):
    with pytest.raises(UsageError) as refused:
        webhook(url)
    assert "s3cret" not in str(refused.value)


def test_a_command_gets_the_alert_on_standard_input_and_no_shell_sees_it(tmp_path):
    script = tmp_path / "alert.sh"
    script.write_text(
        f'#!/bin/sh\nprintf "%s|%s|%s" "$MLKIT_ALERT" "$*" "$(cat)" >{tmp_path}/got\n'
    )
    script.chmod(0o755)
    command([str(script), "; touch x", "$HOME"])(EVENT)
    kind, arguments, body = (tmp_path / "got").read_text().split("|", 2)
    assert (kind, arguments) == ("limit", "; touch x $HOME")
    assert msgspec.json.decode(body) == EVENT


def test_a_command_that_fails_or_hangs_is_reported(tmp_path, monkeypatch):
    assert report(["limit"], command(["false"])) == [
        "an alert could not be sent: false ended with 1"
    ]
    monkeypatch.setattr(alerts, "TIMEOUT", 0.2)
    with pytest.raises(OSError, match="did not end"):
        command(["sleep", "60"])(EVENT)


@pytest.mark.parametrize("line", [[], ["no-such-program-here"], [""]])
def test_a_command_that_is_not_there_is_refused_at_once(line):
    with pytest.raises(UsageError, match="no program"):
        command(line)

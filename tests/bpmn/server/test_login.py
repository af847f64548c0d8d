"""Logging in over HTTP: sessions, forged forms, attempts, and what ends a session."""

from __future__ import annotations

import re
import subprocess

import pytest
import requests
from argon2 import PasswordHasher
from bpmn.server.conftest import Server
from commands import run_mlkit

from mlkit.bpmn.server import user_lines

ANN, BOB = "correct horse", "battery staple"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Hashes that cost little to compare: the tests log in often."""
HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("login")
    ann, bob = CHEAP.hash(ANN), CHEAP.hash(BOB)
    (folder / "users").touch(0o600)
    (folder / "users").write_text(f"ann operator,deployer {ann}\nbob - {bob}\n@owners viewer\n")
    people = '[[people]]\nid = "bob"\nname = "Bob <b>"\ngroups = ["owners"]\n'
    (folder / "people.toml").write_text(people)
    (folder / "tokens").write_text("machine viewer ci\n")
    made = Server(
        folder, "--host", "0.0.0.0", "--users", "users", "--token-file", "tokens",
        "--people", "people.toml",
    )  # fmt: skip
    made.url = made.url.replace("0.0.0.0", "127.0.0.1")
    yield made
    if made.process.poll() is None:
        assert made.stop() == 143
    made.http.close()


@pytest.fixture
def browser():
    """Return what keeps cookies."""
    with requests.Session() as session:
        session.headers.update(HTML)
        yield session


def log_in(server, browser, name: str, password: str, path: str = "/", **fields):
    page = browser.get(f"{server.url}/login?done=")  # shown to who has logged in, too
    token = re.search(r'name="form_token" value="([^"]+)"', page.text)[1]
    form = {"form_token": token, "name": name, "password": password, "next": path, **fields}
    return browser.post(f"{server.url}/login", data=form, allow_redirects=False)


def test_a_browser_is_led_to_the_login_and_back(server, browser):
    asked = browser.get(f"{server.url}/instances?text=a%26b")
    assert asked.url.endswith("/login?next=%2Finstances%3Ftext%3Da%2526b")
    back = re.search(r'name="next" value="([^"]+)"', asked.text)[1]
    done = log_in(server, browser, "ann", ANN, back)
    assert (done.status_code, done.headers["location"]) == (303, "./instances?text=a%26b")
    cookie = next(each for each in done.raw.headers.getlist("set-cookie") if "session=" in each)
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    shown = browser.get(f"{server.url}/")
    assert "Log out" in shown.text
    assert shown.headers["content-security-policy"].count("'unsafe-inline'") == 0
    me = browser.get(f"{server.url}/api/v1/me").json()
    assert me["roles"] == ["deployer", "operator", "participant", "viewer"]


def test_programs_get_documents_and_their_tokens_still_work(server, browser):
    answer = requests.get(f"{server.url}/api/v1/instances", headers=HTML)
    assert (answer.status_code, answer.json()["hint"]) == (401, "log in at /login, or send a token")
    assert requests.get(f"{server.url}/instances").status_code == 401
    bearer = {"authorization": "Bearer machine"}
    assert requests.get(f"{server.url}/api/v1/me", headers=bearer).json()["name"] == "ci"
    # A wrong token is no reason to look at a cookie.
    log_in(server, browser, "ann", ANN)
    wrong = browser.get(f"{server.url}/api/v1/me", headers={"authorization": "Bearer no"})
    assert wrong.status_code == 401


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nX-Evil: 1", "", "tasks",
     "javascript:alert(1)", "/é"],
)  # fmt: skip
def test_a_login_leads_to_no_other_site(server, browser, path):
    done = log_in(server, browser, "ann", ANN, path)
    assert (done.status_code, done.headers["location"]) == (303, "./")
    assert "x-evil" not in done.headers
    asked = browser.get(f"{server.url}/login", params={"next": path}, allow_redirects=False)
    assert asked.headers["location"] == "./"


def test_a_failed_login_says_the_same_whoever_it_is(server, browser):
    texts = set()
    for name, password in (("ann", BOB), ("nobody", BOB), ("", ""), ("ann", "x" * 15_000)):
        answer = log_in(server, browser, name, password)
        assert answer.status_code == 401
        assert "mlkit-session" not in answer.headers["set-cookie"]
        texts.add(re.search('<p id="problem">(.*?)</p>', answer.text)[1])
    assert texts == {"The name or the password is wrong."}
    hostile = log_in(server, browser, '"><script>alert(1)</script>\r\n', "x")
    assert "<script>" not in hostile.text
    assert log_in(server, browser, "ann", "x" * 20_000).status_code == 413


def test_a_login_is_slowed_down_after_failures(server, browser):
    answers = [log_in(server, browser, "mallory", "guess") for _ in range(5)]
    assert [each.status_code for each in answers] == [401] * 5

    def refused() -> str | None:
        return log_in(server, browser, "mallory", "guess").headers.get("retry-after")

    # Each wait is twice the last: sooner or later one is longer than a slow machine takes.
    assert int(server.wait(refused)) >= 1
    assert log_in(server, browser, "ann", ANN).status_code == 303


def test_a_form_of_another_site_logs_nobody_in_and_does_nothing(server, browser):
    evil = {"origin": "http://evil.example"}
    form = {"form_token": "x", "name": "ann", "password": ANN}
    assert browser.post(f"{server.url}/login", data=form).status_code == 400
    page = requests.get(f"{server.url}/login", headers=HTML)
    other = re.search(r'name="form_token" value="([^"]+)"', page.text)[1]
    assert log_in(server, browser, "ann", ANN, form_token=other).status_code == 400
    assert log_in(server, browser, "ann", ANN).status_code == 303
    for path, body in (("/api/v1/signals", {"name": "s"}), ("/api/v1/messages", {"name": "m"})):
        assert browser.post(server.url + path, json=body, headers=evil).status_code == 403
        assert browser.post(server.url + path, json=body).status_code == 200
    browser.get(f"{server.url}/logout")
    assert browser.post(f"{server.url}/logout", data={"form_token": "x"}).status_code == 422
    assert "Log out" in browser.get(f"{server.url}/").text


def test_a_logout_ends_the_session_wherever_its_cookie_is(server, browser):
    log_in(server, browser, "ann", ANN)
    stolen = dict(browser.cookies)
    page = browser.get(f"{server.url}/tasks").text
    token = re.search(r'logout"><input type="hidden" name="form_token" value="([^"]+)"', page)[1]
    done = browser.post(f"{server.url}/logout", data={"form_token": token})
    assert "You are logged out." in done.text
    assert "mlkit-session" not in browser.cookies
    answer = requests.get(f"{server.url}/api/v1/me", cookies=stolen)
    assert answer.status_code == 401


def test_a_logout_on_one_host_ends_the_session_on_all_and_for_good(server, browser):
    other = Server(server.folder, *server.options)

    def status() -> int:
        url = other.url.replace("0.0.0.0", "127.0.0.1")
        return requests.get(f"{url}/api/v1/me", cookies=cookies).status_code

    try:
        log_in(server, browser, "ann", ANN)
        cookies = dict(browser.cookies)
        assert status() == 200
        page = browser.get(f"{server.url}/tasks").text
        token = re.search(r'logout"><input type="hidden" name="form_token" value="([^"]+)"', page)
        browser.post(f"{server.url}/logout", data={"form_token": token[1]})
        other.wait(lambda: status() == 401)
        other.kill()
        other.start()
        assert status() == 401
    finally:
        other.kill()
        other.http.close()


def test_a_login_begins_a_session_of_its_own(server, browser):
    # Whoever has put a cookie into the browser knows nothing of the session after a login.
    with requests.Session() as other:
        log_in(server, other, "bob", BOB)
        browser.cookies.update(other.cookies)
    before = browser.cookies["mlkit-session"]
    log_in(server, browser, "ann", ANN)
    assert browser.cookies["mlkit-session"] != before
    assert browser.get(f"{server.url}/api/v1/me").json()["name"] == "ann"


def test_rights_come_from_groups_and_change_at_once(server, browser):
    users = server.folder / "users"
    log_in(server, browser, "bob", BOB)
    assert browser.get(f"{server.url}/api/v1/me").json()["roles"] == ["viewer"]
    refused = browser.get(f"{server.url}/me")
    assert refused.status_code == 403
    assert "You may not see this" in refused.text
    assert "Bob &lt;b&gt;" in browser.get(f"{server.url}/").text
    user_lines.set_rights(users, "bob", "participant")
    assert browser.get(f"{server.url}/me").status_code == 200
    user_lines.set_password(users, "bob", BOB + "!")
    assert browser.get(f"{server.url}/api/v1/me").status_code == 401
    log_in(server, browser, "bob", BOB + "!")
    assert browser.get(f"{server.url}/api/v1/me").status_code == 200
    user_lines.remove(users, "bob")
    assert browser.get(f"{server.url}/api/v1/me").status_code == 401


def test_no_secret_is_logged(server):
    log = server.log.read_text()
    assert "ann has logged in from 127.0.0.1" in log
    assert "failed login as 'nobody'" in log
    assert not any(each in log for each in (ANN, BOB, "argon2", "mlkit-session"))


def user(folder, *arguments: str, password: str = "") -> subprocess.CompletedProcess[str]:
    return run_mlkit("bpmn", "user", *arguments, "--users", "users", input=password, cwd=folder)


def test_the_command_line_writes_the_file(tmp_path):
    assert user(tmp_path, "add", "ann", "--rights", "operator", password=f"{ANN}\n").returncode == 0
    assert (tmp_path / "users").stat().st_mode & 0o777 == 0o600
    twice = user(tmp_path, "add", "ann", password=ANN)
    assert (twice.returncode, "user passwd" in twice.stderr) == (2, True)
    assert user(tmp_path, "passwd", "bob", password=BOB).returncode == 66
    assert user(tmp_path, "add", "bob").returncode == 66
    assert user(tmp_path, "rights", "@owners", "viewer@loans").returncode == 0
    assert user(tmp_path, "list").stdout == "ann  operator\n@owners  viewer@loans\n"
    assert user(tmp_path, "remove", "ann").returncode == 0
    done = run_mlkit("bpmn", "serve", "--users", "users", "--port", "0", cwd=tmp_path)
    assert done.returncode == 65
    assert "there is no user" in done.stderr

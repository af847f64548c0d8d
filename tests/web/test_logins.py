"""Passwords, users files, sessions, and attempts that are slowed down."""

from __future__ import annotations

import threading
import time

import pytest

from mlkit.errors import BadData, ConfigurationError, InputMissing
from mlkit.web.access import require_own_page
from mlkit.web.errors import RequestError
from mlkit.web.passwords import hash_password, matches
from mlkit.web.sessions import Cookies, Ended, Sessions, proof_of
from mlkit.web.throttle import Throttle
from mlkit.web.users import UsersFile, changing, parse_users, read_users, require_name

ROLES = ("viewer", "operator")
HINT = "`tool add` makes one"
HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    path.touch(0o600)
    path.write_text(
        f"# ours\n\nann operator,viewer@loans {HASH}\n@owners viewer#finance\nbob - -\n"
    )
    return path


def test_a_password_is_hashed_and_its_composed_form_counts():
    stored = hash_password("Zu\u0308rich 8001")
    assert stored.startswith("$argon2id$")
    assert "rich" not in stored
    assert matches(stored, "Z\u00fcrich 8001")
    assert not matches(stored, "Zurich 8001")
    assert not matches(None, "nobody")
    assert not matches("$argon2id$damaged", "x" * 8)


@pytest.mark.parametrize("password", ["", "short", "x" * 1025, "\u00e9" * 600])
def test_a_password_has_a_length(password):
    with pytest.raises(BadData):
        hash_password(password)
    assert not matches(HASH, "x" * 50_000_000)


def test_users_and_groups_are_read(users):
    found = read_users(users, ROLES, HINT)
    assert found.roles("ann", ["owners", "others"]) == {
        "operator", "viewer@loans", "viewer#finance"
    }  # fmt: skip
    assert found.roles("nobody", ["owners"]) == {"viewer#finance"}
    assert found.users["bob"].password is None
    assert found.roles("bob", []) == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        "ann operator", f"ann boss {HASH}", f"ann viewer@ {HASH}", f"ann viewer@a@b {HASH}",
        "ann viewer secret", f"a,b viewer {HASH}", f"a/b viewer {HASH}", "@owners boss",
        f"ann viewer {HASH} more", f"ann viewer {HASH}\nann - -", "@o viewer\n@o viewer",
        f"ann viewer, {HASH}", f"- viewer {HASH}",
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(text):
    with pytest.raises(BadData, match=r"^file:[12]: "):
        parse_users(text, "file", ROLES)


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "a\r\nSet-Cookie:x", "@a", "#a", "a\x7f", "-"])
def test_a_name_is_no_line_and_no_header(name):
    with pytest.raises(BadData):
        require_name(name)


def test_a_user_and_a_group_may_have_one_name():
    found = parse_users("@owners viewer\nowners operator -", "file", ROLES)
    assert found.roles("owners", ["owners"]) == {"viewer", "operator"}


def test_others_of_the_system_may_not_read_the_file(users, tmp_path):
    users.chmod(0o640)
    with pytest.raises(ConfigurationError, match="may read it"):
        read_users(users, ROLES, HINT)
    with pytest.raises(InputMissing) as caught:
        read_users(tmp_path / "none", ROLES, HINT)
    assert caught.value.hint == HINT


def test_a_file_is_read_again_and_a_broken_one_keeps_who_there_was(users, caplog):
    file = UsersFile(users, ROLES, HINT)
    with changing(users, HINT) as lines:
        lines.append(f"eve viewer {HASH}")
    assert set(file.users.users) == {"ann", "bob", "eve"}
    assert users.stat().st_mode & 0o777 == 0o600
    assert users.read_text().startswith("# ours\n\n")
    users.write_text("eve boss\n")
    assert set(file.users.users) == {"ann", "bob", "eve"}
    assert "not read again" in caplog.text
    users.write_text("")
    assert not file.users.users


def test_changes_at_once_lose_none(tmp_path):
    path = tmp_path / "users"

    def change(number: int) -> None:
        with changing(path, HINT, create=True) as lines:
            lines.append(f"user{number} viewer {HASH}")

    threads = [threading.Thread(target=change, args=(n,)) for n in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(read_users(path, ROLES, HINT).users) == 12
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["users"]


def sent(headers) -> list[tuple[bytes, bytes]]:
    return [(b"cookie", value.partition(b";")[0]) for _, value in headers]


def test_a_session_lasts_until_it_ends(monkeypatch):
    sessions = Sessions(b"k" * 32, Ended(), Cookies(secure=False), lifetime=60)
    cookie = sent(sessions.begin("ann", proof_of(HASH), ["owners"]))
    found = sessions.read(cookie)
    assert (found.user, found.proof, found.groups) == ("ann", proof_of(HASH), ("owners",))
    other = sent(sessions.begin("ann"))
    assert sessions.read(other).id != found.id
    sessions.end(found)
    assert sessions.read(cookie) is None
    # Another host reads it until it knows.
    ended = Ended()
    again = Sessions(b"k" * 32, ended, Cookies(secure=False))
    assert again.read(cookie).user == "ann"
    ended.learn({found.id: found.expires})
    assert again.read(cookie) is None
    assert again.read(other).user == "ann"
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    assert sessions.read(other) is None


def test_a_forged_session_is_none():
    sessions = Sessions(b"k" * 32, Ended(), Cookies(secure=False))
    others = Sessions(b"x" * 32, Ended(), Cookies(secure=False))
    ((name, value),) = sent(sessions.begin("ann"))
    for text in (sent(others.begin("ann"))[0][1], value + b"x", value[:-3], b"mlkit-session=", b""):
        assert sessions.read([(name, text)]) is None
    assert sessions.read([(name, b"a=b; " + value)]).user == "ann"


def test_cookies_are_for_this_host_and_no_script(tmp_path):
    ((_, plain),) = Cookies(secure=False).set("a", "b", 5)
    assert plain == b"a=b; Path=/; Max-Age=5; HttpOnly; SameSite=Lax"
    ((_, secure),) = Cookies(secure=True).set("a", "b", 5)
    assert secure == b"__Host-a=b; Path=/; Max-Age=5; HttpOnly; SameSite=Lax; Secure"
    assert Cookies(secure=True).read([(b"cookie", b"a=c; __Host-a=b")], "a") == "b"


def test_attempts_are_slowed_down_and_the_account_stays_open_elsewhere():
    throttle = Throttle()
    for _ in range(5):
        assert throttle.wait("ann", "10.0.0.1", 0.0) == 0
        throttle.begin("ann", "10.0.0.1", 0.0)
    waits = []
    for _ in range(3):
        throttle.begin("ann", "10.0.0.1", 0.0)
        waits.append(throttle.wait("ann", "10.0.0.1", 0.0))
    assert waits == [1, 2, 4]
    assert throttle.wait("ann", "10.0.0.2", 0.0) == 0
    assert throttle.wait("bob", "10.0.0.1", 0.0) == 0
    assert throttle.wait("ann", "10.0.0.1", 4.0) == 0
    throttle.succeed("ann", "10.0.0.1")
    assert throttle.wait("ann", "10.0.0.1", 0.0) == 0


def test_many_accounts_of_one_network_and_many_networks_of_one_account_wait():
    throttle = Throttle()
    for number in range(40):
        throttle.begin(f"user{number}", f"2001:db8::{number:x}", 0.0)
    assert throttle.wait("another", "2001:db8::ffff", 0.0) > 100
    assert throttle.wait("another", "2001:db8:0:1::1", 0.0) == 0
    for number in range(80):
        throttle.begin("ann", f"10.0.0.{number}", 0.0)
    assert throttle.wait("ann", "10.1.0.1", 0.0) == 30  # Not for longer: its owner waits too.


def test_what_is_remembered_is_bounded():
    throttle = Throttle(most=100)
    for number in range(1000):
        throttle.begin(f"user{number}" * 10, f"10.0.{number // 250}.{number % 250}", 0.0)
    assert len(throttle) == 100


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "http://here:1@evil.example"]
)
def test_pages_of_other_sites_may_not_ask(origin):
    with pytest.raises(RequestError):
        require_own_page({b"host": b"here:1", b"origin": origin.encode()}, {"proxy.example"})


@pytest.mark.parametrize("origin", ["http://here:1", "https://proxy.example"])
def test_own_pages_may_ask(origin):
    require_own_page({b"host": b"here:1", b"origin": origin.encode()}, {"proxy.example"})

"""Links are for one task and one person, for a time, and cannot be made by anybody else."""

from __future__ import annotations

import pytest

from mlkit.bpmn.people.links import FILE_NAME, Expired, Forged, Links, key_of
from mlkit.errors import ConfigurationError, InputMissing

LINKS = Links(b"k" * 32, lifetime=100)


def test_a_link_names_its_task_and_its_person():
    found = LINKS.read(LINKS.make("ab/1", "ann", now=0), now=99)
    assert (found.task, found.person) == ("ab/1", "ann")


def test_a_link_expires():
    with pytest.raises(Expired):
        LINKS.read(LINKS.make("ab/1", "ann", now=0), now=101)


def test_what_this_server_has_not_signed_is_refused():
    token = LINKS.make("ab/1", "ann", now=0)
    others = [Links(b"o" * 32).make("ab/1", "ann", now=0), LINKS.form("ab/1", "ann", now=0)]
    for each in ("", "x", token[:-1], token + "A", token.swapcase(), "\u00e9", *others):
        with pytest.raises(Forged):
            LINKS.read(each, now=1)


def test_a_form_is_for_the_page_that_it_was_on():
    token = LINKS.form("ab/1", "ann", now=0)
    LINKS.require_form(token, "ab/1", "ann", now=1)
    for task, person in (("ab/2", "ann"), ("ab/1", "bob")):
        with pytest.raises(Forged):
            LINKS.require_form(token, task, person, now=1)
    with pytest.raises(Forged):
        LINKS.require_form(LINKS.make("ab/1", "ann", now=0), "ab/1", "ann", now=1)


def test_an_upload_is_for_its_task():
    token = LINKS.sign_file("ab/1", {"$artifact": "x"})
    assert LINKS.upload("ab/1", token) == {"$artifact": "x"}
    with pytest.raises(Forged):
        LINKS.upload("ab/2", token)


def test_the_key_is_made_once_and_for_its_owner(tmp_path):
    assert key_of(tmp_path) == key_of(tmp_path)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_key_that_others_may_read_or_that_is_short_is_refused(tmp_path):
    file = tmp_path / "key"
    with pytest.raises(InputMissing):
        key_of(tmp_path, file)
    file.write_bytes(b"k" * 40)
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="other users"):
        key_of(tmp_path, file)
    file.chmod(0o600)
    assert key_of(tmp_path, file) == b"k" * 40
    file.write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="32 bytes"):
        key_of(tmp_path, file)

"""Stored values where hosts share them: nothing is used that is not what its hash says."""

from __future__ import annotations

import hashlib
import io
import os
import time

import pytest

from mlkit.bpmn.journal.artifacts import FRESH, ArtifactStore
from mlkit.errors import BadData, ConfigurationError, InputMissing, ServiceUnavailable
from mlkit.storage.objects import open_objects

VALUE = b"a value"
NAME = hashlib.sha256(VALUE).hexdigest()


@pytest.fixture(params=["file", "s3"])
def url(request, tmp_path):
    if request.param == "s3":
        return request.getfixturevalue("bucket") + "/p"
    return (tmp_path / "shared").as_uri()


@pytest.fixture
def host(url, tmp_path):
    """Return how to open the store as a host does."""

    def open_as(name, *, is_new=False, journal="j"):
        store = ArtifactStore(tmp_path / name, open_objects(url), journal)
        store.claim(is_new)
        return store

    return open_as


def write(store, content=VALUE):
    store.folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(content).hexdigest()
    (store.folder / name).write_bytes(content)
    return name


def test_what_one_host_publishes_another_one_reads(host):
    one, other = host("one", is_new=True), host("other")
    one.publish(write(one))
    assert not other.is_known_here(NAME)
    assert other.read(NAME) == VALUE
    assert other.is_known_here(NAME)
    assert [each.name for each in other.all()] == [NAME]


def test_a_value_that_is_nowhere_is_missing(host):
    one = host("one", is_new=True)
    with pytest.raises(InputMissing, match=NAME):
        one.fetch(NAME)
    with pytest.raises(InputMissing):
        one.publish(NAME)
    assert list(one.folder.glob("*" + NAME + "*")) == []


@pytest.mark.parametrize("name", ["", "..", "../x", "A" * 64, NAME + "\n", "/etc/passwd"])
def test_what_is_no_hash_names_nothing(host, name):
    with pytest.raises(InputMissing, match="not the hash"):
        host("one", is_new=True).fetch(name)


def test_a_value_that_was_changed_in_the_store_is_refused(host, url):
    one, other = host("one", is_new=True), host("other")
    one.publish(write(one))
    open_objects(url).put(NAME, io.BytesIO(b"another value"))
    with pytest.raises(BadData, match="its hash differs"):
        other.read(NAME)
    assert not (other.folder / NAME).exists()
    assert "its hash differs" in other.problem(NAME)
    one.folder.joinpath(NAME).unlink()
    open_objects(url).put(NAME, io.BytesIO(VALUE))
    assert other.problem(NAME) == ""


def test_a_copy_that_was_damaged_is_fetched_again(host):
    one, other = host("one", is_new=True), host("other")
    one.publish(write(one))
    other.folder.mkdir(exist_ok=True)
    (other.folder / NAME).write_bytes(b"half a va")
    assert other.read(NAME) == VALUE
    assert (other.folder / NAME).read_bytes() == VALUE


def test_a_damaged_value_is_not_published(host):
    one = host("one", is_new=True)
    (one.folder / NAME).write_bytes(b"half a va")
    with pytest.raises(BadData, match="its hash differs"):
        one.publish(NAME)
    assert list(one.all()) == []


def test_a_copy_that_was_removed_is_fetched_again(host):
    one, other = host("one", is_new=True), host("other")
    one.publish(write(one))
    other.fetch(NAME)
    (other.folder / NAME).unlink()
    assert not other.is_known_here(NAME)
    assert other.read(NAME) == VALUE


def test_what_was_not_stored_again_meanwhile_is_removed(host):
    one, other = host("one", is_new=True), host("other")
    one.publish(write(one))
    old = time.time() + 10
    os.utime(one.folder / NAME, (1, 1))
    [found] = other.all()
    assert not other.remove(found, found.modified - 10)
    assert other.read(NAME) == VALUE
    assert one.remove(found, old)
    assert list(other.all()) == []
    assert not (one.folder / NAME).exists()
    # The host that knew it publishes it again.
    one.publish(write(one))
    assert [each.name for each in other.all()] == [NAME]


def test_an_old_value_that_is_made_again_is_young_again(tmp_path):
    """Retention may be about to remove it: what names it now is not committed yet."""
    shared = tmp_path / "shared"
    one = ArtifactStore(tmp_path / "one", open_objects(shared.as_uri()), "j")
    one.claim(is_new=True)
    one.publish(write(one))
    long_ago = time.time() - 2 * FRESH
    os.utime(shared / NAME, (long_ago, long_ago))
    other = ArtifactStore(tmp_path / "other", open_objects(shared.as_uri()), "j")
    other.publish(write(other))
    assert (shared / NAME).stat().st_mtime > long_ago + FRESH


def test_a_host_publishes_what_it_had_before(host):
    alone = ArtifactStore(host("one", is_new=True).folder.parent / "late")
    write(alone)
    late = host("late")
    assert [each.name for each in late.all()] == [NAME]
    assert host("other").read(NAME) == VALUE


def test_a_store_belongs_to_one_journal(host):
    host("one", is_new=True)
    with pytest.raises(ConfigurationError, match="of another journal"):
        host("two", is_new=True, journal="k")


def test_an_empty_place_is_not_the_store_of_a_journal_that_has_one(tmp_path):
    """A folder that is not mounted looks like one."""
    shared = tmp_path / "not mounted"
    store = ArtifactStore(tmp_path / "one", open_objects(shared.as_uri()), "j")
    write(store)
    for act in (lambda: store.claim(is_new=False), lambda: store.publish(NAME)):
        with pytest.raises(ConfigurationError, match="not the artifact store of this journal"):
            act()
    assert not shared.exists()


def test_a_store_that_cannot_be_reached_is_not_a_missing_value(host, tmp_path):
    (tmp_path / "shared").write_text("not a folder")
    store = ArtifactStore(tmp_path / "one", open_objects((tmp_path / "shared").as_uri()), "j")
    with pytest.raises(ServiceUnavailable):
        store.fetch(NAME)


def test_values_of_one_host_are_verified_too(tmp_path):
    store = ArtifactStore(tmp_path / "artifacts")
    write(store)
    assert store.read(NAME) == VALUE
    (store.folder / NAME).write_bytes(b"another")
    with pytest.raises(BadData, match="its hash differs"):
        store.read(NAME)
    assert "its hash differs" in store.problem(NAME)

"""What every place of objects must do."""

from __future__ import annotations

import io
import time

import pytest

from mlkit.errors import ServiceUnavailable
from mlkit.storage.objects import Objects, open_objects


@pytest.fixture(params=["file", "s3", "s3 with a prefix"])
def url(request, tmp_path):
    if request.param == "file":
        return (tmp_path / "a shared folder").as_uri()
    bucket = request.getfixturevalue("bucket")
    return bucket + ("/of/pipelines" if "prefix" in request.param else "")


@pytest.fixture
def objects(url) -> Objects:
    return open_objects(url)


def put(objects: Objects, name: str, content: bytes) -> None:
    objects.put(name, io.BytesIO(content))


def get(objects: Objects, name: str) -> bytes | None:
    found = io.BytesIO()
    return found.getvalue() if objects.get(name, found) else None


def test_what_was_put_is_found_by_others(objects, url):
    put(objects, "one", b"first")
    put(objects, "two", b"")
    other = open_objects(url)
    assert get(other, "one") == b"first"
    assert get(other, "two") == b""
    assert sorted((each.name, each.size) for each in other.all()) == [("one", 5), ("two", 0)]


def test_an_object_is_replaced_as_a_whole(objects):
    put(objects, "one", b"a longer content")
    put(objects, "one", b"short")
    assert get(objects, "one") == b"short"
    assert [each.size for each in objects.all()] == [5]


def test_a_large_object_arrives_unchanged(objects):
    content = bytes(range(256)) * 50_000
    put(objects, "large", content)
    assert get(objects, "large") == content


def test_what_is_missing_is_not_an_error(objects):
    assert list(objects.all()) == []
    assert objects.find("one") is None
    assert get(objects, "one") is None
    objects.remove("one")


def test_the_time_of_an_object_is_that_of_its_last_put(objects):
    before = time.time() - 2  # S3 has whole seconds.
    put(objects, "one", b"first")
    found = objects.find("one")
    assert found is not None
    assert (found.name, found.size) == ("one", 5)
    assert before < found.modified < time.time() + 2
    assert found in list(objects.all())


def test_what_was_removed_is_gone(objects):
    put(objects, "one", b"first")
    put(objects, "two", b"second")
    objects.remove("one")
    assert objects.find("one") is None
    assert [each.name for each in objects.all()] == ["two"]


def test_a_content_that_fails_half_way_leaves_nothing(objects):
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise OSError(5, "the disk is broken")
            return super().read(min(size or -1, 100_000))

    with pytest.raises(ServiceUnavailable, match="broken"):
        objects.put("one", Broken(bytes(20_000_000)))
    assert objects.find("one") is None
    assert list(objects.all()) == []

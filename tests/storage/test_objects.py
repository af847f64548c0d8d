"""Where objects are: URLs that can be read, and places that cannot be used."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from mlkit.errors import ServiceUnavailable, UsageError
from mlkit.storage.objects import open_objects


@pytest.mark.parametrize(
    "url",
    [
        "", "folder", "/folder", "file:folder", "file://host/folder", "s3:bucket", "s3:///prefix",
        "s3://key:password@bucket", "s3://bucket:9000/x", "https://bucket.example/x", "file:///a?b",
        "s3://bucket/x#y", "file:///a%00b", "s3://[",
    ],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_without_repeating_it(url):
    with pytest.raises(UsageError) as caught:
        open_objects(url)
    assert "password" not in caught.value.message
    assert "s3://BUCKET/PREFIX" in str(caught.value.hint)


def test_escapes_of_a_url_are_read(tmp_path):
    objects = open_objects((tmp_path / "ünïcode and space").as_uri())
    objects.put("one", io.BytesIO(b"x"))
    assert (tmp_path / "ünïcode and space" / "one").read_bytes() == b"x"


def test_a_folder_that_is_a_file_names_the_place(tmp_path):
    (tmp_path / "file").write_text("x")
    objects = open_objects((tmp_path / "file").as_uri())
    for act in (lambda: objects.put("one", io.BytesIO()), lambda: list(objects.all())):
        with pytest.raises(ServiceUnavailable, match=r"file://.*/file"):
            act()


def test_a_bucket_that_does_not_exist_is_named(bucket):
    objects = open_objects("s3://another-bucket/x")
    for act in (lambda: objects.put("one", io.BytesIO()), lambda: list(objects.all())):
        with pytest.raises(ServiceUnavailable, match="s3://another-bucket/x"):
            act()


def test_storage_that_cannot_be_reached_is_named(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")  # Nobody may listen there.
    with pytest.raises(ServiceUnavailable, match=f"{bucket}/x"):
        open_objects(f"{bucket}/x").find("one")


def test_two_prefixes_of_a_bucket_are_two_places(bucket):
    one, other = open_objects(f"{bucket}/one"), open_objects(f"{bucket}/other")
    one.put("name", io.BytesIO(b"x"))
    assert [each.name for each in one.all()] == ["name"]
    assert list(other.all()) == []


def test_storage_without_its_package_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['obstore'] = None\n"
        "from mlkit.errors import ServiceUnavailable\n"
        "from mlkit.storage.objects import open_objects\n"
        "try: open_objects('s3://bucket')\n"
        "except ServiceUnavailable as error: print(error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "pip install 'mlkit[s3]'", done.stderr

"""The bill of materials of an image."""

from __future__ import annotations

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from image.archives import Member, layer, saved

STANZA = "Package: {}\nStatus: install ok installed\nVersion: {}\nArchitecture: amd64\n"
SITE = "usr/lib/python3/dist-packages"
MEMBERS = [
    Member("etc/os-release", 'ID=debian\nVERSION_ID="12"\n'),
    Member("var/lib/dpkg/status", STANZA.format("libc6", "2.36-9+deb12u1")),
    Member("var/lib/dpkg/status.d/tzdata", STANZA.format("tzdata", "2026a-0")),
    Member(f"{SITE}/Py_YAML-6.0.dist-info/METADATA", "Name: Py_YAML\nVersion: 6.0\n\nName: no\n"),
    Member(f"{SITE}/broken-1.dist-info/METADATA", b"\xff\xfe"),
    Member("app/node_modules/@a/b/package.json", '{"name": "@a/b", "version": "1.2.3"}'),
    Member("app/node_modules/c/package.json", "[]"),
    Member("app/node_modules/d/package.json", "{"),
]
URLS = [
    "pkg:deb/debian/libc6@2.36-9%2Bdeb12u1?arch=amd64&distro=debian-12",
    "pkg:deb/debian/tzdata@2026a-0?arch=amd64&distro=debian-12",
    "pkg:npm/%40a/b@1.2.3",
    "pkg:pypi/py-yaml@6.0",
]


@pytest.fixture
def image(tmp_path):
    return saved(tmp_path / "i.tar", layer(*MEMBERS), created="2026-01-02T03:04:05Z")


def test_each_package_is_in_a_valid_document(mlkit, image, tmp_path):
    assert mlkit("image", "sbom", image, "-o", "a.json").returncode == 0
    text = (tmp_path / "a.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    assert sorted(each["purl"] for each in document["components"]) == URLS
    assert document["metadata"]["component"]["name"] == str(image)
    assert document["metadata"]["timestamp"] == "2026-01-02T03:04:05+00:00"


def test_the_same_image_gives_the_same_text(mlkit, image):
    first, second = mlkit("image", "sbom", image), mlkit("image", "sbom", image)
    assert first.stdout == second.stdout
    told = json.loads(mlkit("image", "sbom", image, "--json").stdout)
    assert told["sbom"] == json.loads(first.stdout)


def test_a_place_that_cannot_be_written_is_an_error(mlkit, image):
    done = mlkit("image", "sbom", image, "-o", "no/such/folder/a.json")
    assert done.returncode == 66
    assert "Traceback" not in done.stderr

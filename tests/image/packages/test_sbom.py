"""The bill of materials of an image."""

from __future__ import annotations

import json

import pytest
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
    # What these import builds grammars for seconds: not in each process that only lists the tests.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

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


APK = """\
C:Q1abc=
P:musl
V:1.2.4-r2
A:x86_64
T:the musl c library (libc) implementation
o:musl
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
Z:Q1abc=

C:Q1def=
P:.python-rundeps
V:20240101.1
A:noarch
F:

C:Q1def=
P:ca-certificates-bundle
V:20230506-r0
A:x86_64
F:etc/ssl/certs
R:ca-certificates.crt
"""


@pytest.mark.parametrize("place", ["lib/apk/db/installed", "usr/lib/apk/db/installed"])
def test_packages_of_apk_are_listed_once(mlkit, tmp_path, place):
    members = [Member("etc/os-release", "ID=alpine\nVERSION_ID=3.19.1\n"), Member(place, APK)]
    if place.startswith("usr"):
        members.append(Member("lib", link="usr/lib"))
    path = saved(tmp_path / "apk.tar", layer(*members))
    document = json.loads(mlkit("image", "sbom", path).stdout)
    assert sorted(each["purl"] for each in document["components"]) == [
        "pkg:apk/alpine/.python-rundeps@20240101.1?arch=noarch&distro=alpine-3.19.1",
        "pkg:apk/alpine/ca-certificates-bundle@20230506-r0?arch=x86_64&distro=alpine-3.19.1",
        "pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64&distro=alpine-3.19.1",
    ]
    newer = [members[0], Member(place, APK.replace("1.2.4-r2", "1.2.4-r3")), *members[2:]]
    other = saved(tmp_path / "newer.tar", layer(*newer))
    found = json.loads(mlkit("image", "diff", path, other, "--json").stdout)
    assert found["packages"] == [{"name": "musl", "before": "1.2.4-r2", "after": "1.2.4-r3"}]


@pytest.mark.parametrize("stanza", ["P:\nV:1\n", "P:../x\nV:1\n", "P:a\nV: \n", "P:a\n"])
def test_a_damaged_database_of_apk_is_bad_data(mlkit, tmp_path, stanza):
    path = saved(tmp_path / "i.tar", layer(Member("lib/apk/db/installed", f"{APK}\n{stanza}")))
    done = mlkit("image", "sbom", path)
    assert done.returncode == 65
    assert "a package with the name" in done.stderr

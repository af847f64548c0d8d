"""Why a file was kept or dropped, from the record in a result."""

from __future__ import annotations

import gzip
import json

import pytest
from image.archives import Member, layer, saved

from mlkit.image.command.entrypoint import parse
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.keep.plan import plan
from mlkit.image.keep.provenance import RECORD, Record, encode, fingerprint
from mlkit.image.keep.request import Request
from mlkit.image.packages.installed import read_packages

STATUS = "Package: shells\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n"
CONFIG = {"Entrypoint": ["/app/run"]}
ORIGINAL = [
    Member("usr/bin/dash", "x"),
    Member("usr/bin/sh", link="dash"),
    Member("usr/bin/bash", "four"),
    Member("usr/share/doc/shells/README", "x"),
    Member("var/cache/old", "x"),
    Member("opt/secret", "x"),
    Member("bin", link="usr/bin"),
    Member("app/run", "#!/bin/sh\n"),
    Member("var/lib/dpkg/status", STATUS),
    Member("var/lib/dpkg/info/shells.list", "/usr/bin/dash\n/usr/bin/bash\n"),
]


@pytest.fixture
def original(tmp_path):
    return saved(tmp_path / "original.tar", layer(*ORIGINAL), config=CONFIG)


@pytest.fixture
def result(tmp_path, original):
    with open_image(original) as image:
        inventory = take(image)
        request = Request(parse(CONFIG), exclude=["/opt/*"])
        kept = plan(inventory, read_packages(inventory), request).reasons
        record = Record(str(original), fingerprint(inventory), "balanced", ["/opt/*"], kept)
    members = [each for each in ORIGINAL if each.name in kept]
    members += [Member(RECORD, encode(record)), Member("tini", "x")]
    return saved(tmp_path / "result.tar", layer(*members), config=CONFIG)


def explained(mlkit, *arguments):
    done = mlkit("image", "explain", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["paths"]


def test_each_state_is_told_with_its_reason(mlkit, result):
    paths = ["/bin/sh", "usr/bin/bash", "/opt/secret", "/usr/share/doc/shells/README",
             "/var/cache/old", "/tini", "/nowhere"]  # fmt: skip
    found = explained(mlkit, result, *paths)
    told = [(each["path"], each["state"], each["reason"]) for each in found]
    assert told == [
        ("usr/bin/dash", "kept", "interpreter of app/run"),
        ("usr/bin/bash", "dropped",
         "no run looked it up and nothing kept needs it (profile balanced; see --include)"),
        ("opt/secret", "dropped", "--exclude /opt/*"),
        ("usr/share/doc/shells/README", "dropped", "documentation"),
        ("var/cache/old", "dropped",
         "caches, logs and the package database are not part of an app"),
        ("tini", "added", "of the base or of mlkit"),
        ("nowhere", "unknown", "neither in the original nor in the result"),
    ]  # fmt: skip
    assert found[0]["chain"] == [{"path": "app/run", "reason": "entrypoint"}]
    assert (found[1]["size"], found[1]["package"]) == (4, "shells")


def test_a_person_reads_a_tree(mlkit, result):
    done = mlkit("image", "explain", result, "/bin/sh")
    assert "/usr/bin/dash: kept: interpreter of app/run" in done.stdout
    assert "/app/run: entrypoint" in done.stdout


def test_without_the_original_what_was_dropped_is_not_known(mlkit, result, original):
    original.unlink()
    done = mlkit("image", "explain", result, "/bin/sh", "/usr/bin/bash", "--json")
    kept, dropped = json.loads(done.stdout)["paths"]
    assert "the original is not compared" in done.stderr
    assert (kept["state"], dropped["state"]) == ("kept", "unknown")


def test_the_original_is_left_alone_where_the_result_tells_all(mlkit, result, original):
    original.unlink()
    done = mlkit("image", "explain", result, "/bin/sh", "/tini", "--json")
    assert done.stderr == ""
    assert [each["state"] for each in json.loads(done.stdout)["paths"]] == ["kept", "added"]


def test_another_image_is_not_taken_for_the_original(mlkit, result, tmp_path):
    other = saved(tmp_path / "other.tar", layer(Member("x", "x")), config=CONFIG)
    done = mlkit("image", "explain", result, "/x", "--original", other)
    assert done.returncode == 65
    assert "not the image that was slimmed" in done.stderr


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (None, "holds no record of a slimming"),
        (b"no gzip", "cannot be read"),
        (gzip.compress(b"{}"), "cannot be read"),
        (gzip.compress(b"[" * 100_000), "cannot be read"),
        (gzip.compress(b'{"schema": "mlkit.image.record", "version": 2}'), "another schema"),
        (gzip.compress(b" " * 70_000_000), "more than 64000000 bytes"),
    ],
    ids=["none", "no gzip", "empty", "deep", "newer", "huge"],
)
def test_a_record_that_cannot_be_read_is_bad_data(mlkit, tmp_path, record, problem):
    members = [] if record is None else [Member(RECORD, record)]
    made = saved(tmp_path / "i.tar", layer(Member("a", "x"), *members), config=CONFIG)
    done = mlkit("image", "explain", made, "/a")
    assert done.returncode == 65
    assert problem in done.stderr
    assert "Traceback" not in done.stderr

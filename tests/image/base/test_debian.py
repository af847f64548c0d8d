"""Bases from Debian packages, of the machine's own suite and of others."""

from __future__ import annotations

import json
import os

import pytest

from mlkit.image.base import debian
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.packages import apt

OTHER = "bookworm" if (debian.release() or ("", ""))[1] == "trixie" else "trixie"


@pytest.mark.parametrize("name", ["../x", "Trixie", "a b", ""])
def test_a_suite_that_is_no_name_is_a_usage_error(mlkit, name):
    done = mlkit("image", "base", "build", "static", "--suite", name)
    assert done.returncode == 2
    assert "expected a code name" in done.stderr


def test_a_suite_is_where_the_machine_has_its_own(monkeypatch):
    rows = [
        ("http://a/debian", "bookworm", "Debian"),
        ("http://a/debian", "bookworm-updates", "Debian"),
        ("http://a/security", "bookworm-security", "Debian"),
    ]
    monkeypatch.setattr(apt, "_own_sources", lambda: rows)
    lines = apt._sources("trixie")
    assert [line for line in lines if line.startswith(("URIs", "Suites"))] == [
        "URIs: http://a/debian", "Suites: trixie",
        "URIs: http://a/debian", "Suites: trixie-updates",
        "URIs: http://a/security", "Suites: trixie-security",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_base_of_another_suite_repeats_itself(mlkit, tmp_path):
    found = []
    for name in ("a.tar", "b.tar"):
        command = ("image", "base", "build", "base", "--suite", OTHER, "-o", name, "--json")
        done = mlkit(*command, timeout=400)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout)["image"])
    assert found[0] == found[1]
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with open_image(tmp_path / "a.tar") as image:
        inventory = take(image)
        text = inventory.read_path("etc/os-release").decode()
        assert debian.read_release(text) == ("debian", OTHER)
        assert inventory.files.resolve("lib64/ld-linux-x86-64.so.2") or "amd64" not in str(
            image.document
        )


@pytest.mark.slow
def test_an_unknown_suite_is_told_and_known_bases_are_listed(mlkit, engine):
    done = mlkit("image", "base", "build", "static", "--suite", "nonesuch", timeout=400)
    assert done.returncode == 69
    assert "--suite nonesuch" in done.stderr
    name = f"mlkit-test-static:{os.getpid()}"
    done = mlkit("image", "base", "build", "static", "-t", name)
    assert done.returncode == 0, done.stderr
    listed = json.loads(mlkit("image", "base", "list", "--json").stdout)["bases"]
    built = {each["name"]: each["suite"] for each in listed[0]["images"]}
    assert built[name] == debian.release()[1]
    engine.remove_image(name)

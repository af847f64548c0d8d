"""Bases from Debian packages, of the machine's own suite and of others."""

from __future__ import annotations

import io
import json
import os
import tarfile

import pytest

from mlkit.errors import ServiceUnavailable
from mlkit.image.base import debian
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.packages import apt
from mlkit.image.packages.apt import Apt

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
    named = [line for line in apt._sources(None) if line.startswith("Suites")]
    assert named == [f"Suites: {each}" for _, each, _ in rows], "the machine's own"


@pytest.mark.parametrize(("images", "debians"), [("arm64", "arm64"), ("arm", "armhf")])
def test_an_init_for_another_architecture_is_that_of_its_package(monkeypatch, tmp_path, images,
                                                                 debians):  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(apt, "_own_sources", lambda: [("http://a", "bookworm", "Debian")])
    monkeypatch.setattr(debian, "open_part", lambda archive, part: tarfile.TarFile(archive))
    with tarfile.open(tmp_path / "tini.tar", "w") as tar:
        (info := tarfile.TarInfo("./usr/bin/tini-static")).size = 3
        tar.addfile(info, io.BytesIO(b"elf"))
    seen = []

    def run(self, program, *words):
        seen.append((program, [each for each in self.options if "Architecture=" in each]))
        return []

    monkeypatch.setattr(Apt, "run", run)
    monkeypatch.setattr(Apt, "fetch", lambda self, names: {"tini": tmp_path / "tini.tar"})
    apt.of_architecture.cache_clear()
    assert debian.init_for(images, "v7" if images == "arm" else None) == b"elf"
    assert seen == [("apt-get", [f"-oAPT::Architecture={debians}"])]
    apt.of_architecture.cache_clear()


def test_an_architecture_without_an_init_is_refused_by_name(monkeypatch):
    def fail(architecture):
        raise ServiceUnavailable("apt-cache: E: No packages found")

    monkeypatch.setattr(debian, "of_architecture", fail)
    for named, words in ((("riscv64",), "No packages found"), (("arm", "v6"), "variant v6")):
        with pytest.raises(ServiceUnavailable, match=f"no init for {named[0]}: .*{words}") as found:
            debian.init_for(*named)
        assert "--init never" in found.value.hint


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

"""What lies below the app's files: which base is chosen, and which one is refused."""

from __future__ import annotations

import shutil
import subprocess
from io import BytesIO

import pytest
from image.archives import Member, layer, saved

from mlkit.errors import BadData
from mlkit.image.base import base_image, debian, symbols
from mlkit.image.command.entrypoint import parse
from mlkit.image.filesystem import build
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.keep.plan import plan
from mlkit.image.keep.request import Request
from mlkit.image.packages.installed import read_packages

BOOKWORM = 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n'
HEAD = "Status: install ok installed\nVersion: 1\nArchitecture: all\n"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Return two versions of a library, and a program that needs the newer one."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("library")
    (folder / "old.map").write_text("L_1 { global: one; local: *; };")
    (folder / "new.map").write_text("L_1 { global: one; local: *; }; L_2 { global: two; } L_1;")
    (folder / "old.c").write_text("int one(void) { return 1; }")
    (folder / "new.c").write_text("int one(void) { return 1; } int two(void) { return 2; }")
    (folder / "app.c").write_text("int two(void); int main(void) { return two(); }")
    found = {}
    for name in ("old", "new"):
        (folder / name).mkdir()
        built = folder / name / "libl.so.1"
        link = [f"-Wl,--version-script={name}.map", "-Wl,-soname,libl.so.1", "-nostdlib"]
        command = ["cc", "-shared", "-fPIC", *link, "-o", built, f"{name}.c"]
        subprocess.run(command, cwd=folder, check=True)
        found[name] = built.read_bytes()
    command = ["cc", "-o", "app", "app.c", folder / "new" / "libl.so.1"]
    subprocess.run(command, cwd=folder, check=True)
    return found | {"app": (folder / "app").read_bytes()}


def test_symbol_versions_are_read(library):
    assert symbols.read_needed(BytesIO(library["app"]))["libl.so.1"] == {"L_2"}
    assert symbols.read_offered(BytesIO(library["new"])) >= {"L_1", "L_2"}
    assert "L_2" not in symbols.read_offered(BytesIO(library["old"]))
    assert symbols.read_needed(BytesIO(b"\x7fELF broken")) == {}


@pytest.mark.parametrize(("below", "own", "fits"), [("old", "", False), ("new", "", True),
                                                    ("old", "new", True)])  # fmt: skip
def test_no_library_is_replaced_by_one_that_lacks_a_symbol_version(
    tmp_path, library, below, own, fits
):
    theirs = [build.file("usr/lib/libl.so.1", library[below], 0o755)]
    ours = [build.file("app", library["app"], 0o755)]
    ours += [build.file("usr/lib/libl.so.1", library[own], 0o755)] if own else []
    with open_image(saved(tmp_path / "i.tar", layer(Member("x", "")))) as image:
        merged = base_image.merge(take(image), theirs, ours)
        assert merged.read_path("usr/lib/libl.so.1") == library[own or below]
        if fits:
            base_image.check(merged, "it")
            return
        with pytest.raises(BadData, match=r"/usr/lib/libl\.so\.1 lacks L_2, which /app needs"):
            base_image.check(merged, "it")


def test_what_the_base_holds_just_so_is_not_held_twice():
    below = [build.file("a", b"1"), build.file("b", b"1"), build.directory("tmp", 0o1777)]
    own = [build.file("a", b"1"), build.file("b", b"2"), build.directory("tmp", 0o1777)]
    kept = base_image.without_same(own, below)
    assert [item.entry.path for item in kept] == ["b", "tmp"]
    assert base_image.without_same([build.file("a", b"1", 0o600)], below)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Return a machine of Debian 12 whose base holds two packages."""
    (tmp_path / "os-release").write_text(BOOKWORM)
    monkeypatch.setattr(debian, "OS_RELEASE", tmp_path / "os-release")
    monkeypatch.setattr(debian, "SEEDS", {"static": (), "base": (("libc6",), ("libssl3",))})
    monkeypatch.setattr(debian, "KINDS", ("static", "base"))
    names = {"static": ["tzdata"], "base": ["libc6", "libssl3", "tzdata"]}
    monkeypatch.setattr(debian, "packages_of", names.__getitem__)


def chosen(tmp_path, release, words, extra=10):
    listed = {"libc6": "/libc\n/libc-more\n", "libssl3": "/libssl\n", "tzdata": "/zone\n"}
    status = "\n".join(f"Package: {name}\n{HEAD}" for name in listed)
    members = [
        Member("etc/os-release", release),
        *(Member(f"var/lib/dpkg/info/{name}.list", text) for name, text in listed.items()),
        Member("var/lib/dpkg/status", status),
        *(Member(name, "x" * 1000) for name in ("libc", "libssl", "zone")),
        Member("libc-more", "x" * extra),
    ]
    config = {"Entrypoint": words}
    with open_image(saved(tmp_path / "i.tar", layer(*members), config=config)) as image:
        inventory = take(image)
        packages = read_packages(inventory)
        kept = plan(inventory, packages, Request(parse(config)))
        return base_image.choose(inventory, packages, kept)


@pytest.mark.usefixtures("machine")
def test_auto_takes_a_base_that_the_app_uses_whole(tmp_path):
    both = ["/libc", "/libssl"]
    assert chosen(tmp_path, BOOKWORM, both) == "base"
    assert chosen(tmp_path, BOOKWORM, both, extra=5000) == "static"
    assert chosen(tmp_path, BOOKWORM, ["/libc"]) == "static"


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("release", ["", BOOKWORM.replace("bookworm", "trixie"), "ID=ubuntu\n"])
def test_auto_takes_no_libraries_of_another_release(tmp_path, release):
    assert chosen(tmp_path, release, ["/libc", "/libssl"]) == "static"

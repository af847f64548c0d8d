"""Images whose packages are apk's: whose a file is, what goes with a program, what is recorded."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from image import alpine
from image.archives import Member, layer, saved

from mlkit.errors import BadData
from mlkit.image.base import base_image
from mlkit.image.base.base_image import BaseImage
from mlkit.image.command.entrypoint import parse
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.filesystem.platforms import here
from mlkit.image.keep.ownership import find_changed
from mlkit.image.keep.plan import plan
from mlkit.image.keep.request import Request
from mlkit.image.packages import apk
from mlkit.image.packages.installed import read_packages, records

SERVED = {"Cmd": ["/www/start"]}


@pytest.fixture
def take_image(tmp_path):
    """Return a function that takes the inventory of an image of some files."""
    with contextlib.ExitStack() as stack:

        def make(*members, config=None):
            path = saved(tmp_path / f"{len(list(tmp_path.iterdir()))}.tar", layer(*members),
                         config=config or {})  # fmt: skip
            return take(stack.enter_context(open_image(path)))

        yield make


def with_setting(members, name, text):
    """Change a file after its package has been installed."""
    return [replace(each, text=text) if each.name == name else each for each in members]


def kept_of(inventory, **request):
    """Return the packages of an image, and its keep-set."""
    packages = read_packages(inventory)
    asked = Request(parse(inventory.image.config), **request)
    return packages, plan(inventory, packages, asked)


def test_each_file_belongs_to_its_package_also_where_lib_is_a_link(take_image):
    stanza = "P:musl\nV:1\nF:\nF:lib\nM:0:0:755\nR:ld-musl-x86_64.so.1\na:0:0:755\n"
    members = [
        Member("lib", link="usr/lib"),
        Member("usr/lib/ld-musl-x86_64.so.1", "x"),
        Member("usr/lib/apk/db/installed", stanza),
    ]
    owners = read_packages(take_image(*members)).owners
    assert owners == {"lib": "musl", "usr/lib/ld-musl-x86_64.so.1": "musl"}


def test_settings_that_differ_from_what_was_installed_are_the_users_own(take_image):
    members = with_setting(alpine.members(), "etc/motd", "changed\n")
    inventory = take_image(*with_setting(members, "usr/share/paint/colours", "blue\n"))
    assert list(find_changed(inventory, read_packages(inventory))) == ["etc/motd"]


def test_links_to_busybox_come_with_it_and_not_for_themselves(take_image):
    _, kept = kept_of(take_image(*alpine.members(), config=SERVED))
    assert {"bin/busybox", "bin/sh", "bin/httpd", "bin/tr", "bin/wget"} <= kept.reasons.keys()
    system = [each for each in alpine.members() if not each.name.startswith(("www/", "opt/"))]
    alone = take_image(*system, Member("app", "\x7fELF"), config={"Entrypoint": ["/app"]})
    _, kept = kept_of(alone)
    assert not {each for each in kept.reasons if each.startswith("bin/")}


def test_data_that_was_asked_for_by_name_stays_and_programs_that_nothing_starts_do_not(take_image):
    _, kept = kept_of(take_image(*alpine.members(), config=SERVED))
    assert kept.reasons["usr/share/hunspell/en_US.dic"] == "package data of hunspell-en"
    assert not {"usr/bin/jq", "usr/share/doc/jq/README", "etc/apk/world"} & kept.reasons.keys()
    unasked = [each for each in alpine.members() if each.name != "etc/apk/world"]
    _, kept = kept_of(take_image(*unasked, config=SERVED))
    assert "usr/share/hunspell/en_US.dic" not in kept.reasons


def test_what_a_virtual_package_stands_for_was_asked_for(take_image):
    """As `apk add --virtual .words hunspell-en` leaves it."""
    virtual = "\nP:.words\nV:20240101.1\nA:noarch\nD:hunspell-en>1 !jq so:libx.so.1 /bin/sh\n\n"
    members = [
        replace(each, text=each.text + virtual) if each.name.endswith("db/installed") else each
        for each in with_setting(alpine.members(), "etc/apk/world", ".words=20240101.1\n")
    ]
    packages = read_packages(take_image(*members))
    assert packages.wanted == {".words", "hunspell-en"}
    assert packages.installed[".words"].depends == {"hunspell-en"}


def test_the_database_of_a_result_has_the_kept_packages_with_their_kept_files(take_image):
    inventory = take_image(*alpine.members(), config=SERVED)
    packages, kept = kept_of(inventory)
    ((path, data),) = records(inventory, packages, kept.packages, kept.reasons)
    assert path == "lib/apk/db/installed"
    result = take_image(Member(path, data))
    found = apk.read(result)
    assert found.installed.keys() == kept.packages
    assert "jq" not in found.installed
    original = packages.installed["busybox"]
    assert found.installed["busybox"] == original
    assert found.owners.keys() <= kept.reasons.keys()
    baselayout = found.installed["alpine-baselayout-data"].stanza
    assert "R:passwd\na:0:0:644\nZ:Q1" in baselayout
    assert "R:motd" not in baselayout


def test_the_base_is_what_every_app_of_the_image_has(take_image):
    inventory = take_image(*alpine.members(), config=SERVED)
    packages, kept = kept_of(inventory)
    assert base_image.choose(inventory, packages, kept) == base_image.OF_IMAGE
    base = base_image.of_image(inventory, packages, kept)
    paths = [item.entry.path for item in base.items]
    assert (
        paths
        == [
            *("etc", "etc/alpine-release", "etc/group", "etc/hosts", "etc/motd", "etc/os-release"),
            *("etc/passwd", "lib", "lib/ld-musl-x86_64.so.1"),
        ]
        or "lib/ld-musl-x86_64.so.1" not in kept.reasons
    )
    assert base.packages - {"musl"} == {"alpine-baselayout-data", "alpine-release"}


@pytest.mark.parametrize("name", ["static", "python3"])
def test_debians_packages_are_refused_as_the_base(take_image, name):
    packages = read_packages(take_image(*alpine.members()))
    with pytest.raises(BadData, match=f"--base {name}: of Debian's packages"):
        base_image.refuse(name, packages, here())
    for other in ("auto", "none", "alpine:3.19"):
        base_image.refuse(other, packages, here())


def test_an_image_of_another_package_manager_is_refused_as_the_base(take_image):
    status = "Package: x\nStatus: install ok installed\nVersion: 1\n"
    debian = take_image(Member("var/lib/dpkg/status", status))
    image = take_image(*alpine.members())
    for below, over in ((debian, image), (image, debian)):
        base = BaseImage("other:1", (), below)
        with pytest.raises(BadData, match="--base other:1: its packages are of another"):
            base_image.refuse_other(base, read_packages(over))
    base_image.refuse_other(BaseImage("same:1", (), image), read_packages(image))


def test_packages_of_a_base_of_apk_stay_in_the_database(take_image):
    below = take_image(*alpine.members())
    inventory = take_image(*alpine.members(), config=SERVED)
    packages, kept = kept_of(inventory)
    ((_, data),) = records(inventory, packages, {"busybox"}, kept.reasons, below)
    found = apk.read(take_image(Member("lib/apk/db/installed", data)))
    assert found.owners.keys() == packages.owners.keys()

"""What kept programs and libraries read late: data of packages, catalogues, directories of apps."""

from __future__ import annotations

import struct

import pytest
from image.archives import Member, distribution, layer, saved

from mlkit.image.command.entrypoint import parse
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.keep.message_catalogs import ARCHIVE, languages
from mlkit.image.keep.plan import plan
from mlkit.image.keep.request import Request
from mlkit.image.packages.installed import read_packages
from mlkit.image.run.trace import Trace, failed_lookups

LIB = "usr/lib/x86_64-linux-gnu"
PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0\x3e\0\x01\0\0\0" + bytes(24)
PROGRAM += bytes(4) + b"\x40\0\x38\0\0\0\x40\0\0\0\0\0" + b"\0dlopen\0"
PLUGINS = f"/{LIB}/loads\0/lib/nowhere\0/{LIB}\0".encode()
SITE = "usr/local/lib/python3.11/dist-packages"
PYTHON = [Member("usr/bin/python3.11", "\x7fELF"), Member("usr/lib/python3.11/os.py", "")]
CATALOGUE = "usr/share/locale/{}/LC_MESSAGES/{}.mo"


def kept(tmp_path, members, config, packages=None, opened=(), own=()):
    """Compute the reasons of an image's keep-set.

    `packages` gives for each package what it depends on, and its paths.
    """
    stanzas = []
    given = [path for _, paths in (packages or {}).values() for path in paths]
    found = distribution(members, [*given, *own])
    packages = {name: ("", paths) for name, paths in found.items()} | (packages or {})
    for name, (fields, paths) in packages.items():
        text = "".join(f"/{path}\n" for path in paths)
        members = [*members, Member(f"var/lib/dpkg/info/{name}.list", text)]
        there = {each.name for each in members}
        members += [Member(each, "x") for each in paths if each not in there]
        stanzas.append(f"Package: {name}\nStatus: install ok installed\nVersion: 1\n{fields}\n")
    members = [*members, Member("var/lib/dpkg/status", "\n".join(stanzas))]
    with open_image(saved(tmp_path / "i.tar", layer(*members), config=config)) as image:
        inventory = take(image)
        request = Request(parse(config), trace=Trace(frozenset(opened)))
        return plan(inventory, read_packages(inventory), request).reasons


def test_a_library_keeps_its_data_and_that_of_the_packages_it_depends_on(tmp_path):
    packages = {
        "libfont1": ("Depends: libc6 (>= 2), font-config (>= 1) | x, perl", [f"{LIB}/libfont.so.1",
                     "usr/share/font/table", "usr/share/doc/libfont1/x", "usr/include/font.h"]),
        "font-config": ("Depends: fonts-a | fonts-b", ["etc/fonts/fonts.conf"]),
        "fonts-b": ("", ["usr/share/fonts/b.ttf"]),
        "fonts-c": ("", ["usr/share/fonts/c.ttf"]),
        "perl": ("", ["usr/bin/perl", "usr/share/perl5/x.pm"]),
    }  # fmt: skip
    reasons = kept(tmp_path, [], {"Cmd": ["/x"]}, packages, opened=[f"/{LIB}/libfont.so.1"])
    assert reasons["usr/share/font/table"] == "package data of libfont1"
    assert reasons["etc/fonts/fonts.conf"] == "package data of font-config"
    assert reasons["usr/share/fonts/b.ttf"] == "package data of fonts-b"
    gone = {"usr/share/fonts/c.ttf", "usr/bin/perl", "usr/share/perl5/x.pm", "usr/include/font.h"}
    assert not (gone | {"usr/share/doc/libfont1/x"}) & reasons.keys()


def test_a_program_that_is_only_named_keeps_the_programs_that_it_starts(tmp_path):
    paths = ["usr/bin/tool", "usr/bin/other", "usr/lib/tool-core/helper"]
    members = [Member("srv/app.py", "import subprocess\nsubprocess.run(['tool'])\n")]
    members += [Member(path, "x", mode=0o755) for path in paths]
    packages = {"tool": ("", paths)}
    config = {"Cmd": ["python3", "/srv/app.py"]}
    named = kept(tmp_path, members, config, packages)
    assert named["usr/lib/tool-core/helper"] == "package data of tool"
    assert "usr/bin/other" not in named
    seen = kept(tmp_path, members, config, packages, opened=["/usr/bin/tool"])
    assert "usr/lib/tool-core/helper" not in seen, "the trace shows what it starts"


def archive(*names):
    """Return an archive of locales, with nothing in it but names."""
    text = b"".join(each.encode() + b"\0" for each in names)
    return struct.pack("<8I", 0xDE020109, 1, 56, 0, 0, 56, len(text), 999) + bytes(24) + text


def test_catalogues_of_the_app_and_those_in_languages_of_the_image(tmp_path):
    own, german = CATALOGUE.format("fr", "app"), CATALOGUE.format("de", "tool")
    french, other = CATALOGUE.format("fr", "tool"), CATALOGUE.format("de", "other")
    packages = {
        "tool": ("", ["usr/bin/tool", german, french]),
        "other": ("", ["usr/bin/other", other]),
    }
    members = [Member(own, "x"), Member(ARCHIVE, archive("de_DE.utf8"))]
    reasons = kept(tmp_path, members, {"Cmd": ["tool"]}, packages, own=[own])
    assert (reasons[own], reasons[german]) == ("of no package", "catalog of messages")
    assert not {french, other} & reasons.keys()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (archive("de_DE.utf8", "fr_FR@euro", "nds_DE", "C.utf8", "POSIX"), {"de", "fr", "nds"}),
        (b"", set()),
        (archive("de_DE")[:40], set()),
        (b"\0" * 80, set()),
    ],
)
def test_the_languages_of_an_archive_of_locales(tmp_path, data, found):
    members = [Member(ARCHIVE, data), Member("usr/lib/locale/it_IT.utf8/LC_CTYPE", "x")]
    with open_image(saved(tmp_path / "i.tar", layer(*members), config={})) as image:
        assert languages(take(image)) == found | {"it"}


@pytest.mark.parametrize(
    ("program", "data", "stays"),
    [
        ("opt/app/bin/app", "opt/app/share/x", True),
        ("opt/app/app", "opt/app/x", True),
        ("opt/env/bin/serve", "opt/env/share/x", False),
        ("go/bin/app", "go/src/x", False),
        ("usr/local/bin/app", "usr/local/share/x", False),
    ],
)
def test_what_lies_beside_a_program_of_the_app_is_its_own(tmp_path, program, data, stays):
    members = [Member(program, "\x7fELF", mode=0o755), Member(data, "x"), Member("opt/x/y", "x")]
    members += [Member("opt/env/pyvenv.cfg", ""), Member("go/pkg/mod/x", "x")]
    for config, opened in (({"Cmd": [f"/{program}"]}, ()), ({"Cmd": ["/x"]}, [f"/{program}"])):
        if opened and "/bin/" not in program:
            continue  # what is only opened may be anything
        reasons = kept(tmp_path, members, config, opened=opened)
        assert (reasons.get(data) == "the app's own directory") is stays
        assert data in reasons, "it is of no package"


def test_modules_of_python_that_are_installed_load_and_start_by_name(tmp_path):
    text = "import ctypes.util, subprocess\ndef f():\n    ctypes.util.find_library('thing')\n"
    text += "    ctypes.CDLL('libother.so.2')\n    subprocess.run(['tool', 'gcc'])\n"
    members = [*PYTHON, Member("srv/app.py", "import third\n"), Member(f"{SITE}/third.py", text)]
    wanted = [f"{LIB}/libother.so.2", "usr/bin/tool"]
    members += [Member(path, "x") for path in (*wanted, "usr/bin/gcc", f"{LIB}/libelse.so.1")]
    config = {"Cmd": ["python3.11", "/srv/app.py"]}
    reasons = kept(tmp_path, members, config)
    assert {reasons.get(path) for path in wanted} == {f"named in {SITE}/third.py"}
    assert not {"usr/bin/gcc", f"{LIB}/libelse.so.1"} & reasons.keys()


def test_directories_of_pth_files_and_parts_of_namespace_packages_are_whole(tmp_path):
    members = [
        *PYTHON,
        Member("srv/app.py", "import parts\n"),
        Member(f"{SITE}/parts/one.py", ""),
        Member(f"{SITE}/more.pth", "/opt/more\n"),
        Member("opt/more/parts/two.py", ""),
    ]
    reasons = kept(tmp_path, members, {"Cmd": ["python3.11", "/srv/app.py"]})
    assert f"{SITE}/parts/one.py" in reasons
    assert "opt/more/parts/two.py" in reasons


def test_metadata_that_code_asks_for_by_name_is_kept(tmp_path):
    text = "from importlib.metadata import version\nprint(version('Lonely_One'))\n"
    members = [*PYTHON, Member("srv/app.py", text)]
    members += [Member(f"{SITE}/{each}-1.dist-info/METADATA", "x") for each in ("lonely_one", "y")]
    reasons = kept(tmp_path, members, {"Cmd": ["python3.11", "/srv/app.py"]})
    assert f"{SITE}/lonely_one-1.dist-info/METADATA" in reasons
    assert f"{SITE}/y-1.dist-info/METADATA" not in reasons


def test_a_python_that_is_only_named_has_its_whole_library(tmp_path):
    members = [*PYTHON, Member("usr/lib/python3.11/late.py", "x"), Member("usr/bin/sh", "x")]
    members += [Member("usr/lib/python3.11/test/__pycache__/x.pyc", "x")]
    run = Member("srv/run.sh", "#!/bin/sh\npython3.11 -c 'import late'\n")
    reasons = kept(tmp_path, [*members, run], {"Cmd": ["/srv/run.sh"]})
    assert reasons["usr/lib/python3.11/late.py"] == "library of a Python that no run has started"
    assert "usr/lib/python3.11/test/__pycache__/x.pyc" not in reasons
    config = {"Cmd": ["/srv/run.sh"]}
    seen = kept(tmp_path, [*members, run], config, opened=["/usr/bin/python3.11"])
    assert "usr/lib/python3.11/late.py" not in seen


def test_a_library_names_the_directory_of_its_plug_ins(tmp_path):
    members = [Member("lib", link="usr/lib"), Member(f"{LIB}/libloads.so", PROGRAM + PLUGINS)]
    members += [Member(f"{LIB}/{each}", "x") for each in ("loads/one.so", "loads/x", "libz.so")]
    packages = {"libloads": ("", [f"{LIB}/libloads.so"])}
    reasons = kept(tmp_path, members, {"Cmd": ["/x"]}, packages, opened=[f"/{LIB}/libloads.so"])
    assert reasons[f"{LIB}/loads/one.so"] == f"named in {LIB}/libloads.so"
    assert not {f"{LIB}/loads/x", f"{LIB}/libz.so"} & reasons.keys()


def test_settings_of_no_package_are_the_apps_own(tmp_path):
    paths = ["etc/own.d/one", "etc/apt/own", "etc/foreign.d/x"]
    members = [Member(path, "x") for path in paths]
    packages = {"foreign": ("", ["etc/foreign.d/x"])}
    reasons = kept(tmp_path, members, {"Cmd": ["/x"]}, packages)
    assert [path for path in paths if path in reasons] == paths[:1]


def test_the_database_of_packages_names_nothing(tmp_path):
    members = [Member("srv/app.sh", "#!/bin/sh\ntest -d /var/lib/dpkg\n"), Member("etc/y/z", "x")]
    reasons = kept(tmp_path, members, {"Cmd": ["/srv/app.sh"]}, {"y": ("", ["etc/y/z"])})
    assert not {"etc/y/z", "var/lib/dpkg/info/y.list"} & reasons.keys()


def test_a_directory_of_a_package_is_whole_where_the_app_names_it(tmp_path):
    paths = ["usr/share/words/en", "usr/share/words/de", "usr/share/other/x"]
    members = [Member("srv/app.sh", "#!/bin/sh\nls /usr/share/words\n")]
    reasons = kept(tmp_path, members, {"Cmd": ["/srv/app.sh"]}, {"words": ("", paths)})
    assert [path for path in paths if path in reasons] == paths[:2]


def test_a_directory_that_is_only_gone_through_is_kept(tmp_path):
    members = [Member("opt/a/b/x", "x"), Member("opt/a/c", "x"), Member("app", "x")]
    reasons = kept(tmp_path, members, {"Cmd": ["/app"]}, opened=["/opt/a/b/../c"])
    assert {"opt/a/b", "opt/a/c"} <= reasons.keys()


def test_failed_lookups_of_a_run(tmp_path):
    def files(name, *members):
        with open_image(saved(tmp_path / name, layer(*members), config={})) as image:
            return take(image).files

    paths = ["a/late", "a/there", "a/__pycache__/m.cpython-311.pyc"]
    original = files("a.tar", *(Member(each, "x") for each in paths), Member("l", link="a"))
    candidate = files("b.tar", Member("a/there", "x"))
    missed = frozenset({"/l/late", "/nowhere", *(f"/{each}" for each in paths)})
    assert failed_lookups(Trace(missed=missed), original, candidate) == ["/a/late", "/l/late"]

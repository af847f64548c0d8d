"""The keep-set: what stays, and why."""

from __future__ import annotations

import pytest
from image.archives import Member, distribution, layer, saved

from mlkit.errors import BadData
from mlkit.image.command.entrypoint import parse
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.keep.plan import plan
from mlkit.image.keep.python_imports import find_imported
from mlkit.image.keep.request import Request
from mlkit.image.packages.installed import read_packages, refuse_foreign
from mlkit.image.run.trace import read_document, read_lines

STATUS = "Package: app\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n"


def kept(tmp_path, members, config, **request):
    """Compute the reasons of an image's keep-set."""
    if not any(each.name.startswith("var/lib/dpkg/") for each in members):
        lists = distribution(members)
        text = [f"Package: {name}\nStatus: install ok installed\nVersion: 1\n" for name in lists]
        members = [*members, Member("var/lib/dpkg/status", "\n".join(text))]
        for name, paths in lists.items():
            members.append(Member(f"var/lib/dpkg/info/{name}.list", f"/{paths[0]}\n"))
    with open_image(saved(tmp_path / "i.tar", layer(*members), config=config)) as image:
        inventory = take(image)
        asked = Request(parse(config), **request)
        return plan(inventory, read_packages(inventory), asked)


def test_a_script_keeps_its_interpreter_and_links_on_the_way(tmp_path):
    members = [
        Member("usr/bin/dash", "x"),
        Member("usr/bin/sh", link="dash"),
        Member("bin", link="usr/bin"),
        Member("app/run", "#!/bin/sh\n"),
        Member("usr/bin/other", "x"),
    ]
    reasons = kept(tmp_path, members, {"Entrypoint": ["/app/run"]}).reasons
    assert reasons["app/run"] == "entrypoint"
    assert reasons["usr/bin/dash"] == "interpreter of app/run"
    assert reasons["usr/bin/sh"] == "symlink to dash"
    assert "bin" in reasons
    assert "usr/bin/other" not in reasons


def test_profiles_keep_more_and_more(tmp_path):
    members = [
        Member("usr/bin/app", "x"),
        Member("usr/share/app/data", "x"),
        Member("srv/late.txt", "x"),
        Member("opt/free", "x"),
        Member("var/lib/dpkg/status", STATUS),
        Member("var/lib/dpkg/info/app.list", "/.\n/usr/bin/app\n/usr/share/app/data\n"),
    ]
    config = {"Entrypoint": ["app"], "WorkingDir": "/srv"}
    sizes = {}
    for profile in ("tight", "balanced", "safe"):
        found = kept(tmp_path, members, config, profile=profile)
        sizes[profile] = set(found.reasons)
        assert found.packages == {"app"}
    assert "srv/late.txt" not in sizes["tight"]
    assert sizes["balanced"] >= sizes["tight"] | {"srv/late.txt"}
    assert sizes["safe"] >= sizes["balanced"] | {"usr/share/app/data", "opt/free"}


def test_what_was_traced_is_kept_and_globs_correct_it(tmp_path):
    trace = read_lines(["open /data/a", "stat /data/b", "miss /data/c", "orphan 7"])
    assert trace.orphaned
    assert read_document(trace.document()) == trace
    members = [Member("app", "x"), *(Member(f"data/{name}", "x") for name in "abcd")]
    paths = "".join(f"/data/{name}\n" for name in "abcd")
    members.append(Member("var/lib/dpkg/status", STATUS))
    members.append(Member("var/lib/dpkg/info/app.list", paths))
    config = {"Entrypoint": ["/app"]}
    globs = {"include": ["/data/d"], "exclude": ["/data/b"]}
    reasons = kept(tmp_path, members, config, trace=trace, **globs).reasons
    assert reasons["data/a"] == "opened"
    assert reasons["data/d"] == "user include"
    assert not {"data/b", "data/c"} & set(reasons)


def test_late_imports_of_python_are_kept(tmp_path):
    lib = "usr/lib/python3.11"
    members = [
        Member("usr/bin/python3.11", "x"),
        Member("usr/bin/python3", link="python3.11"),
        Member("srv/app.py", "def late():\n    import decimal\n    from local import thing\n"),
        Member("srv/local.py", ""),
        Member(f"{lib}/decimal.py", "import _decimal"),
        Member(f"{lib}/lib-dynload/_decimal.cpython-311-x86_64-linux-gnu.so", "x"),
        Member(f"{lib}/turtle.py", ""),
    ]
    found = kept(tmp_path, members, {"Cmd": ["python3", "/srv/app.py"]}).reasons
    assert found[f"{lib}/decimal.py"] == "python import of decimal"
    assert f"{lib}/lib-dynload/_decimal.cpython-311-x86_64-linux-gnu.so" in found
    assert "srv/local.py" in found
    assert f"{lib}/turtle.py" not in found


def test_imports_are_found_at_any_depth_and_relative():
    text = b"if x:\n    from . import b\nfrom ..c import d\nimportlib.import_module('e.f')\n"
    assert find_imported(text, "top.inner") == {
        "top.inner",
        "top.inner.b",
        "top.c",
        "top.c.d",
        "e.f",
    }
    assert find_imported(b"not python(") == set()


def test_what_runs_as_main_only_is_imported_by_what_is_started(tmp_path):
    lib = "usr/lib/python3.11"
    guard = 'if __name__ == "__main__":\n    import {}\nelse:\n    import {}\n'
    members = [
        Member("usr/bin/python3.11", "x"),
        Member("usr/bin/python3", link="python3.11"),
        Member("srv/app.py", guard.format("turtle", "this") + "import helper\n"),
        Member(f"{lib}/helper.py", guard.format("cmd", "queue")),
        Member(f"{lib}/http/server.py", guard.format("getopt", "shelve")),
        *(Member(f"{lib}/{each}.py", "")
          for each in ("turtle", "this", "cmd", "queue", "getopt", "shelve")),
    ]  # fmt: skip
    script = kept(tmp_path, members, {"Cmd": ["python3", "/srv/app.py"]}).reasons
    module = kept(tmp_path, members, {"Cmd": ["python3", "-m", "http.server"]},
                  required=[f"{lib}/http/server.py"]).reasons  # fmt: skip
    assert {f"{lib}/turtle.py", f"{lib}/this.py", f"{lib}/queue.py"} <= set(script)
    assert f"{lib}/cmd.py" not in script
    assert {f"{lib}/getopt.py", f"{lib}/shelve.py"} <= set(module)


def test_the_standard_librarys_own_tests_and_help_are_not_followed(tmp_path):
    lib = "usr/lib/python3.11"
    late = "def _test():\n    import doctest, test.support\n"
    members = [
        Member("usr/bin/python3.11", "x"),
        Member("usr/bin/python3", link="python3.11"),
        Member("srv/app.py", "import difflib\ndef check():\n    import pdb\n"),
        Member(f"{lib}/difflib.py", late + "import pydoc\n"),
        *(Member(f"{lib}/{each}.py", "") for each in ("doctest", "pydoc", "pdb", "test/support")),
    ]
    found = kept(tmp_path, members, {"Cmd": ["python3", "/srv/app.py"]}).reasons
    assert f"{lib}/doctest.py" not in found
    assert f"{lib}/test/support.py" not in found
    assert f"{lib}/pydoc.py" in found, "not in a function"
    assert f"{lib}/pdb.py" in found, "not of the standard library"


@pytest.mark.parametrize("path", ["var/lib/rpm/db", "usr/lib/sysimage/rpm/x"])
def test_foreign_packages_are_refused(tmp_path, path):
    with open_image(saved(tmp_path / "i.tar", layer(Member(path, "x")))) as image:
        inventory = take(image)
        with pytest.raises(BadData, match="its packages are"):
            refuse_foreign(inventory)


def test_certificates_and_zones_stay_though_nobody_has_read_them_yet(tmp_path):
    members = [
        Member("app", "x"),
        Member("usr/share/ca-certificates/a.crt", "x"),
        Member("etc/ssl/certs/a.pem", link="/usr/share/ca-certificates/a.crt"),
        Member("usr/lib/ssl/cert.pem", link="/etc/ssl/certs/a.pem"),
        Member("usr/share/zoneinfo/Europe/Berlin", "x"),
    ]
    others = [
        Member("usr/lib/ssl/misc/CA.pl", "#!/usr/bin/perl"),
        Member("usr/share/zoneinfo/right/Europe/Berlin", "x"),
    ]
    reasons = kept(tmp_path, [*members, *others], {"Entrypoint": ["/app"]}).reasons
    assert {member.name for member in members} <= set(reasons)
    assert not {member.name for member in others} & set(reasons)

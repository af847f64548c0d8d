"""The keep-set: what stays, and why."""

from __future__ import annotations

import pytest
from image.archives import Member, layer, saved

from mlkit.errors import BadData
from mlkit.image.archive import open_image
from mlkit.image.entrypoint import parse
from mlkit.image.inventory import take
from mlkit.image.packages import read_packages, refuse_foreign
from mlkit.image.plan import Request, plan
from mlkit.image.python_imports import imported
from mlkit.image.trace import read_document, read_lines

STATUS = "Package: app\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n"


def kept(tmp_path, members, config, **request):
    """Compute the reasons of an image's keep-set."""
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
    assert imported(text, "top.inner") == {"top.inner", "top.inner.b", "top.c", "top.c.d", "e.f"}
    assert imported(b"not python(") == set()


@pytest.mark.parametrize("path", ["lib/apk/db/installed", "var/lib/rpm/db"])
def test_foreign_packages_are_refused(tmp_path, path):
    with open_image(saved(tmp_path / "i.tar", layer(Member(path, "x")))) as image:
        inventory = take(image)
        with pytest.raises(BadData, match="its packages are"):
            refuse_foreign(inventory)

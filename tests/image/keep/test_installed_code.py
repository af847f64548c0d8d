"""What installed modules and libraries start: by whole literals, and by what their packages say."""

from __future__ import annotations

import json

import pytest
from image.archives import Member
from image.keep.test_package_data import kept

from mlkit.image.keep.source_cache import Sources

SITE = "usr/lib/python3.11/site-packages"
PYTHON = [
    Member("usr/bin/python3.11", "\x7fELF"),
    *(Member(f"usr/lib/python3.11/{name}.py", "") for name in ("os", "subprocess")),
]
STARTS = "import subprocess\nDOT = 'dot'\ndef draw():\n    subprocess.run([DOT])\n"


@pytest.mark.parametrize(("code", "found"), [("import drawing", True), ("import os", False)])
def test_a_literal_of_a_module_counts_where_own_code_imports_it(tmp_path, code, found):
    members = [
        *PYTHON,
        Member("srv/app.py", f"{code}\nimport package\n"),
        Member(f"{SITE}/package/__init__.py", ""),
        Member(f"{SITE}/package/late.py", STARTS.replace("dot", "neato")),
        Member(f"{SITE}/drawing.py", STARTS),
        *(Member(f"usr/bin/{name}", "x") for name in ("dot", "neato")),
    ]
    reasons = kept(tmp_path, members, {"Cmd": ["python3.11", "/srv/app.py"]})
    assert ("usr/bin/dot" in reasons) == found
    assert f"{SITE}/package/late.py" in reasons
    assert "usr/bin/neato" not in reasons


def test_a_package_of_ruby_starts_what_any_of_its_files_names(tmp_path):
    place = "var/lib/gems/3.1.0/gems"
    members = [
        Member("usr/bin/ruby", "\x7fELF"),
        Member("srv/app.rb", "require 'magic'"),
        Member(f"{place}/magic-1/lib/magic.rb", "def run(*words) = spawn(*words)"),
        Member(f"{place}/magic-1/lib/magic/convert.rb", "run('convert')"),
        Member(f"{place}/quiet-1/lib/quiet.rb", "'identify'"),
        Member("usr/bin/convert", "x"),
        Member("usr/bin/identify", "x"),
    ]
    own = [each.name for each in members if each.name.startswith(place)]
    reasons = kept(tmp_path, members, {"Cmd": ["ruby", "/srv/app.rb"]}, own=own)
    assert "usr/bin/convert" in reasons
    assert "usr/bin/identify" not in reasons


def test_a_library_of_a_language_keeps_the_programs_that_its_package_depends_on(tmp_path):
    library = "usr/lib/ruby/vendor_ruby/mini.rb"
    packages = {
        "ruby-mini": ("Depends: images | other, perl, ucf, libc6", [library]),
        "images": ("Depends: images-6", ["usr/share/doc/images/copyright"]),
        "images-6": ("", ["usr/bin/convert-6"]),
        "perl": ("", ["usr/bin/corelist"]),
        "ucf": ("", ["usr/bin/ucf"]),
        "ruby": ("", ["usr/bin/ruby"]),
    }
    members = [
        Member("usr/bin/convert", link="/etc/alternatives/convert"),
        Member("etc/alternatives/convert", link="/usr/bin/convert-6"),
        Member("srv/app.rb", "require 'mini'"),
    ]
    links = ["usr/bin/convert", "etc/alternatives/convert"]
    config = {"Cmd": ["ruby", "/srv/app.rb"]}
    reasons = kept(tmp_path, members, config, packages, own=links)
    assert reasons["usr/bin/convert-6"] == "ruby-mini depends on its package"
    assert "etc/alternatives/convert" in reasons
    assert not {"usr/bin/corelist", "usr/bin/ucf"} & reasons.keys()


def test_the_clients_of_a_server_that_a_script_starts(tmp_path):
    packages = {
        "server": ("", ["usr/bin/served"]),
        "server-tools": ("", ["usr/bin/check", "usr/bin/ask"]),
    }
    members = [
        Member("usr/local/bin/entry", '#!/bin/sh\nexec "$@"\n', mode=0o755),
        Member("bin/sh", "x"),
        Member("usr/bin/served", link="check"),
    ]
    config = {"Entrypoint": ["entry"], "Cmd": ["served", "--now"]}
    reasons = kept(tmp_path, members, config, packages)
    assert reasons["usr/bin/ask"] == "tool of the package that is started"


def test_clients_of_a_server_may_be_of_packages_that_it_depends_on(tmp_path):
    packages = {
        "base-15": ("Depends: base-common, other", ["usr/lib/base/15/bin/serve"]),
        "base-common": ("Source: base-common\nDepends: base-client", ["usr/bin/create"]),
        "base-client": ("Source: base-common", ["usr/bin/ask"]),
        "base-tools": ("Source: base-common", ["usr/bin/tune"]),
        "other": ("", ["usr/bin/other"]),
    }
    members = [Member("usr/lib/base/15/bin/serve", "x")]
    reasons = kept(tmp_path, members, {"Cmd": ["/usr/lib/base/15/bin/serve"]}, packages)
    assert {"usr/bin/create", "usr/bin/ask"} <= reasons.keys()
    assert not {"usr/bin/other", "usr/bin/tune"} & reasons.keys()


def test_the_clients_of_a_server_may_be_a_package_of_their_own(tmp_path):
    packages = {
        "store-server": ("Source: store (1)", ["usr/sbin/stored"]),
        "store-client": ("Source: store (1)", ["usr/bin/store"]),
        "python3.11": ("Source: python", ["usr/bin/python3.11"]),
        "idle": ("Source: python", ["usr/bin/idle"]),
    }
    for command, expected in (["/usr/sbin/stored"], True), (["python3.11"], False):
        reasons = kept(tmp_path, [], {"Cmd": command}, packages)
        assert ("usr/bin/store" in reasons) == expected
        assert "usr/bin/idle" not in reasons


def test_what_a_virtual_environment_says_of_itself_is_no_code(tmp_path):
    members = [
        *PYTHON,
        Member("opt/v/pyvenv.cfg", "command = /usr/bin/python3 -m venv /opt/v\n"),
        Member("opt/v/bin/activate", "VIRTUAL_ENV=/opt/v\nexport VIRTUAL_ENV\n"),
        Member("opt/v/lib/python3.11/site-packages/unused/__init__.py", ""),
        Member("srv/app.py", "import os"),
    ]
    own = [each.name for each in members if each.name.startswith("opt/")]
    reasons = kept(tmp_path, members, {"Cmd": ["python3.11", "/srv/app.py"]}, own=own)
    assert "opt/v/pyvenv.cfg" in reasons
    assert "opt/v/lib/python3.11/site-packages/unused/__init__.py" not in reasons


def test_a_sample_of_a_hook_starts_nothing(tmp_path):
    members = [
        Member("usr/local/bin/app", "x", mode=0o755),
        Member("srv/repo/hooks/update.sample", "#!/usr/bin/perl\n", mode=0o755),
        Member("usr/bin/perl", "x"),
    ]
    own = ["usr/local/bin/app", "srv/repo/hooks/update.sample"]
    assert "usr/bin/perl" not in kept(tmp_path, members, {"Cmd": ["app"]}, own=own)


def test_what_a_source_says_is_found_once(tmp_path):
    asked = []
    place = tmp_path / "cache" / "sources"

    def answer():
        asked.append(1)
        return {"b", "a"}

    for _ in range(2):
        known = Sources(place)
        assert known.remember("imports", b"x", answer) == ["a", "b"]
        known.write()
    assert len(asked) == 1
    assert Sources(place).remember("other", b"x", answer) == ["a", "b"]
    assert len(asked) == 2


@pytest.mark.parametrize("text", ["[", '["a"]', '["a", 1]', '["a", [1]]', "\0\xff", "[[], []]"])
def test_a_damaged_cache_counts_for_nothing(tmp_path, text):
    place = tmp_path / "sources"
    good = json.dumps(["key", ["x"]])
    place.write_text(f"{text}\n{good}\n{good[:5]}")
    assert Sources(place).remember("imports", b"x", lambda: ["y"]) == ["y"]


def test_no_cache_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    known = Sources(tmp_path / "file" / "sources")
    assert known.remember("imports", b"x", lambda: ["y"]) == ["y"]
    known.write()


def test_languages_of_a_program_are_packages_of_data_that_name_it(tmp_path):
    packages = {
        "spell": ("Depends: spell-en | dictionary", ["usr/bin/spell"]),
        "spell-de": ("Provides: dictionary\nDepends: common", ["usr/share/spell/de.dic"]),
        "spell-fr": ("Suggests: office, spell", ["usr/share/spell/fr.dic"]),
        "office-fr": ("Suggests: office", ["usr/share/office/fr.dic"]),
        "perl-spell": ("Depends: spell", ["usr/share/perl5/Spell.pm"]),
        "spell-gui": ("Depends: spell", ["usr/bin/spell-gui", "usr/share/gui/x"]),
    }
    members = [Member("srv/app.sh", "#!/usr/bin/sh\nspell -d de\n", mode=0o755)]
    reasons = kept(tmp_path, members, {"Cmd": ["/srv/app.sh"]}, packages)
    assert {each for each in reasons if each.endswith((".dic", ".pm", "gui/x"))} == {
        "usr/share/spell/de.dic", "usr/share/spell/fr.dic",
    }  # fmt: skip


def test_plug_ins_of_libtool_keep_the_text_that_describes_them(tmp_path):
    library, folder = "usr/lib/x86_64-linux-gnu/libmagick.so.6", "magick-6/coders"
    plugins = [f"usr/lib/x86_64-linux-gnu/{folder}/png.{each}" for each in ("so", "la")]
    own = [f"usr/local/lib/{folder}/gif.{each}" for each in ("so", "la")]
    members = [Member("usr/bin/app", "x"), *(Member(each, "x") for each in own)]
    packages = {"libmagick": ("", [library, *plugins])}
    left = Member("usr/local/lib/libown.la", "x")
    config = {"Cmd": ["app"]}
    reasons = kept(tmp_path, [*members, left], config, packages, [f"/{library}"], [*own, left.name])
    assert {*plugins, *own} <= reasons.keys()
    assert left.name not in reasons


@pytest.mark.parametrize(("server", "found"), [("sshd", True), ("served", False)])
def test_who_logs_users_in_needs_their_shells(tmp_path, server, found):
    users = "root:x:0:0::/root:/bin/bash\ngit:x:1:1::/srv:/usr/bin/git-shell\ndamaged\n"
    members = [
        Member(f"usr/sbin/{server}", "x"),
        Member("etc/passwd", users),
        Member("bin/bash", "x"),
        Member("usr/bin/git-shell", "x"),
    ]
    reasons = kept(tmp_path, members, {"Cmd": [f"/usr/sbin/{server}"]})
    assert ({"bin/bash", "usr/bin/git-shell"} <= reasons.keys()) == found

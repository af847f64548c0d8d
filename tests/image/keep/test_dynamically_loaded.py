"""What is loaded late is kept: what code and settings name, modules, plug-ins, directories."""

from __future__ import annotations

import pytest
from image.archives import Member, distribution, layer, saved

from mlkit.image.command.entrypoint import parse
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.keep import names
from mlkit.image.keep.plan import plan
from mlkit.image.keep.request import Request
from mlkit.image.packages.installed import read_packages
from mlkit.image.packages.python import normal
from mlkit.image.proof.compare import alike
from mlkit.image.run.inspector import app_of, hosts_of, read_processes
from mlkit.image.run.trace import Trace

LIB = "usr/lib/x86_64-linux-gnu"
STATUS = "Package: {}\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n"


def elf():
    """Return the smallest ELF file: a header without segments."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0\x3e\0\x01\0\0\0" + bytes(24)
    return head + bytes(4) + b"\x40\0\x38\0\0\0\x40\0\0\0\0\0"


PROGRAM = elf() + b"\0dlopen\0iconv_open\0popen\0"


def kept(tmp_path, members, config, owned=None, own=(), **request):
    """Compute the reasons of an image's keep-set; `owned` says which package has which paths."""
    given = [path for paths in (owned or {}).values() for path in paths]
    owned = distribution(members, [*given, *own]) | (owned or {})
    for package, paths in owned.items():
        text = "".join(f"/{path}\n" for path in paths)
        members = [*members, Member(f"var/lib/dpkg/info/{package}.list", text)]
    status = "".join(map(STATUS.format, owned))
    members = [*members, Member("var/lib/dpkg/status", status)]
    with open_image(saved(tmp_path / "i.tar", layer(*members), config=config)) as image:
        inventory = take(image)
        packages = read_packages(inventory)
        return plan(inventory, packages, Request(parse(config), **request)).reasons


class Places:
    """The directories of an image, each with one library."""

    children = {place: {"x.so"} for place in ("lib/a", "usr/lib/a", "opt/lib/a")}  # noqa: RUF012

    def walk(self, path):
        found = path.strip("/")
        return (found if found in self.children else None), []


@pytest.mark.parametrize(
    ("text", "libraries", "plugins"),
    [
        (b"libz.so\0libz.so.1\0", {"libz.so", "libz.so.1"}, set()),
        (b"a libx.so.1-2 -liby.so: .so", {"liby.so"}, set()),
        (b"liba.so.1liba.so", {"liba.so.1liba.so"}, set()),
        (b"lib\xe9b.so.2\xe9.so", {"b.so.2"}, set()),
        (b"/usr/lib/a\0", set(), {"/usr/lib/a/x.so"}),
        (b"x/lib/a/usr/lib/a\0usr/lib/a", set(), {"/lib/a/x.so"}),
        (b"/opt/lib/a", set(), {"/lib/a/x.so"}),
    ],
)
def test_libraries_and_plug_ins_are_named_by_whole_words(text, libraries, plugins):
    found = names.of_elf(text, frozenset({"dlopen"}), Places(), False, frozenset())
    assert found.libraries == libraries
    assert found.paths == plugins


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("etc/app/app.toml", "named in usr/local/bin/app"),
        ("opt/data/deep/x", "named in usr/local/bin/app"),
        ("usr/lib/libz.so.1", "named in usr/local/bin/app"),
        ("usr/bin/sort", "named in usr/local/bin/app"),
        ("usr/bin/sh", "named in usr/local/bin/app"),
        (f"{LIB}/gconv/EUC-JP.so", "loaded by glibc for usr/local/bin/app: gconv"),
        ("etc/variable", "named in the config"),
        ("etc/argument", "named in the config"),
        ("var/lib/app", "directory of no package"),
        ("var/spool/all", "directory that may be written to"),
    ],
)  # fmt: skip
def test_what_a_program_and_its_settings_name_is_kept(tmp_path, path, name):
    text = b"/etc/app/app.tomlnext text\0/opt/data\0libz.so.1\0sort -r | head\0/src/main.c\0"
    members = [
        Member("usr/local/bin/app", PROGRAM + text),
        *(Member(each, "x") for each in (
            "etc/app/app.toml", "opt/data/deep/x", "usr/lib/libz.so.1", "usr/bin/sort",
            "usr/bin/sh", "usr/bin/unnamed", "etc/variable", "etc/argument", "src/main.c",
            f"{LIB}/gconv/EUC-JP.so", "usr/lib/libother.so.1", "opt/app2/x",
        )),
        Member("var/lib/app"), Member("var/spool/all", mode=0o777),
    ]  # fmt: skip
    config = {"Cmd": ["app", "--file=/etc/argument"], "Env": ["FILE=/etc/variable"]}
    reasons = kept(tmp_path, members, config, {"spool": ["var/spool/all"]})
    assert reasons[path] == name
    assert not {"usr/bin/unnamed", "usr/lib/libother.so.1"} & set(reasons)
    assert {reasons["src/main.c"], reasons["opt/app2/x"]} == {"of no package"}


def test_tight_keeps_nothing_for_a_name(tmp_path):
    members = [Member("app", PROGRAM + b"/etc/a/b\0"), Member("etc/a/b", "x")]
    assert "etc/a/b" not in kept(tmp_path, members, {"Cmd": ["/app"]}, profile="tight")


def test_a_package_does_not_keep_what_its_programs_name(tmp_path):
    members = [Member("usr/bin/app", PROGRAM + b"/etc/a/b\0"), Member("etc/a/b", "x")]
    reasons = kept(tmp_path, members, {"Cmd": ["app"]}, {"app": ["usr/bin/app"], "a": ["etc/a/b"]})
    assert "etc/a/b" not in reasons


@pytest.mark.parametrize(
    "line",
    [
        "subprocess.run(['sort', '-r'])",
        "os.system('sort x')",
        "subprocess.check_output('cat x | sort', shell=True)",
        "shutil.which('sort')",
        "ctypes.CDLL('libz.so.1')",
        "ctypes.util.find_library('z')",
        "open('/etc/a/b')",
    ],
)
def test_what_a_python_app_names_is_kept(tmp_path, line):
    members = [
        Member("usr/bin/python3.11", "x"),
        Member("srv/app.py", f"def late():\n    {line}\n"),
        Member("etc/a/b", "x"),
        Member("usr/bin/sort", "x"),
        Member("usr/lib/libz.so", link="libz.so.1"),
        Member("usr/lib/libz.so.1", "x"),
    ]
    reasons = kept(tmp_path, members, {"Cmd": ["/usr/bin/python3.11", "/srv/app.py"]})
    named = {path for path, reason in reasons.items() if reason == "named in srv/app.py"}
    assert len(named) == 1


def test_node_requires_are_followed_through_packages(tmp_path):
    code = "const a = require('./lib/a'); import('b/sub'); import c from 'c';"
    folder = "usr/share/nodejs"
    members = [
        Member("srv/app.js", code),
        Member("srv/lib/a.js", ""),
        Member("node_modules/b/sub.js", "require('d')"),
        Member("node_modules/b/package.json", '{"dependencies": {"e": "1"}}'),
        *(Member(f"{folder}/{each}/index.js", "") for each in "cdef"),
    ]
    reasons = kept(tmp_path, members, {"Cmd": ["node", "app.js"], "WorkingDir": "/srv"})
    wanted = {"srv/lib/a.js", "node_modules/b/sub.js", *(f"{folder}/{e}/index.js" for e in "cde")}
    assert wanted <= set(reasons)
    assert f"{folder}/f/index.js" not in reasons


def test_a_python_package_brings_its_metadata_and_what_it_requires(tmp_path):
    place = "venv/lib/python3.11/site-packages"
    members = [
        Member("usr/bin/python3.11", "x"),
        Member("venv/bin/python", link="/usr/bin/python3.11"),
        Member("venv/pyvenv.cfg", "home = /usr/bin\n"),
        Member("srv/app.py", "def late():\n    import yaml\n"),
        Member(f"{place}/yaml/__init__.py", ""),
        Member(f"{place}/PyYAML-6.0.dist-info/RECORD", "yaml/__init__.py,,\n_yaml.py,,\n"),
        Member(f"{place}/PyYAML-6.0.dist-info/METADATA", "Requires-Dist: Deep_One >=1\n"
               "Requires-Dist: extra-one; extra == 'x'\n"),
        Member(f"{place}/_yaml.py", ""),
        Member(f"{place}/deep_one/data.txt", "x"),
        Member(f"{place}/deep_one-1.dist-info/METADATA", "Name: deep-one\n"),
        Member(f"{place}/extra_one/__init__.py", ""),
        Member(f"{place}/extra_one-1.dist-info/METADATA", ""),
        Member(f"{place}/plug/__init__.py", ""),
        Member(f"{place}/plug-1.dist-info/entry_points.txt", "[app.plugins]\nx = plug\n"),
        Member(f"{place}/linked.pth", "/opt/linked\n"),
        Member("opt/linked/other.py", ""),
        Member(f"{place}/deep_one/__init__.py", "import other"),
    ]  # fmt: skip
    reasons = kept(tmp_path, members, {"Cmd": ["/venv/bin/python", "/srv/app.py"]})
    wanted = ("yaml/__init__.py", "PyYAML-6.0.dist-info/RECORD", "_yaml.py", "deep_one/data.txt",
              "plug/__init__.py", "plug-1.dist-info/entry_points.txt")  # fmt: skip
    assert {f"{place}/{each}" for each in wanted} <= set(reasons)
    assert "opt/linked/other.py" in reasons
    assert f"{place}/extra_one/__init__.py" not in reasons
    assert normal("Deep_One") == "deep-one"


SITE = "venv/lib/python3.11/site-packages"


def with_packages(tmp_path, files, source="import used\n", **request):
    """Compute the reasons of an app whose site-packages hold some files."""
    members = [
        Member("venv/bin/python3.11", elf()),
        Member("venv/bin/python", link="python3.11"),
        Member("venv/pyvenv.cfg", ""),
        Member("srv/app.py", source),
        *(Member(f"{SITE}/{path}", text) for path, text in files.items()),
    ]
    config = {"Cmd": ["/venv/bin/python", "/srv/app.py"]}
    found = kept(tmp_path, members, config, **request)
    return {path for path in files if f"{SITE}/{path}" in found}


def test_tests_of_an_installed_package_go_unless_something_imports_them(tmp_path):
    files = {
        "used/__init__.py": "from .core.tests.helper import x",
        "used/core/__init__.py": "",
        "used/core/tests/__init__.py": "",
        "used/core/tests/helper.py": "",
        "used/core/tests/test_a.py": "",
        "used/core/tests/data/a.csv": "x",
        "used/late/tests/test_b.py": "import other",
        "used/late/tests/data/b.csv": "x",
        "used/rules/tests/even.py": "",
        "other/__init__.py": "",
    }
    found = with_packages(tmp_path, files)
    gone = {"used/late/tests/test_b.py", "used/late/tests/data/b.csv", "other/__init__.py"}
    assert found == files.keys() - gone, "a folder `tests` without any is none"
    named = with_packages(tmp_path, files, "import used.late.tests.test_b\n")
    assert named >= gone - {"other/__init__.py"}


def test_entry_points_for_a_tool_that_is_not_there_are_no_plug_ins(tmp_path):
    files = {
        "used/__init__.py": "",
        "array/__init__.py": "",
        "array-1.dist-info/entry_points.txt": "[pytest11]\na = array\n[pyinstaller40]\nb = array\n",
        "array-1.dist-info/METADATA": "Name: array\n",
    }
    trace = Trace(frozenset({f"/{SITE}/array-1.dist-info/entry_points.txt"}))
    found = with_packages(tmp_path, files, trace=trace)
    assert "array/__init__.py" not in found
    assert "array-1.dist-info/entry_points.txt" in found, "a run has read it"
    files |= {"pytest/__init__.py": "", "pytest-8.dist-info/METADATA": "Name: pytest\n"}
    assert "array/__init__.py" in with_packages(tmp_path, files)


def test_own_code_may_look_for_entry_points_of_a_tool(tmp_path):
    files = {
        "used/__init__.py": "",
        "array/__init__.py": "",
        "array-1.dist-info/entry_points.txt": "[array_api]\na = array\n",
    }
    source = "from importlib.metadata import entry_points\nentry_points(group='array_api')\n"
    assert "array/__init__.py" in with_packages(tmp_path, files, source)
    assert "array/__init__.py" not in with_packages(tmp_path, files)


@pytest.mark.parametrize("prefix", ["usr/local", "opt/py"])
def test_a_standard_library_is_found_beside_its_interpreter(tmp_path, prefix):
    members = [
        Member(f"{prefix}/bin/python3.11", "x"),
        Member("usr/bin/python", link=f"/{prefix}/bin/python3.11"),
        Member(f"{prefix}/lib/python3.11/decimal.py", ""),
        Member("srv/app.py", "def late():\n    import decimal\n"),
    ]
    reasons = kept(tmp_path, members, {"Cmd": ["python", "/srv/app.py"]})
    assert reasons[f"{prefix}/lib/python3.11/decimal.py"] == "python import of decimal"


def test_plug_ins_name_services_and_siblings_of_libraries(tmp_path):
    lib = LIB
    names = [f"{lib}/libssl.so.3", f"{lib}/ossl-modules/legacy.so", f"{lib}/libunrelated.so"]
    members = [
        Member("app", "x"),
        *(Member(each, "x") for each in names),
        Member("etc/nsswitch.conf", "hosts: files mdns4 [NOTFOUND=return] dns # win\n"),
        *(Member(f"{lib}/{each}", "x") for each in (
            "libc.so.6", "libnss_mdns4.so.2", "libnss_files.so.2", "libnss_win.so.2",
            "libgcc_s.so.1")),
    ]  # fmt: skip
    trace = Trace(frozenset({f"/{lib}/libssl.so.3", f"/{lib}/libc.so.6"}))
    members[-5] = Member(f"{lib}/libc.so.6", elf())
    reasons = kept(tmp_path, members, {"Cmd": ["/app"]}, {"libssl3": names}, trace=trace)
    assert reasons[f"{lib}/ossl-modules/legacy.so"] == "plug-in of libssl3"
    assert f"{lib}/libunrelated.so" not in reasons
    assert reasons[f"{lib}/libnss_mdns4.so.2"] == "loaded by glibc: NSS"
    assert f"{lib}/libnss_win.so.2" not in reasons
    assert f"{lib}/libgcc_s.so.1" in reasons


def test_a_directory_that_was_listed_and_one_that_was_written_to(tmp_path):
    members = [Member("app", "x"), Member("usr/share/x/a", "x"), Member("var/lib/y/deep/b", "x")]
    owned = {"x": ["usr/share/x/a"], "y": ["var/lib/y", "var/lib/y/deep", "var/lib/y/deep/b"]}
    trace = Trace(frozenset({"/usr/share/x", "/var/lib/y/new/file"}))
    reasons = kept(tmp_path, members, {"Cmd": ["/app"]}, owned, trace=trace, profile="tight")
    assert reasons["usr/share/x/a"] == "listed"
    assert reasons["var/lib/y"] == "directory that is written to"
    assert "var/lib/y/deep" not in reasons


def test_whole_packages_where_a_language_is_not_understood(tmp_path):
    own = ["usr/bin/perl", "usr/share/tool/script"]
    modules = ["usr/share/perl/Late.pm", f"{LIB}/perl/Late.so"]
    owned = {"perl-base": own, "modules": modules, "other": ["usr/share/other"]}
    members = [Member(each, "x") for paths in owned.values() for each in paths]
    trace = Trace(frozenset({"/usr/bin/perl"}))
    reasons = kept(tmp_path, members, {"Cmd": ["perl"]}, owned, trace=trace)
    assert reasons["usr/share/tool/script"] == "package data of perl-base"
    assert {reasons[path] for path in modules} == {"library of perl"}
    assert "usr/share/other" not in reasons


SEEN = """process\t1 0 S 0 0 0000000000000000 0
command\t1 /tini -- app
process\t7 1 S 1000 1000 0000000000004000 0
command\t7 sh -c app
process\t8 7 S 1000 1000 0000000000004000 0
command\t8 app --flag
directory\t8 /srv
variable\t8 A=b=c
variable\t8 PWD=/srv
process\t9 1 Z 0 0 0 0
"""


def test_the_app_is_found_behind_an_init_and_a_shell():
    processes = read_processes(SEEN)
    app = app_of(processes)
    assert (app.pid, app.user, app.directory) == (8, "1000:1000", "/srv")
    assert app.environment == {"A": "b=c"}
    assert app.stops
    assert not processes[0].stops
    assert [each.pid for each in processes if each.state == "Z"] == [9]
    assert app_of([]) is None


def test_hosts_in_variables():
    values = ["postgres://me:secret@db:5432/x", "http://cache.local/", "/not/a/url", "x"]
    assert hosts_of(values) == ["cache.local", "db"]


@pytest.mark.parametrize(
    ("originals", "candidate", "same"),
    [
        (["a", "a", "a"], "a", True),
        (["a 1", "a 1", "a 1"], "a 2", False),
        (["took 12 ms", "took 7 ms", "took 9 ms"], "took 30 ms", True),
        (["id Xq-z, ok", "id pW-r, ok", "id aB-c, ok"], "id Zz-y, ok", True),
        (["id Xq-z, ok", "id pW-r, ok", "id aB-c, ok"], "id Zz-y, bad", False),
        (["id Xq, ok", "id pW, ok", "id aB, ok"], "error", False),
        (["x a y", "x y", "x b y"], "x c d y", True),
        (["x a y", "x y", "x b y"], "x a z", False),
    ],
)
def test_noise_is_masked_and_the_rest_is_not(originals, candidate, same):
    assert alike(originals, candidate) is same

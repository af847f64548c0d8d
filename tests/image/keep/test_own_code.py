"""What is the user's own stays, and what own code may start, in every language."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile

import pytest
from image.archives import Member, distribution, layer, saved

from mlkit.image.command.entrypoint import parse
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.keep import own_code
from mlkit.image.keep.class_files import of_archive
from mlkit.image.keep.machine_code import literals
from mlkit.image.keep.plan import plan
from mlkit.image.keep.request import Request
from mlkit.image.packages.installed import read_packages

STATUS = "Package: {}\nStatus: install ok installed\nVersion: 1\n{}\n"
PYTHON = [Member("usr/bin/python3.11", "x"), Member("usr/bin/python3", link="python3.11")]
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0\x3e\0\x01\0\0\0" + bytes(28)
ELF += b"\x40\0\x38\0\0\0\x40\0\0\0\0\0"
"""The smallest ELF file: a header without segments."""
PROGRAMS = ("sort", "gzip", "sh", "awk", "perl", "su")


def planned(tmp_path, members, config, owned=None, fields=None):
    """Compute a keep-set; what a distribution has belongs to packages, each file to its own."""
    given = [path for paths in (owned or {}).values() for path in paths]
    owned = distribution(members, given) | (owned or {})
    lists = [
        Member(f"var/lib/dpkg/info/{name}.list", "".join(f"/{path}\n" for path in paths))
        for name, paths in owned.items()
    ]
    text = "\n".join(STATUS.format(name, (fields or {}).get(name, "")) for name in owned)
    members = [*members, *lists, Member("var/lib/dpkg/status", text)]
    with open_image(saved(tmp_path / "i.tar", layer(*members), config=config)) as image:
        inventory = take(image)
        return plan(inventory, read_packages(inventory), Request(parse(config)))


def started(tmp_path, path, text, config=None):
    """Name the programs that are kept for a text of the app's own."""
    members = [*PYTHON, Member(path, text, mode=0o755)]
    members += [Member(f"usr/bin/{name}", "x") for name in PROGRAMS]
    reasons = planned(tmp_path, members, config or {"Cmd": [f"/{path}"]}).reasons
    return {name for name in PROGRAMS if f"usr/bin/{name}" in reasons}


@pytest.mark.parametrize(
    "path",
    ["models/m.bin", "data/x", "config.yml", "a folder/with spaces", "usr/local/share/app/page",
     "usr/share/extra/x", "var/log/job.log", "srv/other/model.zip", "etc/app.conf"],
)  # fmt: skip
def test_what_is_of_no_package_is_the_users_own(tmp_path, path):
    members = [Member("usr/local/bin/app", "x", mode=0o755), Member(path, "x")]
    members += [Member("var/lib/dpkg/info/other.list", "/usr/bin/other\n")]
    config = {"Cmd": ["app"]}
    with open_image(saved(tmp_path / "i.tar", layer(*members), config=config)) as image:
        inventory = take(image)
        reasons = plan(inventory, read_packages(inventory), Request(parse(config))).reasons
    assert path in reasons


LEFTOVERS = [
    *("var/cache/apt/x", "tmp/x", "root/.cache/pip/x", "usr/local/include/x.h"),
    *("usr/local/lib/libx.a", "usr/share/doc/x/y", "srv/m/__pycache__/x.pyc"),
    *("usr/local/lib/node_modules/npm/index.js", "usr/local/go/src/x.go", "opt/x/.git/HEAD"),
    *("var/log/dpkg.log", "etc/alternatives/x"),
]


@pytest.mark.parametrize("path", LEFTOVERS)
def test_leftovers_go_unless_something_names_them(tmp_path, path):
    members = [Member("usr/local/bin/app", "x", mode=0o755), Member(path, "x")]
    owned = {"none": []}
    reasons = planned(tmp_path, members, {"Cmd": ["app"]}, owned).reasons
    if not path.startswith("usr/share/"):
        assert path not in reasons
    named = {"Cmd": ["app"], "Env": [f"MODEL_PATH=/{path}"]}
    assert path in planned(tmp_path, members, named, owned).reasons


@pytest.mark.parametrize(
    "code",
    [
        "c = ['sort', '-r']\nsubprocess.run(c)",
        "TOOL = 'sort'\nsubprocess.run([TOOL])",
        "f = functools.partial(subprocess.check_output)\nf(['sort'])",
        "c = {'up': ['sort']}\nsubprocess.run(c['up'])",
        "def go(line):\n    subprocess.run(line, shell=True)\ngo('cat x | sort')",
        "subprocess.run(shlex.split('sort -r x'))",
        "args = []\nargs.append('sort')\nos.execvp(args[0], args)",
    ],
)
def test_programs_that_python_starts_by_whatever_way(tmp_path, code):
    text = f"import functools, os, shlex, subprocess\n{code}\n"
    found = started(tmp_path, "srv/a.py", text, {"Cmd": ["python3", "/srv/a.py"]})
    assert "sort" in found
    assert not {"awk", "perl"} & found


def test_what_only_documents_starts_nothing(tmp_path):
    text = '"""It can sort and awk."""\nimport subprocess\nsubprocess.run(["gzip"])  # su\n'
    found = started(tmp_path, "srv/a.py", text, {"Cmd": ["python3", "/srv/a.py"]})
    assert found == {"gzip"}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("srv/a.php", "<?php echo shell_exec('sort x');"),
        ("srv/a.pl", "my $x = `sort list | head -1`;"),
        ("srv/a.rb", "puts %x(sort x)"),
        ("srv/a.R", "system('sort x', intern = TRUE)"),
        ("srv/a.js", "const run = promisify(require('child_process').execFile); run('sort', [])"),
        ("srv/A.java", 'List<String> c = List.of("sort"); new ProcessBuilder(c).start();'),
        ("srv/a", "#!/bin/sh -ex\nsort x\n"),
        ("srv/b", "#!/usr/bin/env -S bash -eu\nsort x\n"),
        ("etc/cron.d/job", "* * * * * root sort /x\n"),
        ("etc/supervisor/conf.d/a.conf", "[program:a]\ncommand=sort x\n"),
        ("etc/nginx/conf.d/a.conf", 'content_by_lua_block { io.popen("sort x") }\n'),
        ("srv/web/a.jsp", '<%= new ProcessBuilder("sort", "x").start() %>'),
        ("srv/page.twig", "{{ shell_exec('sort x') }}"),
        ("etc/systemd/own.service", "[Service]\nExecStart=sort x\n"),
        ("etc/systemd/system/own.service", "[Service]\nExecStartPre=-sort x\n"),
        ("etc/systemd/system/own.service", "[Service]\nExecStart=@sort sort x\n"),
        ("etc/systemd/system/own.service", "[Service]\nExecStart=/bin/sh -c 'sort x'\n"),
        ("etc/systemd/system/own.service.d/o.conf", "[Service]\nExecReload=/usr/bin/env sort\n"),
        ("etc/service/app/run", "#!/bin/execlineb -P\nsort x\n"),
        ("etc/services.d/web/run", "#!/command/with-contenv bash\nsort x\n"),
        ("etc/s6-overlay/s6-rc.d/init/up", "foreground { sort x }\n"),
        ("etc/sv/web/log/run", "#!/bin/sh\nexec chpst -u log sort x\n"),
        ("srv/supervisor.ini", '[eventlistener:a]\ncommand=bash -c "exec sort x"\n'),
        ("srv/circus.ini", "[watcher:x]\ncmd = sort x\n"),
        ("etc/monit/conf.d/x", 'check program a with path /x\nstart program = "sort x"\n'),
        ("srv/ecosystem.config.js", "module.exports = {apps: [{script: 'sort', args: 'x'}]}"),
        ("var/spool/cron/root", "@daily sort x\n"),
        ("var/spool/cron/crontabs/app", "*/5 * * * * sort x\n"),
        ("etc/anacrontab", "1 5 job nice sort /x\n"),
        ("etc/logrotate.d/own", "/x {\n postrotate\n  sort x\n endscript\n}\n"),
        ("etc/inittab", "::respawn:sort x\n"),
        ("srv/Procfile", "web: sort x\n"),
    ],
)
def test_programs_that_other_languages_and_supervisors_start(tmp_path, path, text):
    config = {"Cmd": ["/app"], "Env": [f"SOURCE=/{path}"]}
    assert "sort" in started(tmp_path, path, text, config)


def test_a_file_that_a_script_sources_counts(tmp_path):
    members = [
        Member("opt/t/main.sh", "#!/bin/sh\n. /opt/t/functions\nhelper\n", mode=0o755),
        Member("opt/t/functions", "helper() { sort x; }\n"),
        Member("usr/bin/sort", "x"),
    ]
    reasons = planned(tmp_path, members, {"Cmd": ["/opt/t/main.sh"]}).reasons
    assert reasons["usr/bin/sort"] == "named in opt/t/functions"


def test_bare_words_of_settings_count_where_own_code_starts_programs(tmp_path):
    settings = Member("srv/app.yml", "compress: gzip\n")
    members = [*PYTHON, settings, Member("usr/bin/gzip", "x")]
    config = {"Cmd": ["python3", "/srv/a.py"]}
    starts = Member("srv/a.py", "import subprocess\ndef go(x):\n    subprocess.run([x])\n")
    plain = Member("srv/a.py", "print('hi')\n")
    assert "usr/bin/gzip" in planned(tmp_path, [*members, starts], config).reasons
    assert "usr/bin/gzip" not in planned(tmp_path, [*members, plain], config).reasons


@pytest.mark.parametrize("value", ["gzip", "gzip -9 -c", "/usr/bin/gzip -9"])
def test_a_variable_may_be_a_program_or_a_command_line(tmp_path, value):
    members = [Member("usr/local/bin/app", "x"), Member("usr/bin/gzip", "x")]
    config = {"Cmd": ["app"], "Env": [f"PACKER={value}"]}
    assert planned(tmp_path, members, config).reasons["usr/bin/gzip"] == "named in the config"


def test_modules_of_python_that_are_started_by_name(tmp_path):
    lib = "usr/lib/python3.11"
    text = "import subprocess, sys\n"
    text += "subprocess.run([sys.executable, '-m', 'json.tool'])\n"
    text += "subprocess.run([sys.executable, '-c', 'import plistlib'])\n"
    names = ("json/__init__", "json/tool", "plistlib", "turtle", "runpy")
    members = [*PYTHON, Member("srv/a.py", text)]
    members += [Member(f"{lib}/{name}.py", "") for name in names]
    reasons = planned(tmp_path, members, {"Cmd": ["python3", "/srv/a.py"]}).reasons
    found = {name for name in names if f"{lib}/{name}.py" in reasons}
    assert found == {"json/__init__", "json/tool", "plistlib", "runpy"}


def test_a_module_of_an_installed_package_that_own_settings_name(tmp_path):
    site = "usr/lib/python3.11/site-packages"
    members = [
        *PYTHON,
        Member("srv/a.py", "print(1)\nENGINE = 'openpyxl'\n"),
        Member("srv/gunicorn.conf", "worker_class = workers.gthread\n"),
        *(Member(f"{site}/{name}/__init__.py", "") for name in ("openpyxl", "other")),
    ]
    reasons = planned(tmp_path, members, {"Cmd": ["python3", "/srv/a.py"]}).reasons
    assert f"{site}/openpyxl/__init__.py" in reasons
    assert f"{site}/other/__init__.py" not in reasons


def program(code, data):
    """Make an x86-64 program: a segment of code at 0x1000, and one of literals at 0x2000."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x1000, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    where = 64 + 2 * 56
    table = struct.pack("<IIQQQQQQ", 1, 5, where, 0x1000, 0x1000, len(code), len(code), 16)
    table += struct.pack(
        "<IIQQQQQQ", 1, 4, where + len(code), 0x2000, 0x2000, len(data), len(data), 16
    )
    return head + table + code + data


def loads(place, size):
    """Write `lea rax, [rip + ...]` and `mov ebx, size`, with room about them."""
    at = 16
    code = bytes(at) + b"\x48\x8d\x05" + struct.pack("<i", place - (0x1000 + at + 7))
    return code + b"\xbb" + struct.pack("<I", size) + bytes(64)


def test_a_literal_of_compiled_code_is_what_the_code_loads():
    data = b"somethinggzipsortother"
    found = literals(io.BytesIO(program(loads(0x2000 + 9, 4), data)))
    assert b"gzip" in found
    assert b"sort" not in found
    assert literals(io.BytesIO(b"\x7fELF" + bytes(90))) == set()


def test_go_starts_programs_by_literals_that_no_zero_byte_ends(tmp_path):
    text = b"unixgzipsortfile os/exec.(*Cmd).Start runtime.gopanic"
    members = [
        Member("usr/local/bin/app", program(loads(0x2000 + 4, 4), text), mode=0o755),
        Member("usr/bin/gzip", "x"),
        Member("usr/bin/sort", "x"),
    ]
    found = planned(tmp_path, members, {"Cmd": ["app"]})
    assert found.reasons["usr/bin/gzip"] == "named in usr/local/bin/app"
    assert "usr/bin/sort" not in found.reasons
    assert found.starting == ["usr/local/bin/app"]
    quiet = program(loads(0x2000 + 4, 4), text.replace(b"os/exec", b"os/none"))
    members[0] = Member("usr/local/bin/app", quiet, mode=0o755)
    assert "usr/bin/gzip" not in planned(tmp_path, members, {"Cmd": ["app"]}).reasons


def test_the_toolchain_that_built_a_program_of_go_is_not_named_by_it(tmp_path):
    text = b"unixgosortfile os/exec.(*Cmd).Start runtime.gopanic\0/usr/lib/go-1.19\0/srv/go/data\0"
    owned = ["usr/lib/go-1.19/pkg/tool/compile", "usr/lib/go-1.19/src/runtime/panic.go"]
    members = [
        Member("usr/local/bin/app", program(loads(0x2000 + 4, 2), text), mode=0o755),
        Member("usr/bin/go", "x"),
        Member("srv/go/data", "x"),
        *(Member(path, "x") for path in owned),
    ]
    reasons = planned(
        tmp_path, members, {"Cmd": ["app"]}, {"golang": [*owned, "usr/bin/go"]}
    ).reasons
    assert "srv/go/data" in reasons
    assert not reasons.keys() & {"usr/bin/go", *owned}


def test_paths_that_lie_side_by_side_in_a_program_are_all_seen(tmp_path):
    text = ELF + b"\0/usr/share/late-a1/usr/share/late-b2/usr/share/late-c3rest\0"
    paths = [f"usr/share/late-{name}/x" for name in ("a1", "b2", "c3", "d4")]
    members = [Member("usr/local/bin/app", text), *(Member(path, "x") for path in paths)]
    reasons = planned(tmp_path, members, {"Cmd": ["app"]}, {"late": paths}).reasons
    assert [path for path in paths if path in reasons] == paths[:3]


def class_file(*texts):
    """Make the beginning of a class file: a table of texts."""
    parts = [struct.pack(">BH", 1, len(each)) + each.encode() for each in texts]
    head = b"\xca\xfe\xba\xbe" + struct.pack(">HHH", 0, 61, len(parts) + 3)
    return head + b"\x05" + bytes(8) + b"".join(parts)


def jar(**members):
    """Make an archive; `__` in a name is a slash, and `_` before the last part a dot."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), data)
    return buffer.getvalue()


def test_class_files_in_jars_within_jars_name_programs_and_paths(tmp_path):
    own = class_file("java/lang/ProcessBuilder", "gzip", "/usr/share/words/en")
    library = class_file("java/lang/Runtime", "sort -r")
    other = class_file("awk")
    app = jar(
        BOOT__INF__classes__Main_class=own,
        BOOT__INF__lib__a_jar=jar(A_class=library, B_class=other),
        damaged_jar=b"PK\3\4 no archive",
    )
    members = [Member("app/app.jar", app), Member("usr/bin/java", "x")]
    members += [Member(f"usr/bin/{name}", "x") for name in PROGRAMS]
    members += [Member("usr/share/words/en", "x")]
    reasons = planned(tmp_path, members, {"Cmd": ["java", "-jar", "/app/app.jar"]}).reasons
    found = {name for name in PROGRAMS if f"usr/bin/{name}" in reasons}
    assert found == {"gzip", "sort", "sh"}
    assert "usr/share/words/en" in reasons
    assert not of_archive(io.BytesIO(b"PK\3\4")).starts


def test_an_archive_is_read_however_large_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(own_code, "LARGEST_TEXT", 100)
    app = jar(Main_class=class_file("java/lang/ProcessBuilder", "gzip", "x" * 999))
    members = [Member("app/app.jar", app), Member("usr/bin/java", "x"), Member("usr/bin/gzip", "x")]
    reasons = planned(tmp_path, members, {"Cmd": ["java", "-jar", "/app/app.jar"]}).reasons
    assert "usr/bin/gzip" in reasons


@pytest.mark.parametrize(
    ("text", "jars", "kept"),
    [("x", (), False), ("--release", (), True), ("x", ("usr/share/java/ecj-4.jar",), True)],
)
def test_tables_of_the_compiler_of_java_stay_where_something_compiles(tmp_path, text, jars, kept):
    home = "usr/lib/jvm/java-17/lib"
    names = [f"{home}/{each}" for each in ("modules", "ct.sym", "src.zip", "jmods/a.jmod")]
    members = [
        Member("app/app.jar", jar(BOOT__INF__lib__a_jar=jar(A_class=class_file(text)))),
        *(Member(each, "x") for each in ("usr/bin/java", *names, *jars)),
    ]
    owned = {"jre": [*names, *jars]}
    reasons = planned(tmp_path, members, {"Cmd": ["java", "-jar", "/app/app.jar"]}, owned).reasons
    assert reasons[names[0]] == "library of java"
    assert (names[1] in reasons) is kept
    assert not set(names[2:]) & reasons.keys()


def test_a_class_file_needs_no_archive_around_it(tmp_path):
    members = [
        Member("app/classes/a/Main.class", class_file("java/lang/ProcessBuilder", "gzip -c")),
        Member("usr/bin/java", "x"),
        *(Member(f"usr/bin/{name}", "x") for name in PROGRAMS),
    ]
    config = {"Cmd": ["java", "-cp", "/app/classes", "a.Main"]}
    reasons = planned(tmp_path, members, config).reasons
    assert {name for name in PROGRAMS if f"usr/bin/{name}" in reasons} == {"gzip", "sh"}


def test_a_runtime_is_no_app_of_ones_own(tmp_path):
    node = ELF + b"\0NODE_OPTIONS\0execvp\0perl\0sort\0awk\0"
    members = [
        Member("opt/node/bin/node", node, mode=0o755),
        Member("srv/a.js", "require('child_process').spawn('gzip')"),
        *(Member(f"usr/bin/{name}", "x") for name in PROGRAMS),
    ]
    reasons = planned(tmp_path, members, {"Cmd": ["/opt/node/bin/node", "/srv/a.js"]}).reasons
    assert {name for name in PROGRAMS if f"usr/bin/{name}" in reasons} == {"gzip"}
    members[0] = Member("opt/node/bin/served", node, mode=0o755)
    reasons = planned(tmp_path, members, {"Cmd": ["/opt/node/bin/served"]}).reasons
    assert "usr/bin/perl" in reasons, "a program of one's own may hold what it likes"


def test_set_id_programs_need_to_be_named_by_their_paths(tmp_path):
    members = [*PYTHON, Member("usr/bin/su", "x", mode=0o4755)]
    config = {"Cmd": ["python3", "/srv/a.py"]}
    text = "import subprocess\nsubprocess.run([{!r}])\n"
    found = planned(tmp_path, [*members, Member("srv/a.py", text.format("su"))], config)
    assert "usr/bin/su" not in found.reasons
    assert found.privileged == ["usr/bin/su"]
    found = planned(tmp_path, [*members, Member("srv/a.py", text.format("/usr/bin/su"))], config)
    assert "usr/bin/su" in found.reasons
    assert not found.privileged


def test_what_a_kept_program_needs_in_turn(tmp_path):
    members = [
        *PYTHON,
        Member("srv/a.py", "import subprocess\nsubprocess.run(['gunzip', 'top'])\n"),
        Member("usr/bin/gunzip", '#!/bin/sh\nexec gzip -d "$@"\n', mode=0o755),
        Member("usr/bin/gzip", "x"),
        Member("usr/lib/x86_64-linux-gnu/libtinfo.so.6", "x"),
        Member("usr/bin/top", ELF + b"\0system\0/usr/bin/awk\0sort\0", mode=0o755),
        Member("usr/bin/awk", "x"),
        Member("usr/bin/sort", "x"),
        Member("usr/share/top/data", "x"),
        Member("etc/top.d/10-uname", "#!/bin/sh\nuname -a\n", mode=0o755),
        Member("usr/bin/uname", "x"),
        Member("usr/share/terminfo/x/xterm", "x"),
        Member("srv/lib.py", "import ctypes\nctypes.CDLL('libtinfo.so.6')\n"),
    ]
    owned = {"top": ["usr/bin/top", "usr/share/top/data", "etc/top.d/10-uname"]}
    fields = {"top": "Priority: required\n"}
    reasons = planned(tmp_path, members, {"Cmd": ["python3", "/srv/a.py"]}, owned, fields).reasons
    wanted = {"usr/bin/gzip", "usr/bin/uname", "usr/share/top/data", "usr/share/terminfo/x/xterm"}
    assert wanted <= reasons.keys()
    assert "usr/bin/sort" not in reasons, "a word of a package's program may be a function's name"


def test_lines_that_a_library_of_a_package_hands_to_a_shell(tmp_path):
    line = b"\0/usr/bin/env -i PATH=/usr/bin:/bin run-parts /etc/parts.d > /run/out\0sort\0"
    members = [
        *PYTHON,
        Member("srv/a.py", "import ctypes\nctypes.CDLL('libmotd.so')\n"),
        Member("usr/lib/x86_64-linux-gnu/libmotd.so", ELF + b"\0system\0" + line),
        Member("etc/parts.d/10-uname", "#!/bin/sh\nuname -a\n", mode=0o755),
        *(Member(f"usr/bin/{each}", "x") for each in ("env", "run-parts", "uname", "sh", "sort")),
    ]
    owned = {"motd": [each.name for each in members[-7:]]}
    reasons = planned(tmp_path, members, {"Cmd": ["python3", "/srv/a.py"]}, owned).reasons
    wanted = {*(f"usr/bin/{each}" for each in ("env", "run-parts", "uname", "sh"))}
    assert wanted | {"etc/parts.d/10-uname"} <= reasons.keys()
    assert "usr/bin/sort" not in reasons


@pytest.mark.parametrize(
    ("setting", "command", "kept"),
    [
        ("x = 1\n#jit = on\n", "x", False),
        ("# a\njit = on\n", "x", True),
        ("x = 1\n", "-c jit=on", True),
        ("\0]Is JIT compilation available\0", "x", False),
    ],
)
def test_a_server_goes_on_without_its_compiler(tmp_path, setting, command, kept):
    home = "usr/lib/postgresql/15"
    members = [
        Member(f"{home}/bin/postgres", ELF + f"\0dlopen\0/{home}/lib\0".encode(), mode=0o755),
        Member(f"{home}/lib/llvmjit.so", ELF),
        Member(f"{home}/lib/bitcode/postgres/a.bc", "x"),
        Member(f"{home}/lib/pgcrypto.so", ELF),
        Member(f"{home}/lib/vector.so", ELF),
        Member("srv/postgresql.conf", setting),
    ]
    owned = {"postgresql-15": [each.name for each in members[:-2]], "vector": [members[-2].name]}
    config = {"Cmd": [f"/{home}/bin/postgres", command]}
    fields = {"vector": "Depends: postgresql-15\n"}
    found = planned(tmp_path, members, config, owned, fields)
    assert {f"{home}/lib/pgcrypto.so", f"{home}/lib/vector.so"} <= found.reasons.keys()
    assert (f"{home}/lib/llvmjit.so" in found.reasons) is kept
    assert (f"{home}/lib/bitcode/postgres/a.bc" in found.reasons) is kept
    assert (f"{home}/lib/llvmjit.so" in found.optional) is not kept


def test_settings_of_a_package_that_the_user_has_changed_are_own(tmp_path):
    text = "[program:a]\ncommand=sort x\n"
    members = [*PYTHON, Member("etc/super.conf", text), Member("usr/bin/sort", "x")]
    owned = {"super": ["etc/super.conf"]}
    for kept, digest in (("usr/bin/sort", "0" * 32), ("", hashlib.md5(text.encode()).hexdigest())):
        fields = {"super": f"Conffiles:\n /etc/super.conf {digest}\n"}
        config = {"Cmd": ["python3", "/etc/super.conf"]}
        reasons = planned(tmp_path, members, config, owned, fields).reasons
        assert ("usr/bin/sort" in reasons) is bool(kept)


def test_folders_to_write_to_stay_with_their_owners(tmp_path):
    members = [Member("app", "x"), Member("var/lib/nginx", uid=33), Member("var/lib/dpkg/x")]
    reasons = planned(tmp_path, members, {"Cmd": ["/app"]}, {"nginx": ["var/lib/nginx"]}).reasons
    assert reasons["var/lib/nginx"] == "directory that may be written to"
    assert "var/lib/dpkg/x" not in reasons


def test_parts_of_a_path_that_code_joins(tmp_path):
    members = [
        *PYTHON,
        Member("srv/a.py", "import os\nopen(os.path.join('/usr/share', 'dict', name))\n"),
        Member("usr/share/dict/words", "x"),
        Member("usr/share/other/words", "x"),
    ]
    reasons = planned(tmp_path, members, {"Cmd": ["python3", "/srv/a.py"]}).reasons
    assert "usr/share/dict/words" in reasons
    assert "usr/share/other/words" not in reasons


def test_a_script_that_pip_has_written_is_no_code_of_the_users_own(tmp_path):
    script = "#!/usr/bin/python3\nimport re\nimport sys\nfrom a.cli import main\n"
    script += "if __name__ == '__main__':\n    sys.exit(main())\n"
    members = [
        *PYTHON,
        Member("usr/local/bin/tool", script, mode=0o755),
        Member("srv/a.py", "import subprocess\nsubprocess.run(['/usr/local/bin/tool'])\n"),
    ]
    found = planned(tmp_path, members, {"Cmd": ["python3", "/srv/a.py"]})
    assert "usr/local/bin/tool" in found.reasons
    assert found.own_code == ["srv/a.py"]

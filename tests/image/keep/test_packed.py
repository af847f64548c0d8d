"""Python code in zip archives that are run, and in programs of PyInstaller."""

from __future__ import annotations

import io
import marshal
import struct
import zipfile
import zlib

import pytest
from image.archives import Member
from image.keep.test_package_data import kept

from mlkit.image.keep.packed import COOKIE, of_bundle, of_compiled, of_zip

CODE = "import subprocess, difflib\nLINE = 'seq 3 | tac'\nsubprocess.getoutput(LINE)\n"
LONG = f"import os\nos.popen('sort {'x' * 300}')\n"


def compiled(code):
    return marshal.dumps(compile(code, "m.py", "exec"))


def archive(first=b"#!/usr/bin/env python3\n", **members):
    buffer = io.BytesIO(first)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name.replace("_py", ".py"), data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        {"__main___py": CODE},
        {"__main___py": "import late", "late_pyc": b"\0" * 16 + compiled(CODE)},
    ],
)
def test_an_archive_that_is_run_names_modules_and_programs(tmp_path, members):
    data = archive(**members)
    image = [
        Member("usr/bin/python3.11", "\x7fELF"),
        Member("usr/bin/python3", link="python3.11"),
        Member("usr/bin/env", "x"),
        *(Member(f"usr/lib/python3.11/{each}.py", "") for each in ("os", "difflib", "subprocess")),
        *(Member(f"usr/bin/{each}", "x") for each in ("seq", "tac", "perl")),
        Member("srv/app.pyz", data, mode=0o755),
    ]
    reasons = kept(tmp_path, image, {"Cmd": ["/srv/app.pyz"]}, own=["srv/app.pyz"])
    assert {"usr/bin/seq", "usr/bin/tac", "usr/lib/python3.11/difflib.py"} <= reasons.keys()
    assert "usr/bin/perl" not in reasons


@pytest.mark.parametrize(("code", "word"), [(CODE, "tac"), (LONG, "sort")])
def test_a_program_of_pyinstaller_holds_compiled_code(code, word):
    packed = zlib.compress(compiled(code)) + zlib.compress(b"data of no code" * 9)
    size = len(packed) + 88
    cookie = COOKIE + struct.pack(">IIII", size, 0, 0, 311) + bytes(64)
    (found,) = of_bundle(b"\x7fELF" + bytes(999) + packed + cookie)
    assert word in found[1].programs
    assert found[1].starts


@pytest.mark.parametrize(
    "data", [b"", COOKIE, COOKIE + b"\xff" * 80, b"\x78\x9c" * 99 + COOKIE * 9]
)
def test_what_is_no_archive_holds_nothing(data):
    assert not list(of_bundle(data))
    assert not list(of_zip(data))
    assert not of_compiled(data).starts


def test_a_damaged_archive_holds_what_can_be_read():
    data = archive(a_py=CODE, b_py=CODE)
    for cut in range(0, len(data), 7):
        list(of_zip(data[:cut] + bytes(9) + data[cut + 9 :]))

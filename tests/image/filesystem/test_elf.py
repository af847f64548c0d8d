"""ELF files are read through the file: of a large one little is held."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import tracemalloc

import pytest
from image.archives import Member, layer, saved

from mlkit.image.command.entrypoint import parse
from mlkit.image.filesystem import elf
from mlkit.image.filesystem.archive import CHUNK, open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.keep.plan import plan
from mlkit.image.keep.request import Request
from mlkit.image.packages.installed import read_packages

LARGE = 48 << 20


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Return a library that needs another one, with places to look in."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("elf")
    (folder / "b.c").write_text("int b(void) { return 1; }")
    (folder / "a.c").write_text("int b(void); int a(void) { return b(); }")
    build = ["cc", "-shared", "-fPIC", "-nostdlib"]
    subprocess.run(
        [*build, "-Wl,-soname,libb.so.3", "-o", "libb.so", "b.c"], cwd=folder, check=True
    )
    link = [*build, "-Wl,-rpath,$ORIGIN/x:/opt/y", "-o", "liba.so", "a.c", "libb.so"]
    subprocess.run(link, cwd=folder, check=True)
    return (folder / "liba.so").read_bytes()


def test_what_a_library_needs_is_read(library):
    found = elf.parse(io.BytesIO(library))
    assert found == elf.Elf(None, ("libb.so.3",), ("$ORIGIN/x", "/opt/y"))


def test_libraries_are_found_through_the_origin_and_beside_who_loads_them(tmp_path):
    """Java's libraries need `libjvm.so`, which lies in `server/`, and its launcher has loaded."""
    empty = elf.Elf(None, ("libjvm.so",), ())
    through = elf.Elf(None, ("libjvm.so",), ("$ORIGIN/server", "${ORIGIN}"))
    members = [Member(f"opt/java/lib/{name}", "x") for name in ("libawt.so", "server/libjvm.so")]
    members.append(Member("opt/other/lib/server/libjvm.so", "x"))
    with open_image(saved(tmp_path / "i.tar", layer(*members), config={})) as image:
        loader = elf.Loader(take(image))
    for found in (empty, through):
        (path,) = loader.find("libjvm.so", found, "opt/java/lib/libawt.so")
        assert path == "/opt/java/lib/server/libjvm.so"
    assert loader.find("libnone.so", empty, "opt/java/lib/libawt.so") == []


def test_32_bits_and_the_other_byte_order_are_read():
    names = b"\0libc.so.6\0"
    dynamic = struct.pack(">iIiIiI", 5, 0x1000, 1, 1, 0, 0)
    begin = 52 + 2 * 32
    head = b"\x7fELF\1\2\1".ljust(28, b"\0") + struct.pack(">IIIHHH", 52, 0, 0, 52, 32, 2)
    loads = struct.pack(">8I", 1, begin, 0x1000, 0x1000, len(names), len(names), 4, 1)
    dynamics = struct.pack(">8I", 2, begin + len(names), 0, 0, len(dynamic), len(dynamic), 4, 1)
    data = head.ljust(52, b"\0") + loads + dynamics + names + dynamic
    assert elf.parse(io.BytesIO(data)) == elf.Elf(None, ("libc.so.6",), ())


@pytest.mark.parametrize("size", range(0, 400, 7))
def test_a_truncated_file_is_none_or_read(library, size):
    assert elf.parse(io.BytesIO(library[:size])) in {None, elf.Elf(None, (), ())}


@pytest.mark.parametrize("before", range(-8, 3))
def test_a_name_across_two_pieces_is_found(before):
    data = bytes(CHUNK + before) + b"dlopen\0" + bytes(CHUNK)
    assert elf.functions(io.BytesIO(data), frozenset({"dlopen", "execv"})) == {"dlopen"}
    data = b"x" * (CHUNK + before) + b"\0dlopen\0" + b"x" * CHUNK
    assert elf.functions(io.BytesIO(data), frozenset({"dlopen", "execv"})) == {"dlopen"}


def test_pieces_are_the_whole_file_and_bounded():
    data = b"x" * (LARGE // 2) + b"\0" + b"y" * (LARGE // 2)
    pieces = list(elf.pieces(io.BytesIO(data)))
    assert max(map(len, pieces)) <= elf.LONGEST + 2 * CHUNK
    assert sum(each.count(b"x") for each in pieces) == LARGE // 2
    assert sum(each.count(b"y") for each in pieces) == LARGE // 2


def test_the_plan_of_a_large_library_holds_little_of_it(tmp_path, library):
    members = [Member("srv/run", "#!/bin/sh\n"), Member("srv/large.so", library + bytes(LARGE))]
    config = {"Entrypoint": ["/srv/run"], "WorkingDir": "/srv"}
    with open_image(saved(tmp_path / "i.tar", layer(*members), config=config)) as image:
        tracemalloc.start()
        try:
            inventory = take(image)
            found = plan(inventory, read_packages(inventory), Request(parse(config)))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert "srv/large.so" in found.reasons
    assert ("libb.so.3", "srv/large.so") in found.unresolved
    assert peak < LARGE // 4

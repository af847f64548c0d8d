"""Where musl's loader looks for libraries."""

from __future__ import annotations

import contextlib
import shutil
import subprocess

import pytest
from image.archives import Member, layer, saved

from mlkit.image.command.entrypoint import parse
from mlkit.image.filesystem import elf
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.keep.plan import plan
from mlkit.image.keep.request import Request
from mlkit.image.packages.installed import read_packages

LOADER = Member("lib/ld-musl-x86_64.so.1", "x", mode=0o755)
NEEDS = elf.Elf(None, ("libone.so", "libc.musl-x86_64.so.1"), ())


@pytest.fixture
def load(tmp_path):
    """Return a function that returns the loader of an image of some files."""
    with contextlib.ExitStack() as stack:

        def make(*members, library_path=()):
            archive = saved(tmp_path / "i.tar", layer(*members))
            return elf.Loader(take(stack.enter_context(open_image(archive))), library_path)

        yield make


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (None, "/lib/libone.so"),
        ("/opt/a\n/lib", "/opt/a/libone.so"),
        ("/usr/lib:/opt/a", "/usr/lib/libone.so"),
    ],
)
def test_its_own_settings_replace_the_directories_that_are_built_in(load, settings, found):
    members = [LOADER, *(Member(f"{each}/libone.so", "x") for each in ("opt/a", "lib", "usr/lib"))]
    members.append(Member("etc/ld.so.conf", "/opt/a\n"))  # glibc's
    if settings is not None:
        members.append(Member("etc/ld-musl-x86_64.path", settings))
    assert load(*members).find("libone.so", NEEDS, "srv/app") == [found]


def test_variables_come_before_the_search_path_of_a_file(load):
    members = [LOADER, *(Member(f"{each}/libone.so", "x") for each in ("one", "app/lib", "lib"))]
    own = elf.Elf(None, ("libone.so",), ("$ORIGIN/lib",))
    assert load(*members).find("libone.so", own, "app/x") == ["/app/lib/libone.so"]
    variable = load(*members, library_path=("/one",))
    assert variable.find("libone.so", own, "app/x") == ["/one/libone.so"]


@pytest.mark.parametrize("name", ["libc.musl-x86_64.so.1", "libpthread.so.0", "libm.so.6"])
def test_the_loader_stands_for_the_libraries_of_c(load, name):
    assert load(LOADER, Member("lib/other.so", "x")).find(name, NEEDS, "app") == [
        "/lib/ld-musl-x86_64.so.1"
    ]


def test_what_is_linked_against_glibc_is_loaded_by_glibc(load):
    members = [LOADER, *(Member(f"opt/{each}", "x") for each in ("libone.so", "libc.so.6"))]
    loader = load(*members, Member("etc/ld.so.conf", "/opt\n"))
    glibc = elf.Elf("/lib64/ld-linux-x86-64.so.2", ("libone.so", "libc.so.6"), ())
    assert loader.find("libc.so.6", glibc, "app") == ["/opt/libc.so.6"]
    assert loader.find("libone.so", elf.Elf(None, ("libone.so", "libc.so.6"), ()), "x/y") == [
        "/opt/libone.so"
    ]
    assert loader.find("libone.so", NEEDS, "srv/app") == []


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Return a program, a library that it needs by its search path, and one which that needs."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("chain")
    sources = {
        "libinner.so": ("int inner(void) { return 1; }", ["-shared"]),
        "libouter.so": ("int inner(void); int outer(void) { return inner(); }",
                        ["-shared", "libinner.so"]),
        "plain": ("int outer(void); void _start(void) { outer(); }", ["libouter.so"]),
        "app": ("int outer(void); void _start(void) { outer(); }",
                ["libouter.so", "-Wl,-rpath,$ORIGIN/lib"]),
    }  # fmt: skip
    for name, (source, words) in sources.items():
        (folder / f"{name}.c").write_text(source)
        command = ["cc", "-nostdlib", "-fPIC", "-o", name, f"{name}.c", *words]
        command += ["-Wl,--allow-shlib-undefined", "-Wl,--dynamic-linker,/lib/ld-musl-x86_64.so.1"]
        subprocess.run(command, cwd=folder, check=True)
    return {name: (folder / name).read_bytes() for name in sources}


@pytest.mark.parametrize("first", ["plain", "app"])
def test_a_library_finds_others_where_the_program_looks(tmp_path, chain, first):
    """Also if another program that looks nowhere else was looked into before."""
    members = [
        LOADER,
        Member("opt/app/run", "#!/opt/app/plain\n", mode=0o755),
        *(Member(f"opt/app/{each}", chain[each], mode=0o755) for each in ("plain", "app")),
        Member("opt/app/lib/libouter.so", chain["libouter.so"]),
        Member("opt/app/lib/libinner.so", chain["libinner.so"]),
        Member("lib/libouter.so", chain["libouter.so"]),
        Member("lib/libinner.so", "another\n"),
    ]
    other = {"plain": "app", "app": "plain"}[first]
    config = {"Entrypoint": [f"/opt/app/{first}", f"/opt/app/{other}"]}
    with open_image(saved(tmp_path / "i.tar", layer(*members), config=config)) as image:
        inventory = take(image)
        asked = Request(parse(config), profile="tight")
        reasons = plan(inventory, read_packages(inventory), asked).reasons
    assert reasons["opt/app/lib/libouter.so"] == "needed by ELF opt/app/app"
    assert reasons["opt/app/lib/libinner.so"] == "needed by ELF opt/app/lib/libouter.so"
    assert reasons["lib/libinner.so"] == "needed by ELF lib/libouter.so"

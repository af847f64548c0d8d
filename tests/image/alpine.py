"""An image as Alpine makes them: musl, busybox with its links, and a database of apk.

There is no registry here: musl and busybox are Debian's, and the database is written by hand.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from dataclasses import replace

import pytest
from image.archives import Member, layer, saved

from mlkit.errors import ServiceUnavailable
from mlkit.image.base.debian import open_part
from mlkit.image.packages.apt import Apt

TRIPLET = "usr/lib/x86_64-linux-musl"
APPLETS = ("ls", "cat", "echo", "httpd", "wget", "sed", "tr")
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"
RELEASE = 'ID=alpine\nNAME="Alpine Linux"\nVERSION_ID=3.19.1\nPRETTY_NAME="Alpine Linux v3.19"\n'
PACKAGES = {
    "alpine-baselayout-data": ["etc/passwd", "etc/group", "etc/hosts", "etc/motd"],
    "alpine-release": ["etc/alpine-release", "etc/os-release"],
    "musl": ["lib/ld-musl-x86_64.so.1"],
    "busybox": ["bin/busybox", "etc/securetty"],
    "busybox-binsh": ["bin/sh"],
    "libpaint": ["opt/libs/libpaint.so.1", "usr/share/paint/colours"],
    "jq": ["usr/bin/jq", "usr/share/doc/jq/README"],
    "hunspell-en": ["usr/share/hunspell/en_US.dic"],
}
NEEDS = {"libpaint": "so:libc.musl-x86_64.so.1 musl>=1.2", "busybox-binsh": "busybox=1.36.1-r15"}
WORLD = "alpine-release\nbusybox\nhunspell-en\nlibpaint\njq\n"
CONFIG = {"Cmd": ["/www/start"], "ExposedPorts": {"8000/tcp": {}}}
START = "#!/bin/sh\ntrap 'exit 0' TERM\nhttpd -f -p 8000 -h /www &\nwait\n"
LATE = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
/opt/tool/bin/tool
echo abc | tr a b
cat /etc/tool.conf
"""
SOURCES = {
    "libpaint.so.1": 'const char *paint(void) { return "paint"; }',
    "libinner.so": 'const char *inner(void) { return "inner"; }',
    "libgreet.so": "const char *inner(void); const char *greet(void) { return inner(); }",
    "tool": """
#include <pwd.h>
#include <stdio.h>
const char *greet(void); const char *paint(void);
int main(void) {
    struct passwd *user = getpwuid(65534);
    printf("%s %s %s\\n", greet(), paint(), user ? user->pw_name : "?");
    return 0;
}
""",
}
BUILDS = {
    "libpaint.so.1": ["-shared", "-Wl,-soname,libpaint.so.1"],
    "libinner.so": ["-shared", "-Wl,-soname,libinner.so"],
    "libgreet.so": ["-shared", "-Wl,-soname,libgreet.so", "libinner.so"],
    "tool": ["-Wl,-rpath,$ORIGIN/../lib", "-Wl,--allow-shlib-undefined", "libgreet.so",
             "libpaint.so.1"],
}  # fmt: skip
"""The tool finds `libinner.so` by its own search path, which musl hands down to `libgreet.so`."""


def make(folder):
    """Write the archive of an image whose server starts a program that no start shows."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    try:
        archives = Apt().fetch(["musl", "musl-dev", "busybox-static"])
    except ServiceUnavailable as error:
        pytest.skip(f"needs Debian's packages of musl and busybox: {error}")
    for name in ("musl", "musl-dev"):
        with open_part(archives[name], "data") as data:
            data.extractall(folder, filter="tar")
    with open_part(archives["busybox-static"], "data") as data:
        busybox = data.extractfile("./bin/busybox").read()
    built = _compile(folder)
    loader = (folder / "lib/x86_64-linux-musl/libc.so").read_bytes()
    return saved(folder / "alpine.tar", layer(*members(loader, busybox, built)), config=CONFIG)


def _compile(folder):
    headers, libraries = folder / "usr/include/x86_64-linux-musl", folder / TRIPLET
    found = {}
    for name, source in SOURCES.items():
        (folder / f"{name}.c").write_text(source)
        start = [] if "-shared" in BUILDS[name] else [libraries / "crt1.o"]
        command = ["cc", "-nostdinc", "-nostdlib", "-fPIC", "-no-pie", "-isystem", headers,
                   "-o", name, *start, libraries / "crti.o", f"{name}.c", "-L.", *BUILDS[name],
                   f"-L{libraries}", "-lc", libraries / "crtn.o", "-Wl,--enable-new-dtags",
                   "-Wl,-dynamic-linker,/lib/ld-musl-x86_64.so.1"]  # fmt: skip
        command = [each for each in command if "-shared" not in BUILDS[name] or each != "-no-pie"]
        subprocess.run(command, cwd=folder, check=True)
        found[name] = (folder / name).read_bytes()
    return found


def members(loader=b"x", busybox=b"x", built=None):
    """List the files of such an image.

    Args:
        loader: musl.
        busybox: Its program.
        built: The tool and its libraries.
    """
    built = built or dict.fromkeys(SOURCES, b"x")
    found = [
        Member("etc/passwd", PASSWD),
        Member("etc/group", "root:x:0:\nnobody:x:65534:\n"),
        Member("etc/hosts", "127.0.0.1 localhost\n"),
        Member("etc/motd", "hello\n"),
        Member("etc/securetty", "tty1\n"),
        Member("etc/alpine-release", "3.19.1\n"),
        Member("etc/os-release", RELEASE),
        Member("etc/ld-musl-x86_64.path", "/opt/libs:/lib\n/usr/lib"),
        Member("lib/ld-musl-x86_64.so.1", loader, mode=0o755),
        Member("bin/busybox", busybox, mode=0o755),
        Member("bin/sh", link="/bin/busybox"),
        *(Member(f"bin/{each}", link="/bin/busybox") for each in APPLETS),
        Member("opt/libs/libpaint.so.1", built["libpaint.so.1"], mode=0o755),
        Member("usr/share/paint/colours", "red\n"),
        Member("usr/bin/jq", b"\x7fELF" + bytes(1 << 20), mode=0o755),
        Member("usr/share/doc/jq/README", "read me\n"),
        Member("usr/share/hunspell/en_US.dic", "hello\n"),
    ]
    own = [
        Member("opt/tool/bin/tool", built["tool"], mode=0o755),
        Member("opt/tool/lib/libgreet.so", built["libgreet.so"], mode=0o755),
        Member("opt/tool/lib/libinner.so", built["libinner.so"], mode=0o755),
        Member("etc/tool.conf", "colour=red\n"),
        Member("www/start", START, mode=0o755),
        Member("www/index.html", "hello\n"),
        Member("www/cgi-bin/late", LATE, mode=0o755),
        Member("tmp/", mode=0o1777),
    ]
    records = [
        Member("etc/apk/world", WORLD),
        Member("etc/apk/repositories", "https://dl-cdn.alpinelinux.org/alpine/v3.19/main\n"),
        Member("lib/apk/db/installed", database(found)),
        Member("lib/apk/db/scripts.tar", bytes(4096)),
    ]
    return [*found, *own, *records]


def database(files):
    """Write apk's database of some files."""
    data = {each.name: each for each in files}
    return "".join(
        _stanza(name, [data[path] for path in paths]) for name, paths in PACKAGES.items()
    )


def _stanza(name, files):
    lines = [f"P:{name}", "V:1.36.1-r15", "A:x86_64", "S:1", "I:1", f"T:{name}", "U:https://x",
             "L:MIT", f"o:{name}", "m:A <a@example.org>", "t:1", "c:0"]  # fmt: skip
    lines += [f"D:{NEEDS[name]}"] if name in NEEDS else []
    folders = {}
    for each in files:
        folder, _, own = each.name.rpartition("/")
        folders.setdefault(folder, []).append(replace(each, name=own))
    for folder, inner in folders.items():
        lines.append(f"F:{folder}")
        for each in inner:
            lines += [f"R:{each.name}", f"a:0:0:{each.mode:o}", f"Z:{_digest(each)}"]
    return "\n".join(lines) + "\n\n"


def _digest(member):
    text = member.text if member.text is not None else member.link
    data = text.encode() if isinstance(text, str) else text
    return "Q1" + base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()

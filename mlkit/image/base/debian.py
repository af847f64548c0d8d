"""Distroless bases, assembled from Debian packages without installing them."""

from __future__ import annotations

import functools
import io
import posixpath
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mlkit.errors import BadData, ServiceUnavailable
from mlkit.image.filesystem.archive import decompress
from mlkit.image.filesystem.build import Item, directory, file, symlink
from mlkit.image.packages.apt import Apt, of_architecture
from mlkit.progress import Progress, silent

KINDS = ("static", "base", "cc", "python3")
SEEDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "static": (("base-files",), ("netbase",), ("tzdata",), ("media-types",)),
    "base": (("libc6",), ("libssl3t64", "libssl3")),
    "cc": (("libstdc++6",), ("libgcc-s1",), ("libgomp1",)),
    "python3": (("python3-minimal",), ("libpython3-stdlib",)),
}
"""What each kind adds to the one before; of several names the first that the suite has."""
LABEL = "io.mlkit.image.kind"
"""On bases that were built, so that they can be listed."""
OS_RELEASE = Path("/etc/os-release")
CERTIFICATES = "ca-certificates"
BUSYBOX = "busybox-static"
NO_RUNTIME = re.compile(
    r"usr/share/(man|locale|info|lintian|bug|doc-base)(/|$)|usr/share/doc/.*(?<!/copyright)$"
    r"|usr/share/zoneinfo/(right|posix)(/|$)"
)
"""What is read by people, and time zones by clocks that count leap seconds."""
MERGED = ("bin", "lib", "lib64", "sbin")
PASSWD = b"""root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
"""
GROUP = b"root:x:0:\ntty:x:5:\nstaff:x:50:\nnobody:x:65534:\nnonroot:x:65532:\n"
NSSWITCH = b"""passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
"""
ENVIRONMENT = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
]


@functools.cache
def packages_of(kind: str, apt: Apt | None = None) -> list[str]:
    """List the packages of a base; apt is asked once.

    Args:
        kind: What it holds.
        apt: Of which suite; None: of the machine's own.

    Raises:
        ServiceUnavailable: There is no apt, or it has no package lists.
    """
    apt = apt or Apt()
    kinds = KINDS[: KINDS.index(kind) + 1]
    known = apt.names()
    wanted = []
    for each in kinds:
        for names in SEEDS[each]:
            found = [name for name in names if name in known]
            if not found:
                hint = "run `apt-get update`"
                raise ServiceUnavailable(f"apt has no package {names[0]}", hint=hint)
            wanted.append(found[0])
    return wanted if kind == "static" else apt.with_dependencies(wanted)


def release() -> tuple[str, str] | None:
    """Name the distribution and the release that bases are made of; None if it is not known."""
    try:
        return read_release(OS_RELEASE.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


def read_release(text: str) -> tuple[str, str] | None:
    """Read the distribution and its release out of an os-release file."""
    lines = (line.partition("=") for line in text.splitlines())
    values = {name: value.strip().strip("\"'") for name, _, value in lines}
    named = values.get("VERSION_CODENAME") or values.get("VERSION_ID")
    return (values["ID"], named) if values.get("ID") and named else None


def assemble(kind: str, progress: Progress = silent, apt: Apt | None = None) -> list[Item]:
    """Return the files of a base.

    apt checks each package against the archive's signed index.

    Args:
        kind: What it holds.
        progress: Told of each package.
        apt: Of which suite; None: of the machine's own.

    Raises:
        ServiceUnavailable: apt cannot fetch the packages.
    """
    apt = apt or Apt()
    names = packages_of(kind, apt)
    archives = apt.fetch([*names, CERTIFICATES])
    items: dict[str, Item] = {}
    for number, name in enumerate(names):
        progress(number, len(names))
        for item in _package_items(name, archives[name]):
            items[item.entry.path] = item
    for item in (*_certificates(archives[CERTIFICATES]), *_system(kind, items)):
        items[item.entry.path] = item
    return [items[path] for path in sorted(items)]


def members(archive: Path) -> dict[str, bytes]:
    """Read a .deb, which is an `ar` archive: {"control.tar.xz": ..., "data.tar.xz": ...}."""
    data, at, found = archive.read_bytes(), 8, {}
    if not data.startswith(b"!<arch>\n"):
        raise BadData(f"{archive}: not a Debian package")
    while at + 60 <= len(data):
        name = data[at : at + 16].decode().strip().rstrip("/")
        size = int(data[at + 48 : at + 58])
        found[name] = data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    return found


def open_part(archive: Path, part: str) -> tarfile.TarFile:
    """Open the `control` or `data` tar of a .deb."""
    for name, data in members(archive).items():
        if name.startswith(f"{part}.tar"):
            if name.endswith(".zst"):  # Ubuntu's packages
                data = decompress(io.BytesIO(data)).read()
            return tarfile.open(fileobj=io.BytesIO(data))
    raise BadData(f"{archive}: it has no {part}.tar")


def _package_items(name: str, archive: Path) -> Iterator[Item]:
    with open_part(archive, "control") as control:
        for source, suffix in (("./control", ""), ("./md5sums", ".md5sums")):
            if source in control.getnames():
                yield file(f"var/lib/dpkg/status.d/{name}{suffix}", _bytes(control, source))
    with open_part(archive, "data") as data:
        for member in data:
            path = _merge(member.name.removeprefix("./").strip("/"))
            if path not in {"", "."} and not NO_RUNTIME.match(path):
                yield _item(data, member, path)


def _item(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> Item:
    mode, uid, gid, mtime = member.mode & 0o7777, member.uid, member.gid, int(member.mtime)
    if member.isdir():
        return directory(path, mode, uid, gid, mtime)
    if member.issym():
        return symlink(path, member.linkname, mtime)
    content = tar.extractfile(member)  # follows hard links
    return file(path, content.read() if content else b"", mode, uid, gid, mtime)


def _bytes(tar: tarfile.TarFile, name: str) -> bytes:
    stream: IO[bytes] | None = tar.extractfile(name)
    return stream.read() if stream else b""


def _merge(path: str) -> str:
    """Move /bin, /lib and so on below /usr, as an installed system has them."""
    top = path.partition("/")[0]
    return f"usr/{path}" if top in MERGED else path


def _certificates(archive: Path) -> Iterator[Item]:
    """Join the certificates into the one file that OpenSSL and Go read."""
    with open_part(archive, "data") as data:
        names = sorted(name for name in data.getnames() if name.endswith(".crt"))
        bundle = b"".join(_bytes(data, name).rstrip() + b"\n" for name in names)
        yield file("etc/ssl/certs/ca-certificates.crt", bundle)
        copyright_file = f"usr/share/doc/{CERTIFICATES}/copyright"
        yield file(copyright_file, _bytes(data, f"./{copyright_file}"))
    with open_part(archive, "control") as control:
        yield file(f"var/lib/dpkg/status.d/{CERTIFICATES}", _bytes(control, "./control"))


def _system(kind: str, items: dict[str, Item]) -> Iterator[Item]:
    for top in MERGED:
        yield symlink(top, f"usr/{top}")
        yield directory(f"usr/{top}")
    yield file("etc/passwd", PASSWD)
    yield file("etc/group", GROUP)
    yield file("etc/nsswitch.conf", NSSWITCH)
    yield directory("tmp", 0o1777)
    yield directory("root", 0o700)
    yield directory("home/nonroot", 0o700, 65532, 65532)
    if kind == "python3" and "usr/bin/python3" not in items:
        versions = [path for path in items if re.fullmatch(r"usr/bin/python3\.\d+", path)]
        yield symlink("usr/bin/python3", posixpath.basename(max(versions)))


def config_of(kind: str, suite: str | None = None) -> dict[str, object]:
    """Return the config of a base: it runs as the user nonroot.

    Args:
        kind: What it holds.
        suite: What it was made of; None: the machine's own.
    """
    own = release()
    made_of = suite or (own[1] if own else "unknown")
    config: dict[str, object] = {
        "Env": [*ENVIRONMENT, *(["LANG=C.UTF-8"] if kind == "python3" else [])],
        "User": "65532",
        "WorkingDir": "/home/nonroot",
        "Labels": {LABEL: kind, f"{LABEL}.suite": made_of},
    }
    return config | ({"Entrypoint": ["/usr/bin/python3"]} if kind == "python3" else {})


def init_program() -> bytes:
    """Return the static tini: of this machine, or out of Debian's package."""
    path = Path("/usr/bin/tini-static")
    if path.exists():
        return path.read_bytes()
    with open_part(Apt().fetch(["tini"])["tini"], "data") as data:
        return _bytes(data, "./usr/bin/tini-static")


def init_for(architecture: str, variant: str | None = None) -> bytes:
    """Return the static tini of another architecture, out of Debian's package for it.

    Args:
        architecture: As images name it.
        variant: Of the architecture; Debian's programs for 32-bit ARM need v7.

    Raises:
        ServiceUnavailable: apt cannot fetch it, or there is none.
    """
    hint = "put tini in front of its command, or --init never"
    try:
        if architecture == "arm" and (variant or "v7") != "v7":
            raise ServiceUnavailable(f"Debian has none for its variant {variant}")
        archive = of_architecture(architecture).fetch(["tini"])["tini"]
        with open_part(archive, "data") as data:
            return _bytes(data, "./usr/bin/tini-static")
    except (ServiceUnavailable, KeyError) as error:
        reason = error.message if isinstance(error, ServiceUnavailable) else "no package tini"
        raise ServiceUnavailable(f"no init for {architecture}: {reason}", hint=hint) from error


def busybox() -> bytes:
    """Return the static busybox out of Debian's package.

    Raises:
        ServiceUnavailable: apt cannot fetch it.
    """
    with open_part(Apt().fetch([BUSYBOX])[BUSYBOX], "data") as data:
        names = ("./bin/busybox", "./usr/bin/busybox")
        return _bytes(data, next(name for name in names if name in data.getnames()))

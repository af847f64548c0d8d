"""Debian packages by apt, without installing them: their names, dependencies and archives.

apt checks its index against the archive's signature, and the index names each package's digest.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mlkit.errors import BadData, ServiceUnavailable, UsageError
from mlkit.files import replacing

LEFT_OUT = re.compile(r"(debconf|cdebconf|dpkg|perl|tar|.*awk|openssl|install-info|sensible|lsb).*")
"""Dependencies that only the installation of a package needs."""
SUITE = re.compile(r"[a-z][a-z0-9-]*")
FIELDS = "$(REPO_URI) $(CODENAME) $(ORIGIN)"
ORIGINS = {"Debian": "debian-archive-keyring.gpg", "Ubuntu": "ubuntu-archive-keyring.gpg"}
ARCHITECTURES = {"386": "i386", "arm": "armhf", "ppc64le": "ppc64el"}
"""What Debian calls architectures that images call otherwise."""
KEYRINGS = Path("/usr/share/keyrings")


@dataclass(frozen=True)
class Apt:
    """apt, with the machine's own package lists, or with those of another suite.

    Attributes:
        options: What each call gets.
    """

    options: tuple[str, ...] = ()

    def run(self, program: str, *words: str) -> list[str]:
        """Run apt in our cache; it keeps its parsed lists there, which slim systems do not.

        Raises:
            ServiceUnavailable: There is no apt, or it fails.
        """
        folder = cache()
        kept = [f"-oDir::Cache::{each}={folder}/{each}.bin" for each in ("pkgcache", "srcpkgcache")]
        command = [program, *kept, *self.options, *words]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        except OSError as error:
            hint = "bases are assembled on Debian or Ubuntu"
            raise ServiceUnavailable(f"{program}: {error.strerror}", hint=hint) from error
        if done.returncode:
            text = (done.stderr.strip().splitlines() or ["failed"])[-1]
            raise ServiceUnavailable(f"{program}: {text}", hint="run `apt-get update`")
        return done.stdout.splitlines()

    def names(self) -> set[str]:
        """Return the names of all packages; apt is asked once."""
        return _names(self)

    def with_dependencies(self, names: list[str]) -> list[str]:
        """Add what packages depend on at run time, the first of several alternatives."""
        graph = self._dependencies(names)
        wanted: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name not in wanted and not LEFT_OUT.fullmatch(name):
                wanted.add(name)
                todo += graph.get(name, ())
        return sorted(wanted)

    def _dependencies(self, names: list[str]) -> dict[str, list[str]]:
        refuse = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
        options = [f"--no-{each}" for each in refuse]
        graph: dict[str, list[str]] = {}
        name = ""
        for line in self.run("apt-cache", "depends", "--recurse", *options, *names):
            word = line.split()[-1] if line.split() else ""
            if line[:1] not in {" ", "|"}:
                name = word
            elif "epends:" in line and not line.startswith(" |") and not word.startswith("<"):
                graph.setdefault(name, []).append(word)
        return graph

    def fetch(self, names: Iterable[str]) -> dict[str, Path]:
        """Download packages into the cache, check them by the index, and give their archives.

        Raises:
            ServiceUnavailable: apt cannot fetch them.
            BadData: One is not what the index names.
        """
        index = self._index(sorted(set(names)))
        missing = [name for name, (archive, _) in index.items() if not archive.exists()]
        if missing:
            self.run("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *missing)
        for archive, digest in index.values():
            if not archive.exists():
                raise ServiceUnavailable(
                    f"apt did not fetch {archive.name}", hint="run `apt-get update`"
                )
            if hashlib.sha256(archive.read_bytes()).hexdigest() != digest:
                raise BadData(f"{archive}: not what the archive's index names", hint="delete it")
        return {name: archive for name, (archive, _) in index.items()}

    def _index(self, names: list[str]) -> dict[str, tuple[Path, str]]:
        """Return each package's place in the cache and its SHA-256, of the newest version."""
        found: dict[str, tuple[Path, str]] = {}
        text = "\n".join(self.run("apt-cache", "show", "--no-all-versions", *names))
        for stanza in text.split("\n\n"):
            pairs = (line.partition(": ") for line in stanza.splitlines())
            fields = {key: value for key, _, value in pairs}
            if "SHA256" in fields:
                version = fields["Version"].replace(":", "%3a")
                name = f"{fields['Package']}_{version}_{fields['Architecture']}.deb"
                found[fields["Package"]] = cache() / name, fields["SHA256"]
        return found


@functools.cache
def _names(apt: Apt) -> set[str]:
    return set(apt.run("apt-cache", "pkgnames"))


def of_suite(suite: str | None) -> Apt:
    """Return apt for a suite: its lists are fetched into our cache, the machine's stay as they are.

    Args:
        suite: Its code name, such as `trixie`; None: the machine's own.

    Raises:
        UsageError: That is not a name.
        ServiceUnavailable: The archive that the machine uses has no such suite.
    """
    if suite is None:
        return Apt()
    if not SUITE.fullmatch(suite):
        raise UsageError(f"--suite {suite}: expected a code name, such as trixie")
    try:
        return _elsewhere(cache() / "suites" / suite, suite)
    except ServiceUnavailable as error:
        hint = "the machine's own archive has to offer it, signed with a key that is known here"
        raise ServiceUnavailable(f"--suite {suite}: {error.message}", hint=hint) from error


@functools.cache
def of_architecture(architecture: str) -> Apt:
    """Return apt for the machine's own suite and another architecture, with lists in our cache.

    Args:
        architecture: As images name it.

    Raises:
        ServiceUnavailable: The archive that the machine uses has none for it.
    """
    theirs = ARCHITECTURES.get(architecture, architecture)
    options = (f"-oAPT::Architecture={theirs}", f"-oAPT::Architectures={theirs}")
    return _elsewhere(cache() / "architectures" / theirs, None, options)


def _elsewhere(folder: Path, suite: str | None, options: tuple[str, ...] = ()) -> Apt:
    """Fetch lists into a folder, and return the apt that has them."""
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    with replacing(folder / "archive.sources") as file:
        file.write("\n".join(_sources(suite)).encode())
    found = Apt((
        f"-oDir::Etc::SourceList={folder}/archive.sources", "-oDir::Etc::SourceParts=/dev/null",
        f"-oDir::State::Lists={folder}/lists", f"-oDir::State::Status={folder}/status",
        *(f"-oDir::Cache::{each}={folder}/{each}.bin" for each in ("pkgcache", "srcpkgcache")),
        "-oAPT::Sandbox::User=root", *options,
    ))  # fmt: skip
    found.run("apt-get", "update", "-qq", "--error-on=any")
    return found


def _sources(suite: str | None) -> list[str]:
    """Write where a suite is, with its updates and security, as the machine has its own.

    Args:
        suite: None: the machine's own.
    """
    own = _own_sources()
    if not own:
        raise ServiceUnavailable("apt has no archive of Debian or Ubuntu configured",
                                 hint="run `apt-get update`")  # fmt: skip
    home = min((codename for _, codename, _ in own), key=len)
    lines = []
    for address, codename, origin in own:
        if codename.startswith(home):
            keyring = KEYRINGS / ORIGINS[origin]
            named = f"{suite or home}{codename[len(home) :]}"
            lines += ["Types: deb", f"URIs: {address}", f"Suites: {named}",
                      "Components: main"]  # fmt: skip
            lines += [f"Signed-By: {keyring}"] if keyring.exists() else []
            lines.append("")
    return lines


def _own_sources() -> list[tuple[str, str, str]]:
    """List (address, code name, origin) of the machine's own distribution."""
    rows = Apt().run("apt-get", "indextargets", "--format", FIELDS, "Created-By: Packages")
    parts = (row.split() for row in rows)
    found = [(one, two, three) for one, two, three in (each for each in parts if len(each) == 3)]
    return list(dict.fromkeys(each for each in found if each[2] in ORIGINS))


def cache() -> Path:
    """Return the folder that packages are kept in."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "mlkit" / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    return folder

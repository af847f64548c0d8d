"""Known vulnerabilities of an image's packages: by Debian's security tracker, or by `grype`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlkit.errors import BadData, ServiceUnavailable
from mlkit.files import read_regular, replacing
from mlkit.image.filesystem.build import archive
from mlkit.image.filesystem.inventory import Inventory
from mlkit.image.packages.installed import read_packages
from mlkit.image.packages.package import Package
from mlkit.image.packages.system import read_release
from mlkit.image.packages.versions import is_older
from mlkit.scratch import scratch

GRYPE = "grype"
SCAN = 900.0
"""Seconds that a scan may take; the first one fetches a database."""
LARGEST = 1 << 30
"""Bytes of a file that is read; that of Debian's tracker has some 70 MB."""
SOURCE = re.compile(r"^Source: (\S+)(?: \((\S+)\))?$", re.MULTILINE)
HARMLESS = "unimportant"
"""The urgency of what the tracker lists although it is no risk for Debian's packages."""


@dataclass(frozen=True, order=True)
class Vulnerability:
    """A known vulnerability of a package in an image.

    Attributes:
        id: Such as CVE-2024-1234.
        package: The package.
        version: Its version.
        fixed: The version that is not vulnerable; empty: there is none.
    """

    id: str
    package: str
    version: str
    fixed: str = ""


class Scanner(Protocol):
    """Finds known vulnerabilities."""

    def find(self, inventory: Inventory) -> list[Vulnerability]:
        """List those of an image, each once, sorted."""


def open_scanner(text: str) -> Scanner:
    """Return a scanner, before any work is done.

    Args:
        text: `grype`, or the file of Debian's security tracker.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It is not the tracker's.
        ServiceUnavailable: The program is not installed.
    """
    if text != GRYPE:
        return Tracker.read(Path(text))
    if shutil.which(GRYPE) is None:
        hint = "install grype, or name a file of Debian's security tracker"
        raise ServiceUnavailable(f"--vulnerabilities: no program {GRYPE}", hint=hint)
    return Grype()


@dataclass(frozen=True)
class Tracker:
    """Debian's security tracker, as https://security-tracker.debian.org/tracker/data/json has it.

    Attributes:
        data: Source package to vulnerability to what is known of it in each release.
        source: The file.
    """

    data: dict[str, dict[str, Any]]
    source: str

    @classmethod
    def read(cls, path: Path) -> Tracker:
        """Read its file.

        Raises:
            InputMissing: It cannot be read.
            BadData: It is another file.
        """
        try:
            data = json.loads(read_regular(path, LARGEST))
        except (ValueError, RecursionError) as error:
            raise BadData(f"{path}: not JSON: {error}") from error
        if not isinstance(data, dict) or not all(isinstance(each, dict) for each in data.values()):
            data = None
        if not data or not any("releases" in each for found in data.values() for each in
                               found.values() if isinstance(each, dict)):  # fmt: skip
            hint = "https://security-tracker.debian.org/tracker/data/json"
            raise BadData(f"{path}: not the data of Debian's security tracker", hint=hint)
        return cls(data, str(path))

    def find(self, inventory: Inventory) -> list[Vulnerability]:
        """List those of the Debian packages of an image.

        Raises:
            BadData: The file does not know the image's release, or is damaged.
        """
        packages = read_packages(inventory).installed.values()
        if not packages:
            return []
        release = read_release(inventory).get("VERSION_CODENAME", "")
        try:
            if not self._knows(release):
                text = f"{self.source}: has no release {release or 'without a name'!r}"
                raise BadData(text, hint="it is about Debian's releases")
            return sorted({each for package in packages for each in self._of(package, release)})
        except (AttributeError, KeyError, TypeError) as error:
            raise BadData(f"{self.source}: damaged: {error}") from error

    def _knows(self, release: str) -> bool:
        return any(
            release in each.get("releases", {})
            for found in self.data.values()
            for each in found.values()
        )

    def _of(self, package: Package, release: str) -> Iterator[Vulnerability]:
        """List what its source package has in a release, unless its version has it repaired."""
        name, version = source_of(package)
        for identity, found in self.data.get(name, {}).items():
            state = found.get("releases", {}).get(release)
            if state is None or state.get("urgency") == HARMLESS:
                continue
            fixed = str(state.get("fixed_version", ""))
            repaired = state["status"] == "resolved"
            if state["status"] == "open" or (repaired and is_older(version, fixed)):
                yield Vulnerability(identity, package.name, package.version, fixed)


def source_of(package: Package) -> tuple[str, str]:
    """Return the source package of a package, and that one's version."""
    found = SOURCE.search(package.stanza)
    if found is None:
        return package.name, package.version
    return found[1], found[2] or package.version


class Grype:
    """The program `grype`, which reads an image as `docker save` writes it."""

    def find(self, inventory: Inventory) -> list[Vulnerability]:
        """List what it finds in an image.

        Raises:
            ServiceUnavailable: It fails.
        """
        image = inventory.image
        with scratch("mlkit-image-") as folder:
            path = folder / "image.tar"
            with replacing(path) as file:
                file.writelines(archive(image.raw, image.layers, None))
            text = _run([GRYPE, f"docker-archive:{path}", "--output", "json", "--quiet"])
        try:
            return sorted({_match(each) for each in json.loads(text)["matches"]})
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ServiceUnavailable(f"{GRYPE}: its output is not understood: {error}") from error


def _match(match: dict[str, Any]) -> Vulnerability:
    found, package = match["vulnerability"], match["artifact"]
    fixed = ((found.get("fix") or {}).get("versions") or [""])[0]
    names = (found["id"], package["name"], package["version"], fixed)
    return Vulnerability(*map(str, names))


def _run(command: list[str]) -> bytes:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SCAN, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServiceUnavailable(f"{GRYPE} fails: {error}") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise ServiceUnavailable(f"{GRYPE} fails: {lines[-1]}", hint="see `grype db status`")
    return done.stdout

"""A software bill of materials: what an image is made of, as CycloneDX."""

from __future__ import annotations

import email.parser
import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from mlkit import __version__
from mlkit.files import replacing
from mlkit.image.filesystem.inventory import Inventory
from mlkit.image.keep.provenance import fingerprint
from mlkit.image.packages.installed import read_packages, refuse_foreign
from mlkit.image.packages.system import read_release

PYTHON = re.compile(r"(^|/)[^/]+\.(dist-info/METADATA|egg-info/PKG-INFO)$")
NODE = re.compile(r"(^|/)node_modules/(@[^/]+/)?[^/]+/package\.json$")
KINDS = {"dpkg": ("deb", "debian"), "apk": ("apk", "alpine")}
"""The type of a package's URL, and the distribution of an image that does not name it."""
NAMESPACE = uuid.UUID("5b1bd2d8-4a6f-5c7e-9d53-2f5a0f4b6c11")


def bill(inventory: Inventory) -> str:
    """Describe an image's packages as a CycloneDX 1.6 document; the same image, the same text.

    Listed are the packages of dpkg (a distroless `status.d` too) or apk, and of Python and Node
    as their metadata lies in the image.

    Raises:
        BadData: Its packages are rpm's, or their database is damaged.
    """
    refuse_foreign(inventory)
    components = {each.bom_ref.value: each for each in _components(inventory)}
    image = Component(
        name=inventory.image.source,
        type=ComponentType.CONTAINER,
        version=f"sha256:{fingerprint(inventory)}",
        bom_ref="image",
    )
    bom = Bom(
        components=components.values(),
        serial_number=uuid.uuid5(NAMESPACE, fingerprint(inventory)),
    )
    bom.metadata.component = image
    bom.metadata.timestamp = _read_created(inventory)
    own = Component(name="mlkit", version=__version__, type=ComponentType.APPLICATION)
    bom.metadata.tools = ToolRepository(components=[own])
    bom.register_dependency(image, components.values())
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def write(inventory: Inventory, path: Path) -> None:
    """Write an image's bill, whole or not at all.

    Raises:
        InputMissing: It cannot be written.
    """
    text = bill(inventory)
    with replacing(path) as file:
        file.write(text.encode())


def _components(inventory: Inventory) -> Iterator[Component]:
    names = read_release(inventory)
    release = names.get("VERSION_ID", "unknown")
    for package in read_packages(inventory).installed.values():
        kind, vendor = KINDS[package.manager]
        system = names.get("ID", vendor)
        qualifiers = {"arch": package.architecture, "distro": f"{system}-{release}"}
        url = PackageURL(kind, system, package.name, package.version, qualifiers)
        yield _component(package.name, package.version, url)
    for path in sorted(inventory.files.entries):
        if PYTHON.search(path):
            yield from _python(inventory, path)
        elif NODE.search(path):
            yield from _node(inventory, path)


def _python(inventory: Inventory, path: str) -> Iterator[Component]:
    text = (inventory.read_path(path) or b"").decode(errors="replace")
    found = email.parser.Parser().parsestr(text, headersonly=True)
    name, version = found["Name"], found["Version"]
    if name and version:
        plain = re.sub(r"[-_.]+", "-", name).lower()
        yield _component(name, version, PackageURL("pypi", None, plain, version))


def _node(inventory: Inventory, path: str) -> Iterator[Component]:
    try:
        found = json.loads(inventory.read_path(path) or b"")
        name, version = str(found["name"]), str(found["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    scope, _, bare = name.rpartition("/")
    yield _component(name, version, PackageURL("npm", scope or None, bare, version))


def _component(name: str, version: str, url: PackageURL) -> Component:
    return Component(
        name=name, version=version, type=ComponentType.LIBRARY, purl=url, bom_ref=url.to_string()
    )


def _read_created(inventory: Inventory) -> datetime:
    try:
        found = datetime.fromisoformat(str(inventory.image.document.get("created")))
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)

"""Where a result goes: the engine, an archive, an OCI layout, a registry."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mlkit.errors import UsageError
from mlkit.files import check_name, check_place, replacing, replacing_folder
from mlkit.image.choices import COMPRESSION, Compression
from mlkit.image.filesystem import build, referrers
from mlkit.image.filesystem.index_layout import IndexLayout, archive
from mlkit.image.packages.attestation import Attest
from mlkit.image.result import Built
from mlkit.image.run import registry
from mlkit.image.run.engine.engine import Engine, credentials

HINT = "docker, FILE.tar, oci:DIR or registry:REF"


@dataclass(frozen=True)
class Output:
    """Where a result goes.

    Attributes:
        kind: The engine, a `docker load` archive, an OCI layout, or a registry.
        where: The file, the folder, or the reference; the name for the engine.
        name: The result's name.
    """

    kind: Literal["docker", "archive", "oci", "registry"]
    where: str
    name: str


@dataclass(frozen=True)
class Place:
    """Where a result is.

    Attributes:
        text: As the command line names it.
        digest: That of its manifest, in a registry, or if something is attached to it.
        attached: The media type of what is attached to it.
    """

    text: str
    digest: str | None = None
    attached: str | None = None


def parse(text: str, tag: str | None, image: str) -> Output:
    """Read `--output` and `--tag`, before any work is done.

    Args:
        text: `docker`, `FILE.tar`, `oci:DIR` or `registry:REF`.
        tag: The name that the user gives the result.
        image: What it is made of: a path, or a name.

    Raises:
        UsageError: It is none of these, the folder is not empty, or a name is none.
        InputMissing: The archive cannot be written.
    """
    if text.startswith("registry:"):
        if tag is not None:
            raise UsageError("--tag: with --output registry:REF the result is named REF")
        reference = build.check_name(text.removeprefix("registry:"))
        return Output("registry", reference, reference)
    name = build.check_name(tag if tag is not None else _slim_name(image))
    if text == "docker":
        return Output("docker", name, name)
    if text.startswith("oci:"):
        folder = Path(text.removeprefix("oci:"))
        check_folder(folder)
        return Output("oci", str(folder), name)
    if text.endswith(".tar"):
        check_place(Path(text))
        return Output("archive", text, name)
    raise UsageError(f"--output {text}: not understood", hint=HINT)


def check_folder(folder: Path) -> None:
    """Make sure, before any work is done, that a folder is not there, or empty.

    Raises:
        UsageError: It is a file, or has files, or no folder can have its name.
    """
    check_name(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: not an empty folder")


def _slim_name(image: str) -> str:
    """Name a result after its image, without a digest that may follow the name."""
    path = Path(image)
    return f"{path.resolve().stem.lower() if path.exists() else image.partition('@')[0]}-slim"


def check_attaching(output: Output) -> None:
    """Make sure, before any work is done, that something can be attached to a result.

    Raises:
        UsageError: It goes where nothing can lie beside an image.
    """
    if output.kind not in {"oci", "registry"}:
        raise UsageError("--attest: only with --output oci:DIR or registry:REF")


def check_index(output: Output) -> None:
    """Make sure, before any work is done, that an index can go somewhere.

    Raises:
        UsageError: An engine has one platform under a name.
    """
    if output.kind == "docker":
        hint = "--output oci:DIR, FILE.tar or registry:REF; or --dry-run"
        raise UsageError("several platforms: the engine keeps no index", hint=hint)


def put_index(output: Output, layout: IndexLayout) -> Place:
    """Put results for several platforms where they are wanted, as one index or not at all.

    Args:
        output: Where: a layout, a tar of one, or a registry.
        layout: The results; it is used up.

    Raises:
        InputMissing: The file or folder cannot be written.
        ServiceUnavailable: The registry refuses.
    """
    layout.finish(output.name)
    digest = layout.digest
    if output.kind == "registry":
        host, name, tag = registry.split(output.where)
        with contextlib.closing(registry.Repository(host, name, credentials(host))) as repository:
            repository.push_index(layout, tag)
        return Place(f"registry:{output.where}", digest)
    if output.kind == "archive":
        with replacing(Path(output.where)) as file:
            file.writelines(archive(layout.folder))
        return Place(output.where, digest)
    with replacing_folder(Path(output.where)) as fresh:
        for each in layout.folder.iterdir():
            shutil.move(each, fresh)
    return Place(f"oci:{output.where}", digest)


def put(
    output: Output,
    built: Built,
    engine: Engine,
    compression: Compression = COMPRESSION,
    attest: Attest | None = None,
) -> Place:
    """Put a result where it is wanted: the whole of it or nothing.

    Args:
        output: Where.
        built: The result.
        engine: It has the result.
        compression: Of the layers in an OCI layout.
        attest: Given the digest of the manifest, returns what is attached to it.

    Raises:
        InputMissing: The file or folder cannot be written.
        ServiceUnavailable: The registry refuses, or nothing can be attached.
    """
    if output.kind == "docker":
        engine.tag(built.image, output.name)
        return Place(output.name)
    if output.kind == "registry":
        place = Place(f"registry:{output.where}", engine.push(built.image, output.where))
        return _attach_in_registry(output.where, place, attest) if attest else place
    if output.kind == "oci":
        place = Place(f"oci:{output.where}")
        with replacing_folder(Path(output.where)) as fresh:
            build.write_layout(built.document, built.layers, output.name, fresh, compression)
            return _attach_in_layout(fresh, place, attest) if attest else place
    with replacing(Path(output.where)) as file:
        full = build.with_tag(output.name)
        file.writelines(build.archive(built.document, built.layers, full))
    return Place(output.where)


def _attach_in_layout(folder: Path, place: Place, attest: Attest) -> Place:
    digest = referrers.subject_of(folder)["digest"]
    attachment = attest(digest)
    referrers.attach(folder, attachment)
    return replace(place, digest=digest, attached=attachment.media_type)


def _attach_in_registry(reference: str, place: Place, attest: Attest) -> Place:
    host, name, _ = registry.split(reference)
    attachment = attest(str(place.digest))
    repository = registry.Repository(host, name, credentials(host))
    with contextlib.closing(repository):
        repository.attach(str(place.digest), attachment)
    return replace(place, attached=attachment.media_type)

"""Where a result goes: the engine, an archive, an OCI layout, a registry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlkit.errors import UsageError
from mlkit.files import check_name, check_place, replacing, replacing_folder
from mlkit.image.choices import COMPRESSION, Compression
from mlkit.image.filesystem import build
from mlkit.image.result import Built
from mlkit.image.run.engine import Engine

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
        digest: That of its manifest, in a registry.
    """

    text: str
    digest: str | None = None


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


def put(
    output: Output, built: Built, engine: Engine, compression: Compression = COMPRESSION
) -> Place:
    """Put a result where it is wanted: the whole of it or nothing.

    Args:
        output: Where.
        built: The result.
        engine: It has the result.
        compression: Of the layers in an OCI layout.

    Raises:
        InputMissing: The file or folder cannot be written.
        ServiceUnavailable: The registry refuses.
    """
    if output.kind == "docker":
        engine.tag(built.image, output.name)
        return Place(output.name)
    if output.kind == "registry":
        digest = engine.push(built.image, output.where)
        return Place(f"registry:{output.where}", digest)
    if output.kind == "oci":
        with replacing_folder(Path(output.where)) as fresh:
            build.write_layout(built.document, built.layers, output.name, fresh, compression)
        return Place(f"oci:{output.where}")
    with replacing(Path(output.where)) as file:
        full = build.with_tag(output.name)
        file.writelines(build.archive(built.document, built.layers, full))
    return Place(output.where)

"""Opening what a user names: an image of the engine, an archive, a layout, a build folder."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlkit.errors import BadData, InputMissing
from mlkit.files import enough_space
from mlkit.image import build
from mlkit.image.archive import open_image
from mlkit.image.engine import Engine, failures
from mlkit.image.inventory import Inventory, take
from mlkit.progress import Progress, silent


def refuse_architecture(inventory: Inventory) -> None:
    """Refuse an image that this machine's engine cannot run as it is.

    Raises:
        BadData: It is for another architecture.
    """
    theirs = inventory.image.document.get("architecture") or build.here()
    if theirs != build.here():
        hint = f"build or pull it for {build.here()}"
        text = f"{inventory.image.source}: for {theirs}, and this machine is {build.here()}"
        raise BadData(text, hint=hint)


def is_build_folder(path: Path) -> bool:
    """Say whether a path is a folder that `docker build` takes."""
    return (path / "Dockerfile").is_file()


def is_archive(path: Path) -> bool:
    """Say whether a path holds an image: an archive, or the folder of an OCI layout."""
    return path.is_file() or (path / "index.json").is_file() or (path / "manifest.json").is_file()


@contextlib.contextmanager
def opened(name: str, progress: Progress = silent) -> Iterator[Inventory]:
    """Take the inventory of an image; archives and layouts need no engine.

    Args:
        name: A path to an archive, OCI layout or build folder, or a name that the engine knows.
        progress: Told of each layer.
    """
    path = Path(name)
    if is_archive(path) and not is_build_folder(path):
        with enough_space(), open_image(path) as image:
            yield take(image, progress)
        return
    with (
        contextlib.closing(Engine()) as engine,
        in_engine(engine, name, progress) as (inventory, _),
    ):
        yield inventory


@contextlib.contextmanager
def in_engine(
    engine: Engine, name: str, progress: Progress = silent
) -> Iterator[tuple[Inventory, str]]:
    """Give an image's inventory, and its name or id in the engine.

    What is put into the engine for it is gone after the block.
    """
    path = Path(name)
    with failures(), enough_space(), contextlib.ExitStack() as stack:
        if is_build_folder(path):
            found = stack.enter_context(engine.built(path))
            yield stack.enter_context(saved(engine, found, name, progress)), found
        elif is_archive(path):
            image = stack.enter_context(open_image(path))
            inventory = take(image, progress)
            yield inventory, stack.enter_context(engine.loaded(image.raw, image.layers))
        else:
            yield stack.enter_context(_known(engine, name, progress)), name


@contextlib.contextmanager
def _known(engine: Engine, name: str, progress: Progress) -> Iterator[Inventory]:
    try:
        engine.inspect(name)
    except InputMissing as error:
        if Path(name).is_dir():
            hint = "it holds no Dockerfile and no index.json, and no image has this name"
            raise BadData(f"{name}: a folder that is no image", hint=hint) from error
        raise
    with saved(engine, name, name, progress) as inventory:
        yield inventory


@contextlib.contextmanager
def saved(
    engine: Engine, name: str, source: str, progress: Progress = silent
) -> Iterator[Inventory]:
    """Take the inventory of an image of the engine.

    Args:
        engine: Where it is.
        name: Its name or id.
        source: What to call it.
        progress: Told of each layer.
    """
    with tempfile.NamedTemporaryFile(prefix="mlkit-image-", suffix=".tar") as file:
        engine.save(name, file)  # type: ignore[arg-type]
        with open_image(Path(file.name), source) as image:
            yield take(image, progress)

"""Opening what a user names: an image of the engine, an archive, a layout, a build folder."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlkit.errors import BadData, InputMissing
from mlkit.files import enough_space
from mlkit.image.filesystem import build, platforms
from mlkit.image.filesystem.archive import open_image, select_images
from mlkit.image.filesystem.index import HINT, Listed, Selection
from mlkit.image.filesystem.inventory import Inventory, take
from mlkit.image.run.engine.engine import Engine
from mlkit.image.run.engine.failures import failures
from mlkit.progress import Progress, silent
from mlkit.scratch import scratch


@dataclass(frozen=True)
class Source:
    """An image of the engine, which can be run at once; its files may still be on their way.

    Attributes:
        name: Its name or id in the engine.
        title: What the user calls it.
        architecture: What machines it is for.
        config: What its containers run: Entrypoint, Cmd, Env, User, and so on.
        inventory: Waits for its files, and gives them.
    """

    name: str
    title: str
    architecture: str
    config: dict[str, Any]
    inventory: Callable[[], Inventory]


def refuse_architecture(image: Source, platform: str | Listed | None = None) -> None:
    """Refuse an image that this machine can run neither itself nor by an emulator.

    Raises:
        BadData: It is for such an architecture, or not for the platform that was asked for.
    """
    theirs = image.architecture or build.here()
    platform = platform.name if isinstance(platform, Listed) else platform
    if platform is not None and platform.split("/")[1] != theirs:
        raise BadData(f"{image.title}: for linux/{theirs}, not for {platform}")
    if not platforms.runs(theirs):
        hint = f"build or pull it for {build.here()}, or register an emulator (binfmt_misc)"
        text = f"{image.title}: for {theirs}, and this machine is {build.here()}"
        raise BadData(text, hint=hint)


def is_build_folder(path: Path) -> bool:
    """Return whether a path is a folder that `docker build` takes."""
    return (path / "Dockerfile").is_file()


def is_archive(path: Path) -> bool:
    """Return whether a path holds an image: an archive, or the folder of an OCI layout."""
    return path.is_file() or (path / "index.json").is_file() or (path / "manifest.json").is_file()


def select(name: str, wanted: Sequence[str] | None) -> Selection:
    """Select the images of an index that are slimmed into one.

    Args:
        name: The path of an OCI layout.
        wanted: Platforms; None: all that this machine can run.

    Raises:
        BadData: It is something else, or its index cannot be used.
        InputMissing: It cannot be read.
    """
    path = Path(name)
    if is_build_folder(path) or not is_archive(path):
        raise BadData(f"{name}: not an OCI layout, which several platforms need", hint=HINT)
    with enough_space():
        return select_images(path, wanted)


@contextlib.contextmanager
def take_inventory(name: str, progress: Progress = silent) -> Iterator[Inventory]:
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
        in_engine(engine, name, progress) as source,
    ):
        yield source.inventory()


@contextlib.contextmanager
def in_engine(
    engine: Engine, name: str, progress: Progress = silent, platform: str | Listed | None = None
) -> Iterator[Source]:
    """Return an image that the engine can run.

    What is put into the engine for it is gone after the block.

    Args:
        engine: Where it runs.
        name: A path to an archive, OCI layout or build folder, or a name that the engine knows.
        progress: Told of each layer.
        platform: Which image of an index; None: that of this machine.
    """
    path = Path(name)
    with failures(), enough_space(), contextlib.ExitStack() as stack:
        if is_build_folder(path):
            found = stack.enter_context(engine.build_temporary(path))
            yield stack.enter_context(_arriving(engine, found, name, progress))
        elif is_archive(path):
            image = stack.enter_context(open_image(path, platform=platform))
            inventory = take(image, progress)
            loaded = stack.enter_context(engine.load_temporary(image.raw, image.layers))
            architecture = image.document.get("architecture", "")
            yield Source(loaded, name, architecture, image.config, lambda: inventory)
        else:
            _refuse_other_folder(engine, path)
            yield stack.enter_context(_arriving(engine, name, name, progress))


def _refuse_other_folder(engine: Engine, path: Path) -> None:
    """Distinguish a folder that is neither a layout nor an image's name from an unknown name."""
    if path.is_dir():
        try:
            engine.inspect(str(path))
        except InputMissing as error:
            hint = "it holds no Dockerfile and no index.json, and no image has this name"
            raise BadData(f"{path}: a folder that is not an image", hint=hint) from error


@contextlib.contextmanager
def open_saved(
    engine: Engine, name: str, source: str, progress: Progress = silent
) -> Iterator[Inventory]:
    """Take the inventory of an image of the engine.

    Args:
        engine: Where it is.
        name: Its name or id.
        source: What to call it.
        progress: Told of each layer.
    """
    with _arriving(engine, name, source, progress) as image:
        yield image.inventory()


@contextlib.contextmanager
def _arriving(engine: Engine, name: str, title: str, progress: Progress) -> Iterator[Source]:
    """Return an image of the engine at once, while its files are on their way."""
    facts = engine.inspect(name)
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(scratch("mlkit-image-")) / "image.tar"
        file = stack.enter_context(path.open("w+b"))
        wait = stack.enter_context(engine.saving(name, file))

        @functools.cache
        def inventory() -> Inventory:
            wait()
            return take(stack.enter_context(open_image(path, title)), progress)

        yield Source(name, title, facts["Architecture"], facts["Config"] or {}, inventory)

"""Opening what a user names: an image of the engine, an archive, a layout, a build folder."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlkit.image.archive import open_image
from mlkit.image.engine import Engine
from mlkit.image.inventory import Inventory, take
from mlkit.interruption import whole
from mlkit.progress import Progress, silent


@contextlib.contextmanager
def opened(name: str, progress: Progress = silent) -> Iterator[Inventory]:
    """Take the inventory of an image; archives and layouts need no engine.

    Args:
        name: A path to an archive or OCI layout, or a name that the engine knows.
        progress: Told of each layer.
    """
    path = Path(name)
    if path.exists():
        with open_image(path) as image:
            yield take(image, progress)
        return
    with tempfile.NamedTemporaryFile(prefix="mlkit-image-", suffix=".tar") as file:
        engine = Engine()
        try:
            engine.save(name, file)  # type: ignore[arg-type]
        finally:
            engine.close()
        with open_image(Path(file.name), name) as image:
            yield take(image, progress)


@contextlib.contextmanager
def in_engine(engine: Engine, name: str) -> Iterator[str]:
    """Give an image's name or id in the engine; what is put there for it goes after the block."""
    path = Path(name)
    if not path.exists():
        engine.inspect(name)
        yield name
        return
    with contextlib.ExitStack() as stack:
        if (path / "Dockerfile").is_file():
            image = engine.build(path)
            stack.callback(engine.remove_untagged, image)
        else:
            with whole():
                image = engine.load(path)
                stack.callback(engine.remove_untagged, image)
        yield image

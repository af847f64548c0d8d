"""The result: the kept files over a base, with the records and the config of the original."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlkit.errors import BadData
from mlkit.image.base import base_image, debian
from mlkit.image.base.base_image import BaseImage, Merged
from mlkit.image.command import health, launch
from mlkit.image.command.entrypoint import Command
from mlkit.image.command.health import Health
from mlkit.image.filesystem import build, layering
from mlkit.image.filesystem.build import Item, Written
from mlkit.image.filesystem.inventory import Entry, Inventory
from mlkit.image.keep import provenance
from mlkit.image.keep.bytecode import refresh
from mlkit.image.keep.ownership import Ownership
from mlkit.image.keep.request import Plan
from mlkit.image.options import Options
from mlkit.image.packages import apk
from mlkit.image.packages.installed import records
from mlkit.image.packages.package import Packages
from mlkit.image.run.engine.engine import LABEL, RUN, Engine
from mlkit.image.run.trace import tool

INIT_PATH = "tini"
RECORDS = ("var/lib/dpkg/", *apk.DATABASES)
"""Where the records of packages lie."""
OURS = {launch.PROGRAM: "launch", health.PROGRAM: "health"}
"""Where our programs lie in a result."""
NONROOT = "65532:65532"
"""The user of distroless images; by number, since the image's own passwd may not name it."""
CARRIED = (
    *("Env", "User", "WorkingDir", "ExposedPorts", "Volumes", "StopSignal"),
    *("Healthcheck", "Shell"),
)


@dataclass(frozen=True)
class Built:
    """A result on disk.

    Attributes:
        document: The config document.
        layers: The layers, the lowest first.
        image: Its id, in the engine until the caller removes it.
        base: What lies below: `none`, a kind of base, or an image's name.
        files: Its files.
    """

    document: bytes
    layers: list[Written]
    image: str
    base: str
    files: Merged

    @property
    def size(self) -> int:
        """Return the bytes of its files."""
        return self.files.size


class Builder:
    """Builds results of one image.

    Args:
        engine: Where they are loaded.
        inventory: The original's files.
        packages: The original's packages.
        command: What a result starts.
        options: What the user asks for.
        folder: For the layers; they stay as long as the folder does.
        init: The bytes of a static init for this machine.
    """

    def __init__(
        self,
        engine: Engine,
        inventory: Inventory,
        packages: Packages,
        command: Command,
        options: Options,
        folder: Path,
        init: bytes,
    ) -> None:
        self._engine = engine
        self._inventory = inventory
        self._packages = packages
        self._command = command
        self._options = options
        self._folder = folder
        self._init = init
        self._ownership = Ownership(inventory, packages)
        self._health: Health | None = health.health(inventory.image.config)
        self._base_image: BaseImage | None = None
        self._lowest: list[Written] = []
        self._architecture = str(inventory.image.document.get("architecture", build.here()))
        self._opened = contextlib.ExitStack()
        self._trial = contextlib.ExitStack()

    def close(self) -> None:
        """Remove what was built unless it has a name, and let the base go."""
        self.forget()
        self._opened.close()

    def forget(self) -> None:
        """Remove what was built from the engine, unless it has a name."""
        self._trial.close()

    def open_base(self) -> None:
        """Take the base, unless it is chosen by what is kept; a wrong name fails early.

        Raises:
            InputMissing: The engine has no such image.
            BadData: It is of another distribution.
        """
        name = self._options.base
        base_image.refuse(name, self._packages, self._architecture)
        self._refuse_programs()
        if name != base_image.AUTO:
            self._take(name)

    def take_init(self) -> None:
        """Take an init that runs on the machines that the image is for.

        Raises:
            ServiceUnavailable: There is none.
        """
        if self._architecture != build.here():
            variant = self._inventory.image.document.get("variant")
            self._init = debian.init_for(self._architecture, variant)

    def _refuse_programs(self) -> None:
        """Refuse what would need programs of ours, which are made for this machine alone.

        Raises:
            BadData: The image is for another one, and its command or health check needs them.
        """
        needed = sorted(self._programs())
        if needed and self._architecture != build.here():
            text = f"{self._inventory.image.source}: /{needed[0]} is not made for"
            hint = "write command and health check in exec form, or slim it on such a machine"
            raise BadData(f"{text} {self._architecture}", hint=hint)

    def build(self, kept: Plan, init: bool) -> Built:
        """Build a result, and load it into the engine until it is forgotten.

        Raises:
            BadData: A library of the base would replace a newer one of the app's.
        """
        if self._base_image is None:
            name = base_image.choose(self._inventory, self._packages, kept)
            if name == base_image.OF_IMAGE:
                self._hold(base_image.of_image(self._inventory, self._packages, kept))
            else:
                self._take(name)
        below = self._base_image
        assert below is not None
        items = self._items(kept, init, below)
        merged = base_image.merge(self._inventory, below.items, items)
        base_image.check(merged, below.name)
        time = self._options.timestamps
        own = base_image.without_same(items, below.items, time is None)
        layers = [*self._lowest, *self._layers(own, time)]
        variant = self._inventory.image.document.get("variant")
        config = self._config(init, below)
        document = build.document(layers, config, self._architecture, variant)
        return Built(document, layers, self._load(document, layers), below.name, merged)

    def keep_original(self, image: str, tried: Built) -> Built:
        """Return the original as the result, where a slimmed one would be no smaller.

        Args:
            image: Its name in the engine.
            tried: The result that is not taken.
        """
        self.forget()
        layers = list(base_image.copy_layers(self._inventory, self._folder, "original"))
        raw = self._inventory.image.raw
        name = str(self._engine.inspect(image)["Id"])
        return Built(raw, layers, name, "(the original)", tried.files)

    def _take(self, name: str) -> None:
        if name in {base_image.NONE, *debian.KINDS}:
            self._hold(base_image.assemble(name))
        else:
            taken = base_image.image(name, self._architecture)
            below = self._opened.enter_context(taken)
            base_image.refuse_other(below, self._packages)
            self._hold(below)

    def _hold(self, below: BaseImage) -> None:
        self._base_image = below
        self._lowest = self._base_image.layers(self._folder, self._options.timestamps)

    def _layers(self, items: list[Item], time: float | None) -> list[Written]:
        """Write what lies over the base: what the app depends on, and the app itself."""
        parts = layering.split(items, self._is_dependency)
        places = [self._folder / f"layer-{number}.tar" for number, _ in enumerate(parts)]
        return [
            build.write_layer(part, place, time) for part, place in zip(parts, places, strict=True)
        ]

    def _is_dependency(self, path: str) -> bool:
        if path.startswith(RECORDS) or path in {INIT_PATH, *OURS.values()}:
            return True
        return self._ownership.is_owned(path) or self._ownership.is_runtime(path)

    def _load(self, document: bytes, layers: list[Written]) -> str:
        return self._trial.enter_context(self._engine.load_temporary(document, layers))

    def _items(self, kept: Plan, init: bool, below: BaseImage) -> list[Item]:
        entries = self._inventory.files.entries
        items = [self._item(entries[path]) for path in sorted(kept.reasons)]
        noted = self._records(kept, below)
        written = {item.entry.path for item in noted}
        items = [item for item in items if item.entry.path not in written] + noted
        items.append(build.file(provenance.RECORD, provenance.encode(self._record(kept))))
        if init:
            items.append(build.file(INIT_PATH, self._init, 0o755))
        items += [build.file(name, tool(OURS[name]), 0o755) for name in sorted(self._programs())]
        if not below.items and "tmp" not in kept.reasons:
            items.append(build.directory("tmp", 0o1777))
        return items

    def _record(self, kept: Plan) -> provenance.Record:
        """Note why each file is kept, for `mlkit image explain`."""
        return provenance.Record(
            original=self._inventory.image.source,
            layers=provenance.fingerprint(self._inventory),
            profile=self._options.profile,
            exclude=list(self._options.exclude),
            kept=kept.reasons,
        )

    def _programs(self) -> set[str]:
        """Name the programs of ours that the result starts."""
        ours = {launch.PROGRAM} if self._command.launched else set()
        return ours | (self._health.programs if self._health else set())

    def _records(self, kept: Plan, below: BaseImage) -> list[Item]:
        """Write each kept package where scanners look."""
        names, there = kept.packages | below.packages, set(kept.reasons)
        if below.packages:
            there |= {item.entry.path for item in below.items}
        found = records(self._inventory, self._packages, names, there, below.image)
        return [build.file(path, data) for path, data in found]

    def _item(self, entry: Entry) -> Item:
        time = self._options.timestamps
        fresh = None if time is None else refresh(self._inventory, entry, time)
        return Item(entry, self._inventory if fresh is None else fresh)

    def _config(self, init: bool, below: BaseImage) -> dict[str, Any]:
        """Carry the original's config over, with the new entrypoint and where it came from."""
        original = self._inventory.image.config
        config = {name: original[name] for name in CARRIED if original.get(name)}
        if self._options.user == "nonroot":
            config["User"] = NONROOT
        if self._health:
            config["Healthcheck"] = config["Healthcheck"] | {"Test": list(self._health.test)}
        prefix = [f"/{INIT_PATH}", "--"] if init else []
        entrypoint = [*prefix, *self._command.entrypoint]
        config |= {"Entrypoint": entrypoint} if entrypoint else {}
        config |= {"Cmd": list(self._command.arguments)} if self._command.arguments else {}
        return config | {"Labels": self._labels(below)}

    def _labels(self, below: BaseImage) -> dict[str, str]:
        image = self._inventory.image
        labels = dict(image.config.get("Labels") or {})
        for ours in (LABEL, RUN):
            labels.pop(ours, None)
        return labels | {
            "org.opencontainers.image.base.name": image.source,
            "org.opencontainers.image.base.digest": image.id,
            "io.mlkit.image.base.debian": below.name,
        }

"""Slimming: trace, plan, build, and prove, until the result behaves as the original does."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mlkit.errors import BadData, UsageError
from mlkit.files import replacing, replacing_folder
from mlkit.image import base, build, explanation, health, launch
from mlkit.image.build import Item, Written
from mlkit.image.bytecode import refreshed
from mlkit.image.compare import Difference, Verdict, settle, verdict
from mlkit.image.diagnosis import Diagnosis, Finding, diagnose
from mlkit.image.engine import LABEL
from mlkit.image.entrypoint import Command, parse
from mlkit.image.inventory import Entry, Inventory
from mlkit.image.observation import Observation, Runner
from mlkit.image.packages import Packages, read_packages, records, refuse_foreign
from mlkit.image.plan import Plan, Profile, Request, plan
from mlkit.image.probe import Probe
from mlkit.image.trace import Trace, tool
from mlkit.interruption import whole
from mlkit.progress import Progress, silent

TRIALS = 6
"""How often a result is built anew because a path was missing."""
INIT_PATH = "tini"
OURS = {launch.PROGRAM: "launch", health.PROGRAM: "health"}
"""Where our programs lie in a result."""
NONROOT = "65532:65532"
"""The user of distroless images; by number, since the image's own passwd may not name it."""


@dataclass(frozen=True)
class Options:
    """What the user asks for.

    Attributes:
        profile: How much is kept besides what was traced.
        base: A kind of base, or `none`.
        init: Whether an init goes in front.
        include: Globs of paths to keep.
        exclude: Globs of paths to drop.
        runs: Arguments of further runs that are traced.
        trace: What earlier runs looked up.
        user: Who the result runs as: as in the original, or user 65532, who owns nothing.
    """

    profile: Profile = "balanced"
    base: str = "static"
    init: Literal["auto", "always", "never"] = "auto"
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    runs: Sequence[Sequence[str]] = ()
    trace: Trace = field(default_factory=Trace)
    user: Literal["keep", "nonroot"] = "keep"


@dataclass(frozen=True)
class Built:
    """A result on disk.

    Attributes:
        document: The config document.
        layers: The layers.
        image: Its id, in the engine until the caller removes it.
        size: Bytes of its files.
    """

    document: bytes
    layers: list[Written]
    image: str
    size: int


@dataclass(frozen=True)
class Slimmed:
    """What slimming came to.

    Attributes:
        built: The result.
        plan: The keep-set, with reasons.
        trace: What the app looked up.
        verdict: How the result behaves, compared with the original.
        differences: Where it behaves otherwise.
        findings: The diagnosis of the original.
        added: Paths that a trial had missed.
        command: What the result starts.
        packages: The original's packages.
    """

    built: Built
    plan: Plan
    trace: Trace
    verdict: Verdict
    differences: list[Difference]
    findings: list[Finding]
    added: list[str]
    command: list[str]
    packages: Packages


class Slimmer:
    """One slimming of one image.

    Args:
        runner: Runs containers.
        inventory: The image's files.
        image: Its name in the engine.
        options: What the user asks for.
        folder: For the layers; they stay as long as the folder does.
    """

    def __init__(
        self, runner: Runner, inventory: Inventory, image: str, options: Options, folder: Path
    ) -> None:
        self._runner = runner
        self._inventory = inventory
        self._image = image
        self._options = options
        self._folder = folder
        self._packages = read_packages(inventory)
        self._command = parse(inventory.image.config)
        self._health = health.health(inventory.image.config)
        self._original = original_argv(inventory)
        self._trials: list[str] = []
        self._lost: list[str] = []
        self._base = base.assemble(options.base) if options.base != "none" else []

    def close(self) -> None:
        """Remove the results that nobody has named."""
        while self._trials:
            with whole():
                self._runner.engine.remove_untagged(self._trials.pop())

    def run(self, progress: Progress = silent) -> Slimmed:
        """Slim, and prove.

        Raises:
            BadData: The image cannot be slimmed, or does not work itself.
        """
        refuse_foreign(self._inventory)
        progress(0, 5)
        diagnosis = diagnose(self._runner, self._inventory, self._image, self._original)
        init = self._wants_init(diagnosis)
        originals = self._originals(diagnosis)
        progress(2, 5)
        trace = self._trace(init)
        progress(3, 5)
        built, kept, added = self._build_until_nothing_is_missed(trace, init)
        progress(4, 5)
        candidate, differences = self._prove(originals, built, init)
        if diagnosis.needs_init and init:
            differences += _cured(diagnosis, candidate)
        if verdict(differences) == "broken":
            differences += [Difference("looked for in vain", "there", path, "noted")
                            for path in self._lost]  # fmt: skip
        return Slimmed(
            built=built,
            plan=kept,
            trace=trace,
            verdict=verdict(differences),
            differences=differences,
            findings=diagnosis.findings,
            added=added,
            command=self._argv(self._command, init),
            packages=self._packages,
        )

    def _prove(
        self, originals: list[Observation], built: Built, init: bool
    ) -> tuple[Observation, list[Difference]]:
        """Compare; where only times differ, the machine may have been busy: try again."""
        argv = self._argv(self._command, init)
        return settle(
            originals,
            lambda: self._again(originals),
            lambda: self._runner.run(built.image, argv),
        )

    def _again(self, originals: list[Observation]) -> Observation:
        """Run the original once more, as it was run before."""
        init = originals[0].first.startswith("/.mlkit-init")
        return self._runner.run(self._image, self._original, init=init)

    def _wants_init(self, diagnosis: Diagnosis) -> bool:
        asked = self._options.init
        return diagnosis.needs_init if asked == "auto" else asked == "always"

    def _originals(self, diagnosis: Diagnosis) -> list[Observation]:
        """Run what works, the original or the original with an init, three times in all."""
        alone, helped = diagnosis.alone, diagnosis.helped
        init = not alone.works and helped is not None and helped.works
        first = helped if init and helped else alone
        if not first.works:
            failed = [f"{each.probe}: {each.problem}" for each in first.answers if not each.held]
            ending = f"it ends with exit code {first.exit_code}"
            text = first.problem or "; ".join(failed) or ending
            hint = "run it by hand, give --env or --volume, or choose other probes"
            raise BadData(f"{self._image}: the original itself does not work: {text}", hint=hint)
        more = [self._runner.run(self._image, self._original, init=init) for _ in range(2)]
        return [first, *more]

    def _trace(self, init: bool) -> Trace:
        command = list(self._command.argv)
        commands = [command, *([*self._command.entrypoint, *run] for run in self._options.runs)]
        total = self._options.trace
        for each in commands:
            seen = self._runner.run(self._image, list(each), traced=True, init=init).trace
            total |= seen or Trace()
        return total

    def _build_until_nothing_is_missed(
        self, trace: Trace, init: bool
    ) -> tuple[Built, Plan, list[str]]:
        """Build, try, and add what the trial looked for and the original has."""
        added: list[str] = []
        for _ in range(TRIALS):
            request = Request(
                self._command,
                trace,
                self._options.profile,
                self._options.include,
                self._options.exclude,
                added,
            )
            kept = plan(self._inventory, self._packages, request)
            built = self._build(kept, init)
            argv = self._argv(self._command, init)
            self._lost = self._missed(kept, self._runner.run(built.image, argv, traced=True))
            wanted = [path for path in self._lost if self._wanted(path)]
            if not wanted:
                return built, kept, added
            added += wanted
            self.close()
        request = replace(request, required=added)
        kept = plan(self._inventory, self._packages, request)
        return self._build(kept, init), kept, added

    def _missed(self, kept: Plan, trial: Observation) -> list[str]:
        """List what a trial looked for in vain and the original has."""
        found = []
        for path in sorted(trial.trace.missed if trial.trace else ()):
            real, _ = self._inventory.files.walk(path)
            if real and real not in kept.reasons:
                found.append(path)
        return found

    def _wanted(self, path: str) -> bool:
        real, _ = self._inventory.files.walk(path)
        globs = [each.lstrip("/") for each in self._options.exclude]
        return not any(fnmatch.fnmatchcase(real or "", each) for each in globs)

    def _argv(self, command: Command, init: bool) -> list[str]:
        return [*([f"/{INIT_PATH}", "--"] if init else []), *command.argv]

    def _build(self, kept: Plan, init: bool) -> Built:
        layers = []
        if self._base:
            layers.append(build.write_layer(self._base, self._folder / "base.tar"))
        items = self._items(kept, init)
        layers.append(build.write_layer(items, self._folder / "app.tar"))
        architecture = str(self._inventory.image.document.get("architecture", build.here()))
        document = build.document(layers, self._config(init), architecture)
        archive = self._folder / "image.tar"
        with archive.open("wb") as file:
            build.write_archive(document, layers, None, file)
        with whole():
            image = self._runner.engine.load(archive)
            self._trials.append(image)
        archive.unlink()
        size = sum({each.entry.path: each.entry.size for each in [*self._base, *items]}.values())
        return Built(document, layers, image, size)

    def _items(self, kept: Plan, init: bool) -> list[Item]:
        entries = self._inventory.files.entries
        items = [self._item(entries[path]) for path in sorted(kept.reasons)]
        items += self._records(kept)
        items.append(build.file(explanation.RECORD, explanation.encode(self._record(kept))))
        if init:
            items.append(build.file(INIT_PATH, self._runner.init, 0o755))
        items += [build.file(name, tool(OURS[name]), 0o755) for name in sorted(self._programs())]
        if not self._base and "tmp" not in kept.reasons:
            items.append(build.directory("tmp", 0o1777))
        return items

    def _item(self, entry: Entry) -> Item:
        fresh = refreshed(self._inventory, entry)
        return Item(entry, self._inventory if fresh is None else fresh)

    def _record(self, kept: Plan) -> explanation.Record:
        """Note why each file is kept, for `mlkit image explain`."""
        return explanation.Record(
            original=self._inventory.image.source,
            layers=explanation.fingerprint(self._inventory),
            profile=self._options.profile,
            exclude=list(self._options.exclude),
            kept=kept.reasons,
        )

    def _programs(self) -> set[str]:
        """Name the programs of ours that the result starts."""
        ours = {launch.PROGRAM} if self._command.launched else set()
        return ours | (self._health.programs if self._health else set())

    def _records(self, kept: Plan) -> list[Item]:
        """Write each kept package where scanners of distroless images look."""
        found = records(self._inventory, self._packages, kept.packages, kept.reasons)
        return [build.file(path, data) for path, data in found]

    def _config(self, init: bool) -> dict[str, Any]:
        """Carry the original's config over, with the new entrypoint and where it came from."""
        original = self._inventory.image.config
        carried = (
            *("Env", "User", "WorkingDir", "ExposedPorts", "Volumes", "StopSignal"),
            "Healthcheck",
        )
        config = {name: original[name] for name in carried if original.get(name)}
        if self._options.user == "nonroot":
            config["User"] = NONROOT
        if self._health:
            config["Healthcheck"] = config["Healthcheck"] | {"Test": list(self._health.test)}
        prefix = [f"/{INIT_PATH}", "--"] if init else []
        entrypoint = [*prefix, *self._command.entrypoint]
        config |= {"Entrypoint": entrypoint} if entrypoint else {}
        config |= {"Cmd": list(self._command.arguments)} if self._command.arguments else {}
        labels = dict(original.get("Labels") or {})
        labels.pop(LABEL, None)
        labels["org.opencontainers.image.base.name"] = self._inventory.image.source
        return config | {"Labels": labels}


def export(built: Built, name: str, where: str) -> None:
    """Write a result to `FILE.tar`, for `docker load`, or to `oci:FOLDER`.

    Raises:
        UsageError: The folder is not empty, or `where` is neither.
    """
    if where.startswith("oci:"):
        folder = Path(where.removeprefix("oci:"))
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder}: not empty")
        with replacing_folder(folder) as fresh:
            build.write_layout(built.document, built.layers, name, fresh)
    elif where.endswith(".tar"):
        full = name if ":" in name.split("/")[-1] else f"{name}:latest"
        with replacing(Path(where)) as file:
            build.write_archive(built.document, built.layers, full, file)
    else:
        raise UsageError(f"--output {where}: not understood", hint="docker, FILE.tar or oci:DIR")


def _cured(diagnosis: Diagnosis, candidate: Observation) -> list[Difference]:
    """Name what the init has mended; runs of the original with an init cannot show it."""
    if diagnosis.alone.works or not candidate.works:
        return []
    ending = diagnosis.alone.exit_code
    ours = "does not work" if ending is None else f"dies with exit code {ending}"
    return [Difference("as process 1", ours, "works", "improved")]


def original_argv(inventory: Inventory) -> list[str]:
    """Give what the image starts as it is.

    Raises:
        BadData: It starts nothing.
    """
    config = inventory.image.config
    argv = [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]
    if not argv:
        hint = "give it an ENTRYPOINT or CMD"
        raise BadData(f"{inventory.image.source}: it starts no command", hint=hint)
    return argv


def exposed_ports(config: dict[str, Any]) -> list[int]:
    """List the exposed TCP ports."""
    names = sorted(config.get("ExposedPorts") or ())
    return [int(name.partition("/")[0]) for name in names if not name.endswith("/udp")]


def default_probes(config: dict[str, Any]) -> list[Probe]:
    """Probe the exposed ports, which shows little."""
    return [Probe(f"tcp:{port}", "tcp", port=port) for port in exposed_ports(config)]

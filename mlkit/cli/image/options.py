"""Options that the `mlkit image` commands share, and what they start from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.image.choices import TRACER, Tracer

if TYPE_CHECKING:
    from mlkit.image.compose import Composition
    from mlkit.image.filesystem.image_source import Source
    from mlkit.image.filesystem.index import Listed
    from mlkit.image.run.engine.engine import Engine
    from mlkit.image.run.exploration import Exploration
    from mlkit.image.run.observation import Runner, Settings
    from mlkit.image.run.probe import Probe

ImageName = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE",
        help=("An image of the engine, a `docker save` archive, an OCI layout, or a build folder."),
    ),
]
IMAGE_HELP = "An image of the engine, a `docker save` archive, or an OCI layout."
Probes = Annotated[
    list[str] | None,
    typer.Option(
        "--probe",
        metavar="PROBE",
        help=(
            "Probe of the app (repeatable): http:[METHOD ][PORT]/PATH[=STATUS], tcp:PORT, "
            "exec:CMD, log:REGEX or exit:CODE."
        ),
    ),
]
ProbeFile = Annotated[
    Path | None,
    typer.Option(
        "--probes", metavar="FILE", help="TOML file of probes, which may have request bodies."
    ),
]
Exec = Annotated[
    str | None,
    typer.Option(
        "--exec",
        metavar="CMD",
        help=(
            "Test command that is run on this machine; MLKIT_HOST and MLKIT_PORT locate the app."
        ),
    ),
]
Env = Annotated[
    list[str] | None,
    typer.Option(
        "--env", "-e", metavar="K=V", help="Environment variable of all runs (repeatable)."
    ),
]
EnvFile = Annotated[
    Path | None,
    typer.Option("--env-file", metavar="F", help="File of environment variables of all runs."),
]
Volumes = Annotated[
    list[str] | None,
    typer.Option("--volume", metavar="V", help="Volume that is mounted in all runs (repeatable)."),
]
Network = Annotated[str, typer.Option(metavar="N", help="Network of all runs.")]
Watch = Annotated[
    float, typer.Option(min=0.0, metavar="S", help="Seconds for which the app has to keep running.")
]
Patience = Annotated[
    float, typer.Option(min=0.1, metavar="S", help="Seconds that the app may take to become ready.")
]


OpenApi = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|PATH", help="Probe all routes of this OpenAPI document (JSON) as well."
    ),
]
Explore = Annotated[
    bool,
    typer.Option(
        "--explore/--no-explore",
        help="If only / or a port is probed, also request what the app itself links and documents.",
    ),
]
OneAtATime = Annotated[
    bool,
    typer.Option("--one-at-a-time", help="Never run two containers of the app at the same time."),
]


@dataclass(frozen=True)
class Wish:
    """What an app is asked beyond the probes.

    Attributes:
        explore: Look for more where only `/` or a port is probed.
        openapi: An OpenAPI document: a file, or the path where the app serves it.
    """

    explore: bool = False
    openapi: str | None = None

    def read(self, probes: Sequence[Probe], ports: Sequence[int]) -> Exploration | None:
        """Return how far the app is explored; None: not at all.

        Raises:
            UsageError: The document is neither a file nor a path.
            InputMissing: The file cannot be read.
        """
        from mlkit.errors import InputMissing, UsageError
        from mlkit.image.run.exploration import Exploration

        document, path = None, None
        if self.openapi is not None and Path(self.openapi).is_file():
            try:
                document = Path(self.openapi).read_bytes()
            except OSError as error:
                text = f"{self.openapi}: cannot be read: {error.strerror}"
                raise InputMissing(text) from error
        elif self.openapi is not None and self.openapi.startswith("/"):
            path = self.openapi
        elif self.openapi is not None:
            hint = "a file, or a path of the app such as /openapi.json"
            raise UsageError(f"--openapi {self.openapi}: neither", hint=hint)
        crawl = self.explore and all(each.shows_little for each in probes)
        port = ports[0] if ports else None
        found = Exploration(crawl, document, path, port)
        return found if found.asks else None


@dataclass(frozen=True)
class Asked:
    """What the app is asked, as the user gave it.

    Attributes:
        probes: `--probe`.
        file: `--probes`.
        command: `--exec`.
    """

    probes: Sequence[str] | None
    file: Path | None = None
    command: str | None = None

    @property
    def anything(self) -> bool:
        """Return whether the user asks anything at all."""
        return bool(self.probes or self.file or self.command)

    def read(self, config: dict[str, Any]) -> list[Probe]:
        """Return the probes: those of the file, of the command line, and the command last."""
        from mlkit.image.run import probe_file
        from mlkit.image.run.probe import command, parse
        from mlkit.image.slim import exposed_ports

        ports = exposed_ports(config)
        found = probe_file.read(self.file, ports) if self.file else []
        found += [parse(each, ports) for each in self.probes or ()]
        if self.command is not None:
            named = [each.port for each in found if each.port]
            found.append(command(self.command, [*ports, *named]))
        return found


def settings_of(
    env: list[str] | None,
    env_file: Path | None,
    volume: list[str] | None,
    network: str,
    watch: float,
    patience: float,
    tracer: Tracer = TRACER,
) -> Settings:
    """Return the settings of all runs, but for the probes."""
    import os

    from mlkit.image.command import env_file as files
    from mlkit.image.run.observation import Settings

    pairs = {} if env_file is None else files.read(env_file, os.environ)
    pairs |= files.pairs(env or (), os.environ)
    return Settings((), pairs, volume or (), network, patience, watch, tracer)


@contextlib.contextmanager
def _beside(engine: Engine, composition: Composition, settings: Settings) -> Iterator[Settings]:
    """Start the services of a Compose file; return the settings of the one that is slimmed."""
    from dataclasses import replace

    from mlkit.image.run.services import up

    service = composition.service
    with up(engine, composition, settings.patience) as services:
        yield replace(
            settings,
            environment={**service.environment, **settings.environment},
            volumes=[*services.volumes(service), *settings.volumes],
            network=services.network,
            aliases=[service.name],
        )


def read_compose(file: Path | None, service: str | None, network: str) -> Composition | None:
    """Read what `--compose` and `--service` ask for.

    Raises:
        UsageError: One is given without the other, or --network as well.
        BadData: The file has something that is not understood.
    """
    from mlkit.errors import UsageError
    from mlkit.image.compose import read

    if file is None and service is None:
        return None
    if file is None or service is None:
        raise UsageError("--compose FILE and --service NAME belong together")
    if network:
        raise UsageError("--compose makes a network of its own: without --network")
    return read(file, service)


@contextlib.contextmanager
def ready(
    image: str,
    asked: Asked,
    settings: Settings,
    wish: Wish | None = None,
    composition: Composition | None = None,
    platform: str | Listed | None = None,
) -> Iterator[tuple[Runner, Source]]:
    """Return what runs containers, and the image; its files may still be on their way."""
    from dataclasses import replace

    from mlkit.image.base.debian import init_program
    from mlkit.image.filesystem.image_source import in_engine, refuse_architecture
    from mlkit.image.run.engine.engine import Engine
    from mlkit.image.run.observation import Runner, Tools
    from mlkit.image.slim import default_probes, exposed_ports
    from mlkit.interruption import stoppable, whole

    with contextlib.ExitStack() as stack:
        stack.enter_context(stoppable())
        engine = stack.enter_context(contextlib.closing(Engine()))
        source = stack.enter_context(in_engine(engine, image, platform=platform))
        refuse_architecture(source, platform)
        probes = asked.read(source.config) or default_probes(source.config)
        ports = exposed_ports(source.config)
        exploration = wish.read(probes, ports) if wish else None
        settings = replace(settings, probes=probes, exploration=exploration)
        with whole():
            tools = stack.enter_context(Tools(engine))
        if composition is not None:
            settings = stack.enter_context(_beside(engine, composition, settings))
        yield Runner(engine, tools, settings, init_program()), source

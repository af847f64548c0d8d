"""Running a container and watching it: probes, processes, signals, and what it looks up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from mlkit.image.choices import PATIENCE, TRACER, Tracer
from mlkit.image.command import launch
from mlkit.image.command.health import health_command
from mlkit.image.filesystem import build
from mlkit.image.run import owner
from mlkit.image.run.engine.container import Container
from mlkit.image.run.engine.engine import LABEL, RUN, Engine
from mlkit.image.run.exploration import Exploration, explore
from mlkit.image.run.inspector import (
    Process,
    app_of,
    hosts_of,
    orphans,
    read_both,
    read_look,
    read_processes,
    signal_number,
)
from mlkit.image.run.probe import OVER_NETWORK, Answer, Probe, ask, ask_once
from mlkit.image.run.trace import Trace, tool
from mlkit.image.run.tracing import Tracing, attach
from mlkit.scratch import scratch

STOP_PATIENCE = 10
"""Seconds from SIGTERM to SIGKILL, the engine's default where the image sets none."""
DEAF = 2
"""The same for a process 1 that handles no such signal: the kernel drops it."""
LONGEST_STOP = 120
"""Seconds, regardless of the image's setting."""
SLOWER = 3
"""How many times as long as one run another may take to become ready."""
LONGEST_LOOK = 60
"""Seconds that a list of processes may take on a busy machine."""
POLL = 0.03
PAUSE = 0.2
"""Seconds between two looks at an app that has only to stay up: each is work for the engine."""


@dataclass(frozen=True)
class Settings:
    """How containers are run, whichever image they run.

    Attributes:
        probes: What is asked.
        environment: Further variables.
        volumes: As `docker run --volume`.
        network: The network; the engine's default if empty.
        patience: Seconds that an app may take to become ready.
        watch: Seconds that it has to survive after that.
        tracer: How it is traced.
        exploration: What an app is asked beyond the probes, once.
        aliases: Names by which others in the network reach the app.
        security: As `docker run --security-opt`, for the app's container.
    """

    probes: Sequence[Probe] = ()
    environment: dict[str, str] = field(default_factory=dict)
    volumes: Sequence[str] = ()
    network: str = ""
    patience: float = PATIENCE
    watch: float = 2.0
    tracer: Tracer = TRACER
    exploration: Exploration | None = None
    security: Sequence[str] = ()
    aliases: Sequence[str] = ()

    @property
    def shares(self) -> bool:
        """Return whether containers share something, so that no two may run at the same time."""
        own = self.network in {"", "bridge", "default"}
        return bool(self.volumes) or not own or any(each.kind == "command" for each in self.probes)

    def for_one_that_took(self, ready: float) -> Settings:
        """Return settings for an app that once needed some seconds to become ready.

        A busy machine may need a multiple of that for the next run, of a result as of the original.
        """
        return replace(self, patience=max(self.patience, SLOWER * ready))


@dataclass(frozen=True)
class Observation:
    """How one run went.

    Attributes:
        problem: The engine's complaint if it did not start.
        exit_code: How it ended by itself; None: it was still up when it was stopped.
        ready: Seconds until all probes had their answers.
        answers: One for each probe.
        log: What it wrote.
        first: The command of process 1.
        zombies: Processes that nobody has reaped.
        orphans: Those among them that process 1 would have to reap.
        app: The app's process, if it was up at the end and not traced.
        look: What a program in the container finds: certificates, zone, addresses.
        stop: Seconds from SIGTERM to its end; None: it had ended before.
        killed: The stop signal did not end it.
        patience: Seconds that it had to end.
        trace: What it looked up, if it was traced.
        found: What it was asked beyond the probes; `answers` ends with the answers.
        init: An init was put in front.
        crowded: Other containers ran beside it, so that its times say little.
        healthy: Its own health check holds; None: it has none, had ended, or was traced.
    """

    problem: str | None = None
    exit_code: int | None = None
    ready: float = 0.0
    answers: Sequence[Answer] = ()
    log: str = ""
    first: str = ""
    zombies: int = 0
    orphans: int = 0
    app: Process | None = None
    look: dict[str, str] = field(default_factory=dict)
    stop: float | None = None
    killed: bool = False
    patience: int = STOP_PATIENCE
    trace: Trace | None = None
    healthy: bool | None = None
    found: Sequence[Probe] = ()
    crowded: bool = False
    init: bool = False

    @property
    def works(self) -> bool:
        """Return whether it did all that was asked, and stayed up or ended as it should."""
        if self.problem:
            return False
        asked_to_end = any(answer.probe.startswith("exit:") for answer in self.answers)
        ended_well = self.exit_code in {None, 0} or asked_to_end
        return ended_well and all(answer.held for answer in self.answers)


def stop_patience(config: dict[str, Any], processes: Sequence[Process]) -> int:
    """Return how many seconds a container has between its stop signal and its end by force.

    Args:
        config: The image's.
        processes: Of the container; none if they were not to be seen.
    """
    number = signal_number(str(config.get("StopSignal") or "SIGTERM"))
    first = next((each for each in processes if each.pid == 1), None)
    if first is not None and number is not None and not first.handles(number):
        return DEAF
    given = config.get("StopTimeout")
    return min(int(given), LONGEST_STOP) if isinstance(given, int) and given > 0 else STOP_PATIENCE


class Tools:
    """The image of our static programs, in the engine as long as the block lasts.

    Each run has one of its own: another run's end must not take it away.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with scratch("mlkit-image-") as folder:
            names = ("tracer", "listener", "relay", "inspector")
            items = [build.file(name, tool(name), 0o755) for name in names]
            layer = build.write_layer(items, folder / "layer.tar")
            labels = {LABEL: "1", RUN: owner.mark()}
            config = {"Entrypoint": ["/relay"], "Labels": labels}
            document = build.document([layer], config, build.here())
            self.image = engine.load(partial(build.archive, document, [layer], None))

    def __enter__(self) -> Tools:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.remove_image(self.image)


@dataclass(frozen=True)
class Runner:
    """Runs containers under one set of settings.

    Attributes:
        engine: Where.
        tools: Our programs.
        settings: How.
        init: The bytes of a static init, for runs that want one in front.
    """

    engine: Engine
    tools: Tools
    settings: Settings
    init: bytes = b""

    def run(
        self, image: str, argv: Sequence[str], *, traced: bool = False, init: bool = False
    ) -> Observation:
        """Run an image once, from its start to its end.

        Args:
            image: Its name or id.
            argv: Entrypoint and command in one.
            traced: Hold it at its start, and note what it looks up.
            init: Put an init in front.
        """
        command = ["/.mlkit-init", "--", *argv] if init else list(argv)
        if traced:
            command = ["/.mlkit-gate", *command]
        with ExitStack() as stack:
            app = stack.enter_context(self._app(image, command))
            files = {".mlkit-init": self.init} if init else {}
            if traced:
                files[".mlkit-gate"] = tool("gate")
            else:
                files[".mlkit-inspector"] = tool("inspector")
            if f"/{launch.PROGRAM}" in argv:
                files[launch.PROGRAM] = tool("launch")
            app.put(files)
            problem = app.start()
            if problem:
                return Observation(problem=problem)
            tracer = self._trace(stack, app) if traced else None
            config = self.engine.inspect(image)["Config"] or {}
            check = [] if traced else health_command(config)
            return replace(self._watch(stack, app, tracer, check, config), init=init)

    def _app(self, image: str, command: list[str]) -> Any:
        settings: dict[str, Any] = {"entrypoint": command[:1], "command": command[1:]}
        if self.settings.security:
            settings["security_opt"] = list(self.settings.security)
        if self.settings.aliases:
            settings |= self.engine.named_in(self.settings.network, self.settings.aliases)
        elif self.settings.network:
            settings["network"] = self.settings.network
        return self.engine.container(
            image,
            environment=self.settings.environment,
            volumes=list(self.settings.volumes),
            **settings,
        )

    def _trace(self, stack: ExitStack, app: Container) -> Tracing:
        """Put a tracer beside a held app, and let the app go."""
        tracing = attach(stack, self.engine, self.tools.image, app, self.settings.tracer)
        app.put({".mlkit-go": b""})
        return tracing

    def _watch(
        self,
        stack: ExitStack,
        app: Container,
        tracer: Tracing | None,
        check: list[str],
        config: dict[str, Any],
    ) -> Observation:
        began = time.monotonic()
        answers, relay = self._answers(stack, app)
        ready = time.monotonic() - began
        more = [] if tracer else self._explore(app, relay, answers)
        healthy = self._healthy(app, check)
        until = time.monotonic() + self.settings.watch
        while app.state().running and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, PAUSE))
        running, look = self._inspect(app, tracer)
        processes = [] if tracer else running
        code = app.state().exit_code
        patience = stop_patience(config, running)
        stop = app.stop(patience) if code is None else None
        return Observation(
            exit_code=code,
            ready=ready,
            answers=[*answers, *(answer for _, answer in more)],
            found=[probe for probe, _ in more],
            log=app.logs(),
            first=next((each.command for each in running if each.pid == 1), ""),
            zombies=sum(each.state == "Z" for each in processes),
            orphans=orphans(processes),
            app=app_of(processes),
            look=look,
            stop=stop,
            killed=code is None and app.state().exit_code == 137,
            patience=patience,
            trace=tracer.trace() if tracer else None,
            healthy=healthy,
        )

    def _inspect(
        self, app: Container, tracing: Tracing | None
    ) -> tuple[list[Process], dict[str, str]]:
        """List its processes, and see what a program in it finds, as its user.

        The engine shows no zombies. A program beside the tracer sees all processes, and one in the
        app's own container those of its user, which most apps run as. A container more, that may
        see all, takes the engine as much work as five such programs.
        """
        if not app.state().running:
            return [], {}
        if tracing is None:
            code, output = app.execute(["/.mlkit-inspector", "both"])
            found, text = read_both(output.decode(errors="replace"))
            look = read_look(text) if code == 0 else {}
        else:
            found, look = self._processes_beside(tracing), {}
        seen = app_of(found)
        if seen is None or seen.directory is None:
            found = self._processes_of_all_users(app)
        hosts = [] if tracing else self._hosts(found)
        return found, self._look(app, hosts) if hosts else look

    def _processes_beside(self, tracing: Tracing) -> list[Process]:
        if tracing.sidecar is None:
            return []
        code, output = tracing.sidecar.execute(["/inspector", "processes"])
        return read_processes(output.decode(errors="replace")) if code == 0 else []

    def _processes_of_all_users(self, app: Container) -> list[Process]:
        settings = {"pid_mode": f"container:{app.id}", "network_mode": "none"}
        with self.engine.container(
            self.tools.image,
            entrypoint=["/inspector", "processes"],
            cap_drop=["ALL"],
            cap_add=["SYS_PTRACE", "DAC_READ_SEARCH"],  # to see other users' variables
            **settings,
        ) as sidecar:
            return [] if sidecar.start() else read_processes(sidecar.finish(LONGEST_LOOK))

    def _hosts(self, processes: Sequence[Process]) -> list[str]:
        """List the hosts that the app's variables name, if it has a network with others."""
        app = app_of(processes) if self.settings.network else None
        return hosts_of(app.environment.values()) if app else []

    def _look(self, app: Container, hosts: Sequence[str]) -> dict[str, str]:
        """See what a program in the container finds, some hosts of its network among it."""
        code, output = app.execute(["/.mlkit-inspector", "look", *hosts])
        return read_look(output.decode(errors="replace")) if code == 0 else {}

    def _healthy(self, app: Container, check: list[str]) -> bool | None:
        """Run the health check now, since the engine would wait for its interval."""
        until = time.monotonic() + self.settings.patience
        while check and app.state().running:
            code, _ = app.execute(check)
            if code == 0 or time.monotonic() > until:
                return code == 0
            time.sleep(POLL)
        return None

    def _explore(
        self, app: Container, relay: Container | None, answers: Sequence[Answer]
    ) -> list[tuple[Probe, Answer]]:
        """Ask for more than the probes do, if that is wanted and the app is up."""
        exploration = self.settings.exploration
        if exploration is None or relay is None or not app.state().running:
            return []
        probes = self.settings.probes
        return explore(exploration, answers, probes, lambda probe: ask_once(probe, app, relay))

    def _answers(self, stack: ExitStack, app: Container) -> tuple[list[Answer], Container | None]:
        """Ask all probes; return the answers, and what carries questions over the network."""
        probes = self.settings.probes
        if not probes or not app.state().running:
            late = [each for each in probes if each.kind in {"log", "exit"}]
            gone = "the container has ended"
            return [
                ask(each, app, app, 1) if each in late else Answer(each.text, False, problem=gone)
                for each in probes
            ], None
        relay = app
        if any(each.kind in OVER_NETWORK for each in probes):
            relay = stack.enter_context(
                self.engine.container(
                    self.tools.image,
                    network_mode=f"container:{app.id}",
                    cap_drop=["ALL"],
                )
            )
            relay.start()
        answers = [ask(each, app, relay, self.settings.patience) for each in probes]
        return answers, None if relay is app else relay

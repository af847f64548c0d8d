"""The services beside an app: up in a network of their own while the block runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from mlkit.errors import BadData
from mlkit.image.command.health import health_command
from mlkit.image.compose import COMPLETED, HEALTHY, STARTED, Composition, Service
from mlkit.image.run.engine.container import Container
from mlkit.image.run.engine.engine import Engine

PAUSE = 0.1


class Services:
    """Runs the services of a composition.

    Args:
        engine: Where.
        stack: Ends them when it closes.
        patience: Seconds that one may take to become ready.
    """

    def __init__(self, engine: Engine, stack: ExitStack, patience: float) -> None:
        self._engine = engine
        self._stack = stack
        self._patience = patience
        self._running: dict[str, tuple[Container, list[str]]] = {}
        self._volumes: dict[str, str] = {}
        self.network = stack.enter_context(engine.network())

    def start(self, service: Service) -> None:
        """Start a service, after those that it needs are as it needs them.

        Raises:
            InputMissing: The engine has no such image.
            BadData: It does not start, or one that it needs is not ready in time.
        """
        self.wait(service)
        image = service.image
        if service.build is not None:
            image = self._stack.enter_context(self._engine.build_temporary(service.build))
        config = self._engine.inspect(image)["Config"] or {}
        check = health_command(config) if service.health is None else service.health
        container = self._stack.enter_context(
            self._engine.container(image, **self._settings(service))
        )
        if problem := container.start():
            raise BadData(f"--compose: service {service.name}: {problem}")
        self._running[service.name] = container, check

    def wait(self, service: Service) -> None:
        """Wait until what a service needs is as it needs it."""
        for name, condition in service.needs.items():
            if name in self._running:
                self._await(name, condition)

    def settle(self) -> None:
        """Wait until every service that has a health check is healthy."""
        for name, (container, check) in self._running.items():
            if check and container.state().running:
                self._await(name, HEALTHY)

    def volumes(self, service: Service) -> list[str]:
        """Return the volumes of a service; those with a name live as long as this run."""
        return [self._volume(each) for each in service.volumes]

    def _volume(self, text: str) -> str:
        source, colon, rest = text.partition(":")
        if not colon or "/" in source:
            return text
        if source not in self._volumes:
            self._volumes[source] = self._stack.enter_context(self._engine.volume())
        return f"{self._volumes[source]}:{rest}"

    def _settings(self, service: Service) -> dict[str, Any]:
        given = {
            "command": service.command,
            "entrypoint": service.entrypoint,
            "user": service.user,
            "working_dir": service.directory,
        }
        return {key: value for key, value in given.items() if value is not None} | {
            "environment": service.environment,
            "volumes": self.volumes(service),
            **self._engine.named_in(self.network, [service.name]),
        }

    def _await(self, name: str, condition: str) -> None:
        container, check = self._running[name]
        until = time.monotonic() + self._patience
        while not _holds(container, check, condition):
            if time.monotonic() > until:
                last = (container.logs().strip().splitlines() or [""])[-1][:200]
                text = f"--compose: service {name} is not {condition.removeprefix('service_')}"
                raise BadData(f"{text} after {self._patience:g} s: {last}", hint="see --patience")
            time.sleep(PAUSE)


def _holds(container: Container, check: list[str], condition: str) -> bool:
    state = container.state()
    if condition == COMPLETED:
        return not state.running and state.exit_code == 0
    if condition == STARTED or not check:
        return state.running or state.exit_code == 0
    return state.running and container.execute(check)[0] == 0


@contextlib.contextmanager
def up(engine: Engine, composition: Composition, patience: float) -> Iterator[Services]:
    """Start the services beside the one that is slimmed, and end them after the block."""
    with ExitStack() as stack:
        services = Services(engine, stack, patience)
        for each in composition.others:
            services.start(each)
        services.wait(composition.service)
        services.settle()
        yield services

"""Compose files: the services that an app needs beside it while it is traced and proven.

What of the format is not understood here is refused by name; what changes nothing that an app sees
(published ports, restarts, labels) is passed over.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from mlkit.errors import BadData, InputMissing, PackageMissing, UsageError
from mlkit.image.command import env_file

STARTED, HEALTHY, COMPLETED = (
    "service_started",
    "service_healthy",
    "service_completed_successfully",
)
PASSED_OVER = frozenset(
    ("ports", "expose", "restart", "labels", "logging", "pull_policy", "stop_grace_period")
)
TARGET = frozenset(
    ("image", "build", "environment", "env_file", "volumes", "depends_on", "profiles")
)
"""What the service that is slimmed may say; all else is its image's."""
OTHERS = TARGET | {"command", "entrypoint", "user", "working_dir", "healthcheck"}
TOP = frozenset(("services", "volumes", "networks", "version", "name"))
VARIABLE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)(?:(:?-)([^}]*))?\}|(\S?))")
LARGEST = 1 << 20


@dataclass(frozen=True)
class Service:
    """A service of a Compose file.

    Attributes:
        name: Its name, by which the others reach it.
        image: What it runs; empty where it is built.
        build: The folder that it is built from.
        command: In place of that of the image.
        entrypoint: In place of that of the image.
        environment: Its variables.
        volumes: As `docker run --volume`; a name without a slash is a volume of the run's own.
        needs: Which services come first, and what has to be true of them.
        health: The check whose success means that it is ready; None: that of the image.
        user: In place of that of the image.
        directory: In place of that of the image.
        profiled: It is started only where another one needs it.
    """

    name: str
    image: str = ""
    build: Path | None = None
    command: list[str] | None = None
    entrypoint: list[str] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    volumes: list[str] = field(default_factory=list)
    needs: dict[str, str] = field(default_factory=dict)
    health: list[str] | None = None
    user: str | None = None
    directory: str | None = None
    profiled: bool = False


@dataclass(frozen=True)
class Composition:
    """A service, and those beside it in the order in which they start."""

    service: Service
    others: list[Service]


def read(path: Path, name: str, variables: Mapping[str, str] = os.environ) -> Composition:
    """Read a Compose file.

    Args:
        path: The file.
        name: The service that is slimmed.
        variables: What `${NAME}` in it stands for; a file `.env` beside it defines the rest.

    Raises:
        InputMissing: It cannot be read.
        BadData: It is no Compose file, or has something that is not understood here.
        UsageError: It has no such service.
        PackageMissing: The package that reads YAML is not installed.
    """
    document = _parse(path)
    beside = path.parent / ".env"
    known = (env_file.read(beside, variables) if beside.is_file() else {}) | dict(variables)
    reader = _Reader(path, known)
    services = reader.services(document, name)
    if name not in services:
        hint = f"it has {', '.join(sorted(services))}"
        raise UsageError(f"--service {name}: not in {path}", hint=hint)
    return Composition(services[name], _order(path, services, name))


def _parse(path: Path) -> Any:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise PackageMissing.of("--compose needs the package PyYAML", "compose") from error
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputMissing(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > LARGEST:
        raise BadData(f"{path}: too large for a Compose file")
    try:
        return yaml.load(data, _loader(yaml))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise BadData(f"{path}: not YAML: {text}") from error


def _loader(yaml: Any) -> Any:
    """Return a loader that leaves scalars as the text they are: `yes` is no truth, 1.10 not 1.1."""
    kept = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
    resolvers = {
        first: [each for each in found if each[0] in kept]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return type("Loader", (yaml.SafeLoader,), {"yaml_implicit_resolvers": resolvers})


def _order(path: Path, services: dict[str, Service], target: str) -> list[Service]:
    """Return the services beside one, each after those that it needs."""
    done: dict[str, Service] = {}

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise BadData(f"{path}: services that need one another: {', '.join(above)}")
        if name not in services:
            raise BadData(f"{path}: service {above[-1]} needs {name}, which is not there")
        if name in done:
            return
        for each in services[name].needs:
            if each != target:
                visit(each, (*above, name))
        if name != target:
            done[name] = services[name]

    visit(target, ())
    for name, each in services.items():
        if not each.profiled and name != target:
            visit(name, ())
    return list(done.values())


class _Reader:
    """Reads the services of one file."""

    def __init__(self, path: Path, variables: Mapping[str, str]) -> None:
        self._path = path
        self._variables = variables

    def services(self, document: Any, target: str) -> dict[str, Service]:
        """Read all services."""
        top = self._mapping(document, "the file")
        self._refuse_unknown(top, TOP, "the file")
        for key in ("volumes", "networks"):
            for name, value in self._mapping(top.get(key) or {}, key).items():
                if value and (key == "volumes" or name != "default"):
                    self._refuse(f"{key}: {name}", "settings")
        found = self._mapping(top.get("services"), "services")
        return {
            name: self._service(name, self._mapping(value, f"service {name}"), name == target)
            for name, value in found.items()
        }

    def _service(self, name: str, given: dict[str, Any], is_target: bool) -> Service:
        where = f"service {name}"
        self._refuse_unknown(given, (TARGET if is_target else OTHERS) | PASSED_OVER, where)
        image, build = self._text(given.get("image")), self._build(given.get("build"), where)
        if not (image or build or is_target):
            raise BadData(f"{self._path}: {where}: neither image nor build")
        return Service(
            name=name,
            image=image,
            build=None if image and not build else build,
            command=self._words(given.get("command"), where),
            entrypoint=self._words(given.get("entrypoint"), where),
            environment=self._environment(given, where),
            volumes=[self._volume(each, where) for each in self._list(given.get("volumes"))],
            needs=self._needs(given.get("depends_on") or {}, where),
            health=self._health(given.get("healthcheck"), where),
            user=self._text(given.get("user")) or None,
            directory=self._text(given.get("working_dir")) or None,
            profiled=bool(given.get("profiles")),
        )

    def _refuse_unknown(self, given: dict[str, Any], keys: frozenset[str], where: str) -> None:
        for key in given:
            if key not in keys and not key.startswith("x-"):
                self._refuse(where, key)

    def _refuse(self, where: str, what: str) -> None:
        hint = "start these services yourself, and give --network and --env"
        raise BadData(f"{self._path}: {where}: {what}: not understood by --compose", hint=hint)

    def _mapping(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise BadData(f"{self._path}: {where}: not a mapping of names")
        return cast(dict[str, Any], value)

    def _list(self, value: Any) -> list[Any]:
        return list(value) if isinstance(value, list) else [] if value is None else [value]

    def _text(self, value: Any) -> str:
        """Return a scalar as text, its variables replaced."""
        if value is None:
            return ""
        if isinstance(value, dict | list):
            raise BadData(f"{self._path}: a list or a mapping where a text is expected")
        return VARIABLE.sub(self._substitute, str(value))

    def _substitute(self, match: re.Match[str]) -> str:
        plain, braced, operator, default, odd = match.groups()
        if match[0] == "$$":
            return "$"
        name = plain or braced
        if name is None:
            self._refuse(f"${odd}", "a variable")
        value = self._variables.get(name)
        empty = value is None or (operator == ":-" and not value)
        return (default or "") if empty else str(value)

    def _build(self, value: Any, where: str) -> Path | None:
        if value is None:
            return None
        if isinstance(value, dict):
            self._refuse_unknown(value, frozenset(("context",)), f"{where}: build")
            value = value.get("context")
        return self._path.parent / (self._text(value) or ".")

    def _words(self, value: Any, where: str) -> list[str] | None:
        if value is None:
            return None
        if isinstance(value, list):
            return [self._text(each) for each in value]
        try:
            return shlex.split(self._text(value))
        except ValueError as error:
            raise BadData(f"{self._path}: {where}: {error}") from error

    def _environment(self, given: dict[str, Any], where: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for each in self._list(given.get("env_file")):
            found |= env_file.read(self._path.parent / self._text(each), self._variables)
        stated = given.get("environment") or {}
        pairs: Iterator[tuple[str, Any]]
        if isinstance(stated, list):
            parts = (str(each).partition("=") for each in stated)
            pairs = ((key, value if sign else None) for key, sign, value in parts)
        else:
            pairs = iter(self._mapping(stated, f"{where}: environment").items())
        for key, value in pairs:
            passed = self._variables.get(key) if value is None else self._text(value)
            if passed is not None:
                found[key] = passed
        return found

    def _volume(self, value: Any, where: str) -> str:
        if isinstance(value, dict):
            self._refuse_unknown(value, frozenset(("type", "source", "target", "read_only")), where)
            if value.get("type") not in {"bind", "volume"}:
                self._refuse(f"{where}: volumes", f"type {value.get('type')}")
            parts = [self._text(value.get("source")), self._text(value.get("target"))]
            parts += ["ro"] if value.get("read_only") == "true" else []
        else:
            parts = self._text(value).split(":")
        if len(parts) > 1 and parts[0][:1] in {".", "~"}:
            parts[0] = str((self._path.parent / Path(parts[0]).expanduser()).resolve())
        return ":".join(parts)

    def _needs(self, value: Any, where: str) -> dict[str, str]:
        if isinstance(value, list):
            return dict.fromkeys(map(self._text, value), STARTED)
        found = {}
        for name, each in self._mapping(value, f"{where}: depends_on").items():
            condition = self._mapping(each or {}, where).get("condition", STARTED)
            if condition not in {STARTED, HEALTHY, COMPLETED}:
                self._refuse(f"{where}: depends_on: {name}", f"condition {condition}")
            found[name] = str(condition)
        return found

    def _health(self, value: Any, where: str) -> list[str] | None:
        """Return the command of a health check; empty: there is none."""
        if value is None:
            return None
        check = self._mapping(value, f"{where}: healthcheck")
        test = check.get("test")
        if check.get("disable") == "true" or test == ["NONE"]:
            return []
        if isinstance(test, list) and test[:1] == ["CMD"]:
            return [self._text(each) for each in test[1:]]
        line = test[1] if isinstance(test, list) and len(test) == 2 else test
        return None if line is None else ["/bin/sh", "-c", self._text(line)]

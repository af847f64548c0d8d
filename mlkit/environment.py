"""What this machine offers each workload."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mlkit import _simd

State = Literal["ok", "missing"]
TIMEOUT = 5.0
"""Seconds that a probe of a component may take."""


@dataclass(frozen=True)
class Component:
    """One thing that a workload can use.

    Attributes:
        name: What it is.
        workloads: Who uses it.
        state: `ok`, or `missing`.
        found: Version or value, if found.
        hint: How to get it, if missing.
    """

    name: str
    workloads: str
    state: State
    found: str = ""
    hint: str = ""


def survey() -> list[Component]:
    """Look for everything that the workloads can use; nothing is changed or started."""
    return [
        *_processor(),
        _docker_engine(),
        _program("R", "bpmn", ["Rscript", "--version"], "r-base-core and r-cran-jsonlite"),
        _program("Redis", "bandit", ["redis-server", "--version"], "redis-server"),
        *_packages(),
    ]


def _processor() -> Iterator[Component]:
    sets = ", ".join(_simd.available())
    yield Component("processor", "all", "ok", platform.machine())
    yield Component("instruction sets", "bandit, pairs", "ok", sets)
    try:
        yield Component("kernel in use", "bandit, pairs", "ok", _simd.selected())
    except ValueError as error:
        hint = "unset MLKIT_SIMD or name an instruction set from the row above"
        yield Component("kernel in use", "bandit, pairs", "missing", str(error), hint)
    yield Component("cores", "all", "ok", str(len(os.sched_getaffinity(0))))


def _program(name: str, workloads: str, command: list[str], package: str) -> Component:
    """Ask a program for its version."""
    hint = f"apt-get install {package}"
    if shutil.which(command[0]) is None:
        return Component(name, workloads, "missing", hint=hint)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Component(name, workloads, "missing", str(error), hint)
    return Component(name, workloads, "ok", (done.stdout or done.stderr).strip().splitlines()[0])


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


def _docker_engine() -> Component:
    """Ask the Docker Engine for its version, through its socket."""
    url = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    scheme, _, address = url.partition("://")
    connection = (
        _UnixConnection(address)
        if scheme == "unix"
        else http.client.HTTPConnection(address, timeout=TIMEOUT)
    )
    try:
        connection.request("GET", "/version")
        version = json.loads(connection.getresponse().read())["Version"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        installed = shutil.which("dockerd") is not None
        hint = "start dockerd (as root)" if installed else "apt-get install docker.io"
        return Component("Docker Engine", "image", "missing", f"none at {url}", hint)
    finally:
        connection.close()
    return Component("Docker Engine", "image", "ok", f"{version} at {url}")


def _packages() -> Iterator[Component]:
    """Look for the Python packages that only some commands need."""
    for name, workload in {"pandas": "pairs", "lxml": "bpmn", "docker": "image"}.items():
        found = importlib.util.find_spec(name) is not None
        hint = "" if found else f"pip install {name}"
        yield Component(f"package {name}", workload, "ok" if found else "missing", hint=hint)

"""The peers of serving.py: how each is built, and how it is started.

A peer whose tools are not there is left out. Sources are copied to build/peers and built there, so
that a second run finds them built.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "peers"
FASTAPI = "FastAPI + NumPy"
ARTICLE = "Go Fiber, cgo to Boost"
GO = "Go Fiber, sonic"
RUST = "Rust actix"
GOALS = {FASTAPI: 12, ARTICLE: 12, GO: 3, RUST: 2}
"""How many times as many requests mlkit is to answer."""


class Peer(NamedTuple):
    """A server with two workers.

    Attributes:
        name: Its name.
        command: How it is started.
        ready: A path that it answers.
        variables: Of its environment.
    """

    name: str
    command: list[str]
    ready: str
    variables: Mapping[str, str]


def _build(source: str, *commands: list[str]) -> bool:
    """Build a copy of a peer; False if a command is missing or fails."""
    if shutil.which(commands[0][0]) is None:
        return False
    folder = BUILD / source
    shutil.copytree(HERE / "peers" / source, folder, dirs_exist_ok=True)
    shutil.copy(HERE / "boost_peer.cpp", folder)
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{source} is left out: {done.stderr[-500:]}", file=sys.stderr)
            return False
    return True


def built(posteriors: Path, ports: Iterator[int]) -> Iterator[tuple[Peer, int]]:
    """Build what can be built.

    Args:
        posteriors: The posteriors that they serve.
        ports: Free ports.

    Yields:
        Peers, and the port of each.
    """
    if importlib.util.find_spec("fastapi"):
        yield _fastapi(posteriors, port := next(ports)), port
    go = ["go", "mod", "tidy"], ["go", "build", "-o", "peer", "."]
    if _build("fiber", *go):
        for name, flavor in ((ARTICLE, "article"), (GO, "best")):
            port = next(ports)
            program = str(BUILD / "fiber" / "peer")
            command = [program, str(port), str(posteriors), flavor]
            yield Peer(name, command, "/health", {}), port
    if _build("actix", ["cargo", "build", "--release"]):
        port = next(ports)
        program = str(BUILD / "actix" / "target" / "release" / "peer")
        yield Peer(RUST, [program, str(port), str(posteriors)], "/health", {}), port


def _fastapi(posteriors: Path, port: int) -> Peer:
    words = ["uvicorn", "fastapi_peer:app", "--app-dir", str(HERE), "--port", str(port)]
    command = [sys.executable, "-m", *words, "--workers", "2", "--no-access-log"]
    return Peer(FASTAPI, command, "/openapi.json", {"MLKIT_PEER_POSTERIORS": str(posteriors)})

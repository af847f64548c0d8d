"""A shell beside a container that has none: in its namespaces, from an image of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from mlkit.errors import BadData, InputMissing
from mlkit.image.base.debian import busybox
from mlkit.image.filesystem import build
from mlkit.image.run import owner
from mlkit.image.run.engine.container import OWN, Container
from mlkit.image.run.engine.engine import LABEL, RUN, Engine
from mlkit.scratch import scratch

ROOT = "app"
"""The link to the root directory of the container that is looked at."""
INSTALL = '/bin/busybox --install -s /bin && exec "$@"'
"""Gives busybox the names of all its programs, then starts the command."""
SHELL = ("sh",)
PROMPT = "PS1=[debug] \\w \\$ "


@contextlib.contextmanager
def beside(
    engine: Engine, name: str, command: Sequence[str] = SHELL, terminal: bool = False
) -> Iterator[Container]:
    """Create a container in the process and network namespaces of another one.

    It sees the other's processes and connections, and has the other's files under `/app`. It may
    trace processes, since the kernel asks for that right before it shows the files of one. The
    other container is not changed; what is written under `/app` is written there.

    Args:
        engine: Where both live.
        name: The container to look at.
        command: What to run: a program of busybox, or one under `/app`.
        terminal: Whether the command has a terminal.

    Yields:
        The container, not started yet; it and its image are gone after the block.

    Raises:
        InputMissing: There is no such container.
        BadData: It does not run, or has no process namespace of its own.
        ServiceUnavailable: busybox cannot be had.
    """
    target = _target(engine, name)
    with scratch("mlkit-image-") as folder:
        layer = build.write_layer(_items(), folder / "layer.tar")
        labels = {LABEL: "1", RUN: owner.mark()}
        config = {"Env": ["PATH=/bin", PROMPT, "HOME=/"], "Labels": labels}
        document = build.document([layer], config, build.here())
        settings = {
            "entrypoint": ["/bin/busybox", "sh", "-c", INSTALL, "sh"],
            "command": list(command),
            "pid_mode": f"container:{target.id}",
            "network_mode": f"container:{target.id}",
            "cap_add": ["SYS_PTRACE"],
            "stdin_open": True,
            "tty": terminal,
        }
        with (
            engine.load_temporary(document, [layer]) as image,
            engine.container(image, **settings) as container,
        ):
            yield container


def _items() -> list[build.Item]:
    return [
        build.file("bin/busybox", busybox(), 0o755),
        build.directory("tmp", 0o1777),
        build.symlink(ROOT, "/proc/1/root"),
    ]


def _target(engine: Engine, name: str) -> Container:
    found = engine.find_container(name)
    if found is None:
        raise InputMissing(f"no such container: {name}", hint="`docker ps` lists what runs")
    facts = found.facts()
    if facts["State"]["Status"] != "running":
        hint = "start it; `mlkit image doctor` reports why an image does not stay up"
        raise BadData(f"{name}: not running but {facts['State']['Status']}", hint=hint)
    shared = facts["HostConfig"].get("PidMode")
    if shared not in OWN:
        text = f"{name}: its process namespace is that of {shared}, whose process 1 is another one"
        raise BadData(text, hint="`docker run` it without --pid")
    return found

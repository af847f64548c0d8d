"""`--watch DIR`: what lies in a folder is deployed, again when it changes."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from mlkit.bpmn.definition.parser.library import DIAGRAMS
from mlkit.bpmn.runtime.deployment import deploy_paths
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.roles import user
from mlkit.errors import MlkitError

INTERVAL = 1.0
"""Seconds between two looks at the folder."""
logger = logging.getLogger("mlkit.bpmn")


async def watch(context: Context, folder: Path) -> None:
    """Deploy each diagram of a folder by itself, so that a broken one does not stop the others."""
    seen: dict[str, tuple[int, int]] = {}
    while True:
        now = await asyncio.to_thread(_stamps, folder)
        if now != seen:
            seen = now
            await _deploy(context, [folder / each for each in now if each.endswith(DIAGRAMS)])
        await asyncio.sleep(INTERVAL)


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the time and size of each file, by its name."""
    found = {}
    for path in sorted(folder.iterdir()):
        try:
            status = path.stat()
        except OSError:  # It was there a moment ago.
            continue
        found[path.name] = (status.st_mtime_ns, status.st_size)
    return found


async def _deploy(context: Context, paths: list[Path]) -> None:
    for path in paths:
        try:
            await context.call(lambda service, path=path: _deploy_one(service, path))  # type: ignore[misc]
        except MlkitError as error:
            logger.error("%s is not deployed: %s", path, error.message)


def _deploy_one(service: Service, path: Path) -> None:
    for each in deploy_paths(service.session, [path], user()):
        if each.is_new:
            logger.info("deployed %s version %d", each.process, each.version)

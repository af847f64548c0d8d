"""`--watch DIR`: what lies in a folder is deployed, again when it changes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from pathlib import Path

from mlkit.bpmn.definition.parser.library import DIAGRAMS
from mlkit.bpmn.journal.records import encode
from mlkit.bpmn.runtime.deployment import deploy, files_of
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.roles import user
from mlkit.errors import BadData, InputMissing, MlkitError, UsageError

INTERVAL = 1.0
"""Seconds between two looks at the folder."""
Stamps = dict[str, tuple[int, int]]
logger = logging.getLogger("mlkit.bpmn")


async def watch(context: Context, folder: Path) -> None:
    """Deploy each diagram of a folder by itself, so that a broken one does not stop the others."""
    seen: Stamps = {}
    tried: dict[Path, str] = {}
    while True:
        now = await asyncio.to_thread(_stamps, folder, context.settings.state)
        if now != seen:
            diagrams = [folder / each for each in sorted(now) if _is_diagram(each)]
            done = [await _deploy(context, each, tried) for each in diagrams]
            seen = now if all(done) else {}
        await asyncio.sleep(INTERVAL)


def _is_diagram(name: str) -> bool:
    """Return whether a file is a diagram of the folder itself: what lies deeper is called by it."""
    return name.endswith(DIAGRAMS) and os.sep not in name


def _stamps(folder: Path, state: Path) -> Stamps:
    """Return the time and size of each file, by its path below the folder.

    Hidden files and the state folder, which changes all the time, are left out. A folder that is
    missing for a while is empty.
    """
    found = {}
    for place, folders, files in os.walk(folder):
        below = Path(place)
        folders[:] = [
            e for e in folders if e[0] != "." and (below / e).resolve() != state.resolve()
        ]
        for path in [below / each for each in files if each[0] != "."]:
            try:
                status = path.stat()
            except OSError:  # It was there a moment ago.
                continue
            found[str(path.relative_to(folder))] = (status.st_mtime_ns, status.st_size)
    return found


async def _deploy(context: Context, path: Path, tried: dict[Path, str]) -> bool:
    """Deploy a diagram, unless it is the one that was tried last with all that it uses.

    Returns:
        Whether to look again only when something has changed.
    """
    try:
        files = await asyncio.to_thread(files_of, [path])
        digest = hashlib.sha256(encode(sorted(files.items()))).hexdigest()
        if tried.get(path) != digest:
            tried[path] = digest
            await context.call(lambda service: _deploy_one(service, files))
    except (BadData, InputMissing, UsageError) as error:
        logger.error("%s is not deployed: %s", path, error.message)
    except MlkitError as error:  # It may pass, and has nothing to do with the diagram.
        logger.error("%s is not deployed yet: %s", path, error.message)
        tried.pop(path, None)
        return False
    except Exception:  # A defect that one diagram meets: the others are still deployed.
        logger.exception("%s is not deployed", path)
    return True


def _deploy_one(service: Service, files: dict[str, bytes]) -> None:
    for each in deploy(service.session, files, user()):
        if each.is_new:
            logger.info("deployed %s version %d", each.process, each.version)

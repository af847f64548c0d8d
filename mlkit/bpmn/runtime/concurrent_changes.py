"""What tasks that run at the same time change in the working folder that they share.

A result lists what was in the folder when its task ended, and may be applied after the result of a
task that has ended later. So a task that runs remembers what others have changed meanwhile. Where
it has changed the same, the newer content counts, by the time of the file's last change: tasks of
an instance that run at the same time run on one host, so that these times compare. And what others
have carried meanwhile may have gone by the task itself, whose own lists never had it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mlkit.bpmn.engine.work_file import WorkFile
from mlkit.bpmn.runtime.running import Running
from mlkit.workers.pool import KeptFile, Result

Kept = Mapping[str, KeptFile | None]


def settle(
    running: Running, activation: int, result: Result, is_first: bool
) -> dict[str, WorkFile | None]:
    """Return what a completed task changes in what is known of the working folder.

    Args:
        running: The instance; its tasks that still run remember what is returned.
        activation: The task.
        result: Its result.
        is_first: Whether this was its first attempt; an earlier one may have removed anything.
    """
    known = running.state.files
    was_alone = running.begun.pop(activation, 0) == running.completed
    running.completed += 1
    if is_first and not (result.files or running.meanwhile or running.elsewhere):
        return {}  # As of most tasks: no task has changed anything.
    others = running.meanwhile.pop(activation, {})
    elsewhere = running.elsewhere.pop(activation, {})
    found = dict(result.files)
    doubtful: set[str] = set() if is_first else set(known)
    if not was_alone:  # Another task has completed since this one has begun.
        doubtful |= found.keys() | others.keys()
    for path in doubtful:
        if not _is_there(Path(running.options.get("work", "")), path):
            found[path] = None
        elif path in found and _is_older(found[path], others, path):
            del found[path]
    for path, at in elsewhere.items():
        if path in found and ((own := found[path]) is None or own[3] < at):
            del found[path]
    for each in running.jobs:
        running.meanwhile.setdefault(each, {}).update(found)
    return _compare(found, known)


def receive(
    running: Running, files: Mapping[str, WorkFile | None], now: float
) -> dict[str, WorkFile | None]:
    """Return what a worker elsewhere changes in what is known of the working folder.

    It is written over what tasks here have changed before; what they change later is newer. The
    folder here lacks it until the next task is begun.

    Args:
        running: The instance; its tasks that run here remember what is returned.
        files: What the worker has reported.
        now: In seconds since 1970.
    """
    found = {path: e if e is None else (e.hash, e.size, e.mode, 0) for path, e in files.items()}
    changed = _compare(found, running.state.files)
    running.has_folder = False
    running.received += 1
    for each in running.jobs:
        running.elsewhere.setdefault(each, {}).update(dict.fromkeys(changed, int(now * 1e9)))
    return changed


def _is_there(folder: Path, path: str) -> bool:
    """Return whether a file, or a folder, is still what it was; one that is hidden is."""
    try:
        mode = (folder / path.removesuffix("/")).lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return stat.S_ISDIR(mode) if path.endswith("/") else stat.S_ISREG(mode)


def _is_older(own: KeptFile | None, others: Kept, path: str) -> bool:
    """Return whether what a task has found was changed again before another one ended."""
    if path not in others:
        return False
    other = others[path]
    return own is None or (other is not None and own[3] < other[3])


def _compare(found: Kept, known: Mapping[str, WorkFile]) -> dict[str, WorkFile | None]:
    """Return what differs from what is known; what cannot be beside it has gone."""
    changed = {path: e if e is None else WorkFile(*e[:3]) for path, e in found.items()}
    changed = {path: each for path, each in changed.items() if known.get(path) != each}
    added = {path for path, each in changed.items() if each is not None and path not in known}
    if added:
        kept = {path for path in known if changed.get(path, known[path]) is not None}
        changed.update((path, None) for path in _find_displaced(kept, added))
    return changed


def _find_displaced(kept: set[str], added: set[str]) -> Iterator[str]:
    """Yield files that have become folders, and what was in folders that have become files."""
    for path in added:
        yield from kept.intersection(folders_of(path))
    for path in kept:
        if not added.isdisjoint(folders_of(path)):
            yield path


def folders_of(path: str) -> list[str]:
    """Return the folders that a path needs, and that no file can have the names of."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def find_conflict(paths: Iterable[str]) -> str | None:
    """Return a path that would be both a file and a folder."""
    every = set(paths)
    needed = (each for path in every for each in folders_of(path))
    return next((each for each in needed if each in every), None)

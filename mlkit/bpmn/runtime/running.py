"""An instance that this process moves."""

from __future__ import annotations

from typing import Any

import msgspec

from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.records import Changes, Row
from mlkit.workers.pool import KeptFile, ScriptPool


class Running(msgspec.Struct):
    """An instance that this process moves.

    Attributes:
        row: What the journal calls it; None in memory.
        options: `folder` (where the diagram is), `work` (the tasks' folder), `tasks` (bound
            callables).
        sequence: The number of its last event on disk.
        pool: Where its scripts run; None for the runner's pool.
        has_folder: Whether its working folder is known to be what the journal records.
        completed: How many of its tasks have completed here.
        begun: How many had when a task that runs began, by its activation.
        meanwhile: What other tasks have changed in it while a task ran, by its activation.
        elsewhere: The same, of tasks that workers elsewhere have done: paths, and when (ns).
        received: How often workers elsewhere have changed it.
        has_ended: Whether one of its events has ended it.
        is_released: Whether its last commit has left it to anybody.
        is_dropped: Whether this process has left it alone; another one may have it.
    """

    engine: Engine
    state: State
    number: int
    id: str
    options: dict[str, Any] = {}
    row: Row | None = None
    sequence: int = 0
    changes: Changes = msgspec.field(default_factory=Changes)
    jobs: dict[int, int] = {}
    pool: ScriptPool | None = None
    has_folder: bool = False
    completed: int = 0
    begun: dict[int, int] = {}
    meanwhile: dict[int, dict[str, KeptFile | None]] = {}
    elsewhere: dict[int, dict[str, int]] = {}
    received: int = 0
    has_ended: bool = False
    is_released: bool = False
    is_dropped: bool = False

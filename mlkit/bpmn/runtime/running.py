"""An instance that this process moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.records import Changes, Row
from mlkit.workers.pool import ScriptPool


@dataclass(slots=True)
class Running:
    """An instance that this process moves.

    Attributes:
        row: What the journal calls it; None in memory.
        options: `folder` (where the diagram is), `work` (the tasks' folder), `tasks` (bound
            callables).
        sequence: The number of its last event on disk.
        pool: Where its scripts run; None for the runner's pool.
    """

    engine: Engine
    state: State
    number: int
    id: str
    options: dict[str, Any] = field(default_factory=dict)
    row: Row | None = None
    sequence: int = 0
    changes: Changes = field(default_factory=Changes)
    jobs: dict[int, int] = field(default_factory=dict)
    pool: ScriptPool | None = None

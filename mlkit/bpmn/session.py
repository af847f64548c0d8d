"""Instances in a state folder: begin them, find them, hand them events, run them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from mlkit.bpmn import tasks, validation
from mlkit.bpmn.behaviors import starting
from mlkit.bpmn.engine import Engine
from mlkit.bpmn.events import AnyEvent, Start
from mlkit.bpmn.forms import packed_variables
from mlkit.bpmn.journal import Journal, Row
from mlkit.bpmn.model import Callable, Definitions, Problem
from mlkit.bpmn.parser import parse, parse_text
from mlkit.bpmn.runner import Observer, Runner, Running
from mlkit.bpmn.scripts import Limits, ScriptPool
from mlkit.bpmn.state import State
from mlkit.bpmn.timers import Clock
from mlkit.errors import InputMissing, UsageError


@dataclass(slots=True)
class Settings:
    """How a session runs what it runs.

    Attributes:
        workers: How many scripts run at once; None for one a processor.
        python: The interpreter of the scripts.
        rscript: The interpreter of scripts in R.
        clock: None for the time of day.
        until: When to stop, in seconds since 1970.
    """

    workers: int | None = None
    python: str | None = None
    rscript: str | None = None
    limits: Limits = field(default_factory=Limits)
    clock: Clock | None = None
    observer: Observer | None = None
    until: float | None = None


class Session:
    """A state folder in use; closes its workers and its journal at the end of a `with`."""

    def __init__(
        self, folder: Path, settings: Settings | None = None, create: bool = False
    ) -> None:
        self.settings = settings or Settings()
        self.journal = Journal(folder, create)
        self.engines: dict[tuple[str, str], Engine] = {}
        self.pool: ScriptPool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.close()
        self.journal.close()

    # -- reading ---------------------------------------------------------------------------

    def engine(self, row: Row) -> Engine:
        """Give the engine of an instance's stored definition."""
        known = self.engines.get((row.definition, row.process))
        if known is None:
            file, content, resources = self.journal.definition(row.definition)
            path = Path(row.options.get("folder", "")) / file
            definitions = parse_text(content, path, resources)
            known = self.engines[row.definition, row.process] = engine_of(definitions)
        return known

    def state(self, row: Row) -> State:
        """Give an instance's state as journalled."""
        return self.journal.replay(row, self.engine(row))[0]

    def tasks(self, row: Row) -> list[tasks.Task]:
        """Give the user tasks of an instance that wait."""
        return tasks.waiting(row.id, self.engine(row), self.state(row))

    # -- beginning -------------------------------------------------------------------------

    def begin(
        self,
        path: Path,
        variables: Mapping[str, Any],
        key: str = "",
        message: str | None = None,
        bindings: Mapping[str, str] | None = None,
    ) -> Row:
        """Add an instance of a diagram and journal its start.

        Args:
            path: The diagram.
            variables: Its first variables.
            key: The business key.
            message: Start at the event of this message.
            bindings: Names of callables, to `module:function`.

        Raises:
            BadData: The diagram has errors, or a variable cannot be stored.
        """
        definitions, _ = load(path, bindings, self.settings.rscript)
        engine = engine_of(definitions)
        process = engine.processes[0]
        folder = path.parent.resolve()
        packed = packed_variables(variables)
        options: dict[str, Any] = {
            "folder": str(folder),
            "tasks": bound(engine, folder, bindings or {}),
        }
        options |= {"python": self.settings.python, "rscript": self.settings.rscript}
        at = self.settings.clock.now() if self.settings.clock else time.time()
        start = Start(packed, _start_node(engine, message), key)
        with self.journal.transaction():
            name = self.journal.store_definition(
                definitions.file, path.read_bytes(), definitions.resources
            )
            row = self.journal.create(process.id, name, options, key, at)
            self.journal.mailbox.deliver(row.number, start)
        return row

    # -- moving ----------------------------------------------------------------------------

    def deliver(self, row: Row, event: AnyEvent) -> None:
        """Put an event into an instance's durable inbox."""
        with self.journal.transaction():
            self.journal.mailbox.deliver(row.number, event)

    def advance(self, rows: list[Row]) -> list[Row]:
        """Run instances to their next wait; those of other processes are left to them.

        Returns:
            The instances that this process ran, as they are now.
        """
        runner = self.runner(self.script_pool(rows))
        mine = []
        try:
            for row in rows:
                running = self._own(row)
                if running is not None:
                    mine.append(row)
                    runner.add(running)
            runner.run()
        finally:
            runner.release()
        return [self.journal.find(each.id) for each in mine]

    def runner(self, pool: ScriptPool) -> Runner:
        """Make what moves instances on."""
        chosen = self.settings
        return Runner(pool, self.journal, chosen.clock, chosen.observer, chosen.until)

    def _own(self, row: Row) -> Running | None:
        owned = self.journal.own(row)
        if owned is None:
            return None
        row, lock = owned
        try:
            engine = self.engine(row)
            state, sequence = self.journal.replay(row, engine)
        except BaseException:
            os.close(lock)
            raise
        work = self.journal.folder.resolve() / "work" / row.id
        options = {**row.options, "work": str(work)}
        return Running(engine, state, row.number, row.id, options, row, sequence, lock)

    def script_pool(self, rows: list[Row]) -> ScriptPool:
        """Start the pool with the interpreters of this session, else those of the first run."""
        if self.pool is None:
            chosen = self.settings
            first = rows[0].options if rows else {}
            python = chosen.python or first.get("python")
            rscript = chosen.rscript or first.get("rscript")
            folder = self.journal.folder / "artifacts"
            self.pool = ScriptPool(chosen.workers, python, chosen.limits, folder, rscript)
        return self.pool


def engine_of(definitions: Definitions) -> Engine:
    """Make the engine of a file: its process, or its pools."""
    return Engine(*validation.executable(definitions), called=definitions.called)


def load(
    path: Path, bindings: Mapping[str, str] | None = None, rscript: str | None = None
) -> tuple[Definitions, list[Problem]]:
    """Read and check a diagram that is to run; gives its warnings too.

    Raises:
        BadData: It has errors.
    """
    definitions = parse(path)
    problems = validation.lint(definitions, path.parent.resolve(), bindings, rscript)
    validation.require_sound(problems, str(path))
    return definitions, problems


def _start_node(engine: Engine, message: str | None) -> str:
    if message is None:
        return ""
    for process in engine.processes:
        for node in starting.by_message(process, message):
            return node
    raise InputMissing(f"{engine.processes[0].id}: no start event for message {message!r}")


def bound(engine: Engine, folder: Path, bindings: Mapping[str, str]) -> dict[str, str]:
    """Find the `module:function` of each name that the tasks of a diagram call.

    Raises:
        UsageError: A binding is for no task.
    """
    works = (each.node.work for each in engine.graph.behaviors.values())
    names = {each.name for each in works if isinstance(each, Callable)}
    unused = set(bindings) - names
    if unused:
        raise UsageError(f"--task {sorted(unused)[0]}: no task of the diagram has this name")
    found = {name: validation.resolve(name, folder, bindings) for name in names}
    return {name: place for name, place in found.items() if place is not None}

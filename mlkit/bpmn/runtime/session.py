"""Instances in a state folder: begin them, find them, hand them events, run them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

from msgspec import structs

from mlkit.bpmn.definition.parser import parse_text
from mlkit.bpmn.engine.effects import AnyEffect
from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.engine.events import (
    STEERING,
    AnyEvent,
    Migrate,
    Start,
)
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal import open_journal
from mlkit.bpmn.journal.listings import Found
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Damaged, Entry, Recorded, Refused, Row
from mlkit.bpmn.people import masking, tasks
from mlkit.bpmn.people.forms import pack_variables
from mlkit.bpmn.people.masking import Mask
from mlkit.bpmn.runtime.auditing import audit
from mlkit.bpmn.runtime.clock import Clock
from mlkit.bpmn.runtime.deployed_files import folder_of
from mlkit.bpmn.runtime.diagrams import (
    Diagram,
    engine_of,
    external_names,
    load,
    resolve_callables,
    start_node,
)
from mlkit.bpmn.runtime.held_secrets import HeldSecrets
from mlkit.bpmn.runtime.pools import RuntimeConfiguration
from mlkit.bpmn.runtime.runner import Observer, Runner
from mlkit.bpmn.runtime.running import Running
from mlkit.errors import BadData, ConfigurationError, InputMissing, MlkitError
from mlkit.files import make_folder
from mlkit.workers.pool import Limits, ScriptPool

T = TypeVar("T")
POLL_INTERVAL = 0.05


@dataclass(slots=True)
class Settings:
    """How a session runs what it runs.

    Attributes:
        workers: How many scripts run at once; None for one a processor.
        python: The interpreter of the scripts.
        rscript: The interpreter of scripts in R.
        clock: None for the time of day.
        until: When to stop, in seconds since 1970.
        waits: Whether to wait for timers that are not due yet; else they are a wait like others.
        external: Whether external workers do the tasks that are for them and have no callable.
        journal: The URL of the journal's database; None for a file in the state folder.
        lease: Seconds after which other hosts take over what this one runs, if it dies.
        artifacts: The URL of the store where hosts share stored values; None: where the journal
            records, or in the state folder.
        queues_mail: Whether the mail that tasks send leaves by the outbox; else they send it.
    """

    workers: int | None = None
    python: str | None = None
    rscript: str | None = None
    limits: Limits = field(default_factory=Limits)
    clock: Clock | None = None
    observer: Observer | None = None
    until: float | None = None
    waits: bool = True
    external: bool = False
    journal: str | None = None
    lease: float | None = None
    artifacts: str | None = None
    queues_mail: bool = False


class Session:
    """A state folder in use; closes its workers and its journal at the end of a `with`.

    Args:
        folder: The state folder, made where it is missing once something runs.
        settings: How it runs what it runs.
        create: Whether to make the journal where it is missing.
    """

    shares_artifacts = True

    def __init__(
        self, folder: Path, settings: Settings | None = None, create: bool = False
    ) -> None:
        self.settings = settings or Settings()
        chosen = self.settings
        self.journal = open_journal(folder, create, chosen.journal, chosen.lease, chosen.artifacts)
        if chosen.artifacts is not None and self.shares_artifacts:
            self._share_artifacts()
        self.errors: list[MlkitError] = []
        self.source = "cli"
        self.engines: dict[tuple[str, str], Engine] = {}
        self._folders: dict[str, str] = {}
        self.secrets = HeldSecrets()
        self.pool: ScriptPool | None = None
        self.configuration: RuntimeConfiguration | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.close()
        self.journal.close()

    def _share_artifacts(self) -> None:
        try:
            self.journal.share_artifacts()
        except BaseException:
            self.journal.close()
            raise

    # -- reading ---------------------------------------------------------------------------

    def engine(self, row: Row) -> Engine:
        """Return the engine of an instance's stored definition."""
        known = self.engines.get((row.definition, row.process))
        if known is None:
            known = self.engines[row.definition, row.process] = self._load_engine(row)
        return known

    def _load_engine(self, row: Row) -> Engine:
        try:
            file, content, resources = self.journal.definition(row.definition)
            path = Path(str(row.options.get("folder", ""))) / file
            return engine_of(parse_text(content, path, resources))
        except (BadData, InputMissing) as error:
            raise Damaged(self.journal.folder, row.id, error.message) from error
        except (ValueError, TypeError) as error:
            problem = f"its definition is damaged: {error}"
            raise Damaged(self.journal.folder, row.id, problem) from error

    def state(self, row: Row, recorded: Recorded | None = None) -> State:
        """Return an instance's state as journalled."""
        return self.journal.replay(row, self.engine(row), recorded)[0]

    def mask(self, row: Row, state: State | None = None) -> Mask:
        """Return what is hidden of an instance: nothing from who can read the state folder."""
        return Mask()

    def hide(self, texts: Sequence[tuple[int, str]]) -> list[str]:
        """Return the texts of a list, each about an instance, without what secrets hold."""
        return [text for _, text in texts]

    def hides(self, found: Row | Found, name: str) -> bool:
        """Return whether a variable of an instance is a secret, which nobody searches for."""
        return False

    def tasks(self, row: Row, recorded: Recorded | None = None) -> list[tasks.Task]:
        """Return the user tasks of an instance that wait."""
        engine = self.engine(row)
        held = self.secrets.mask(
            self.journal, row, engine, masking.find_marked(engine), recorded
        ).texts
        return tasks.waiting(row.id, engine, self.state(row, recorded), held)

    # -- beginning -------------------------------------------------------------------------

    def begin(
        self,
        diagram: Path | Diagram,
        variables: Mapping[str, Any],
        key: str = "",
        message: str | None = None,
        bindings: Mapping[str, str] | None = None,
    ) -> Row:
        """Add an instance of a diagram and journal its start.

        Args:
            diagram: The file, or what `diagrams.load` made of it with the same bindings.
            variables: Its first variables.
            key: The business key.
            message: Start at the event of this message.
            bindings: Names of callables, to `module:function`.

        Raises:
            BadData: The diagram has errors, or a variable cannot be stored.
        """
        if isinstance(diagram, Path):
            external = self.settings.external
            diagram = load(diagram, bindings, self.settings.rscript, external)
        engine = engine_of(diagram.definitions)
        process = engine.processes[0]
        folder = diagram.path.parent.resolve()
        packed = pack_variables(variables)
        options: dict[str, Any] = {
            "folder": str(folder),
            "tasks": resolve_callables(engine, folder, bindings or {}),
        }
        options |= {"python": self.settings.python, "rscript": self.settings.rscript}
        options["limits"] = asdict(self.settings.limits)
        at = self.settings.clock.now() if self.settings.clock else time.time()
        start = Start(packed, start_node(engine, message), key)
        if self.settings.external:
            start.external = external_names(engine, folder, bindings or {})
        resources, source = diagram.definitions.resources, self.source

        def create(journal: Journal) -> Row:
            name = journal.store_definition(diagram.path.name, diagram.content, resources)
            return add(journal, process.id, name, options, start, at, source)[0]

        row = self.write(create)
        self.engines.setdefault((row.definition, process.id), engine)
        return row

    # -- moving ----------------------------------------------------------------------------

    def deliver(self, row: Row, event: AnyEvent) -> int:
        """Put an event into the inbox of an instance that has not ended; return its number there.

        Raises:
            Refused: The instance has ended, or is suspended.
        """
        source = self.source

        def deliver(journal: Journal) -> int:
            now = journal.get(row.number, keep=True)
            if not now.is_open:
                raise Refused(f"instance {row.id} is {now.status}")
            if now.status == "suspended" and not isinstance(event, STEERING):
                raise suspended(row)
            audit(journal, row, event, source)
            return journal.mailbox.deliver(row.number, event, asks=True)

        return self.write(deliver)

    def write(self, function: Callable[[Journal], T]) -> T:
        """Let a function write to the journal, in one transaction."""
        with self.journal.transaction():
            return function(self.journal)

    def settle(self, row: Row, number: int, limit: float) -> str | None:
        """Run an instance until an event of its inbox is decided, by whoever owns the instance.

        Returns:
            Why the event was refused, empty where it was taken; None: not decided within `limit`
            seconds.
        """
        deadline = time.monotonic() + limit
        while True:
            self.advance([self.journal.get(row.number)])
            refusal = self.journal.mailbox.verdict(number)
            if refusal is not None or time.monotonic() > deadline:
                return refusal
            time.sleep(POLL_INTERVAL)

    def advance(self, rows: list[Row]) -> list[Row]:
        """Run instances to their next wait; those of other processes are left to them.

        They run together, where they have the same interpreters and limits; else one group after
        the other.

        An instance that is damaged, or that another process takes over, does not stop the others:
        what was wrong is kept in `errors`.

        Returns:
            The instances that this process ran, as they are now.

        Raises:
            MlkitError: What was wrong with the only instance.
        """
        groups: dict[RuntimeConfiguration, list[Row]] = {}
        for row in rows:
            groups.setdefault(self.configuration_of(row), []).append(row)
        known = len(self.errors)
        found = [
            each
            for configuration, group in groups.items()
            for each in self._advance(group, configuration)
        ]
        if len(rows) == 1 and len(self.errors) > known:
            raise self.errors.pop()
        return found

    def _advance(self, rows: list[Row], configuration: RuntimeConfiguration) -> list[Row]:
        runner = self.runner(self._pool(configuration))
        mine = []
        try:
            for row in rows:
                if self._add(runner, row):
                    mine.append(row)
            runner.run()
        finally:
            runner.release()
            self.errors += runner.problems
        return [self.journal.get(each.number) for each in mine]

    def _add(self, runner: Runner, row: Row) -> bool:
        """Let a runner have an instance; return whether it got it."""
        try:
            running = self.own(row)
        except Damaged as error:
            self.errors.append(error)
            return False
        if running is not None:
            runner.add(running)
        return running is not None

    def runner(self, pool: ScriptPool) -> Runner:
        """Make what moves instances on."""
        chosen = self.settings
        runner = Runner(
            pool, self.journal, chosen.clock, chosen.observer, chosen.until, chosen.waits
        )
        runner.migrator = self.migrate
        return runner

    def migrate(self, running: Running, event: Migrate, at: float) -> tuple[Entry, list[AnyEffect]]:
        """Move an instance that this process owns to another version of its definition.

        Raises:
            BadData: Something prevents it; nothing has changed.
        """
        from mlkit.bpmn.runtime.migration import perform  # It needs what stands on sessions.

        return perform(self, running, event, at)

    def own(self, row: Row) -> Running | None:
        """Take an instance for this process, as it is on disk; None where another owns it.

        Raises:
            Damaged: It cannot be replayed.
        """
        owned = self.journal.own(row)
        if owned is None:
            return None
        try:
            return self.restore(owned)
        except BaseException:
            self.journal.release([owned])
            raise

    def restore(self, row: Row, recorded: Recorded | None = None) -> Running:
        """Return an instance that this process owns, as it is on disk.

        Args:
            row: The instance.
            recorded: What the journal has read of it together with others.

        Raises:
            Damaged: It cannot be replayed.
        """
        row.require_readable(self.journal.folder)
        engine = self.engine(row)
        # One that begins has nothing to be read.
        begins = row.sequence == 0
        state, sequence = (
            (engine.create(), 0) if begins else self.journal.replay(row, engine, recorded)
        )
        if sequence != row.sequence:
            problem = f"its row counts {row.sequence} events, and there are {sequence}"
            raise Damaged(self.journal.folder, row.id, problem)
        kept = row.options.get("folder", "")
        folder = self._folders.get(kept)
        if folder is None:  # Many instances have few.
            folder = folder_of(self.journal, row)
            if Path(folder).is_dir():  # Else another try may make it.
                self._folders[kept] = folder
        folders = {"folder": folder, "work": f"{self._work}/{row.id}"}
        options = {**row.options, **folders}
        return Running(engine, state, row.number, row.id, options, row, sequence)

    @cached_property
    def _work(self) -> Path:
        """The folder of the working folders."""
        return self.journal.folder.resolve() / "work"

    def configuration_of(self, row: Row) -> RuntimeConfiguration:
        """Return what an instance's scripts run with: of this session, else of its first run."""
        chosen, kept = self.settings, row.options
        known = Limits(**kept.get("limits", {}))
        limits = Limits(
            chosen.limits.timeout or known.timeout,
            chosen.limits.cpu or known.cpu,
            chosen.limits.memory or known.memory,
            tuple(dict.fromkeys((*known.variables, *chosen.limits.variables))),
        )
        python = chosen.python or kept.get("python")
        return RuntimeConfiguration(python, chosen.rscript or kept.get("rscript"), limits)

    def _pool(self, configuration: RuntimeConfiguration) -> ScriptPool:
        if self.configuration != configuration or self.pool is None:
            if self.pool is not None:
                self.pool.close()
            make_folder(self.journal.folder, 0o700)
            require_own(self.journal.folder)
            folder = self.journal.folder / "artifacts"
            workers = self.settings.workers
            self.pool = ScriptPool(
                workers, configuration.python, configuration.limits, folder, configuration.rscript
            )
            self.configuration = configuration
        return self.pool


def suspended(row: Row) -> Refused:
    """Return the error of who moves an instance on that is suspended."""
    hint = f"`mlkit bpmn unsuspend {row.id}` lets it continue"
    return Refused(f"instance {row.id} is suspended", hint=hint)


def require_own(folder: Path) -> None:
    """Refuse to run what is in a state folder of another user.

    Stored values are pickles and definitions hold scripts: loading them runs code of whoever
    wrote them.

    Raises:
        ConfigurationError: The folder belongs to neither this user nor root.
    """
    owner = folder.stat().st_uid
    if owner not in (os.geteuid(), 0):
        raise ConfigurationError(
            f"{folder}: belongs to user {owner}: running it would run that user's code",
            hint="run it as that user, or make it yours with chown if you trust what is in it",
        )


def add(
    journal: Journal,
    process: str,
    definition: str,
    options: dict[str, Any],
    start: Start,
    at: float,
    source: str,
    asks: bool = False,
) -> tuple[Row, int]:
    """Add an instance of a stored definition with its start for it, inside a transaction.

    Who `asks` waits until it has begun, and gets the number of the start for the verdict.
    """
    row = journal.create(process, definition, options, start.key, at)
    audit(journal, row, start, source)
    event = structs.replace(start, instance=row.id)
    return row, journal.hand(row.number, event, asks)

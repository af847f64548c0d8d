"""Deployed definitions: checked together, stored with all that they use, started by their key."""

from __future__ import annotations

import hashlib
import re
import time
from collections import abc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec

from mlkit.bpmn.definition import start_timers
from mlkit.bpmn.definition.model import Callable, Definitions, Process
from mlkit.bpmn.definition.parser import parse, parse_text, read
from mlkit.bpmn.definition.parser.library import DIAGRAMS, file_of
from mlkit.bpmn.definition.problem import Problem
from mlkit.bpmn.definition.referenced_names import names_in
from mlkit.bpmn.engine.behaviors import starting
from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.engine.events import Start
from mlkit.bpmn.engine.graph import working
from mlkit.bpmn.journal.notices import Audited
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import CONDITION, Deployed, Row, encode
from mlkit.bpmn.lint import validation
from mlkit.bpmn.people import start_forms
from mlkit.bpmn.people.forms import Form
from mlkit.bpmn.runtime import session as sessions
from mlkit.bpmn.runtime.deployed_files import materialise
from mlkit.bpmn.runtime.diagrams import (
    engine_of,
    external_names,
    resolve_callables,
    start_node,
)
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import BadData, MlkitError, UsageError
from mlkit.scratch import scratch

MOST_FILES = 1000
_SHOWN = 20
_UNREADABLE = "file"
"""The rule of a problem that keeps a whole file from being read."""
_NAME = re.compile(r"[^\x00-\x1f\\]{1,255}")


Check = abc.Callable[[Journal, str, bytes], None]


class Refusal(BadData):
    """A deployment with errors.

    Attributes:
        problems: All of them, each with the name of its file.
    """

    def __init__(self, problems: list[tuple[str, Problem]]) -> None:
        lines = [_format_problem(name, each) for name, each in problems]
        more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
        super().__init__(
            "; ".join(lines[:_SHOWN]) + more, hint="`mlkit bpmn lint FILE` shows all problems"
        )
        self.problems = problems


def _format_problem(name: str, problem: Problem) -> str:
    if problem.rule == _UNREADABLE:  # The message names the file and the line.
        return f"{problem.message} [{problem.rule}]"
    place = f"{name}:{problem.line}: {problem.element}"
    return f"{place}: {problem.message} [{problem.rule}]"


class Checked(NamedTuple):
    """A diagram of a deployment that was checked."""

    file: str
    content: bytes
    resources: dict[str, str]
    engine: Engine
    tasks: dict[str, str]
    external: list[str]


def deploy(
    session: Session,
    files: Mapping[str, bytes],
    by: str,
    check: Check = lambda journal, process, content: None,
) -> list[Deployed]:
    """Add what is new of a deployment: each diagram becomes a version of its process.

    Args:
        session: The state folder.
        files: Diagrams, and the scripts, forms, decisions and called diagrams that they use, by
            name; names may have folders.
        by: Who deploys.
        check: Called with the key and the diagram of each process; raises to refuse all.

    Returns:
        The newest version of each process of the deployment, whether it is new or not.

    Raises:
        Refusal: There are errors.
        UsageError: There is no diagram, or a name is not a plain path.
    """
    return add(session, check_files(files, session.settings.rscript), by, check)


def check_files(files: Mapping[str, bytes], rscript: str | None) -> list[Checked]:
    """Return the diagrams of a deployment, which are without errors; see `deploy`."""
    diagrams = [name for name in files if name.endswith(DIAGRAMS)]
    if not diagrams:
        raise UsageError("a deployment needs a diagram", hint="a file that ends in .bpmn")
    with _unpack(files) as folder:
        return _check(folder, diagrams, rscript)


def add(
    session: Session,
    diagrams: list[Checked],
    by: str,
    check: Check = lambda journal, process, content: None,
) -> list[Deployed]:
    """Add what is new of diagrams that were checked, all or none; see `deploy`."""
    now, source = time.time(), session.source

    def store(journal: Journal) -> list[Deployed]:
        for diagram in diagrams:
            check(journal, diagram.engine.processes[0].id, diagram.content)
        found = [_store(journal, each, by, now) for each in diagrams]
        for each in found:
            what = f"{each.process} version {each.version}"
            journal.audit.add(Audited(now, by, source, "deploy", "", what))
        return found

    return session.write(store)


def files_of(paths: list[Path]) -> dict[str, bytes]:
    """Return the files that diagrams use, with the diagrams, by their names.

    Raises:
        InputMissing: A diagram cannot be read.
        UsageError: Two files have one name.
    """
    found: dict[str, bytes] = {}
    for path in paths:
        for name, content in _gather(path).items():
            if found.setdefault(name, content) != content:
                raise UsageError(f"two files are called {name}", hint="deploy them one by one")
    return found


def _gather(path: Path) -> dict[str, bytes]:
    content = read(path)
    if not path.name.endswith(DIAGRAMS):
        return {path.name: content}
    try:
        definitions = parse_text(content, path)
    except MlkitError:  # Refused together with what is wrong in the others.
        return {path.name: content}
    found = {file_of(name): text.encode() for name, text in definitions.resources.items()}
    found |= {name: text.encode() for name, text in _modules(definitions, path.parent).items()}
    return {path.name: content, **found}


@contextmanager
def _unpack(files: Mapping[str, bytes]) -> Iterator[Path]:
    if len(files) > MOST_FILES:
        raise UsageError(f"a deployment has at most {MOST_FILES} files")
    with scratch("mlkit-deploy-") as name:
        folder = name / "files"
        folder.mkdir()
        for file, content in files.items():
            place = folder / plain(file)
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                raise UsageError(f"{file!r}: a file and a folder have the same name") from None
        yield folder


def plain(name: str) -> str:
    """Return the name of a file below a folder.

    Raises:
        UsageError: It leads out of the folder, or is not a name.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or {"..", "."} & set(path.parts) or not _NAME.fullmatch(name):
        raise UsageError(f"{name!r:.120} is not the name of a file in a deployment")
    return str(path)


def _check(folder: Path, diagrams: list[str], rscript: str | None) -> list[Checked]:
    found: list[Checked] = []
    problems: list[tuple[str, Problem]] = []
    for name in diagrams:
        path = folder / name
        try:
            definitions = parse(path)
        except MlkitError as error:
            message = error.message.replace(f"{folder}/", "")
            problems.append((name, Problem(_UNREADABLE, "error", name, 0, message)))
            continue
        errors = [
            each
            for each in validation.lint(definitions, path.parent, None, rscript, True)
            if each.severity == "error"
        ]
        problems += [(name, each) for each in errors]
        if not errors:
            found.append(_sound(definitions, path, name))
    if problems:
        raise Refusal(problems)
    return found


def _sound(definitions: Definitions, path: Path, name: str) -> Checked:
    engine = engine_of(definitions)
    resources = {**definitions.resources, **_modules(definitions, path.parent)}
    tasks = resolve_callables(engine, path.parent, {})
    external = external_names(engine, path.parent, {})
    return Checked(name, path.read_bytes(), resources, engine, tasks, external)


def _modules(definitions: Definitions, folder: Path) -> dict[str, str]:
    """Return the Python files beside a diagram whose tasks call functions."""
    processes = (*definitions.processes, *definitions.called.values())
    works = (work for each in processes for node in working(each.body) for work in node.works)
    if not any(isinstance(each, Callable) and ":" in each.name for each in works):
        return {}
    found = {}
    for path in sorted(folder.glob("*.py")):
        try:
            found[path.name] = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
    return found


def _store(journal: Journal, sound: Checked, by: str, now: float) -> Deployed:
    file = PurePosixPath(sound.file).name
    name = journal.store_definition(file, sound.content, sound.resources)
    process = sound.engine.processes[0]
    options = {"tasks": sound.tasks, "external": sound.external}
    deployed = Deployed(process.id, name, process.name or process.id, file, options, now, by)
    newest = journal.deployments.add(deployed)
    if newest.is_new:
        journal.schedules.replace(process.id, start_timers.of_process(process, now))
    journal.schedules.expect(process.id, _start_events(process))
    return newest


def _start_events(process: Process) -> Iterator[tuple[str, str, str]]:
    """Yield what begins a process beside times: element, kind, and a name."""
    yield from starting.list_named_starts(process)
    for element, condition in starting.conditional(process):
        for name in names_in(condition.text):
            yield element, CONDITION, name


# -- starting ----------------------------------------------------------------------------------


class Request(msgspec.Struct, frozen=True):
    """What is to be started.

    Attributes:
        process: The key of the definition.
        version: None for the newest.
        key: The business key.
        message: Start at the event of this message.
        node: Start at this start event, which has happened.
        once: A key of the client's; the same one starts once.
        source: Where the request comes from, for the audit log.
    """

    process: str
    version: int | None = None
    variables: dict[str, Any] = {}
    key: str = ""
    message: str | None = None
    node: str = ""
    once: str | None = None
    by: str = ""
    source: str = "cli"


class Starter:
    """Starts instances of deployed definitions in a state folder.

    Args:
        folder: The state folder.
        settings: How scripts run.
        engines: The engines of definitions that are known already.
    """

    def __init__(
        self,
        folder: Path,
        settings: sessions.Settings,
        engines: dict[tuple[str, str], Engine],
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._engines = engines
        self._options: dict[str, dict[str, Any]] = {}
        self._begin_at_once: dict[tuple[str, str], bool] = {}
        self._forms: dict[tuple[str, str], Form] = {}

    def start(self, journal: Journal, request: Request) -> Row:
        """Add an instance, inside a transaction.

        Raises:
            InputMissing: The definition is not deployed, or has no such message.
            UsageError: The key has started something else, or the definition begins nowhere.
            BadData: A variable cannot be stored, or the start form does not accept it.
        """
        digest = _digest(request)
        if request.once is not None:
            done = journal.deployments.find_start(request.once)
            if done is not None and done[0] != digest:
                raise UsageError(
                    f"the idempotency key {request.once!r:.80} was used for another request"
                )
            if done is not None:
                return journal.get(done[1])
        deployed = journal.deployments.require(request.process, request.version)
        is_plain = request.message is None and not request.node
        form = self.form(journal, deployed) if is_plain else ()
        variables = start_forms.fill_with_others(form, request.variables)
        start = Start(variables, request.node, request.key, by=request.by)
        row, _ = self.begin(journal, deployed, start, request.message, request.source)
        if request.once is not None:
            journal.deployments.remember(request.once, digest, row.number, time.time())
        return row

    def begin(
        self,
        journal: Journal,
        deployed: Deployed,
        start: Start,
        message: str | None,
        source: str,
        asks: bool = False,
    ) -> tuple[Row, int]:
        """Add an instance of a definition, inside a transaction.

        Args:
            journal: Where.
            deployed: The definition.
            start: Its variables, as stored, its business key, and who begins it.
            message: Start at the event of this message.
            source: Where the request comes from, for the audit log.
            asks: Whether the caller waits for the verdict about the start.

        Returns:
            The instance, and the number of its start for who asks.

        Raises:
            InputMissing: There is no start event for the message.
            UsageError: Without a message or a start event, the definition begins nowhere.
        """
        node = start.node
        if message is not None:
            node = start_node(self.engine(journal, deployed), message)
        elif not node and not self.begins_at_once(journal, deployed):
            raise UsageError(
                f"{deployed.process}: each of its start events waits for a time, message or signal",
                hint=f"`mlkit bpmn schedules run {deployed.process}`, or the name of a message",
            )
        external = deployed.options.get("external", [])
        return sessions.add(
            journal, deployed.process, deployed.definition, self._options_of(journal, deployed),
            msgspec.structs.replace(start, node=node, external=external), time.time(), source,
            asks,
        )  # fmt: skip

    def begins_at_once(self, journal: Journal, deployed: Deployed) -> bool:
        """Return whether an instance begins without a message or a start event that is named.

        Another one would wait for what starts the definition anyway, and begin a second time.
        """
        key = (deployed.definition, deployed.process)
        found = self._begin_at_once.get(key)
        if found is None:
            found = any(map(starting.immediate, self.engine(journal, deployed).processes))
            self._begin_at_once[key] = found
        return found

    def form(self, journal: Journal, deployed: Deployed) -> Form:
        """Return the start form of a definition; empty: it has none."""
        key = (deployed.definition, deployed.process)
        found = self._forms.get(key)
        if found is None:
            found = start_forms.form_of(self.engine(journal, deployed).processes[0])
            self._forms[key] = found
        return found

    def engine(self, journal: Journal, deployed: Deployed) -> Engine:
        """Return the engine of a definition."""
        known = self._engines.get((deployed.definition, deployed.process))
        if known is None:
            file, content, resources = journal.definition(deployed.definition)
            known = engine_of(parse_text(content, Path(file), resources))
            self._engines[deployed.definition, deployed.process] = known
        return known

    def _options_of(self, journal: Journal, deployed: Deployed) -> dict[str, Any]:
        known = self._options.get(deployed.definition)
        if known is None:
            known = {
                "folder": str(materialise(self._folder, journal, deployed.definition)),
                "python": self._settings.python,
                "rscript": self._settings.rscript,
                "limits": asdict(self._settings.limits),
                "tasks": deployed.options.get("tasks", {}),
            }
            self._options[deployed.definition] = known
        return known


def _digest(request: Request) -> str:
    wanted = request.process, request.version, request.variables, request.key, request.message
    return hashlib.sha256(encode(wanted)).hexdigest()

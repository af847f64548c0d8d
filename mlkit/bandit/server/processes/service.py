"""The processes of a server: what they share, and what each of them does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mlkit.bandit.defaults import NewArms
from mlkit.bandit.server import metrics
from mlkit.bandit.server.dashboard.observer import Observer
from mlkit.bandit.server.dashboard.overview import Boards
from mlkit.bandit.server.fleet import joining
from mlkit.bandit.server.learning.journal import explain
from mlkit.bandit.server.learning.model import Model
from mlkit.bandit.server.learning.state import StateDirectory
from mlkit.bandit.server.processes import worker, writer
from mlkit.bandit.server.settings import Settings
from mlkit.errors import ConfigurationError, MlkitError
from mlkit.files import enough_space, make_folder
from mlkit.storage.sqlite_file import SqliteFailure
from mlkit.web import listeners
from mlkit.web.metrics import SharedCounters
from mlkit.web.supervisor import Process, Role, Supervisor


def serve(settings: Settings, on_ready: Callable[[str], None]) -> int:
    """Run a server until a signal.

    Args:
        settings: Its settings.
        on_ready: Called with the URL when predictions can be served.

    Returns:
        The exit code: 128 + the signal's number.

    Raises:
        MlkitError: The server could not start; no process of it is left.
    """
    state = StateDirectory(settings.state)
    service = None
    try:
        service = _Service(settings, state, on_ready)
        return service.supervisor.run()
    except MlkitError:
        if state.is_new and (service is None or not service.supervisor.is_ready):
            state.remove()  # a command that failed leaves nothing behind
        raise


class _Service:
    """What the processes of a server share."""

    def __init__(
        self, settings: Settings, state: StateDirectory, on_ready: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._state = state
        self._started = time.monotonic()
        self._lock = state.lock()
        self._key = state.open(self._fleet_key())
        if settings.log is not None:
            _make_directory(settings.log)
        self._listeners = listeners.listen(settings.host, settings.port, settings.workers)
        self._writer_listener, self._writer_path = listeners.listen_unix(state.path, "writer.sock")
        self._counters = SharedCounters(metrics.LAYOUT, settings.workers + 2)
        self._boards = Boards.of(settings.workers)
        own = self._counters.row(settings.workers + 1)
        self.supervisor = Supervisor(
            self._roles(),
            drain_timeout=settings.drain_timeout,
            on_ready=lambda: on_ready(listeners.url(self._listeners[0])),
            on_stop=self._close_listeners,
            on_restart=lambda: own.add(metrics.RESTARTS),
        )

    def _fleet_key(self) -> bytes | None:
        fleet = self._settings.fleet
        return None if fleet is None else joining.key_of(fleet, self._state)

    def _roles(self) -> list[Role]:
        numbers = range(self._settings.workers)
        workers = [Role(f"worker {n}", partial(self._be_worker, n)) for n in numbers]
        return [Role("writer", self._be_writer, stops_last=True, reloads=True), *workers]

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()

    def _be_worker(self, number: int, process: Process) -> None:
        self._writer_listener.close()
        for other, listener in enumerate(self._listeners):
            if other != number:
                listener.close()
        worker.run(
            worker.WorkerContext(
                self._settings,
                number,
                self._listeners[number],
                self._writer_path,
                self._key,
                self._counters,
                self._boards,
                process.parent,
                self._started,
            )
        )

    def _be_writer(self, process: Process) -> None:
        self._close_listeners()
        settings = self._settings
        try:
            with enough_space():
                model, membership = self._join()
        except SqliteFailure as failure:
            raise explain(self._state.journal, failure) from failure
        writer.run(
            model,
            self._writer_listener,
            self._counters.row(settings.workers),
            Observer(self._boards.observed, self._counters),
            parent=process.parent,
            new_arms=settings.new_arms is NewArms.FROM_FEEDBACK,
            settles=settings.attribution is not None,
            on_used=lambda workers: self._on_used(process, workers),
            membership=membership,
            hosts=self._boards.fleet,
            shared=self._counters,
        )

    def _join(self) -> tuple[Model, joining.Membership | None]:
        """Return the model, and the host's place in its fleet."""
        settings = self._settings
        if settings.fleet is not None:
            starts = not self.supervisor.is_ready
            return joining.join(settings, self._state, self._model, starts=starts)
        joining.leave(self._state, adopt=settings.adopt)
        return self._model(), None

    def _model(self, clock: Callable[[], float] | None = None) -> Model:
        settings = self._settings
        in_fleet = clock is not None
        return Model(
            self._state,
            settings.posteriors,
            window=settings.dedupe_window + (joining.CLOCKS_APART if in_fleet else 0),
            policy=settings.policy,
            half_life=settings.half_life,
            hours=settings.window,
            attribution=settings.attribution is not None,
            candidate=None if in_fleet else settings.candidate,
            new_arm_prior=settings.new_arm_prior,
            only_beta=_only_beta(settings),
            needs_features=_needs_features(settings),
            adopt=settings.adopt and not in_fleet,
            resume=self.supervisor.is_ready,
            limits=settings.unpacking,
            shared=clock,
        )

    def _on_used(self, process: Process, workers: int) -> None:
        if workers == self._settings.workers:
            process.report_ready()


def _only_beta(settings: Settings) -> str:
    """Return the option that needs Beta posteriors, if one is given."""
    if settings.examination:
        return "--position-model"
    return "" if settings.new_arm_prior is None else "--new-arm-prior"


def _needs_features(settings: Settings) -> str:
    """Return the option that needs a policy with features, if one is given."""
    is_for_policy = settings.features is not None and settings.post_process is None
    return "--features" if is_for_policy else ""


def _make_directory(path: Path) -> None:
    hint = "--log names a directory that the server may write"
    try:
        make_folder(path)
        usable = os.access(path, os.W_OK | os.X_OK)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", hint=hint) from error
    if not usable:
        raise ConfigurationError(f"{path}: not writable", hint=hint)

"""From a posteriors file to a version of the model, with the options of the server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlkit.bandit.models import loading
from mlkit.bandit.posteriors import file
from mlkit.bandit.server.learning.served_model import ServedModel
from mlkit.bandit.server.learning.tables import GrowingTable, load_table
from mlkit.errors import MlkitError, UsageError
from mlkit.unpacking import UnpackLimits

Served = GrowingTable | ServedModel


@dataclass(frozen=True)
class VersionFiles:
    """Loads posteriors files, and refuses what does not fit the options.

    Attributes:
        policy: The policy asked for; None: that of the file.
        half_life: Seconds in which what is known loses half of its weight; None: that of the file.
        hours: The window of rewards that count, in hours; None: that of the file.
        attribution: Whether decisions without a reward count as 0.
        only_beta: The option that another policy than Thompson sampling refuses; empty: none.
        needs_features: The option that needs a policy with features; empty: none.
        limits: How much a file may unpack to.
        next_path: Returns the file of each table that workers read.
    """

    policy: str | None
    half_life: float | None
    hours: int | None
    attribution: bool
    only_beta: str
    needs_features: str
    limits: UnpackLimits | None
    next_path: Callable[[], Path]

    def digest(self, source: Path) -> str:
        """Return what identifies a posteriors file and the policy on it."""
        policy = "" if self.policy is None else f" {self.policy}"
        window = "" if self.hours is None else f" window {self.hours}"
        return f"{file.content_hash(source)}{policy}{self._aging}{window}"

    def candidate_digest(self, source: Path) -> str:
        """Return what identifies a candidate's file and how it forgets."""
        return f"{file.content_hash(source)}{self._aging}"

    @property
    def _aging(self) -> str:
        return "" if self.half_life is None else f" half-life {self.half_life:g}"

    def load(self, source: Path, since: float | None, policy: str | None, named: Path) -> Served:
        """Load a version.

        Args:
            source: The file.
            since: The time of posteriors that name none, in seconds since 1970.
            policy: The policy; None: that of the file.
            named: The file that the user knows, of which `source` may be a copy.

        Raises:
            MlkitError: The file cannot be used.
        """
        try:
            return self._load(source, since, policy)
        except MlkitError as error:
            raise _rename_file(error, str(source), str(named)) from error

    def _load(self, source: Path, since: float | None, policy: str | None) -> Served:
        if loading.is_beta(source, policy, self.limits):
            self._check_features(None)
            about = self.half_life, since, self.limits, self.hours
            return load_table(source, self.next_path, *about)
        if self.only_beta:
            hint = "it is about Thompson sampling with Beta posteriors"
            raise UsageError(f"{self.only_beta}: not with the policy of {source}", hint=hint)
        if self.hours is not None:
            hint = "Thompson sampling with Beta posteriors has; others have --half-life"
            raise UsageError(f"--window: the policy {policy or f'of {source}'} has none", hint=hint)
        aging = {"half_life": self.half_life, "since": since}
        served = ServedModel(source, policy, self.next_path, self.limits, **aging)
        self._check_features(served)
        self._check_attribution(served)
        return served

    def _check_features(self, served: ServedModel | None) -> None:
        """Refuse an option about features where the policy reads none."""
        has_features = served is not None and served.model.header.spec.has_features
        if self.needs_features and not has_features:
            hint = "lin-ts, lin-ucb and logistic read features"
            raise UsageError(f"{self.needs_features}: the policy reads none", hint=hint)

    def _check_attribution(self, served: ServedModel) -> None:
        spec = served.header.spec
        if self.attribution and not spec.takes_back:
            hint = "a reward that comes later takes the zero back"
            text = f"--attribution: the policy {spec} cannot take rewards back"
            raise UsageError(text, hint=hint)

    def check_window(self, candidate: Path | None) -> None:
        """Refuse a candidate where a window of rewards counts."""
        if self.hours is not None and candidate is not None:
            hint = "both versions may have a half-life"
            raise UsageError("--window: not with --candidate", hint=hint)


def check_kind(stable: Served, candidate: Served, source: Path) -> None:
    """Refuse a candidate that reads other features, or learns from other rewards."""
    if isinstance(stable, ServedModel) and isinstance(candidate, ServedModel):
        first, second = stable.header, candidate.header
        same = first.spec.rewards == second.spec.rewards and first.features == second.features
    else:
        same = type(stable) is type(candidate)
    if not same:
        hint = "both are Beta posteriors, or models of the same features and rewards"
        raise UsageError(f"--candidate {source}: a model of another kind", hint=hint)


def _rename_file(error: MlkitError, before: str, after: str) -> MlkitError:
    """Return an error about one file as one about another."""
    renamed = MlkitError(error.message.replace(before, after), hint=error.hint)
    renamed.exit_code = error.exit_code  # type: ignore[misc]
    return renamed

"""Posteriors files of both versions, as the policy that a user asks for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlkit.bandit.models import file
from mlkit.bandit.models.features import FeatureSchema
from mlkit.bandit.models.model import ModelHeader, PolicyModel
from mlkit.bandit.policies import catalog
from mlkit.bandit.policies.catalog import THOMPSON, PolicySpec
from mlkit.bandit.policies.policy import Array
from mlkit.bandit.posteriors import file as posteriors_file
from mlkit.bandit.posteriors.posterior import Posteriors
from mlkit.errors import UsageError
from mlkit.unpacking import UnpackLimits

_FROM_BETA = ("ucb1", "kl-ucb", "bayes-ucb", "epsilon-greedy", "softmax", catalog.TOP_TWO)


def is_beta(path: Path, policy: str | None, limits: UnpackLimits | None = None) -> bool:
    """Return whether a file is served by Thompson sampling with its Beta posteriors.

    Args:
        path: A posteriors file.
        policy: The policy asked for; None: that of the file.
        limits: How much it may unpack to.

    Raises:
        UsageError: There is no such policy.
        InputMissing: The file cannot be read.
        BadData: It is damaged.
    """
    asked = None if policy is None else catalog.parse(policy)
    if asked is not None and asked.name == THOMPSON and asked.parameters:
        raise UsageError(f"--policy {policy}: the prior is that of `mlkit bandit fit --prior`")
    return _has_beta(path, limits) and (asked is None or asked.name == THOMPSON)


def load(path: Path, policy: str | None, limits: UnpackLimits | None = None) -> PolicyModel:
    """Read a model; Beta posteriors are turned into another policy of the same counts.

    Args:
        path: A posteriors file.
        policy: The policy asked for; None: that of the file.
        limits: How much it may unpack to.

    Raises:
        UsageError: The file's counts are not those of the policy.
        InputMissing: The file cannot be read.
        BadData: It is damaged.
    """
    if _has_beta(path, limits):
        return _convert(path, posteriors_file.read(path, limits), catalog.parse(policy or THOMPSON))
    model = file.read(path, limits)
    own = str(model.header.spec)
    if policy is not None and str(catalog.parse(policy)) != own:
        hint = "fit the logs with the other policy, or leave --policy out"
        raise UsageError(f"--policy {policy}: {path} is a model with the policy {own}", hint=hint)
    return model


def _has_beta(path: Path, limits: UnpackLimits | None) -> bool:
    return file.version_of(path, limits) in posteriors_file.VERSIONS


def _convert(path: Path, posteriors: Posteriors, spec: PolicySpec) -> PolicyModel:
    """Return a policy with the counts of Beta posteriors; contexts are left out."""
    if spec.name not in _FROM_BETA or spec.inner not in ("", THOMPSON):
        hint = f"fit the logs with --policy; of Beta posteriors are {', '.join(_FROM_BETA)}"
        raise UsageError(f"{path}: Beta posteriors, not those of the policy {spec}", hint=hint)
    about = posteriors.source, posteriors.forgetting
    model = PolicyModel(ModelHeader(posteriors.model, spec, FeatureSchema(), *about))
    places = [model.name(arm) for arm in posteriors.arms["arm"].to_pylist()]
    a, b, pulls = (posteriors.arms[name].to_numpy() for name in ("a", "b", "pulls"))
    model.pulls[places] = pulls
    for name, values in _counts(spec, posteriors, a, b).items():
        catalog.arrays(model.policy)[name][places] = values
    return model


def _counts(spec: PolicySpec, posteriors: Posteriors, a: Array, b: Array) -> dict[str, Array]:
    if spec.name == catalog.TOP_TWO:
        return {"a": a, "b": b}
    sums, misses = np.maximum(a - posteriors.prior.a, 0), np.maximum(b - posteriors.prior.b, 0)
    return {"pulls": sums + misses, "sums": sums}

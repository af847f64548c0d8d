"""Scenarios: worlds in which policies are compared, as TOML."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from mlkit.bandit.simulation.users import Users
from mlkit.bandit.simulation.users import read as read_users
from mlkit.errors import BadData, InputMissing

MOST_STEPS = 10**9
MOST_ARMS = 10_000
MOST_FEATURES = 256
MOST_WAITING = 1_000_000
"""Features of the decisions of a run whose rewards are not known yet."""
_LARGEST = 1e9
Number = Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST)]
Step = Annotated[int, Meta(ge=0, le=MOST_STEPS)]


class Rewards(IntEnum):
    """The distributions of rewards."""

    bernoulli = 0
    poisson = 1
    normal = 2


class Arm(msgspec.Struct, forbid_unknown_fields=True):
    """An arm: its mean reward is mean + drift t + amplitude sin(2 pi t / period) at step t.

    With features its score is the product of `weights` with those of the context instead: the
    mean of Normal rewards, the log odds of Bernoulli ones. `deviation` is the standard deviation of
    Normal rewards. The arm is there from the step `arrives` until before `leaves`.
    """

    mean: Number | None = None
    weights: list[Number] | None = None
    deviation: Annotated[float, Meta(ge=0, le=_LARGEST)] = 1.0
    drift: Number = 0.0
    amplitude: Number = 0.0
    period: Annotated[float, Meta(gt=0, le=_LARGEST)] = 1000.0
    arrives: Step = 0
    leaves: Step = MOST_STEPS


class Features(msgspec.Struct, forbid_unknown_fields=True):
    """What each decision sees of its context: `dimension` standard Normal features.

    With an `intercept` the first is 1 instead.
    """

    dimension: Annotated[int, Meta(ge=1, le=MOST_FEATURES)]
    intercept: bool = True


class FittedUsers(msgspec.Struct, forbid_unknown_fields=True):
    """Users out of posteriors that were fitted with contexts: see `users.read`."""

    posteriors: Annotated[str, Meta(min_length=1)]
    most: Annotated[int, Meta(ge=1)] = 1000
    apart: bool = True


class Jump(msgspec.Struct, forbid_unknown_fields=True):
    """From a step on, an arm (from 0) has another mean, or other weights."""

    step: Step
    arm: Annotated[int, Meta(ge=0)]
    mean: Number | None = None
    weights: list[Number] | None = None


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    """A scenario as it is written."""

    arm: Annotated[list[Arm], Meta(max_length=MOST_ARMS)] = []
    rewards: str = "bernoulli"
    steps: Annotated[int, Meta(ge=1, le=MOST_STEPS)] = 10_000
    runs: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    delay: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    policies: list[str] = []
    jump: list[Jump] = []
    features: Features | None = None
    users: FittedUsers | None = None


@dataclass(frozen=True)
class Scenario:
    """A world, and how it is to be simulated.

    Attributes:
        rewards: The distribution of rewards.
        arms: The arms.
        jumps: Jumps of means, in the order of steps.
        steps: Decisions of a run.
        runs: Runs of each policy.
        delay: Decisions until a reward is known.
        policies: The policies to compare.
        features: What decisions see of their contexts; None: nothing, and arms have means.
        users: Whom decisions are for; None: all are alike.
    """

    rewards: Rewards
    arms: tuple[Arm, ...]
    jumps: tuple[Jump, ...]
    steps: int
    runs: int
    delay: int
    policies: tuple[str, ...]
    features: Features | None = None
    users: Users | None = None


def read(path: Path) -> Scenario:
    """Read a scenario.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It is not a TOML, or a value is unknown or out of range; the message names it.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputMissing(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: not UTF-8 text", hint="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise BadData(f"{path}: not TOML: {error}") from error
    try:
        found = msgspec.convert(document, _Document)
    except msgspec.ValidationError as error:
        raise BadData(f"{path}: {error}") from error
    return _check(path, found)


def _check(path: Path, found: _Document) -> Scenario:
    if found.rewards not in Rewards.__members__:
        known = ", ".join(Rewards.__members__)
        raise BadData(f"{path}: rewards is {found.rewards!r}, expected one of {known}")
    rewards = Rewards[found.rewards]
    if found.users is not None:
        return _of_users(path, found, found.users, rewards)
    if not found.arm:
        raise BadData(f"{path}: no [[arm]]", hint="or [users] with the posteriors of a log")
    for number, arm in enumerate(found.arm):
        _check_arm(f"{path}: arm {number}", arm, found.features, rewards)
    for jump in found.jump:
        if jump.arm >= len(found.arm):
            raise BadData(f"{path}: a jump of arm {jump.arm}: arms are 0 to {len(found.arm) - 1}")
        _check_worth(f"{path}: a jump of arm {jump.arm}", jump, found.features)
        _check_mean(f"{path}: a jump of arm {jump.arm}", jump, rewards)
    if found.features is not None:
        _check_features(path, found, rewards)
    jumps = tuple(sorted(found.jump, key=lambda jump: jump.step))
    return Scenario(
        rewards, tuple(found.arm), jumps, found.steps, found.runs, found.delay,
        tuple(found.policies), found.features,
    )  # fmt: skip


def _of_users(path: Path, found: _Document, given: FittedUsers, rewards: Rewards) -> Scenario:
    if found.arm or found.jump or found.features is not None:
        hint = "the arms and their rewards come from the posteriors"
        raise BadData(f"{path}: [users] beside arms, jumps or features", hint=hint)
    if rewards is not Rewards.bernoulli:
        raise BadData(f"{path}: [users] with {rewards.name} rewards, expected bernoulli ones")
    users = read_users(path.parent / given.posteriors, given.most, apart=given.apart)
    arms = tuple(Arm(mean=0.0) for _ in users.arms)
    policies = tuple(found.policies)
    return Scenario(rewards, arms, (), found.steps, found.runs, found.delay, policies, users=users)


def _check_arm(place: str, arm: Arm, features: Features | None, rewards: Rewards) -> None:
    _check_worth(place, arm, features)
    if arm.leaves <= arm.arrives:
        text = f"leaves at step {arm.leaves}, but arrives at step {arm.arrives}"
        raise BadData(f"{place}: {text}", hint="it would never be a candidate")
    if features is None:
        _check_mean(place, arm, rewards)
    elif arm.drift or arm.amplitude:
        raise BadData(f"{place}: drift and amplitude need means, not weights")


def _check_worth(place: str, given: Arm | Jump, features: Features | None) -> None:
    """Refuse a mean beside features, and weights without them or of another number."""
    if features is None:
        if given.mean is None or given.weights is not None:
            hint = "weights need [features] with their dimension"
            raise BadData(f"{place}: expected a mean", hint=hint)
    elif given.mean is not None or given.weights is None:
        raise BadData(f"{place}: expected weights, one for each feature, instead of a mean")
    elif len(given.weights) != features.dimension:
        count = len(given.weights)
        raise BadData(f"{place}: {count} weights, expected {features.dimension}")


def _check_mean(place: str, given: Arm | Jump, rewards: Rewards) -> None:
    mean = given.mean or 0.0
    if rewards is not Rewards.normal and mean < 0:
        raise BadData(f"{place}: a mean of {rewards.name} rewards is below 0")
    if rewards is Rewards.bernoulli and mean > 1:
        raise BadData(f"{place}: a mean of bernoulli rewards is above 1")


def _check_features(path: Path, found: _Document, rewards: Rewards) -> None:
    if rewards is Rewards.poisson:
        hint = "with features, rewards are normal (linear) or bernoulli (logistic)"
        raise BadData(f"{path}: poisson rewards do not depend on features", hint=hint)
    dimension = found.features.dimension if found.features else 0
    if dimension * found.delay > MOST_WAITING:
        text = f"a delay of {found.delay} steps with {dimension} features"
        raise BadData(f"{path}: {text}: their product is above {MOST_WAITING:,}")

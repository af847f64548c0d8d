"""Scenarios: worlds in which policies are compared, as TOML."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from mlkit.errors import BadData, InputMissing

MOST_STEPS = 10**9
MOST_ARMS = 10_000
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

    `deviation` is the standard deviation of Normal rewards. The arm is there from the step
    `arrives` until before `leaves`.
    """

    mean: Number
    deviation: Annotated[float, Meta(ge=0, le=_LARGEST)] = 1.0
    drift: Number = 0.0
    amplitude: Number = 0.0
    period: Annotated[float, Meta(gt=0, le=_LARGEST)] = 1000.0
    arrives: Step = 0
    leaves: Step = MOST_STEPS


class Jump(msgspec.Struct, forbid_unknown_fields=True):
    """From a step on, an arm (from 0) has another mean."""

    step: Step
    arm: Annotated[int, Meta(ge=0)]
    mean: Number


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    """A scenario as it is written."""

    arm: Annotated[list[Arm], Meta(min_length=1, max_length=MOST_ARMS)]
    rewards: str = "bernoulli"
    steps: Annotated[int, Meta(ge=1, le=MOST_STEPS)] = 10_000
    runs: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    delay: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    policies: list[str] = []
    jump: list[Jump] = []


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
    """

    rewards: Rewards
    arms: tuple[Arm, ...]
    jumps: tuple[Jump, ...]
    steps: int
    runs: int
    delay: int
    policies: tuple[str, ...]


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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadData(f"{path}: {error}") from error
    try:
        found = msgspec.convert(document, _Document)
    except msgspec.ValidationError as error:
        raise BadData(f"{path}: {error}") from error
    return _checked(path, found)


def _checked(path: Path, found: _Document) -> Scenario:
    if found.rewards not in Rewards.__members__:
        known = ", ".join(Rewards.__members__)
        raise BadData(f"{path}: rewards is {found.rewards!r}, expected one of {known}")
    rewards = Rewards[found.rewards]
    for number, arm in enumerate(found.arm):
        if rewards is not Rewards.normal and arm.mean < 0:
            raise BadData(f"{path}: arm {number}: a mean of {found.rewards} rewards is below 0")
        if rewards is Rewards.bernoulli and arm.mean > 1:
            raise BadData(f"{path}: arm {number}: a mean of bernoulli rewards is above 1")
    for jump in found.jump:
        if jump.arm >= len(found.arm):
            raise BadData(f"{path}: a jump of arm {jump.arm}: arms are 0 to {len(found.arm) - 1}")
    jumps = tuple(sorted(found.jump, key=lambda jump: jump.step))
    arms, policies = tuple(found.arm), tuple(found.policies)
    return Scenario(rewards, arms, jumps, found.steps, found.runs, found.delay, policies)

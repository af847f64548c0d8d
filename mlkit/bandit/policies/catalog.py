"""Policies by name: `NAME` or `NAME:PARAMETER=VALUE,...`, such as `lin-ucb:alpha=0.5`.

The state of a policy is a few arrays with a row a model: an arm, or the one model of a shared
policy. `arrays` returns them, `pack` and `unpack` turn a row into bytes and back, bit by bit.
"""

from __future__ import annotations

import copy
import difflib
import inspect
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlkit.bandit.policies.arm_means import ArmMeans
from mlkit.bandit.policies.gaussian import FeaturePolicy, whiten
from mlkit.bandit.policies.greedy import EpsilonGreedy, ExploreThenCommit, Softmax
from mlkit.bandit.policies.linear import LinTS, LinUCB
from mlkit.bandit.policies.logistic import LogisticThompson
from mlkit.bandit.policies.policy import Array, Policy, ScoringPolicy
from mlkit.bandit.policies.thompson import (
    BetaThompson,
    GammaPoissonThompson,
    NormalThompson,
    TopTwoThompson,
)
from mlkit.bandit.policies.upper_bounds import KLUCB, UCB1, BayesUCB
from mlkit.errors import BadData, UsageError

THOMPSON = "thompson"
"""Thompson sampling with Beta posteriors: the default."""
CLASSES: dict[str, type[ScoringPolicy]] = {
    THOMPSON: BetaThompson,
    "gamma-poisson": GammaPoissonThompson,
    "normal": NormalThompson,
    "bayes-ucb": BayesUCB,
    "kl-ucb": KLUCB,
    "ucb1": UCB1,
    "epsilon-greedy": EpsilonGreedy,
    "softmax": Softmax,
    "explore-then-commit": ExploreThenCommit,
    "lin-ts": LinTS,
    "lin-ucb": LinUCB,
    "logistic": LogisticThompson,
}
TOP_TWO = "top-two"
NAMES = (*CLASSES, TOP_TWO)
_INNER = (THOMPSON, "gamma-poisson", "normal")
_SIZES = ("self", "arms", "dimension")
Value = float | int | bool


@dataclass(frozen=True)
class PolicySpec:
    """The name of a policy and its parameters.

    Attributes:
        name: One of `NAMES`.
        parameters: Those that differ from the defaults, by name.
        inner: Of top-two Thompson sampling: the name of the Thompson sampling.

    Raises:
        UsageError: There is no such policy or parameter, or a value is out of range.
    """

    name: str
    parameters: dict[str, Value] = field(default_factory=dict)
    inner: str = ""

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise _unknown("policy", self.name, NAMES)
        if self.inner and (self.name != TOP_TWO or self.inner not in _INNER):
            raise _unknown("inner policy", self.inner, _INNER)
        self.make(1, 1)

    @property
    def has_features(self) -> bool:
        """Whether the policy reads features."""
        return issubclass(self._class, FeaturePolicy)

    @property
    def is_shared(self) -> bool:
        """Whether one model reads the features of all arms."""
        return bool(self.parameters.get("shared", False))

    @property
    def takes_back(self) -> bool:
        """Whether rewards can be withdrawn."""
        return self._class.takes_back

    @property
    def forgets(self) -> bool:
        """Whether what was learned can lose weight."""
        return self._class.forgets

    @property
    def rewards(self) -> tuple[float, float]:
        """The range of rewards."""
        return self._class.rewards

    @property
    def _class(self) -> type[ScoringPolicy]:
        return CLASSES[self.inner or THOMPSON] if self.name == TOP_TWO else CLASSES[self.name]

    def make(self, arms: int, dimension: int = 0) -> Policy:
        """Return a new policy for arms, and for features of a dimension."""
        parameters: dict[str, Any] = dict(self.parameters)
        share = parameters.pop("share", 0.5) if self.name == TOP_TWO else None
        if self.has_features:
            parameters["dimension"] = max(dimension, 1)
        policy: Policy = self._class(arms, **parameters)
        return policy if share is None else TopTwoThompson(policy, share)

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        pairs = {"of": self.inner} if self.inner else {}
        pairs |= {name: _format(value) for name, value in sorted(self.parameters.items())}
        text = ",".join(f"{name}={value}" for name, value in pairs.items())
        return f"{self.name}:{text}" if text else self.name


def parse(text: str) -> PolicySpec:
    """Read a policy: `NAME` or `NAME:PARAMETER=VALUE,...`.

    Raises:
        UsageError: The text is not a policy; the hint lists what there is.
    """
    name, _, rest = text.partition(":")
    if name not in NAMES:
        raise _unknown("policy", name, NAMES)
    pairs = [_pair(text, part) for part in rest.split(",")] if rest else []
    given = dict(pairs)
    if len(given) < len(pairs):
        raise UsageError(f"policy {text}: a parameter appears twice")
    inner = given.pop("of", "")
    kinds = parameters_of(name, inner)
    for each in given:
        if each not in kinds:
            raise _unknown(f"parameter of {name}", each, (*kinds, *_of(name)))
    return PolicySpec(
        name, {each: _value(text, each, kinds[each], given[each]) for each in given}, inner
    )


def parameters_of(name: str, inner: str = "") -> dict[str, type]:
    """Return the parameters of a policy with their types."""
    if name == TOP_TWO:
        if inner and inner not in _INNER:
            raise _unknown("inner policy", inner, _INNER)
        return parameters_of(inner or THOMPSON) | {"share": float}
    known = inspect.signature(CLASSES[name].__init__).parameters.values()
    return {each.name: type(each.default) for each in known if each.name not in _SIZES}


def _of(name: str) -> tuple[str, ...]:
    return ("of",) if name == TOP_TWO else ()


def _pair(text: str, part: str) -> tuple[str, str]:
    name, equal, value = part.partition("=")
    if not equal:
        raise UsageError(f"policy {text}: {part!r} is not PARAMETER=VALUE")
    return name.strip().replace("-", "_"), value.strip()


def _value(text: str, name: str, kind: type, value: str) -> Value:
    try:
        if kind is bool:
            return {"true": True, "false": False, "1": True, "0": False}[value.lower()]
        return int(value) if kind is int else float(value)
    except (ValueError, KeyError):
        expected = {bool: "true or false", int: "a whole number"}.get(kind, "a number")
        raise UsageError(f"policy {text}: {name} is {value!r}, expected {expected}") from None


def _format(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _unknown(what: str, found: str, known: tuple[str, ...]) -> UsageError:
    near = difflib.get_close_matches(found, known, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    listed = f"there are {', '.join(known)}" if known else "it has none"
    return UsageError(f"{what} {found!r} is not known", hint=f"{meant}{listed}")


# The state of a policy

DERIVED = ("whitening",)
"""Arrays that follow from the others."""


def holder(policy: Policy) -> ScoringPolicy:
    """Return the policy that has the state: the inner one of top-two Thompson sampling."""
    found = policy.thompson if isinstance(policy, TopTwoThompson) else policy
    assert isinstance(found, ScoringPolicy)
    return found


def arrays(policy: Policy) -> dict[str, Array]:
    """Return the arrays of a policy's state, by name: the first axis is the model."""
    owner, names = _owner(policy)
    return {name: getattr(owner, name) for name in names}


def assign(policy: Policy, state: dict[str, Array]) -> None:
    """Replace the arrays of a policy's state; they are used as they are."""
    owner, names = _owner(policy)
    for name in names:
        setattr(owner, name, state[name])


def detach(policy: Policy) -> Policy:
    """Return a policy with a copy of the state, which later updates do not change."""
    found = copy.copy(policy)
    if isinstance(found, TopTwoThompson):
        found.thompson = copy.copy(found.thompson)
    owner: Any = holder(found)
    for part in ("weights", "means"):
        if hasattr(owner, part):
            setattr(owner, part, copy.copy(getattr(owner, part)))
    assign(found, {name: values.copy() for name, values in arrays(policy).items()})
    return found


def pack(policy: Policy, row: int) -> bytes:
    """Return a row of a policy's state as bytes: little-endian doubles."""
    return b"".join(
        values[row].astype("<f8").tobytes()
        for name, values in arrays(policy).items()
        if name not in DERIVED
    )


def unpack(policy: Policy, row: int, data: bytes) -> None:
    """Set a row of a policy's state from bytes.

    Raises:
        ValueError: There are too few or too many.
    """
    values, begin = np.frombuffer(data, "<f8"), 0
    for name, array in arrays(policy).items():
        if name not in DERIVED:
            size = array[row].size
            array[row] = values[begin : begin + size].reshape(array[row].shape)
            begin += size
    if begin != values.size:
        raise ValueError(f"{values.size} numbers, expected {begin}")
    derive(policy, row)


def check(policy: Policy, row: int) -> None:
    """Refuse a row that is not a state of a policy, such as a posterior with a rate below 0.

    Raises:
        BadData: A number is out of range.
    """
    for name, array in arrays(policy).items():
        if name in _ABOVE_0 and not (array[row] > 0).all():
            raise BadData(f"{name} is {array[row]}, expected a number above 0")
        if name == "pulls" and array[row] < 0:
            raise BadData(f"{name} is {array[row]}, expected a number of at least 0")
        if not (np.abs(array[row]) <= _LARGEST_STATE).all():
            raise BadData(f"{name} is larger than {_LARGEST_STATE:g}")


_ABOVE_0 = ("a", "b", "shape", "rate", "kappa")
_LARGEST_STATE = 1e250


def derive(policy: Policy, row: int) -> None:
    """Compute what follows from the rest of a row's state.

    Raises:
        BadData: The row is not a state of the policy.
    """
    owner = holder(policy)
    if isinstance(owner, FeaturePolicy):
        owner.weights.whitening[row] = whiten(owner.weights.precision[row])


_STATE: dict[type, tuple[str, ...]] = {
    BetaThompson: ("a", "b"),
    GammaPoissonThompson: ("shape", "rate"),
    NormalThompson: ("mean", "kappa", "a", "b"),
}


def _owner(policy: Policy) -> tuple[Any, tuple[str, ...]]:
    owner = holder(policy)
    if isinstance(owner, FeaturePolicy):
        return owner.weights, ("mean", "precision", *DERIVED)
    means = getattr(owner, "means", None)
    if isinstance(means, ArmMeans):
        return means, ("pulls", "sums")
    return owner, _STATE[type(owner)]

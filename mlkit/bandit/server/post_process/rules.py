"""Business rules as a list: what may be shown, what is pinned where, and how alike it may be.

[[filter]]                      # only arms whose feature fits may be shown
feature = "stock"
at_least = 1                    # or at_most, equals, one_of, none_of
missing = "remove"              # arms without it; "keep" unless it sets it

[[pin]]
arm = "c7"
position = 1                    # from 1

[[diversity]]                   # of each value, so many are shown at most
feature = "brand"
most = 2

[arms.c1]                       # features beside those of the store
brand = "acme"
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mlkit.bandit.posteriors.posterior import ID_BYTES
from mlkit.errors import ConfigurationError, InputMissing

Scalar = str | int | float | bool
Attributes = Mapping[str, Any]
_Name = Annotated[str, Meta(min_length=1)]
_Id = Annotated[str, Meta(min_length=1, max_length=ID_BYTES)]


class Filter(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A condition that arms must fulfil to be shown."""

    feature: _Name
    at_least: float | None = None
    at_most: float | None = None
    equals: Scalar | None = None
    one_of: tuple[Scalar, ...] | None = None
    none_of: tuple[Scalar, ...] | None = None
    missing: Literal["keep", "remove"] = "keep"

    def __post_init__(self) -> None:
        limits = (self.at_least, self.at_most, self.equals, self.one_of, self.none_of)
        if all(each is None for each in limits):
            raise ValueError("expected at_least, at_most, equals, one_of or none_of")

    def allows(self, value: Scalar | None) -> bool:
        """Return whether an arm with this value may be shown."""
        if value is None:
            return self.missing == "keep"
        return self._is_in_range(value) and self._is_among(value)

    def _is_in_range(self, value: Scalar) -> bool:
        if self.at_least is None and self.at_most is None:
            return True
        number = _number(value)
        if number is None:  # a text where a number is limited is no number
            return self.missing == "keep"
        low = self.at_least is None or number >= self.at_least
        return low and (self.at_most is None or number <= self.at_most)

    def _is_among(self, value: Scalar) -> bool:
        text = _text(value)
        if self.equals is not None and text != _text(self.equals):
            return False
        if self.one_of is not None and text not in map(_text, self.one_of):
            return False
        return self.none_of is None or text not in map(_text, self.none_of)


class Pin(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An arm that is shown at a position, from 1, if it may be shown at all."""

    arm: _Id
    position: Annotated[int, Meta(ge=1, le=65_535)]


class Diversity(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """So many arms with the same value are shown at most."""

    feature: _Name
    most: Annotated[int, Meta(ge=1)]


class Rules(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A list of rules."""

    filter: tuple[Filter, ...] = ()
    pin: tuple[Pin, ...] = ()
    diversity: tuple[Diversity, ...] = ()
    arms: dict[_Id, dict[_Name, Scalar]] = {}

    def __post_init__(self) -> None:
        for name in ("arm", "position"):
            found = Counter(getattr(each, name) for each in self.pin)
            if twice := [each for each, count in found.items() if count > 1]:
                raise ValueError(f"pin: the {name} {twice[0]!r:.80} appears twice")

    @property
    def features(self) -> tuple[str, ...]:
        """The features of arms that are read."""
        filters = [each.feature for each in self.filter]
        return tuple(dict.fromkeys([*filters, *(each.feature for each in self.diversity)]))

    def value(self, arm: str, feature: str, known: Mapping[str, Attributes]) -> Scalar | None:
        """Return a feature of an arm, by the list itself or else as the store has it."""
        own = self.arms.get(arm, {})
        return own[feature] if feature in own else known.get(arm, {}).get(feature)

    def select_allowed(self, arms: Sequence[str], known: Mapping[str, Attributes]) -> list[str]:
        """Return the arms that all filters allow."""
        return [
            arm
            for arm in arms
            if all(rule.allows(self.value(arm, rule.feature, known)) for rule in self.filter)
        ]

    def diverse(
        self,
        ranking: Sequence[str],
        k: int,
        pinned: Sequence[str],
        known: Mapping[str, Attributes],
    ) -> list[str]:
        """Return the best k arms of a ranking that are not too alike, beside those pinned."""
        seen: Counter[tuple[str, str]] = Counter()
        for arm in pinned:
            seen.update(self._kinds(arm, known))
        found: list[str] = []
        for arm in ranking:
            if len(found) >= k:
                break
            kinds = self._kinds(arm, known)
            if all(seen[kind] < most for kind, most in kinds.items()):
                seen.update(dict.fromkeys(kinds, 1))
                found.append(arm)
        return found

    def _kinds(self, arm: str, known: Mapping[str, Attributes]) -> dict[tuple[str, str], int]:
        """Return what an arm is of, and how many of it may be shown."""
        values = ((rule, self.value(arm, rule.feature, known)) for rule in self.diversity)
        return {
            (rule.feature, _text(value)): rule.most for rule, value in values if value is not None
        }


def read(path: Path) -> Rules:
    """Read a list of rules.

    Raises:
        InputMissing: It cannot be read.
        ConfigurationError: It is no TOML, or a rule is wrong; the message names it.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return msgspec.convert(document, Rules)
    except OSError as error:
        raise InputMissing(f"{path}: {error.strerror}", hint="--post-process names it") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        hint = "rules are [[filter]], [[pin]], [[diversity]] and [arms.ID]"
        raise ConfigurationError(f"{path}: {error}", hint=hint) from error


def _text(value: Scalar) -> str:
    """Return a value as text: what a store has as text may be a number in the list."""
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.15g}" if isinstance(value, int | float) else value


def _number(value: Scalar) -> float | None:
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if found == found else None

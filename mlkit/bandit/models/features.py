"""Which features a model reads, and how they become vectors.

    a model per arm     x = (1, context)
    a shared model     x = (1, arm, context, arm x context), without the last two if there is none

where each part is the numbers of the declared features in their order, or all of them hashed to
a fixed length.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlkit.bandit.logs.rewards import as_numbers
from mlkit.bandit.policies.features import HashingEncoder, Value, with_interactions
from mlkit.bandit.policies.policy import LARGEST, Array
from mlkit.errors import BadData, UsageError

Named = Mapping[str, Value]
MOST_FEATURES = 2048
"""The longest vector of a model: its precision has the square of it."""


@dataclass(frozen=True)
class FeatureSchema:
    """The features of a model.

    Attributes:
        context: Names of the features of contexts.
        arm: Names of the features of arms; only of a shared model.
        categories: Those of both that are categories, texts and not numbers; only if hashed.
        hashed: Length of the hashed vectors; 0: all features are numbers, at a place each.
        seed: Chooses the hash.
        intercept: Whether a constant comes first.

    Raises:
        UsageError: A name appears twice, or the vectors are too long.
    """

    context: tuple[str, ...] = ()
    arm: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    hashed: int = 0
    seed: int = 0
    intercept: bool = True
    _encoder: HashingEncoder | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        for names in (self.context, self.arm):
            if len(set(names)) < len(names) or "" in names:
                raise UsageError(f"features: {', '.join(names)}: a name is empty or appears twice")
        if self.categories and not self.hashed:
            raise UsageError(f"feature {self.categories[0]!r}: categories are hashed", hint=_HASH)
        if self.hashed:
            object.__setattr__(self, "_encoder", HashingEncoder(self.hashed, self.seed))
        if self.dimension > MOST_FEATURES:
            text = f"features: vectors of {self.dimension} numbers, at most {MOST_FEATURES}"
            raise UsageError(text, hint="declare fewer features, or hash them to fewer numbers")

    def declared(self) -> dict[str, Any]:
        """Return what `of` makes the same schema from."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name[0] != "_"}

    @staticmethod
    def of(declared: Mapping[str, Any]) -> FeatureSchema:
        """Return the schema of what was declared."""
        lists = {"context", "arm", "categories"}
        values: dict[str, Any] = {
            name: tuple(each) if name in lists else each for name, each in declared.items()
        }
        return FeatureSchema(**values)

    @cached_property
    def dimension(self) -> int:
        """The length of the vectors that the policy reads."""
        c, d = self._length(self.context), self._length(self.arm)
        return int(self.intercept) + c + d + c * d

    def _length(self, names: tuple[str, ...]) -> int:
        return 0 if not names else self.hashed or len(names)

    def context_vector(self, named: Named | None) -> Array:
        """Return the vector of a context's features.

        Raises:
            BadData: A feature is not declared or wrong; or one is missing and not hashed.
        """
        return self._vector("features", self.context, {} if named is None else named)

    def arm_vector(self, named: Named | None) -> Array:
        """Return the vector of an arm's features.

        Raises:
            BadData: A feature is not declared or wrong; or one is missing and not hashed.
        """
        return self._vector("features of the arm", self.arm, {} if named is None else named)

    def _vector(self, what: str, names: tuple[str, ...], named: Named) -> Array:
        if not isinstance(named, Mapping):
            raise BadData(f"{what}: expected an object of features by name")
        for name in named:
            if name not in names:
                raise _undeclared(what, name, names)
        if not names:
            return np.empty(0)
        if self._encoder is None:
            return np.array([_number(what, name, named.get(name)) for name in names])
        for name, value in named.items():
            if value is not None and name not in self.categories:
                _number(what, name, value)
            elif value is not None and not isinstance(value, bool | str):
                raise BadData(f"{what}: {name!r} is {value!r}, expected text: it is a category")
        return self._encoder.encode(_unsigned_truth(named, self.categories))

    def context_matrix(self, columns: Sequence[pa.Array]) -> Array:
        """Return the vectors of many contexts; NaN where a value is missing or wrong.

        Args:
            columns: Values of the features of contexts, in their order, n each: numbers, and
                texts of categories.

        Returns:
            Shape (n, length).
        """
        values = [self._column(*each) for each in zip(self.context, columns, strict=True)]
        if not values:
            return np.empty((0, 0))
        return np.sum(values, axis=0) if self.hashed else np.stack(values, axis=1)

    def is_wrong(self, column: pa.Array) -> bool:
        """Return whether the first value of a feature that is a number is not good."""
        absent = self.hashed and bool(is_missing(column)[0])
        return not absent and bool(np.isnan(_numbers(column)[0]))

    def _column(self, name: str, column: pa.Array) -> Array:
        if self._encoder is None:
            return _numbers(column)
        found = np.zeros((len(column), self.hashed))
        if name not in self.categories:
            place, sign = self._encoder.part(name, None)
            values = np.where(is_missing(column), 0.0, _numbers(column))
            found[:, place] = sign * values
            return found
        encoded = column.cast(pa.string()).dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        for code, text in enumerate(encoded.dictionary.to_pylist()):
            if text:
                place, sign = self._encoder.part(name, text)
                found[codes == code, place] = sign
        return found

    def design(self, context: Array, arms: Array | None) -> Array:
        """Return what the policy reads.

        Args:
            context: The context's vector, shape (length,), or one per row, shape (rows, length).
            arms: Vectors of the arms of a shared model, shape (rows, length); None: each arm has
                a model of its own.

        Returns:
            Shape (rows, dimension); (dimension,) for one context and a model per arm.
        """
        vectors = context if arms is None else with_interactions(context, arms)
        one = np.ones((*vectors.shape[:-1], int(self.intercept)))
        return np.concatenate([one, vectors], axis=-1)


def is_missing(column: pa.Array) -> NDArray[np.bool_]:
    """Return where a column has no value: null, or an empty text."""
    missing = pc.is_null(column)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        missing = pc.or_(missing, pc.fill_null(pc.equal(column, ""), True))
    return np.asarray(missing.to_numpy(zero_copy_only=False), bool)


def named_features(
    logged: Mapping[str, Any], names: Sequence[str], schema: FeatureSchema
) -> dict[str, Value]:
    """Return those of a log's features that a model reads, with texts as the numbers they are."""
    return {
        name: _convert(logged[name], is_category=name in schema.categories)
        for name in names
        if logged.get(name) not in (None, "")
    }


def _convert(value: Any, *, is_category: bool) -> Any:
    if isinstance(value, list | dict):
        return value  # refused by the schema
    if is_category:
        return value if isinstance(value, bool) else pa.scalar(value).cast(pa.string()).as_py()
    if not isinstance(value, str):
        return value
    number = as_numbers(pa.array([value]))[0].as_py()
    return value if number is None else number


def _numbers(column: pa.Array) -> Array:
    values = as_numbers(column).to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.abs(values) <= LARGEST, values, np.nan)


_HASH = "--hash N hashes them to vectors of N numbers"


def _unsigned_truth(named: Named, categories: tuple[str, ...]) -> Named:
    """Return features with truth as numbers where a number is declared."""
    return {
        name: float(value) if isinstance(value, bool) and name not in categories else value
        for name, value in named.items()
    }


def _undeclared(what: str, name: str, names: Sequence[str]) -> BadData:
    near = difflib.get_close_matches(name, names, 1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    known = f"the model reads {', '.join(names)}" if names else "the model reads none"
    return BadData(f"{what}: {name!r:.80} is not declared", hint=f"{meant}{known}")


def _number(what: str, name: str, value: Value) -> float:
    if isinstance(value, bool | np.bool_):
        return float(value)
    if isinstance(value, int | float | np.integer | np.floating) and abs(value) <= LARGEST:
        return float(value)
    if value is None:
        raise BadData(f"{what}: {name!r} is missing", hint="the model reads numbers, all of them")
    expected = f"a number in [-{LARGEST:g}, {LARGEST:g}]"
    hint = "categories are declared when the model is fitted: --categories"
    raise BadData(f"{what}: {name!r} is {value!r:.60}, expected {expected}", hint=hint)

"""The probabilities with which a model's policy shows the arms of a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mlkit.bandit.evaluation.decisions import Decisions
from mlkit.bandit.logs.rewards import as_numbers
from mlkit.bandit.models.features import FeatureSchema
from mlkit.bandit.models.model import PolicyModel
from mlkit.bandit.policies.features import Value
from mlkit.bandit.policies.policy import Array, Indices
from mlkit.errors import BadData


def probabilities(model: PolicyModel, decisions: Decisions, ranks: Sequence[int]) -> Array:
    """Return the choice probabilities of a policy in its present state, shape (cells, arms).

    Its arms compete, or the candidates that the log names; of these, an arm that the model lacks
    has the policy's prior, and is added to the model.

    Args:
        model: The policy; it learns nothing.
        decisions: The log, with the features that the model reads.
        ranks: The rank of each position, from 0.

    Raises:
        UsageError: The policy has no probabilities of rankings.
        BadData: Features are missing or wrong, or there are fewer arms than positions.
    """
    if len(decisions.available):
        _add_missing(model, decisions.arms)
    places = [model.place(arm) for arm in decisions.arms]
    columns = np.array([-1 if each is None else each for each in places], dtype=np.intp)
    depth, cells = max(ranks) + 1, decisions.cells
    named = [named_features(each, model.header.features) for each in decisions.features]
    table = np.zeros((len(cells), len(columns)))
    done: dict[tuple[int, int], Array] = {}
    for cell in range(len(cells)):
        key = int(cells.feature[cell]), int(cells.candidates[cell])
        if key not in done:
            among = _competing(model, decisions, columns, key[1])
            done[key] = _by_arm(model, among, depth, named[key[0]])[columns]
        table[cell] = done[key][:, ranks[cells.position[cell]]]
    return table


def _add_missing(model: PolicyModel, arms: Sequence[str]) -> None:
    for arm in arms:
        if model.place(arm) is not None:
            continue
        if model.header.features.arm:
            hint = "fit with --arm-features that has a row for each candidate"
            raise BadData(f"the model lacks the candidate {arm!r:.80} and its features", hint=hint)
        model.put(arm)


def _competing(model: PolicyModel, decisions: Decisions, columns: Indices, number: int) -> Indices:
    """Return the places of the arms that the log could show, by default of all."""
    if not len(decisions.available):
        return model.present()
    return np.asarray(columns[decisions.available[number]])


def _by_arm(model: PolicyModel, among: Indices, depth: int, named: Mapping[str, Value]) -> Array:
    """Return the probabilities of ranks by place, shape (arms + 1, depth); the last row is 0."""
    if len(among) < depth:
        text = f"{len(among)} arms for the positions up to {depth}"
        raise BadData(text, hint='--position "" evaluates without positions')
    found = np.zeros((len(model.ids) + 1, depth))
    found[among] = model.ranks(among, among, depth, named).ranks
    return found


def named_features(logged: Mapping[str, Any], schema: FeatureSchema) -> dict[str, Value]:
    """Return what a model reads of a log's features, with texts as the numbers they are."""
    return {
        name: _typed(logged[name], is_category=name in schema.categories)
        for name in schema.context
        if logged.get(name) not in (None, "")
    }


def _typed(value: Any, *, is_category: bool) -> Any:
    if isinstance(value, list | dict):
        return value  # refused by the schema
    if is_category:
        return value if isinstance(value, bool) else pa.scalar(value).cast(pa.string()).as_py()
    if not isinstance(value, str):
        return value
    number = as_numbers(pa.array([value]))[0].as_py()
    return value if number is None else number

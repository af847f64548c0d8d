"""The probabilities with which a model's policy shows the arms of a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlkit.bandit.evaluation.decisions import Decisions, FeatureSet
from mlkit.bandit.models.features import named_features
from mlkit.bandit.models.model import PolicyModel
from mlkit.bandit.policies.policy import Array, Indices
from mlkit.errors import BadData


def probabilities(model: PolicyModel, decisions: Decisions, ranks: Sequence[int]) -> Array:
    """Return the choice probabilities of a policy in its present state, shape (cells, arms).

    Its arms compete, or the candidates that the log names; of these, an arm that the model lacks
    has the policy's prior, and is added to the model. Arms have the features that the log has of
    them, otherwise the model's.

    Args:
        model: The policy; it learns nothing.
        decisions: The log, with the features that the model reads.
        ranks: The rank of each position, from 0.

    Raises:
        UsageError: The policy has no probabilities of rankings.
        BadData: Features are missing or wrong, or there are fewer arms than positions.
    """
    if len(decisions.available):
        _add_missing(model, decisions)
    places = [model.place(arm) for arm in decisions.arms]
    columns = np.array([-1 if each is None else each for each in places], dtype=np.intp)
    depth, cells = max(ranks) + 1, decisions.cells
    table = np.zeros((len(cells), len(columns)))
    done: dict[tuple[int, int], Array] = {}
    for cell in range(len(cells)):
        key = int(cells.feature[cell]), int(cells.candidates[cell])
        if key not in done:
            among = _competing(model, decisions, columns, key[1])
            done[key] = _by_arm(model, among, depth, decisions.features[key[0]])[columns]
        table[cell] = done[key][:, ranks[cells.position[cell]]]
    return table


def _add_missing(model: PolicyModel, decisions: Decisions) -> None:
    schema = model.header.features
    for arm in decisions.arms:
        if model.place(arm) is not None:
            continue
        logged = next((each.arms[arm] for each in decisions.features if arm in each.arms), None)
        if schema.arm and logged is None:
            hint = "fit with --arm-features that has a row for each candidate"
            raise BadData(f"the model lacks the candidate {arm!r:.80} and its features", hint=hint)
        model.put(arm, named_features(logged or {}, schema.arm, schema))


def _competing(model: PolicyModel, decisions: Decisions, columns: Indices, number: int) -> Indices:
    """Return the places of the arms that the log could show, by default of all."""
    if not len(decisions.available):
        return model.present()
    return np.asarray(columns[decisions.available[number]])


def _by_arm(model: PolicyModel, among: Indices, depth: int, features: FeatureSet) -> Array:
    """Return the probabilities of ranks by place, shape (arms + 1, depth); the last row is 0."""
    if len(among) < depth:
        text = f"{len(among)} arms for the positions up to {depth}"
        raise BadData(text, hint='--position "" evaluates without positions')
    schema = model.header.features
    named = named_features(features.context, schema.context, schema)
    vectors = _vectors(model, among, features.arms)
    found = np.zeros((len(model.ids) + 1, depth))
    found[among] = model.ranks(among, among, depth, named, vectors).ranks
    return found


def _vectors(
    model: PolicyModel, among: Indices, logged: Mapping[str, Mapping[str, Any]]
) -> Array | None:
    """Return the vectors of arms with those that a log has; None: all are the model's."""
    schema = model.header.features
    if not schema.arm or not logged:
        return None
    found = model.vectors[among]
    for row, place in enumerate(among):
        named = named_features(logged.get(model.ids[place], {}), schema.arm, schema)
        if named:
            found[row] = schema.arm_vector(named)
    return found

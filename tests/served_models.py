"""Models for servers to serve, and what comes out of servers."""

from __future__ import annotations

import json

from commands import run_mlkit

from mlkit.bandit.models import file
from mlkit.bandit.models.features import FeatureSchema
from mlkit.bandit.models.model import ModelHeader, PolicyModel
from mlkit.bandit.policies import catalog


def model_file(directory, text, contexts=(), arms=()):
    """Write a model of three arms as the posteriors file of the server."""
    schema = FeatureSchema(contexts, arms)
    model = PolicyModel(ModelHeader("m", catalog.parse(text), schema))
    for number, arm in enumerate(("c1", "c2", "c3")):
        model.put(arm, {"z": number} if arms else None)
        for reward in (1, 0, 1, number):
            model.learn(model.place(arm), min(reward, 1), {"x": reward} if contexts else None)
    path = directory / "posteriors.parquet"
    file.write(model, path)
    return path


def exported(server):
    path = server.directory / "out.parquet"
    run_mlkit("bandit", "export", "--state", server.state, "-o", path, check=True)
    return path


def read_log(directory):
    lines = [line for path in directory.glob("*.jsonl") for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]

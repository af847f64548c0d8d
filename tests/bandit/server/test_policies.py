"""Serving policies other than Thompson sampling, and limits of what is shown."""

from __future__ import annotations

import json
import os
import signal
import time

import numpy as np
import pytest

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


@pytest.fixture
def serve(start, tmp_path):
    """Start a server of a model."""

    def run(text, *options, contexts=(), arms=()):
        model_file(tmp_path, text, contexts, arms)
        os.symlink(tmp_path / "posteriors.parquet", tmp_path / "posteriors.csv")
        return start(*options)

    return run


def read_log(directory):
    lines = [line for path in directory.glob("*.jsonl") for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def wait_for(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)

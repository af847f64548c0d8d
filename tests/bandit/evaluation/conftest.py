"""Fixtures of off-policy evaluation."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def evaluate(mlkit):
    """Return the document that `mlkit bandit evaluate ... --json` prints."""

    def run(*arguments):
        done = mlkit("bandit", "evaluate", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run

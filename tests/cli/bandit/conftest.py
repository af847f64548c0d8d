"""Fixtures of evaluations, as the tests of `mlkit.bandit` have them."""

from __future__ import annotations

from bandit.evaluation.conftest import evaluate

__all__ = ["evaluate"]

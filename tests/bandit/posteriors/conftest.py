"""Commands of `mlkit bandit`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from commands import run_mlkit


@pytest.fixture
def mlkit() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command of `mlkit bandit`, which has to end with an exit code."""

    def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = run_mlkit("bandit", *arguments)
        assert done.returncode == code, done.stderr
        return done

    return run

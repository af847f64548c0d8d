"""Commands of `mlkit bandit`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def mlkit() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command of `mlkit bandit`, which has to end with an exit code."""

    def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mlkit", "bandit", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done

    return run

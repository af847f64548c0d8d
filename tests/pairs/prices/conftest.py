"""A short way to write a file of prices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """Write a file: lines, text or bytes."""

    def to(content: str | bytes | list[str], name: str = "AAA.csv") -> Path:
        if isinstance(content, list):
            content = "\n".join(content) + "\n"
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to

"""The locked dependencies are those that the project declares."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
PINNED = re.compile(r"^(?P<name>[\w.-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)", re.MULTILINE)


def locked(file: str) -> dict[str, set[str]]:
    """Return the versions of each package in a file of constraints."""
    found: dict[str, set[str]] = {}
    for each in PINNED.finditer((ROOT / "constraints" / file).read_text()):
        found.setdefault(canonicalize_name(each["name"]), set()).add(each["version"])
    return found


def declared(extra: str) -> list[Requirement]:
    """Return the requirements of an extra, without its references to other extras."""
    every = [Requirement(each) for each in EXTRAS[extra]]
    inner = [name for each in every if each.name == "mlkit" for name in each.extras]
    own = [each for each in every if each.name != "mlkit"]
    return own + [each for name in inner for each in declared(name)]


BUILD = [Requirement(each) for each in PROJECT["dependency-groups"]["build"]]
RUN = [Requirement(each) for each in PROJECT["project"]["dependencies"]]
CASES = {"run.txt": RUN + BUILD, "dev.txt": RUN + BUILD + declared("dev")}


@pytest.mark.parametrize("file", CASES)
def test_what_is_declared_is_locked_to_versions_that_fit(file):
    versions = locked(file)
    for requirement in CASES[file]:
        found = versions.get(canonicalize_name(requirement.name), set())
        assert found, f"{requirement.name} is not locked: run `make lock`"
        assert all(requirement.specifier.contains(each) for each in found), requirement


@pytest.mark.parametrize("file", CASES)
def test_every_locked_version_has_hashes_and_no_place(file):
    text = (ROOT / "constraints" / file).read_text()
    assert "://" not in text
    for entry in re.split(r"\n(?=\S)", text):
        assert "--hash=sha256:" in entry, entry

"""The handed half of the public compatibility kit: models, inputs, expected results.

`kit.tar.xz` holds the files of https://github.com/dmn-tck/tck as they are, with their licence
(Apache License 2.0).
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from bpmn.decisions.kit_runner import run_file

from mlkit.bpmn.decisions.load import Decisions

ARCHIVE = Path(__file__).parent / "kit.tar.xz"
with tarfile.open(ARCHIVE) as archive:
    FILES = sorted(each for each in archive.getnames() if each.endswith(".xml"))
# Functions in Java are not run: there is no virtual machine here, and none is wanted.
NOT_RUN = {"0076-feel-external-java": 14}


@pytest.fixture(scope="session")
def kit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kit")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("name", FILES, ids=lambda name: name.rsplit("/", 2)[1])
def test_case(kit, name):
    outcomes = list(run_file(kit / name))
    failed = [each for each in outcomes if not each.passed]
    assert outcomes
    assert len(failed) == NOT_RUN.get(Path(name).parent.name, 0), failed


def test_models_of_the_kit_that_are_right_have_no_errors(kit):
    errors = [
        f"{path.name}: {each.where}: {each.message}"
        for path in sorted(kit.rglob("*.dmn"))
        for each in Decisions(path).analyse()
        if each.severity == "error" and "functions in Java" not in each.message
    ]
    assert errors == []

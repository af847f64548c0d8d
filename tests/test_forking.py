"""Tests in forks: each runs once, and none that fails or crashes goes unnoticed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CONFIGURATION = """
from forking import Forks
def pytest_configure(config):
    config.pluginmanager.register(Forks(2))
"""
CRASHING = (
    "import os\ndef test_before(): pass\ndef test_crash(): os._exit(3)\ndef test_after(): pass"
)
SHARING = """
import os
import pytest
@pytest.fixture(scope="module")
def process():
    yield os.getpid()
    print("torn down")
def test_one(process): print("said by one"); assert 1 + 1 == 2
def test_two(process): assert os.getpid() != process, "the same process"
@pytest.mark.parametrize("n", range(20))
def test_many(n, tmp_path, tmp_path_factory):
    (tmp_path / "file").touch(exist_ok=False)
    assert tmp_path_factory.getbasetemp().name.startswith("fork-")
@pytest.mark.skip(reason="not here")
def test_skipped(): pass
"""


@pytest.fixture
def run(tmp_path):
    """Run files of tests in two forks; return the exit code and the text."""

    def run(**files):
        (tmp_path / "conftest.py").write_text(CONFIGURATION)
        for name, text in files.items():
            (tmp_path / f"test_{name}.py").write_text(text)
        place = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import pytest"
        words = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-ra", "-c", "/dev/null"]
        command = [sys.executable, "-c", f"{place}; sys.exit(pytest.main())"]
        done = subprocess.run(
            [*command, *words, "--rootdir", tmp_path, tmp_path],
            cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


def test_each_test_runs_once_and_a_failure_is_shown(run):
    code, text = run(sharing=SHARING, others="def test_other(): pass")
    assert code == 1, text
    assert re.search(r"1 failed, 22 passed, 1 skipped", text), text
    assert "the same process" in text
    assert "said by one" not in text


def test_what_a_crash_leaves_undone_fails(run):
    code, text = run(crashing=CRASHING, others="def test_other(): pass")
    assert code == 1, text
    assert "2 failed, 2 passed" in text
    assert "FAILED test_crashing.py::test_crash" in text
    assert "its process, or all, ended before it did: [3]" in text
    assert "FAILED test_crashing.py::test_after" in text


def test_an_error_of_collection_is_told_and_nothing_runs(run):
    code, text = run(wrong="import no_such_module", others="def test_other(): assert False")
    assert code == 2, text
    assert "1 error" in text
    assert "failed" not in text

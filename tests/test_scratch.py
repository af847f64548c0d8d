"""Temporary folders: what a killed process leaves is removed by the next one."""

from __future__ import annotations

import subprocess
import sys

from processes import started

from mlkit.scratch import Scratch, scratch

MAKE = """
import sys, time
from mlkit.scratch import Scratch
print(Scratch("mlkit-test-").path, flush=True)
time.sleep(600)
"""


def test_folders_of_killed_processes_are_removed_and_those_in_use_are_not(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "mlkit-test-of-somebody").mkdir()
    mine = Scratch("mlkit-test-")
    with started([sys.executable, "-c", MAKE], stdout=subprocess.PIPE, text=True) as other:
        theirs = other.stdout.readline().strip()
        Scratch("mlkit-test-").close()
        names = {each.name for each in tmp_path.iterdir()}
        other.kill()
    assert {mine.path.name, theirs.rpartition("/")[2], "mlkit-test-of-somebody"} == names
    Scratch("mlkit-test-").close()
    assert {each.name for each in tmp_path.iterdir()} == {mine.path.name, "mlkit-test-of-somebody"}
    mine.close()
    assert [each.name for each in tmp_path.iterdir()] == ["mlkit-test-of-somebody"]


def test_a_folder_is_gone_after_its_block(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch("mlkit-test-") as folder:
        (folder / "layer").mkdir()
    assert list(tmp_path.iterdir()) == []

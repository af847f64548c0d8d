"""Compiled Python files stay valid in a result, whose sources have no time."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile

import pytest
from image.archives import saved

from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.keep.bytecode import refresh

CACHED = f"app/__pycache__/m.{sys.implementation.cache_tag}.pyc"
SOURCE = b"print('source')"


def compiled(tmp_path, text, when):
    """Compile a source of a time."""
    path = tmp_path / "m.py"
    path.write_bytes(text)
    code = f"import os, py_compile; os.utime({str(path)!r}, ({when}, {when})); "
    code += f"py_compile.compile({str(path)!r}, {str(tmp_path / 'm.pyc')!r}, doraise=True)"
    subprocess.run([sys.executable, "-c", code], check=True, env={})
    return (tmp_path / "m.pyc").read_bytes()


def found(tmp_path, data, when):
    """Return what becomes of a compiled file in an image whose source has a time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in (("app/m.py", SOURCE), (CACHED, data), ("app/other.pyc", data)):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), when
            tar.addfile(info, io.BytesIO(content))
    with open_image(saved(tmp_path / "i.tar", buffer.getvalue())) as image:
        inventory = take(image)
        assert refresh(inventory, inventory.files.entries["app/other.pyc"], 0) is None
        return refresh(inventory, inventory.files.entries[CACHED], 0)


def test_a_valid_file_is_taken_for_a_source_of_time_0(tmp_path):
    other = compiled(tmp_path, SOURCE.replace(b"source", b"cached"), 1_600_000_000)
    fresh = found(tmp_path, other, 1_600_000_000)
    folder = tmp_path / "run"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "m.py").write_bytes(SOURCE)
    (folder / CACHED.removeprefix("app/")).write_bytes(fresh)
    code = f"import os; os.utime({str(folder / 'm.py')!r}, (0, 0)); import sys; "
    code += f"sys.path.insert(0, {str(folder)!r}); import m"
    done = subprocess.run([sys.executable, "-Bc", code], check=True, capture_output=True)
    assert done.stdout == b"cached\n"


@pytest.mark.parametrize("when", [1_600_000_001, 0])
def test_a_stale_file_stays_stale(tmp_path, when):
    assert found(tmp_path, compiled(tmp_path, SOURCE, 1_600_000_000), when) is None


def test_what_is_no_compiled_file_is_left_alone(tmp_path):
    assert found(tmp_path, b"short", 0) is None

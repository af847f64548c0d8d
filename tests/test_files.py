"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import pytest

from mlkit.errors import InputMissing
from mlkit.files import replacing, replacing_folder


def fill(folder):
    (folder / "blobs").mkdir()
    (folder / "blobs" / "a").write_text("a")


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_appears_whole(tmp_path, there):
    target = tmp_path / "new" / "layout"
    if there:
        target.mkdir(parents=True)
    with replacing_folder(target) as folder:
        fill(folder)
        assert not there or not list(target.iterdir())
    assert (target / "blobs" / "a").read_text() == "a"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_nothing(tmp_path, error):
    def write_folder():
        with replacing_folder(tmp_path / "layout") as folder:
            fill(folder)
            raise error

    def write_file():
        with replacing(tmp_path / "file") as file:
            file.write(b"half")
            raise error

    for write in (write_folder, write_file):
        with pytest.raises(error):
            write()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_has_got_files_meanwhile_is_kept(tmp_path):
    target = tmp_path / "layout"

    def write():
        with replacing_folder(target) as folder:
            fill(folder)
            target.mkdir()
            (target / "mine").write_text("mine")

    with pytest.raises(OSError, match="not empty"):
        write()
    assert [each.name for each in target.iterdir()] == ["mine"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_below_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputMissing, match="layout"),
        replacing_folder(tmp_path / "file" / "layout"),
    ):
        pass

"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlkit.errors import BadData, InputMissing, ServiceUnavailable, UsageError
from mlkit.files import check_place, make_folder, read_regular, replacing, replacing_folder


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


def write(path, text=b"new", **options):
    with replacing(path, **options) as file:
        file.write(text)


def fill_folder(path):
    with replacing_folder(path):
        pass


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(path)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_may_be_private(tmp_path):
    write(tmp_path / "key", mode=0o600)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize("there", [False, True])
def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path, there):
    target, link = tmp_path / "target", tmp_path / "link"
    if there:
        target.write_bytes(b"old")
    link.symlink_to("target")
    write(link)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_fifo_is_written_to_and_stays_a_fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(path.read_bytes)
        write(path)
        assert read.result() == b"new"
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert [each.name for each in tmp_path.iterdir()] == ["fifo"]


def test_a_device_stays_a_device():
    write(Path("/dev/null"))
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_directory_is_a_wrong_argument(tmp_path):
    with pytest.raises(UsageError, match="a directory"):
        write(tmp_path)


@pytest.mark.parametrize("use", [check_place, write, fill_folder])
@pytest.mark.parametrize("name", ["loop", "loop/below", "to_loop", "n" * 300, "to_long"])
def test_a_name_that_no_file_can_have_is_a_wrong_argument(tmp_path, name, use):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "to_loop").symlink_to("loop")
    (tmp_path / "to_long").symlink_to("n" * 300)
    with pytest.raises(UsageError, match=r"Too many levels of symbolic links|File name too long"):
        use(tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127])
def test_the_longest_name_is_written(tmp_path, name):
    write(tmp_path / name)
    assert (tmp_path / name).read_bytes() == b"new"


def test_a_full_disk_is_a_missing_service_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fill_disk():
        with replacing(path):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ServiceUnavailable, match="file: No space left") as caught:
        fill_disk()
    assert "disk space" in caught.value.hint
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("special", ["/dev/zero", "fifo"])
def test_what_is_no_regular_file_is_not_read(tmp_path, special):
    path = tmp_path / special
    if not path.exists():
        os.mkfifo(path)
    with pytest.raises(InputMissing, match="not a regular file"):
        read_regular(path, 100)


def test_a_file_beyond_the_limit_is_not_read(tmp_path):
    (tmp_path / "x").write_bytes(b"x" * 101)
    assert len(read_regular(tmp_path / "x", 101)) == 101
    with pytest.raises(BadData, match="larger than"):
        read_regular(tmp_path / "x", 100)
    with pytest.raises(InputMissing, match="directory"):
        read_regular(tmp_path, 100)


def test_a_folder_that_cannot_be_made_leaves_none_of_its_parents(tmp_path):
    (tmp_path / "old").mkdir()
    for place in (tmp_path / "new" / ("x" * 300), tmp_path / "old" / "new" / ("x" * 300) / "y"):
        with pytest.raises(OSError, match="too long"):
            make_folder(place, 0o700)
    assert [each.name for each in tmp_path.rglob("*")] == ["old"]
    make_folder(tmp_path / "new" / "state", 0o700)
    make_folder(tmp_path / "new" / "state", 0o700)
    assert stat.S_IMODE((tmp_path / "new" / "state").stat().st_mode) == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")

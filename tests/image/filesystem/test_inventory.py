"""The merged file system: whiteouts, links, hostile archives."""

from __future__ import annotations

import contextlib
import gzip
import json
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image.archives import Member, layer, layout, saved

from mlkit import zstd
from mlkit.errors import BadData, InputMissing
from mlkit.image.filesystem import archive
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import Entry, FileSystem, take


def merged(tmp_path, *layers):
    """Return {path: text, link target or None} of an image."""
    with open_image(saved(tmp_path / "image.tar", *layers)) as image:
        inventory = take(image)
        return {
            path: inventory.read(entry).decode() if entry.kind == "file" else entry.target or None
            for path, entry in inventory.files.entries.items()
        }


def test_a_later_layer_wins_and_a_whiteout_removes(tmp_path):
    lower = layer(Member("a", "1"), Member("d/x", "1"), Member("d/y", "1"))
    upper = layer(Member("a", "2"), Member("d/.wh.x", ""))
    assert merged(tmp_path, lower, upper) == {"a": "2", "d": None, "d/y": "1"}


@pytest.mark.parametrize("order", [1, -1])
def test_an_opaque_directory_hides_lower_layers_only(tmp_path, order):
    lower = layer(Member("d/old", "1"), Member("d/sub/old", "1"))
    upper = layer(*[Member("d/.wh..wh..opq", ""), Member("d/new", "2")][::order])
    assert merged(tmp_path, lower, upper) == {"d": None, "d/new": "2"}


def test_a_file_replaces_a_directory_and_a_directory_keeps_what_is_below(tmp_path):
    lower = layer(Member("gone/x", "1"), Member("kept/x", "1"))
    upper = layer(Member("gone", "file"), Member("kept", mode=0o700))
    assert merged(tmp_path, lower, upper) == {"gone": "file", "kept": None, "kept/x": "1"}


def test_a_layer_writes_through_a_lower_link_to_a_directory(tmp_path):
    lower = layer(Member("usr/lib"), Member("lib", link="usr/lib"))
    found = merged(tmp_path, lower, layer(Member("lib/libx.so", "x")))
    assert found["usr/lib/libx.so"] == "x"
    assert found["lib"] == "usr/lib"


def test_hard_links_share_their_content_and_count_once(tmp_path):
    path = saved(tmp_path / "i.tar", layer(Member("a", "12345"), Member("b", hard="a")))
    with open_image(path) as image:
        inventory = take(image)
        a, b = inventory.files.entries["a"], inventory.files.entries["b"]
        assert a.content == b.content
        assert inventory.read(b) == b"12345"
        assert inventory.size == 5


def test_modes_owners_and_capabilities_are_kept(tmp_path):
    with tarfile.open(tmp_path / "l.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("ping")
        info.mode, info.uid, info.gid = 0o4755, 7, 8
        info.pax_headers = {"SCHILY.xattr.security.capability": "\x01cap"}
        tar.addfile(info)
    with open_image(saved(tmp_path / "i.tar", (tmp_path / "l.tar").read_bytes())) as image:
        entry = take(image).files.entries["ping"]
    assert (entry.mode, entry.uid, entry.gid) == (0o4755, 7, 8)
    assert entry.xattrs == (("security.capability", "\x01cap"),)


def test_device_nodes_are_dropped_and_named(tmp_path):
    path = saved(tmp_path / "i.tar", layer(Member("dev/sda", "", kind=tarfile.BLKTYPE)))
    with open_image(path) as image:
        files = take(image).files
    assert files.dropped == ["dev/sda"]
    assert "dev/sda" not in files


@pytest.mark.parametrize(
    "member",
    [
        Member("../escape", "x"),
        Member("a/../../escape", "x"),
        Member("a", hard="../../etc/passwd"),
        Member("a", hard="/nowhere"),
    ],
)
def test_names_and_hard_links_that_leave_the_image_are_refused(tmp_path, member):
    with pytest.raises(BadData, match="layer 1"):
        merged(tmp_path, layer(member))


def test_an_absolute_name_means_the_image_s_root(tmp_path):
    assert merged(tmp_path, layer(Member("/etc/x", "1")))["etc/x"] == "1"


def test_a_layer_that_is_not_what_the_config_names_is_refused(tmp_path):
    path = saved(tmp_path / "i.tar", layer(Member("a", "secret")))
    path.write_bytes(path.read_bytes().replace(b"secret", b"forged"))
    with open_image(path) as image, pytest.raises(BadData, match="digest"):
        take(image)


def test_an_oci_layout_gives_the_same_as_a_saved_archive(tmp_path):
    one = layer(Member("a", "1"), Member("l", link="/a"))
    (tmp_path / "oci").mkdir()
    with open_image(layout(tmp_path / "oci", one)) as image:
        ours = take(image).files
    with open_image(saved(tmp_path / "i.tar", one)) as image:
        assert take(image).files.entries == ours.entries


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
def test_a_compressed_archive_gives_the_same(tmp_path, compress):
    path = saved(tmp_path / "i.tar", layer(Member("a", "1")))
    whole = tmp_path / "i.tar.gz"
    whole.write_bytes(compress(path.read_bytes()))
    with open_image(whole) as image:
        assert take(image).read_path("a") == b"1"
    whole.write_bytes(whole.read_bytes()[:-30])
    with pytest.raises(BadData, match=r"i\.tar\.gz"), open_image(whole):
        pass


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "BOMB_FLOOR", 1 << 20)
    (tmp_path / "oci").mkdir()
    path = layout(tmp_path / "oci", layer(Member("zeros", b"\0" * (8 << 20))))
    with pytest.raises(BadData, match="bomb"), open_image(path):
        pass


@pytest.mark.parametrize("damage", ["text", "cut", "empty folder", "windows"])
def test_what_is_no_image_is_refused_with_a_hint(tmp_path, damage):
    path = tmp_path / "image.tar"
    if damage == "text":
        path.write_text("hello")
    elif damage == "empty folder":
        path.mkdir()
    elif damage == "windows":
        saved(path, layer(Member("a", "1")), os="windows")
    else:
        saved(path, layer(Member("a", "1")))
        path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(BadData), open_image(path) as image:
        take(image)


def test_a_missing_archive_is_input_missing(tmp_path):
    with pytest.raises(InputMissing, match=r"nowhere\.tar"), open_image(tmp_path / "nowhere.tar"):
        pass


NAMES = st.sampled_from("abc")
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TARGETS = st.tuples(st.sampled_from(["", "/", "../", "../../.."]), PATHS).map("".join)


@st.composite
def trees(draw):
    """A random tree with links that may loop or lead nowhere."""
    files = FileSystem()
    for path in draw(st.lists(PATHS, max_size=12)):
        kind = draw(st.sampled_from(["file", "directory", "symlink"]))
        target = draw(TARGETS) if kind == "symlink" else ""
        if files.get(path.rpartition("/")[0]) is None or path not in files:
            files.add(Entry(path, kind, 0o755, target=target))
    return files


def kernel_answer(root, path):
    """Ask the kernel, in a directory that stands for the root, what a path leads to."""
    import os

    fd = os.open(root, os.O_RDONLY)
    try:
        return _openat2_inode(fd, path)
    finally:
        os.close(fd)


def _openat2_inode(directory, path):
    import ctypes
    import os
    import struct

    how = struct.pack("QQQ", os.O_PATH, 0, 0x10)  # RESOLVE_IN_ROOT
    number = ctypes.CDLL(None, use_errno=True).syscall(
        437, directory, path.encode(), ctypes.create_string_buffer(how, 24), 24
    )
    if number < 0:
        return None
    try:
        return os.fstat(number).st_ino
    finally:
        os.close(number)


@given(trees(), TARGETS)
def test_paths_resolve_as_the_kernel_resolves_them(tmp_path_factory, files, path):
    root = tmp_path_factory.mktemp("root")
    for entry in files.entries.values():
        place = root / entry.path
        if entry.kind == "directory":
            place.mkdir()
        elif entry.kind == "symlink":
            place.symlink_to(entry.target)
        else:
            place.write_text("")
    real, _ = files.walk(path)
    expected = kernel_answer(root, path)
    ours = None if real is None else (root / real).lstat().st_ino
    assert ours == expected


@settings(max_examples=40)
@given(st.lists(PATHS, max_size=8), st.lists(PATHS, max_size=8))
def test_every_parent_is_a_directory_and_whiting_out_all_leaves_nothing(
    tmp_path_factory, first, second
):
    path = tmp_path_factory.mktemp("image")
    upper = [Member(f".wh.{name}", "") for name in "abc"]
    lower = [layer(*(Member(each, "x") for each in paths)) for paths in (first, second)]
    with open_image(saved(path / "i.tar", *lower)) as image:
        entries = take(image).files.entries
    for each in entries:
        parent = each.rpartition("/")[0]
        assert not parent or entries[parent].kind == "directory"
    assert merged(path, *lower, layer(*upper)) == {}


def test_directories_without_end_are_refused(tmp_path):
    deep = "/".join("d" * 300)
    with pytest.raises(BadData, match="nested too deeply"):
        merged(tmp_path, layer(Member(f"{deep}/x", "1")))
    steps = [Member("/".join("d" * 200))]
    for number in range(3):
        start = "/".join("d" * 200) if number == 0 else f"l{number}/" + "/".join("e" * 50)
        steps += [Member(start), Member(f"l{number + 1}", link=f"/{start}")]
    steps.append(Member("l3/" + "/".join("f" * 50)))
    with pytest.raises(BadData, match="nested too deeply"):
        merged(tmp_path, layer(*steps))


def test_a_folder_leads_to_no_file_outside(tmp_path):
    (tmp_path / "secret").write_text("{}")
    folder = tmp_path / "oci"
    folder.mkdir()
    for name in (str(tmp_path / "secret"), "../secret"):
        manifest = [{"Config": name, "Layers": []}]
        (folder / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(BadData, match="missing"), open_image(folder):
            pass


def test_a_blob_that_is_not_what_its_name_says_is_refused(tmp_path):
    folder = tmp_path / "oci"
    folder.mkdir()
    layout(folder, layer(Member("a", "1")), config={"User": "root"})
    for path in (folder / "blobs" / "sha256").iterdir():
        data = path.read_bytes()
        path.write_bytes(data.replace(b'"root"', b'"evil"'))
    with pytest.raises(BadData, match="digest"), open_image(folder):
        pass


@pytest.mark.parametrize("manifest", ["[]", "{}", "[1]", '"x"', "[{}]", "null", "[" * 100_000])
def test_a_manifest_that_is_none_is_refused(tmp_path, manifest):
    folder = tmp_path / "oci"
    folder.mkdir()
    (folder / "manifest.json").write_text(manifest)
    with pytest.raises(BadData), open_image(folder):
        pass


@given(st.data())
def test_a_damaged_archive_is_read_or_refused_and_never_a_bug(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "i.tar"
    one = layer(
        Member("a", "1"), Member("b" * 120, "2"), Member("l", link="a"), Member("h", hard="a")
    )
    content = bytearray(saved(path, one).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(512, len(content)))])
    with contextlib.suppress(BadData), open_image(path) as image:
        take(image)


def test_a_file_in_a_directory_of_its_own_goes_through_a_link(tmp_path):
    lower = layer(Member("usr/lib"), Member("lib", link="usr/lib"))
    found = merged(tmp_path, lower, layer(Member("lib/new/deep/x", "1")))
    assert found["usr/lib/new/deep/x"] == "1"
    assert found["lib"] == "usr/lib"


def test_what_later_layers_overwrite_or_delete_is_counted_apart(tmp_path):
    lower = layer(Member("big", "x" * 1000), Member("gone", "y" * 500), Member("kept", "z"))
    upper = layer(Member("big", "x" * 1000), Member(".wh.gone", ""))
    with open_image(saved(tmp_path / "i.tar", lower, upper)) as image:
        inventory = take(image)
    assert inventory.files.stored - inventory.size == 1500

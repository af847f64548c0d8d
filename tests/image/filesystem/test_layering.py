"""Which files share a layer, and what layers in an OCI layout are."""

from __future__ import annotations

import json
import tarfile

import pytest
from image.archives import Member, layer, saved

from mlkit.image.filesystem import build
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.filesystem.layering import split

MEMBERS = [
    Member("srv", mode=0o700, uid=7),
    Member("srv/app.py", "1"),
    Member("srv/lib", mode=0o755, uid=7),
    Member("srv/lib/dep.py", "2"),
    Member("srv/empty", mode=0o1777),
    Member("usr/bin/tool", "3"),
    Member("usr/bin/same", hard="usr/bin/tool"),
    Member("srv/tool", hard="usr/bin/tool"),
]


@pytest.fixture
def items(tmp_path):
    """Return the files of an app with a dependency."""
    with open_image(saved(tmp_path / "i.tar", layer(*MEMBERS))) as image:
        inventory = take(image)
        entries = inventory.files.entries
        yield [build.Item(entries[path], inventory) for path in sorted(entries)]


def is_dependency(path):
    return path.startswith("usr") or "lib/" in path


def names(layers):
    return [{each.entry.path for each in items} for items in layers]


def test_dependencies_lie_below_the_app_and_links_of_one_file_together(items):
    lower, upper = names(split(items, is_dependency))
    assert "srv/lib/dep.py" in lower - upper
    assert {"srv/app.py", "srv/empty"} <= upper - lower
    links = {"srv/tool", "usr/bin/tool", "usr/bin/same"}
    assert links <= lower or links <= upper
    assert (upper | lower) == {each.entry.path for each in items}


def test_a_directory_is_the_same_in_each_layer_that_has_something_in_it(items, tmp_path):
    for number, part in enumerate(split(items, is_dependency)):
        written = build.write_layer(part, tmp_path / f"{number}.tar")
        with tarfile.open(written.path) as tar:
            assert (tar.getmember("srv").mode, tar.getmember("srv").uid) == (0o700, 7)


def test_there_is_no_empty_layer(items):
    assert names(split(items, lambda _: True)) == [{each.entry.path for each in items}]
    assert split([], is_dependency) == []


def test_a_new_release_moves_the_layer_of_the_app_only(items, tmp_path):
    def digests(release):
        parts = split([*items, build.file("srv/release", release)], is_dependency)
        return [build.write_layer(part, tmp_path / "l.tar").digest for part in parts]

    before, after = digests(b"1"), digests(b"2")
    assert before[0] == after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_layers_of_a_layout_are_compressed_reproducibly(items, tmp_path, compression):
    written = [build.write_layer(items, tmp_path / "l.tar")]
    document = build.document(written, {}, "amd64")
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        build.write_layout(document, written, "x:1", folder, compression)
    assert len({(each / "index.json").read_bytes() for each in folders}) == 1
    index = json.loads((folders[0] / "index.json").read_text())
    blobs = folders[0] / "blobs" / "sha256"
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    (described,) = manifest["layers"]
    blob = blobs / described["digest"][7:]
    assert blob.stat().st_size == described["size"]
    assert (described["size"] < written[0].size) == (compression != "none")
    assert described["mediaType"].endswith({"none": "tar"}.get(compression, f"tar+{compression}"))
    assert not list(blobs.glob("*.part"))
    with open_image(folders[0]) as image:
        assert take(image).read_path("srv/app.py") == b"1"

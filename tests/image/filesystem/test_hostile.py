"""Hostile and odd archives are bad data, at once, and never an internal error."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import pytest
from image.archives import Member, layer, saved

from mlkit.errors import BadData
from mlkit.image.command import launch
from mlkit.image.command.health import health
from mlkit.image.filesystem import elf
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.build import directory, file, write_layer
from mlkit.image.filesystem.inventory import take
from mlkit.image.keep import names, source_words
from mlkit.image.packages.installed import read_packages
from mlkit.image.packages.sbom import bill


def timed(headers, mtime=0):
    """Make a layer of one file with a time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("a")
        info.pax_headers, info.mtime = headers, mtime
        tar.addfile(info)
    return buffer.getvalue()


@pytest.mark.parametrize("time", ["inf", "-inf", "nan", "1e300", "99999999999999"])
def test_times_out_of_range_are_bad_data(tmp_path, time):
    path = saved(tmp_path / "i.tar", timed({"mtime": time}))
    with open_image(path) as image, pytest.raises(BadData, match="a time out of range"):
        take(image)


def test_what_is_no_number_is_no_time(tmp_path):
    with open_image(saved(tmp_path / "i.tar", timed({"mtime": "x"}))) as image:
        assert take(image).files.entries["a"].mtime == 0


@pytest.mark.parametrize(
    "config",
    [
        "text", [1], {"Env": "A=b"}, {"Env": [1]}, {"Entrypoint": {"a": 1}}, {"Cmd": "x"},
        {"User": 5}, {"WorkingDir": ["/"]}, {"Labels": {"a": 1}}, {"Labels": ["a"]},
        {"ExposedPorts": ["80/tcp"]}, {"Volumes": "x"}, {"Healthcheck": {"Test": "x"}},
        {"Healthcheck": "x"}, {"StopSignal": 9}, {"Shell": "sh"},
    ],
)  # fmt: skip
def test_configs_of_other_types_are_bad_data(tmp_path, config):
    path = saved(tmp_path / "i.tar", layer(Member("a", "x")), config=config)
    with pytest.raises(BadData, match="config"), open_image(path):
        pass


def test_documents_of_other_types_are_bad_data(tmp_path):
    for more in ({"history": "x"}, {"os": 5}, {"rootfs": {"diff_ids": "sha256:x"}}, {"rootfs": 3}):
        path = saved(tmp_path / "i.tar", layer(Member("a", "x")), **more)
        with pytest.raises(BadData), open_image(path):
            pass


@pytest.mark.parametrize(
    "member", [Member("n" * 5000, "x"), Member("l", link="x/" * 300_000), Member("a/" * 3000 + "x")]
)
def test_names_and_links_beyond_those_of_linux_are_refused(tmp_path, member):
    path = saved(tmp_path / "i.tar", layer(member))
    refused = pytest.raises(BadData, match=r"longer|points to|nested")
    with open_image(path) as image, refused:
        take(image)


def test_a_list_of_a_package_with_an_endless_line_is_read_at_once(tmp_path):
    members = [
        Member("var/lib/dpkg/status", "Package: a\nStatus: install ok installed\nVersion: 1\n"),
        Member("var/lib/dpkg/info/a.list", "/x" * 100_000 + "\n/usr/bin/a\n"),
        Member("usr/bin/a", "x"),
    ]
    with open_image(saved(tmp_path / "i.tar", layer(*members))) as image:
        assert read_packages(take(image)).owners == {"usr/bin/a": "a"}


def test_a_layer_that_is_named_many_times_counts_as_often(tmp_path, monkeypatch):
    data = layer(Member("a", b"\0" * 3_000_000))
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    path = tmp_path / "i.tar"
    document = {"os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest] * 40}}
    import gzip

    manifest = [{"Config": "c.json", "RepoTags": None, "Layers": ["l.tar"] * 40}]
    members = {"c.json": document, "manifest.json": manifest}
    with tarfile.open(path, "w") as tar:
        parts = {name: json.dumps(each).encode() for name, each in members.items()}
        for name, part in (parts | {"l.tar": gzip.compress(data)}).items():
            info = tarfile.TarInfo(name)
            info.size = len(part)
            tar.addfile(info, io.BytesIO(part))
    with open_image(path) as image:
        assert len(image.layers) == 40
        assert len({each.path for each in image.layers}) == 1, "unpacked once"
    monkeypatch.setattr("mlkit.image.filesystem.archive.BOMB_FLOOR", 1 << 20)
    with pytest.raises(BadData, match="decompression bomb"), open_image(path):
        pass


@pytest.mark.parametrize("name", ["", "../../x", "a b"])
def test_packages_without_a_name_are_bad_data(tmp_path, name):
    status = f"Package: {name}\nStatus: install ok installed\nVersion: 1\n"
    path = saved(tmp_path / "i.tar", layer(Member("var/lib/dpkg/status", status)))
    with open_image(path) as image, pytest.raises(BadData, match="package with the name"):
        bill(take(image))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("lib/apk/db/installed", "lib/apk/db/installed holds no package"),
        ("usr/lib/apk/db/installed", "usr/lib/apk/db/installed holds no package"),
        ("var/lib/rpm/rpmdb.sqlite", "its packages are rpm's"),
    ],
)
def test_what_is_not_understood_has_no_empty_bill(tmp_path, path, message):
    with open_image(saved(tmp_path / "i.tar", layer(Member(path, "x")))) as image:
        inventory = take(image)
        with pytest.raises(BadData, match=message):
            bill(inventory)


def test_a_program_with_its_headers_nowhere_is_none():
    data = bytearray(b"\x7fELF\x02\x01\x01" + bytes(57))
    data[32:40] = b"\xff" * 8
    data[52:60] = b"\x40\0\x38\0\x05\0\x40\0"
    assert elf.parse(io.BytesIO(bytes(data))) is None


def test_patterns_take_a_time_in_proportion_to_the_text():
    line = " ".join(f"${'v' * 200}{number}" for number in range(2_000)) + " |"
    assert not launch.suffices(line, {})
    config = {"Healthcheck": {"Test": ["CMD-SHELL", "x || false" + " " * 200_000 + "y"]}}
    assert health(config).test[0] == "CMD-SHELL"
    data = b"a." * 200_000 + b".so\0libz.so.1\0"
    found = names.of_elf(data, frozenset({"dlopen"}), _Nothing(), False, frozenset())
    assert "libz.so.1" in found.libraries
    for text in (b"\n" * 100_000, b"(a=" * 100_000, b"'\\" * 100_000, b"-m " + b" " * 100_000):
        source_words.words_of("a.sh", text)
        source_words.words_of("a.js", text)
        source_words.commands_of_script(text)


class _Nothing:
    children: dict[str, set[str]] = {}  # noqa: RUF012 - a stand-in

    def walk(self, path):
        return None, []


def test_times_are_kept_or_all_the_same(tmp_path):
    items = [file("a", b"x", mtime=1_700_000_000), directory("d", mtime=5)]
    for time, wanted in ((None, [1_700_000_000, 5]), (0, [0, 0]), (9, [9, 9])):
        written = write_layer(items, tmp_path / "l.tar", time)
        with tarfile.open(written.path) as tar:
            assert [each.mtime for each in tar] == wanted

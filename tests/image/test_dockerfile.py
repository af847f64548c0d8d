"""A Dockerfile that builds a result: what its lines say, and what an engine makes of them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import tarfile

import pytest
from image.archives import Member, layer, saved

from mlkit.errors import BadData
from mlkit.image import dockerfile
from mlkit.image.filesystem import build
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.difference import diff
from mlkit.image.filesystem.image_source import take_inventory
from mlkit.image.filesystem.inventory import take
from mlkit.image.result import CARRIED

CONFIG = {
    "Env": ["PATH=/bin", 'ODD=a "b" $HOME \\ c', "EMPTY="],
    "Labels": {"org.example/title": "it's $5"},
    "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
    "Volumes": {"/srv/a b": {}},
    "WorkingDir": "/srv",
    "User": "7:8",
    "StopSignal": "SIGINT",
    "Healthcheck": {"Test": ["CMD-SHELL", "test $A"], "Interval": 2_000_000_000, "Retries": 4},
    "Entrypoint": ["/echo", "a\nb"],
    "Cmd": ["$HOME", "ü"],
}


def test_instructions_quote_what_a_builder_would_expand():
    assert list(dockerfile.instructions(CONFIG)) == [
        'ENV PATH="/bin"',
        'ENV ODD="a \\"b\\" \\$HOME \\\\ c"',
        'ENV EMPTY=""',
        'LABEL "org.example/title"="it\'s \\$5"',
        "EXPOSE 80/tcp",
        "EXPOSE 53/udp",
        'VOLUME ["/srv/a b"]',
        "WORKDIR /srv",
        "USER 7:8",
        "STOPSIGNAL SIGINT",
        "HEALTHCHECK --interval=2000000000ns --retries=4 CMD test $A",
        'ENTRYPOINT ["/echo", "a\\nb"]',
        'CMD ["$HOME", "\\u00fc"]',
    ]
    none = {"Healthcheck": {"Test": ["NONE"]}}
    assert list(dockerfile.instructions(none)) == ["HEALTHCHECK NONE"]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"Env": ["KEY=a\nb"]}, "the variable KEY"),
        ({"Labels": {"x": "a\r\nb"}}, "the label 'x'"),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "a\nb"]}}, "the health check"),
        ({"OnBuild": ["RUN true"]}, "ONBUILD"),
    ],
)
def test_what_no_dockerfile_can_say_is_refused(config, text):
    with pytest.raises(BadData, match=text):
        dockerfile.check("app:1", config)
    dockerfile.check("app:1", CONFIG)


def test_directories_are_kept_and_written_again(tmp_path):
    path = saved(tmp_path / "i.tar", layer(Member("srv", mode=0o700), Member("srv/a", "x")))
    with open_image(path) as image:
        original = take(image)
        entries = original.files.entries
        items = [build.Item(entries[each], original) for each in sorted(entries)]
        items.append(build.file("etc/own", b"y"))
        kept, added = dockerfile.divide({each.entry.path: each for each in items}, original)
    assert kept == ["etc", "srv", "srv/a"]
    assert [each.entry.path for each in added] == ["srv", "etc/own"]


def test_an_image_without_a_name_and_a_folder_with_files_are_refused(mlkit, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    done = mlkit("image", "slim", "app:1", "--dockerfile=full")
    assert (done.returncode, "not an empty folder" in done.stderr) == (2, True)
    done = mlkit("image", "slim", "app:1", "--dockerfile=out", "--timestamps=epoch")
    assert (done.returncode, "--timestamps" in done.stderr) == (2, True)


def contents(program):
    """Make a layer with owners, modes, links, capabilities, times and odd names."""
    buffer = io.BytesIO(layer(
        Member("echo", program, mode=0o755),
        Member("usr/share/doc/manual", b"x" * 5_000_000),
        Member("srv", mode=0o1770, uid=7),
        Member("srv/a b $HOME 'ü'", "odd", mode=0o640, uid=7),
        Member("srv/link", link="/srv/none", mode=0o777),
        Member("srv/folder", link="deep/one", mode=0o777),
        Member("srv/deep", mode=0o711, uid=9),
        Member("srv/deep/one", mode=0o755),
        Member("srv/deep/one/file", "1"),
        Member("srv/same", hard="srv/deep/one/file"),
        Member("srv/setid", "x", mode=0o4755),
        Member("tmp", mode=0o1777),
        Member("tmp/gone", "x"),
    ))  # fmt: skip
    with tarfile.open(fileobj=buffer, mode="a", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("srv/capable")
        capable = b"\1\0\0\2\0\x20\0\0" + bytes(12)  # cap_net_raw+ep
        info.pax_headers = {"SCHILY.xattr.security.capability": capable.decode()}
        info.mtime = 1_600_000_000
        tar.addfile(info)
    return buffer.getvalue()


@pytest.mark.slow
def test_an_engine_builds_the_same_files_and_config(mlkit, engine, tmp_path):
    (tmp_path / "echo.c").write_text('#include <stdio.h>\nint main(void) { puts("done"); }\n')
    subprocess.run(["cc", "-static", "-s", "-o", "echo", "echo.c"], cwd=tmp_path, check=True)
    config = {**CONFIG, "Cmd": ["x"], "Healthcheck": {"Test": ["NONE"]}}
    path = saved(tmp_path / "i.tar", contents((tmp_path / "echo").read_bytes()), config=config)
    names = [f"mlkit-test-recipe-{os.getpid()}:{tag}" for tag in ("1", "slim", "built")]
    with contextlib.ExitStack() as stack:
        for each in names:
            stack.callback(engine.remove_image, each)
        engine.tag(engine.load(lambda: [path.read_bytes()]), names[0])
        options = ("--probe=exit:0", "--watch=0", "-t", names[1], "--dockerfile=out", "--json")
        done = mlkit("image", "slim", names[0], *options)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["gained"]
        engine.build(tmp_path / "out", names[2])
        with take_inventory(names[1]) as ours, take_inventory(names[2]) as theirs:
            found = diff(ours, theirs)
            assert (found.removed, found.added, found.changed) == ([], [], [])
            fields = {*CARRIED, "Entrypoint", "Cmd", "Labels"}
            assert [each for each in found.config if each.name in fields] == []
            files = [each for each in ours.files.entries.values() if each.kind == "file"]
            entries = theirs.files.entries
            assert all(int(each.mtime) == int(entries[each.path].mtime) for each in files)
            assert entries["srv/same"].content == entries["srv/deep/one/file"].content
            assert dict(entries["srv/capable"].xattrs)
            assert "usr/share/doc/manual" not in entries
            assert "busybox" not in entries

"""Input that cannot be slimmed, with a real Docker Engine: one line, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import tarfile

import docker
import pytest
from image.archives import Member, layer, saved

from mlkit.image.filesystem import build
from mlkit.image.filesystem.platforms import here
from mlkit.image.run.engine.engine import TEMPORARY

pytestmark = [pytest.mark.slow, pytest.mark.alone]
QUICK = ("--watch", "0.5", "--patience", "2")
HERE = here()
FOREIGN = "arm64" if HERE == "amd64" else "amd64"
SLEEP = """#include <signal.h>
#include <unistd.h>
static void stop(int number) { _exit(number ? 0 : 1); }
int main(void) { signal(SIGTERM, stop); for (;;) pause(); }
"""


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory):
    """Return a static program that does nothing until it is stopped."""
    folder = tmp_path_factory.mktemp("c")
    (folder / "s.c").write_text(SLEEP)
    subprocess.run(["cc", "-static", "-s", "-o", folder / "s", folder / "s.c"], check=True)
    return layer(Member("s", (folder / "s").read_bytes(), mode=0o755))


@pytest.fixture
def nothing_left(engine, tmp_path):
    """Check that the engine and the temporary folder are afterwards as they were before."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()

    def state(client):
        containers = {each.id for each in client.containers.list(all=True, sparse=True)}
        images = {(each["Id"], *(each["RepoTags"] or [])) for each in client.api.images()}
        return containers, images, {each.id for each in client.volumes.list()}

    with contextlib.closing(docker.from_env()) as client:
        before = state(client)
        yield {"env": {**os.environ, "TMPDIR": str(temporary)}}
        assert state(client) == before
        assert list(temporary.iterdir()) == []


def refused(done, code, *words):
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    first, *rest = done.stderr.splitlines()
    assert first.startswith("error: "), done.stderr
    assert all(line.startswith("hint: ") for line in rest), done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize("command", ["slim", "doctor", "compare"])
def test_an_image_that_is_not_there(mlkit, nothing_left, command):
    more = ["no-such-image:2"] if command == "compare" else []
    done = mlkit("image", command, "no-such-image:1", *more, **nothing_left)
    refused(done, 66, "no-such-image:1", "hint: ")


@pytest.mark.parametrize(
    ("more", "config", "words"),
    [
        ({"os": "windows"}, {"Cmd": ["/s"]}, ("windows", "Linux")),
        ({"architecture": FOREIGN}, {"Cmd": ["/s"]}, (FOREIGN, HERE)),
        ({}, {}, ("no command to start", "ENTRYPOINT")),
        ({}, {"Cmd": ["/nowhere"]}, ("original itself does not work", "nowhere")),
        ({}, {"Cmd": ["/s"], "ExposedPorts": {"99/tcp": {}}}, ("does not work", "tcp:99")),
    ],
    ids=["windows", "architecture", "no command", "no program", "never ready"],
)
@pytest.mark.parametrize("command", ["slim", "doctor"])
def test_an_image_that_cannot_be_run(mlkit, nothing_left, sleeper, tmp_path, command, more, config,
                                     words):  # fmt: skip
    path = saved(tmp_path / "i.tar", sleeper, config=config, **more)
    done = mlkit("image", command, path, *QUICK, **nothing_left)
    if command == "doctor" and words[0].endswith("not work"):
        assert done.returncode == 1
        assert "fails" in done.stdout
        return
    refused(done, 65, str(path), *(words if command == "slim" else words[:1]))


@pytest.mark.parametrize(
    ("lower", "words"),
    [
        (layer(Member("../../etc/x", "1")), ("leaves the image",)),
        (layer(Member("a", hard="../../etc/passwd")), ("leaves the image",)),
        (layer(Member("lib/apk/db/installed", "")), ("holds no package",)),
        (layer(Member("var/lib/rpm/x", "")), ("rpm",)),
    ],
    ids=["dots", "hard link", "apk", "rpm"],
)
def test_a_layer_that_is_refused(mlkit, nothing_left, sleeper, tmp_path, lower, words):
    path = saved(tmp_path / "i.tar", lower, sleeper, config={"Cmd": ["/s"]})
    refused(mlkit("image", "slim", path, *QUICK, **nothing_left), 65, *words)


def test_device_nodes_are_left_out_and_reported(mlkit, nothing_left, sleeper, tmp_path):
    lower = layer(
        Member("dev/sda", "", kind=tarfile.BLKTYPE),
        Member("pipe", "", kind=tarfile.FIFOTYPE),
        Member("usr/share/doc/manual", b"x" * 5_000_000),
    )
    path = saved(tmp_path / "i.tar", lower, sleeper, config={"Cmd": ["/s"]})
    command = ("image", "slim", path, "--output=s.tar", "--json", *QUICK)
    done = mlkit(*command, **nothing_left)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["left_out"] == ["dev/sda", "pipe"]
    with tarfile.open(tmp_path / "s.tar") as whole:
        names = [each for each in whole.getnames() if each.endswith("layer.tar")]
        for each in names:
            with tarfile.open(fileobj=whole.extractfile(each)) as inner:
                assert not {"dev/sda", "pipe"} & set(inner.getnames())


def test_a_full_disk(mlkit, nothing_left, sleeper, tmp_path):
    path = saved(tmp_path / "i.tar", sleeper, layer(Member("x", b"x" * 4_000_000)),
                 config={"Cmd": ["/s"]})  # fmt: skip

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))

    command = ("image", "slim", path, "--include=x", "--output=s.tar", *QUICK)
    done = mlkit(*command, preexec_fn=small, **nothing_left)
    refused(
        done,
        69,
        "File too large",
        "hint: free some disk space; temporary files go where TMPDIR points",
    )
    assert not (tmp_path / "s.tar").exists()


def test_an_engine_that_goes_away(mlkit, tmp_path):
    environment = {**os.environ, "DOCKER_HOST": "tcp://127.0.0.1:9"}
    for command in ("slim", "doctor"):
        done = mlkit("image", command, "app:1", env=environment)
        refused(done, 69, "no Docker Engine", "DOCKER_HOST")


def test_what_a_killed_run_has_left_is_listed_and_removed(mlkit, engine, nothing_left, tmp_path):
    document = build.document([], {"Cmd": ["/s"]}, HERE)
    image = engine.load(lambda: build.archive(document, [], f"{TEMPORARY}:killed"))
    dry = json.loads(mlkit("image", "clean", "--dry-run", "--json").stdout)["removed"]
    assert f"image {image[:19]}" in dry
    assert json.loads(mlkit("image", "clean", "--json").stdout)["removed"] == dry
    assert json.loads(mlkit("image", "clean", "--json").stdout)["removed"] == []
    with (
        engine.load_temporary(document, []) as image,
        engine.container(image, command=["/s"]) as mine,
    ):
        assert json.loads(mlkit("image", "clean", "--json").stdout)["removed"] == []
        assert mine.state().running is False, "what a run that goes on has made is still there"

"""Images written by hand, and the command line without an engine."""

from __future__ import annotations

import json
import os

import pytest
from image.archives import Member, layer, saved

from mlkit.errors import UsageError
from mlkit.image.filesystem import build
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.proof.compare import compare, verdict
from mlkit.image.run.observation import Observation
from mlkit.image.run.probe import Answer, parse


def test_what_is_written_is_read_back_and_repeats_itself(tmp_path):
    members = [Member("b", "12", mode=0o755, uid=3), Member("a", hard="b"), Member("l", link="b")]
    with open_image(saved(tmp_path / "i.tar", layer(*members))) as image:
        inventory = take(image)
        items = [build.Item(entry, inventory) for entry in inventory.files.entries.values()]
        written = [build.write_layer(order, tmp_path / "w.tar") for order in (items, items[::-1])]
    assert written[0].digest == written[1].digest
    document = build.document(written[:1], {"Cmd": ["/b"]}, "amd64")
    with (tmp_path / "out.tar").open("wb") as file:
        file.writelines(build.archive(document, written[:1], "x:1"))
    name = build.image_id(document)
    folder = tmp_path / "oci"
    assert build.write_layout(document, written[:1], "x:1", folder) == name
    for path in (tmp_path / "out.tar", folder):
        with open_image(path) as image:
            again = take(image)
            assert image.config == {"Cmd": ["/b"]}
            assert again.read_path("a") == b"12"
            assert again.files.entries["a"].content == again.files.entries["b"].content
            assert again.files.entries["b"].mode == 0o755


def test_diff_shows_files_and_config(mlkit, tmp_path):
    first = saved(tmp_path / "a.tar", layer(Member("x", "1"), Member("y", "1")))
    second = saved(
        tmp_path / "b.tar", layer(Member("x", "2"), Member("z", "123")), config={"User": "7"}
    )
    done = mlkit("image", "diff", first, second, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["changed"] == ["x"]
    assert [each["path"] for each in found["removed"]] == ["y"]
    assert found["added"] == [{"path": "z", "size": 3}]
    assert found["config"] == [{"name": "User", "before": None, "after": "7"}]
    assert "files that differ" in mlkit("image", "diff", first, second).stdout


def test_without_an_engine_the_error_names_it(mlkit):
    environment = {**os.environ, "DOCKER_HOST": "unix:///nowhere.sock"}
    done = mlkit("image", "slim", "app:1", env=environment)
    assert done.returncode == 69
    assert done.stderr.startswith("error: no Docker Engine")
    assert "hint: " in done.stderr


def test_bases_are_listed(mlkit):
    found = json.loads(mlkit("image", "base", "list", "--json").stdout)
    assert [each["kind"] for each in found["bases"]] == ["static", "base", "cc", "python3"]


@pytest.mark.parametrize("text", ["http", "tcp:x", "log:(", "exit:", "exec:", "smtp:25"])
def test_a_probe_that_is_none_is_a_usage_error(text):
    with pytest.raises(UsageError, match="--probe"):
        parse(text, [])


def test_probes_are_read():
    probe = parse("http:POST 8000/a?b=1=201", [])
    assert (probe.method, probe.port, probe.argument, probe.expected) == (
        "POST",
        8000,
        "/a?b=1",
        201,
    )
    assert parse("http:/", [3000]).port == 3000


def run(body=b"ok", status=200, **more):
    answers = [Answer("http:/", status < 400, status, {"x": "1"}, body)]
    return Observation(answers=answers, stop=0.1, ready=0.1, **more)


@pytest.mark.parametrize(
    ("originals", "candidate", "expected"),
    [
        ([run(), run()], run(), "equal"),
        ([run(), run()], run(body=b"no"), "broken"),
        ([run(), run()], run(status=500), "broken"),
        ([run(b"at 1"), run(b"at 2")], run(b"at 3"), "equal"),
        ([run(b"at 1"), run(b"at 2")], run(b"on 3"), "broken"),
        ([run(zombies=3)], run(), "improved"),
        ([run(killed=True)], run(), "improved"),
        ([run()], run(exit_code=1), "broken"),
        ([run()], run(log="Traceback (most recent call last):"), "broken"),
        ([run(log="pid 1")], run(log="pid 7"), "equal"),
        ([run()], Observation(problem="no such file"), "broken"),
        ([run()], Observation(answers=run().answers, stop=9.0), "broken"),
    ],
)
def test_the_verdict(originals, candidate, expected):
    assert verdict(compare(originals, candidate)) == expected

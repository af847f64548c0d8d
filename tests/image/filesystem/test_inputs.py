"""Files that the image commands read: environment variables and traces."""

from __future__ import annotations

import json

import pytest

from mlkit.errors import BadData, InputMissing, UsageError
from mlkit.image.command import env_file
from mlkit.image.run.trace import Trace, read_file, write_file


def test_an_env_file_is_read_as_docker_reads_it(tmp_path):
    path = tmp_path / "env"
    path.write_text("# comment\n\nA=1\nB=x=y z \nHOME\nGONE\n  C=\n")
    found = env_file.read(path, {"HOME": "/root"})
    assert found == {"A": "1", "B": "x=y z ", "HOME": "/root", "C": ""}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"A=1\n=secret\n", "line 2: expected NAME=VALUE"),
        (b"my secret\n", "line 1: expected NAME=VALUE"),
        (b"A=sec\0ret\n", "line 1: expected NAME=VALUE"),
        (b"A=\xff", "not UTF-8 at byte 2"),
    ],
)
def test_a_bad_line_is_named_without_its_value(tmp_path, content, problem):
    path = tmp_path / "env"
    path.write_bytes(content)
    with pytest.raises(BadData) as error:
        env_file.read(path, {})
    assert problem in error.value.message
    assert "sec" not in error.value.message
    with pytest.raises(InputMissing):
        env_file.read(tmp_path / "none", {})


def test_a_trace_survives_its_file(tmp_path):
    trace = Trace(frozenset({"/a", "/b"}), frozenset({"/c"}), frozenset({"/d"}), True)
    write_file(trace, tmp_path / "t.json")
    assert read_file(tmp_path / "t.json") == trace


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        json.dumps({"schema": "mlkit.image.run.trace", "version": 2}),
        json.dumps({"schema": "mlkit.image.run.trace", "version": 1, "opened": ["a"]}),
        json.dumps({"schema": "mlkit.image.run.trace", "version": 1, "opened": [1]}),
    ],
    ids=["empty", "list", "object", "deep", "newer", "relative", "number"],
)
def test_what_is_no_trace_is_bad_data(tmp_path, text):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(BadData, match=r"t\.json"):
        read_file(tmp_path / "t.json")
    with pytest.raises(InputMissing):
        read_file(tmp_path / "none.json")


def test_variables_of_the_command_line_are_as_those_of_docker_run():
    given = ["A=1=2", "HOME", "GONE", "EMPTY="]
    assert env_file.pairs(given, {"HOME": "/root"}) == {"A": "1=2", "HOME": "/root", "EMPTY": ""}
    with pytest.raises(UsageError, match="NAME=VALUE"):
        env_file.pairs(["=x"], {})

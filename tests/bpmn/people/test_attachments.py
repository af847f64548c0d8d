"""Documents of a task: only what lies inside its folder, and nothing that runs."""

from __future__ import annotations

import os
import pickle

import pytest
from bpmn.conftest import diagram

from mlkit.bpmn.definition.parser import parse_text
from mlkit.bpmn.journal.artifacts import ArtifactStore
from mlkit.bpmn.lint.validation import lint
from mlkit.bpmn.people import attachments
from mlkit.bpmn.people.tasks import Task
from mlkit.workers.child.artifacts import Artifacts


def task(*names, **variables) -> Task:
    return Task("ab", 1, "t", "T", "", None, [], [], 0.0, attach=names, variables=variables)


@pytest.fixture
def state(tmp_path):
    work = tmp_path / "work" / "ab"
    (work / "out").mkdir(parents=True)
    (work / "out" / "chart.png").write_bytes(b"png")
    (tmp_path / "secret").write_text("secret")
    (work / "link.txt").symlink_to(tmp_path / "secret")
    (work / "behind").symlink_to(tmp_path)
    os.mkfifo(work / "pipe")
    return tmp_path


def read(state, wanted: Task) -> dict[str, bytes]:
    return {
        each.name: each.content
        for each in attachments.documents(wanted, state, ArtifactStore(state / "artifacts"))
    }


def test_variables_and_files_are_documents(state):
    store = Artifacts(str(state / "artifacts"))
    upload = store.store_file(b"a,b", "in\\..\\da\nta.csv", "text/csv")
    found = read(state, task("note", "rows", "raw", "upload", "both", "out/chart.png",
                             note="hello", rows=[1, {"a": 2}], raw=store.store(b"\x00\x01"),
                             upload=upload, both=[upload, upload]))  # fmt: skip
    assert found["note.txt"] == b"hello"
    assert b'"a": 2' in found["rows.json"]
    assert found["raw"] == b"\x00\x01"
    assert found["chart.png"] == b"png"
    assert b"a,b" in found.values()
    assert all("\n" not in name and "/" not in name for name in found)


@pytest.mark.parametrize(
    "name", ["../../secret", "/etc/passwd", "link.txt", "behind/secret", "pipe", "out", "",
             "out/../../../secret", "none", "a\0b", "."],
)  # fmt: skip
def test_nothing_outside_the_folder_and_nothing_special_is_read(state, name):
    (found,) = attachments.documents(task(name), state, ArtifactStore(state / "artifacts"))
    assert found.content is None
    assert found.problem


class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/never",)


def test_stored_objects_are_not_loaded(state):
    store = Artifacts(str(state / "artifacts"))
    bomb = store.store(Bomb())
    disguised = {**bomb, "kind": "builtins.bytes"}
    damaged = {**store.store_file(b"x", "x", ""), "$artifact": "0" * 64}
    for value in (bomb, disguised, damaged, {**bomb, "$artifact": "../secret"}):
        (found,) = attachments.documents(
            task("it", it=value), state, ArtifactStore(state / "artifacts")
        )
        assert found.content is None
    assert pickle.dumps  # The bomb is one: it would have run.


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\r\nb", "x" * 500, "\u202egnp.exe", "\udc80"])
def test_file_names_are_safe_as_such(name):
    found = attachments.file_name(name)
    assert found
    assert found.isprintable()
    assert "/" not in found
    assert len(found) <= 150
    assert not found.startswith(".")


def problems(attach: str, script: str = "x = 1") -> list[str]:
    text = diagram(
        '<startEvent id="s"/><scriptTask id="w" scriptFormat="python"><script>'
        f'{script}</script></scriptTask><userTask id="t" mlkit:attach="{attach}"/>',
        "s>w w>t",
    )
    definitions = parse_text(text.encode(), attachments.Path("x.bpmn"))
    return [each.rule for each in lint(definitions, attachments.Path.cwd())]


def test_lint_names_documents_that_nothing_makes():
    assert "attach.unknown" not in problems("x, chart.png", 'x = 1; save("chart.png")')
    assert "attach.unknown" in problems("y")
    assert "attach.path" in problems("../x")
    assert "attach.path" in problems("/etc/passwd")

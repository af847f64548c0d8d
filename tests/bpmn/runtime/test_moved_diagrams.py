"""Instances of `run` whose diagram is not where it was: what fails says so, and goes on."""

from __future__ import annotations

import pytest

from mlkit.bpmn.runtime.deployment import deploy, files_of
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.runtime.session import Session

CALLS = (
    '<startEvent id="s"/><userTask id="u"/><serviceTask id="c" camunda:class="own_module:double"/>'
    '<endEvent id="e"/>'
)


@pytest.fixture
def moved(tmp_path, diagram):
    """Return an instance that waits for its incident to be tried again, its folder moved away."""
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "p.bpmn").write_text(diagram(CALLS, "s>u u>c c>e"))
    (folder / "own_module.py").write_text("def double(n):\n    return {'size': 2 * n}\n")
    with Session(tmp_path / "state", create=True) as session:
        row = session.begin(folder / "p.bpmn", {"n": 21})
        session.advance([row])
    folder.rename(tmp_path / "new")
    return row.id


def incident(session, instance):
    (found,) = Service(session).show(instance)["incidents"]
    return found["message"]


def test_a_task_that_fails_without_its_folder_names_it_and_how_to_go_on(tmp_path, moved):
    expected = (
        f"the folder of the diagram is missing: {tmp_path / 'old'} (put it back and retry, or"
        " deploy the diagram and migrate the instance): ModuleNotFoundError: No module named"
        " 'own_module'"
    )
    with Session(tmp_path / "state") as session:
        Service(session).complete(f"{moved}/u", {}, "ann")
        assert incident(session, moved) == expected
    with Session(tmp_path / "state") as session:
        Service(session).retry(moved, 0, "ann")
        assert incident(session, moved) == expected
        (tmp_path / "new").rename(tmp_path / "old")
        assert Service(session).retry(moved, 0, "ann").status == "completed"


def test_an_instance_goes_on_with_a_deployed_diagram(tmp_path, moved):
    with Session(tmp_path / "state") as session:
        service = Service(session)
        service.complete(f"{moved}/u", {}, "ann")
        deploy(session, files_of([tmp_path / "new" / "p.bpmn"]), "ann")
        service.migrate(moved, None, {}, "ann")
        assert service.retry(moved, 0, "ann").status == "completed"
        assert service.show(moved)["variables"]["size"] == 42

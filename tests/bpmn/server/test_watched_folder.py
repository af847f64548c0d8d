"""`--watch DIR`: what lies in a folder is deployed, and again when it changes."""

from __future__ import annotations

import shutil

V1 = "/api/v1"
WORK = (
    '<startEvent id="s"/><endEvent id="e"/>'
    '<scriptTask id="w" scriptFormat="python" camunda:resource="deployment://code/work.py"/>'
)


def versions(server) -> dict[str, int]:
    found = server("GET", f"{V1}/definitions").json()["definitions"]
    return {each["process"]: each["version"] for each in found}


def test_a_folder_is_followed_with_its_files_through_errors_and_absence(
    own_server, tmp_path, diagram
):
    folder = tmp_path / "diagrams"
    code = folder / "code" / "work.py"
    code.parent.mkdir(parents=True)
    code.write_text("x = 1\n")
    text = diagram(WORK, "s>w w>e")
    (folder / "broken.bpmn").write_text("<definitions")
    (folder / "p.bpmn").write_text(text)
    (folder / "same.bpmn").write_text(text.replace('id="e"', 'id="e" name="end"'))
    server = own_server("--watch", str(folder))
    server.wait(lambda: versions(server) == {"p": 2})
    assert "broken.bpmn is not deployed: " in server.log.read_text()
    # A script below the folder belongs to the diagrams, and only what changed is deployed again.
    code.write_text("x = 22\n")
    server.wait(lambda: versions(server) == {"p": 4})
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "broken.bpmn").write_text(
        diagram('<startEvent id="s"/><endEvent id="e"/>', "s>e").replace('id="p"', 'id="q"')
    )
    server.wait(lambda: versions(server) == {"p": 4, "q": 1})
    assert server.log.read_text().count("broken.bpmn is not deployed: ") == 1
    assert server.stop() == 143


def test_other_files_of_the_folder_and_its_own_state_deploy_nothing_again(
    own_server, tmp_path, diagram
):
    text = diagram('<startEvent id="s"/><endEvent id="e"/>', "s>e")
    (tmp_path / "one.bpmn").write_text(text)
    (tmp_path / "two.bpmn").write_text(text.replace('id="e"', 'id="f"').replace('"e"', '"f"'))
    server = own_server("--watch", ".")
    server.wait(lambda: versions(server) == {"p": 2})
    (tmp_path / "notes.txt").write_text("nothing that a diagram uses")
    (tmp_path / "three.bpmn").write_text(text.replace('id="p"', 'id="three"'))
    server.wait(lambda: "three" in versions(server))
    assert versions(server) == {"p": 2, "three": 1}

"""What a server does by itself: it deploys a folder, counts, and logs."""

from __future__ import annotations

import json

ENDS = '<startEvent id="s"/><endEvent id="e"/>'
FAILS = ENDS + (
    '<scriptTask id="work" scriptFormat="python"><script>raise ValueError(1)</script></scriptTask>'
)


def test_a_folder_is_deployed_and_again_when_it_changes(own_server, tmp_path, diagram):
    folder = tmp_path / "diagrams"
    folder.mkdir()
    (folder / "broken.bpmn").write_text("<no")
    path = folder / "p.bpmn"
    path.write_text(diagram(ENDS, "s>e"))
    server = own_server("--watch", str(folder), "--log-format", "json")

    def versions():
        answer = server("GET", "/api/v1/definitions/p")
        return answer.json()["definitions"] if answer.status_code == 200 else []

    assert [each["version"] for each in server.wait(versions)] == [1]
    path.write_text(diagram(FAILS, "s>work work>e"))
    server.wait(lambda: len(versions()) == 2)
    answer = server("POST", "/api/v1/instances", json={"process": "p"})
    instance = answer.json()["instance"]

    def lines():
        found = [json.loads(each) for each in server.log.read_text().splitlines() if each[0] == "{"]
        return [each for each in found if each.get("instance") == instance]

    (line, *_) = server.wait(lines)
    assert (line["element"], line["attempt"], line["level"]) == ("work", 1, "warning")
    text = server("GET", "/metrics").text
    assert 'mlkit_bpmn_instances{state="incident"} 1.0' in text
    assert "mlkit_bpmn_incidents 1.0" in text
    assert "mlkit_bpmn_script_failures_total 1.0" in text
    assert "mlkit_bpmn_attempt_seconds_count 1.0" in text
    assert 'mlkit_bpmn_lease_changes_total{change="taken"} 1.0' in text
    assert 'mlkit_bpmn_lease_changes_total{change="lost"} 0.0' in text
    assert 'mlkit_bpmn_mails{state="queued"} 0.0' in text
    assert "mlkit_bpmn_schedule_lag_seconds 0.0" in text

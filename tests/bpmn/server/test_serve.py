"""The server as a process: what it takes, how it stops, who may reach it."""

from __future__ import annotations

import contextlib
import json
import os
import threading

import pytest
import requests
from commands import run_mlkit

from mlkit.bpmn.runtime.session import Session, Settings
from mlkit.bpmn.server import settings

ENDS = '<startEvent id="s"/><endEvent id="e"/>'
TIMER = (
    ENDS + '<intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>PT0.3S'
    "</timeDuration></timerEventDefinition></intermediateCatchEvent>"
)


def script(source: str) -> str:
    return (
        ENDS + f'<scriptTask id="work" scriptFormat="python"><script>{source}</script></scriptTask>'
    )


def written(folder, text):
    path = folder / "p.bpmn"
    path.write_text(text)
    return path


def status(server, row) -> str:
    with Session(server.state) as session:
        return session.journal.get(row.number).status


def test_it_starts_in_an_empty_directory_and_says_how_it_is(server):
    answer = server("GET", "/healthz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert server("GET", "/docs").status_code == 200


def test_it_names_the_journal_that_it_serves(server):
    assert f"serving {server.state} at {server.url};" in server.log.read_text()
    scripts = Settings(journal="postgresql://mlkit:s3cret@db.example:5433/flows?connect_timeout=9")
    served = settings.Settings(state=server.state, scripts=scripts)
    assert served.place == "postgresql://mlkit@db.example:5433/flows"


def test_it_moves_what_others_have_begun_in_the_state_folder(server, tmp_path, diagram):
    path = written(tmp_path, diagram(script("x = 6 * 7"), "s>work work>e"))
    with Session(server.state) as session:
        row = session.begin(path, {})
    server.wait(lambda: status(server, row) == "completed")
    shown = json.loads(server.mlkit("show", row.id, "--json").stdout)
    assert shown["variables"] == {"x": 42}


def test_it_fires_timers_of_instances_that_a_command_has_left(server, tmp_path, diagram):
    path = written(tmp_path, diagram(TIMER, "s>t t>e"))
    with Session(server.state, Settings(waits=False)) as session:
        row = session.begin(path, {})
        session.advance([row])  # the server may have it already
    server.wait(lambda: status(server, row) == "completed")


def test_commands_complete_tasks_beside_it(server, tmp_path, diagram):
    path = written(tmp_path, diagram(ENDS + '<userTask id="u"/>', "s>u u>e"))
    with Session(server.state) as session:
        row = session.begin(path, {})
    server.wait(lambda: status(server, row) == "waiting")
    assert server.mlkit("complete", f"{row.id}/u").returncode == 0
    assert status(server, row) == "completed"


def test_a_damaged_instance_does_not_stop_the_others(server, tmp_path, diagram):
    path = written(tmp_path, diagram(script("x = 1"), "s>work work>e"))
    with Session(server.state) as session:
        bad, good = session.begin(path, {}), None
        with session.journal.transaction():
            session.journal.database.execute(
                "UPDATE instances SET options = 'no json' WHERE number = ?", (bad.number,)
            )
        good = session.begin(path, {})
    server.wait(lambda: status(server, good) == "completed")
    assert server("GET", "/healthz").status_code == 200


def test_a_page_of_another_site_is_refused(server):
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        answer = server("GET", "/openapi.json", headers=headers)
        assert answer.status_code == 403
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 403


def test_sigterm_lets_a_running_script_end_and_begins_no_other(own_server, tmp_path, diagram):
    server = own_server("--grace", "120")
    mark = tmp_path / "begun"
    first = f"import pathlib, time; pathlib.Path('{mark}').touch(); time.sleep(5); done = 1"
    body = script(first) + script("late = 1").replace(ENDS, "").replace('"work"', '"next"')
    path = written(tmp_path, diagram(body, "s>work work>next next>e"))
    with Session(server.state) as session:
        row = session.begin(path, {})
    server.wait(mark.exists)
    assert server.stop() == 143
    with Session(server.state) as session:
        row = session.journal.get(row.number)
        (log,) = session.journal.logs(row)
        assert (log.element, log.outcome) == ("work", "completed")
        assert row.status == "interrupted"
        assert not session.journal.is_owned(row)
    server.start()
    server.wait(lambda: status(server, row) == "completed")


def test_a_crash_loses_nothing(own_server, tmp_path, diagram):
    server = own_server()
    path = written(tmp_path, diagram(script("import time; time.sleep(0.05)"), "s>work work>e"))
    with Session(server.state) as session:
        rows = [session.begin(path, {}) for _ in range(20)]
    server.wait(lambda: any(status(server, row) == "completed" for row in rows))
    server.kill()
    server.start()
    server.wait(lambda: all(status(server, row) == "completed" for row in rows))


def test_a_store_that_hangs_keeps_nobody_from_the_rest(own_server, tmp_path, diagram):
    shared = tmp_path / "shared"
    server = own_server("--artifacts", shared.as_uri())
    path = written(tmp_path, diagram(script("table = bytes(1000)"), "s>work work>e"))
    with Session(server.state) as session:
        row = session.begin(path, {})
    server.wait(lambda: status(server, row) == "completed")
    listed = f"/api/v1/instances/{row.id}/artifacts"
    (name,) = (each["artifact"] for each in server("GET", listed).json()["artifacts"])
    assert server.stop() == 143
    (server.state / "artifacts" / name).unlink()  # As on another host.
    (shared / name).unlink()
    os.mkfifo(shared / name)  # Who reads it waits for a writer that does not come.
    server.start()

    def hang():
        with contextlib.suppress(requests.RequestException):
            requests.get(f"{server.url}{listed}/{name}", timeout=120)

    asking = [threading.Thread(target=hang) for _ in range(12)]
    for each in asking:
        each.start()
    server.wait(lambda: _is_read(shared / name))
    for _ in range(12):
        assert server("GET", "/api/v1/instances").status_code == 200
    assert sum(each.is_alive() for each in asking) >= 8
    server.kill()
    for each in asking:
        each.join()


def _is_read(fifo) -> bool:
    """Return whether somebody waits for a pipe, who then finds nothing in it."""
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def test_an_address_that_others_reach_needs_a_token(tmp_path):
    done = run_mlkit("bpmn", "serve", "--host", "0.0.0.0", "--port", "0", cwd=tmp_path)
    assert done.returncode == 78
    assert "--token-file" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [["--grace", "inf"], ["--grace", "nan"], ["--attach-limit", "inf"], ["--base-url", "http://["]],
)
def test_a_setting_that_cannot_be_meant_is_a_usage_error(tmp_path, options):
    done = run_mlkit("bpmn", "serve", "--port", "0", *options, cwd=tmp_path)
    assert (done.returncode, options[0] in done.stderr) == (2, True)
    assert not list(tmp_path.iterdir())


def test_a_deployment_with_errors_is_refused_with_all_of_them(server, tmp_path, diagram):
    sound = written(tmp_path, diagram(ENDS, "s>e").replace('id="p"', 'id="sound"'))
    broken, wrong = tmp_path / "broken.bpmn", tmp_path / "wrong.bpmn"
    broken.write_text("<definitions")
    wrong.write_text(diagram(script("x = (").replace('"python"', '"cobol"'), "s>work"))
    for place in ([], ["--server", server.url]):
        there = place or ["--state", server.state]
        done = run_mlkit("bpmn", "deploy", broken, sound, wrong, *there)
        assert done.returncode == 65
        assert all(each in done.stderr for each in ("broken.bpmn", "wrong.bpmn", "cobol"))
    found = server("GET", "/api/v1/definitions").json()["definitions"]
    assert "sound" not in {each["process"] for each in found}


def test_a_token_is_asked_for(own_server, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("# ours\nsecret\nother viewer ann\n")
    server = own_server("--host", "0.0.0.0", "--token-file", str(tokens))
    server.url = server.url.replace("0.0.0.0", "127.0.0.1")
    assert server("GET", "/openapi.json").status_code == 401
    for token in ("secret", "other"):
        headers = {"Authorization": f"Bearer {token}"}
        assert server("GET", "/openapi.json", headers=headers).status_code == 200
    assert server("GET", "/healthz").status_code == 200


@pytest.mark.parametrize("text", ["", "a nobody", "a viewer ann bob", "a\na"])
def test_a_wrong_token_file_is_refused(tmp_path, text):
    (tmp_path / "tokens").write_text(text)
    done = run_mlkit("bpmn", "serve", "--token-file", "tokens", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (65, "")

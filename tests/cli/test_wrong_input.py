"""What a user sees when an input or an output is not what a command needs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def refuse(done, code, *texts):
    """Require an error of one line, with a hint perhaps, and nothing else."""
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert lines[0].startswith("error: ")
    assert all(each.startswith("hint: ") for each in lines[1:])
    assert len(lines) <= 2
    for each in texts:
        assert each in done.stderr
    assert "Errno" not in done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("bandit show -", "the file is empty"),
        ("bpmn eval -", "unexpected end"),
    ],
)
def test_a_closed_standard_input_is_an_empty_one(tmp_path, words, text):
    line = f'"{sys.executable}" -m mlkit {words} <&-'
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    refuse(done, 65, text)


@pytest.mark.parametrize(
    ("words", "code", "texts"),
    [
        ("--config folder doctor", 78, ["folder: cannot be read: Is a directory"]),
        ("bpmn import folder --state s", 66, ["folder: cannot be read: Is a directory"]),
        ("bpmn import nothing --state s", 65, ["nothing: not an archive, or damaged", "export"]),
        ("bpmn lint nothing", 65, ["nothing:1: not XML: Document is empty (column 1)"]),
        ("bpmn test nothing", 65, ["nothing: not JSON"]),
        ("bpmn run hello.bpmn --state nothing", 78, ["nothing: not a folder"]),
        ("bandit show bytes", 65, ["bytes: line 1: not text", "Parquet"]),
        ("bandit serve p.csv --state nothing --port 0", 78, ["nothing: not a folder"]),
        ("pairs screen prices.csv --method dist", 2, ["'--method': 'dist' is not one of"]),
        ("bandit show p.csv --top x", 2, ["'--top': Input should be a valid integer\nhint"]),
        ("bandit simulate bytes", 65, ["bytes: not UTF-8 text"]),
        ("bpmn people check bytes", 65, ["bytes: not UTF-8 text"]),
    ],
)
def test_input_of_the_wrong_kind_is_named(mlkit, tmp_path, words, code, texts):
    (tmp_path / "folder").mkdir()
    (tmp_path / "nothing").touch()
    (tmp_path / "bytes").write_bytes(bytes(range(256)) * 4)
    bars = "".join(f"2024-01-{day:02},{day},{day * day}\n" for day in range(1, 29))
    (tmp_path / "prices.csv").write_text(f"date,A,B\n{bars}")
    (tmp_path / "p.csv").write_text("arm,a,b\nx,1,2\ny,2,1\n")
    (tmp_path / "hello.bpmn").write_text(
        '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"><process id="p" '
        'isExecutable="true"><startEvent id="s"/></process></definitions>'
    )
    refuse(mlkit(*words.split()), code, *texts)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ("bandit show secret.csv", 66, "secret.csv: cannot be read: Permission denied"),
        ("bpmn lint secret.csv", 66, "secret.csv: cannot be read: Permission denied"),
        ("--config secret.csv doctor", 78, "secret.csv: cannot be read: Permission denied"),
        ("bpmn list --state locked", 78, "locked: cannot be read: Permission denied"),
        ("bandit fit log.csv --arm a --reward r -o locked/p.csv", 66, "locked/p.csv: Permission"),
    ],
)
def test_files_that_a_user_may_not_open_are_named(tmp_path, words, code, text):
    (tmp_path / "log.csv").write_text("a,r\nx,1\n")
    (tmp_path / "secret.csv").touch(0o000)
    (tmp_path / "locked").mkdir(0o000)
    rights = "-dac_override,-dac_read_search"
    lower = ["setpriv", f"--inh-caps={rights}", f"--bounding-set={rights}"]  # what root has more
    command = [*(lower if os.geteuid() == 0 else []), sys.executable, "-m", "mlkit"]
    done = subprocess.run(
        [*command, *words.split()], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    (tmp_path / "locked").chmod(0o700)
    refuse(done, code, text)


@pytest.mark.parametrize("host", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1"])
def test_a_missing_engine_is_named_with_the_reason(mlkit, host):
    done = mlkit("image", "sbom", "app:1", env={**os.environ, "DOCKER_HOST": host})
    reason = "No such file or directory" if "unix" in host else "Connection refused"
    refuse(done, 69, f"error: no Docker Engine at {host}: {reason}\n", "start dockerd")


def test_an_output_folder_that_is_a_file_is_named(mlkit, tmp_path, repository):
    (tmp_path / "taken").touch()
    prices = repository / "examples/pairs/us_large_caps.csv.gz"
    given = "--pair", "KO,PEP", "--start", "2021-01-01", "--formation", "60"
    refuse(mlkit("pairs", "backtest", prices, *given, "-o", "taken"), 2, "taken: not a folder")
    refuse(mlkit("pairs", "live", prices, *given, "--state", "taken"), 66, "taken: not a folder")


def test_lists_say_that_they_are_empty(mlkit, tmp_path):
    (tmp_path / "p.bpmn").write_text(
        '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"><process id="p" '
        'isExecutable="true"><startEvent id="s"/></process></definitions>'
    )
    assert mlkit("bpmn", "deploy", "p.bpmn").returncode == 0
    said = {
        "list": "no instances",
        "tasks": "no task waits for anybody",
        "mail list --only failed": "no failed mails",
        "stores": "no data store has a value",
        "retries": "no task waits for another attempt",
    }
    for words, text in said.items():
        done = mlkit("bpmn", *words.split())
        assert (done.returncode, done.stdout, done.stderr) == (0, "", f"{text}\n")


@pytest.mark.parametrize(("file", "code"), [("nowhere.bpmn", 66), ("text.bpmn", 65), ("text", 2)])
def test_a_deployment_that_is_refused_leaves_no_state_folder(mlkit, tmp_path, file, code):
    (tmp_path / "text.bpmn").write_text("no diagram")
    (tmp_path / "text").write_text("no diagram")
    refuse(mlkit("bpmn", "deploy", file, cwd=tmp_path), code)
    assert not (tmp_path / ".mlkit").exists()


def test_a_server_that_others_can_reach_warns_without_tokens(mlkit, tmp_path):
    (tmp_path / "token").write_text("secret")
    (tmp_path / "token").chmod(0o600)
    serve = ["bandit", "serve", "nowhere.parquet", "--state", "s"]
    assert "--token-file" in mlkit(*serve, "--host", "0.0.0.0", cwd=tmp_path).stderr
    for safe in (["--host", "127.0.0.1"], ["--host", "0.0.0.0", "--token-file", "token"]):
        done = mlkit(*serve, *safe, cwd=tmp_path)
        assert (done.returncode, "warning" in done.stderr) == (66, False), done.stderr

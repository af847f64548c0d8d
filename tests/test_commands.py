"""Commands under test are forked, and behave as those that users start."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from commands import Mlkit, program_folder, run_mlkit

PATIENCE = 180.0
SERVE = ["bpmn", "serve", "--state", "state", "--port", "0"]


@pytest.fixture
def shell(tmp_path):
    """Start a line of bash that finds `mlkit` where those of the documentation do."""

    def start(line, **options):
        path = f"{program_folder()}:{os.environ['PATH']}"
        return subprocess.Popen(
            ["bash", "-c", line], cwd=tmp_path, env={**os.environ, "PATH": path},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
        )  # fmt: skip

    return start


def wait_for(holds):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_pipe_of_commands_passes_text_and_exit_codes(shell):
    line = "echo a,r | mlkit bandit fit - --arm a --reward r -o - | wc -l; echo ${PIPESTATUS[@]}"
    with shell(line) as done:
        out, err = done.communicate(timeout=PATIENCE)
    assert out.split()[1:] == ["0", "65", "0"], err
    assert err.startswith("error: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_for_a_shell_s_command_reaches_it(shell, tmp_path, number):
    log = tmp_path / "log"
    with shell(f"exec mlkit {' '.join(SERVE)} 2>log") as serving:
        wait_for(lambda: log.exists() and "serving" in log.read_text())
        serving.send_signal(number)
        assert serving.wait(PATIENCE) == 128 + number


def test_a_command_does_not_outlive_who_asked_for_it(shell, tmp_path):
    log = tmp_path / "log"
    with shell(f"exec mlkit {' '.join(SERVE)} 2>log") as serving:
        wait_for(lambda: log.exists() and "serving" in log.read_text())
        serving.kill()
    with Mlkit(*SERVE, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as again:
        assert "serving" in again.stderr.readline()
        again.kill()
    assert again.returncode == -signal.SIGKILL


def test_a_variable_that_is_read_at_import_takes_effect(tmp_path):
    code = "import os; os.write(1, os.environ['NAME'].encode()); os._exit(7)"
    (tmp_path / "sitecustomize.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NAME": "new"}
    done = run_mlkit(env=environment)
    assert (done.returncode, done.stdout) == (7, "new")


def test_a_command_leads_a_session_where_it_is_asked_to(tmp_path):
    with Mlkit(
        *SERVE, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as own:
        assert "serving" in own.stderr.readline()
        assert os.getsid(own.pid) == own.pid
        assert Path(f"/proc/{own.pid}/cwd").resolve() == tmp_path
        os.killpg(own.pid, signal.SIGTERM)
        assert own.wait(PATIENCE) == 143

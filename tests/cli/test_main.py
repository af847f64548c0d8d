"""The command line as a user meets it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from mlkit import __version__
from tests.cli.commands import LEAVES
from tests.cli.terminal import on_a_terminal

SERVING = {"mlkit bandit serve", "mlkit bpmn serve", "mlkit bpmn worker", "mlkit pairs live page"}
"""Commands that print no result: they serve until they are stopped."""
PASSING = {"mlkit image debug"}
"""Commands that pass on what another program prints."""
DIAGRAM = (
    '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" targetNamespace="t">'
    '<process id="p" isExecutable="true"><startEvent id="s"/><endEvent id="e"/>'
    '<sequenceFlow id="f" sourceRef="s" targetRef="e"/></process></definitions>'
)
DOCUMENTS = {"mlkit bpmn scenario"}
"""Commands whose result is a document of JSON in any case."""


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_has_help_two_examples_and_json(name):
    command = LEAVES[name]
    assert command.help
    assert (
        "json" in {option.name for option in command.params}
        or name in SERVING | PASSING | DOCUMENTS
    )
    assert len(re.findall(rf"^\s*{name}\b", command.epilog or "", re.MULTILINE)) >= 2, "examples"
    assert all(option.help for option in command.params if option.param_type_name == "option")


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_is_on_a_page_of_the_documentation(name, repository):
    pages = [page for page in (repository / "docs").glob("*.md") if page.name != "cli.md"]
    assert any(name in page.read_text() for page in pages)


def test_the_version(mlkit):
    assert mlkit("--version").stdout == f"mlkit {__version__}\n"


def test_an_unknown_command_is_a_usage_error_with_the_near_name(mlkit):
    done = mlkit("doktor")
    assert done.returncode == 2
    assert "Did you mean 'doctor'?" in done.stderr
    assert done.stdout == ""


def test_json_is_one_versioned_document_on_standard_output(mlkit):
    document = json.loads(mlkit("doctor", "--json").stdout)
    assert document["schema"] == "mlkit.doctor"
    assert document["version"] == 1
    assert {"name", "workloads", "state", "found", "hint"} == set(document["components"][0])


def test_no_colour_codes_in_a_pipe(mlkit):
    assert "\x1b" not in mlkit("doctor").stdout


def test_no_color_is_honoured_on_a_terminal(tmp_path):
    command = [sys.executable, "-m", "mlkit", "doctor"]
    plain = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    plain.pop("NO_COLOR", None)
    assert "\x1b[3" in on_a_terminal(command, plain, tmp_path)[0]
    assert "\x1b[3" not in on_a_terminal(command, plain | {"NO_COLOR": "1"}, tmp_path)[0]


def test_flag_over_variable_over_file_over_default(mlkit, tmp_path):
    def is_json(*arguments, **variables):
        done = mlkit("doctor", *arguments, env={**os.environ, **variables})
        assert done.returncode == 0, done.stderr
        return done.stdout.startswith("{")

    assert not is_json()
    (tmp_path / "mlkit.toml").write_text("[doctor]\njson = true\n")
    assert is_json()
    assert not is_json(MLKIT_DOCTOR_JSON="0")
    assert is_json("--json", MLKIT_DOCTOR_JSON="0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[doctor]\njsn = true\n", "[doctor]: unknown setting 'jsn'"),
        ("[docter]\njson = true\n", "unknown setting 'docter'"),
        ("doctor = 1\n", "expected a table"),
        ("[doctor\n", "line 1"),
    ],
)
def test_a_wrong_settings_file_is_refused(mlkit, tmp_path, text, message):
    (tmp_path / "mlkit.toml").write_text(text)
    done = mlkit("doctor")
    assert done.returncode == 78
    assert message in done.stderr
    assert "mlkit.toml" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["grace", "drain-timeout"])
def test_an_older_name_of_an_option_still_works_everywhere(mlkit, tmp_path, name):
    serve, problem = ("bpmn", "serve", "--port", "0"), "'--drain-timeout' / '--grace'"
    assert problem in mlkit(*serve, f"--{name}", "x").stderr
    variable = f"MLKIT_BPMN_SERVE_{name.replace('-', '_').upper()}"
    assert problem in mlkit(*serve, env={**os.environ, variable: "x"}).stderr
    (tmp_path / "mlkit.toml").write_text(f'[bpmn.serve]\n{name} = "x"\n')
    done = mlkit(*serve)
    assert done.returncode == 2
    assert problem in done.stderr


def test_the_rule_of_variables_and_settings_holds_for_each_flag(mlkit, tmp_path):
    command = ("pairs", "backtest", "nowhere.csv", "--pair", "A,B")
    problem = mlkit(*command, "--format", "x").stderr
    assert "--format x: none of" in problem
    assert mlkit(*command, env={**os.environ, "MLKIT_PAIRS_BACKTEST_FORMAT": "x"}).stderr == problem
    (tmp_path / "mlkit.toml").write_text('[pairs.backtest]\nformat = "x"\n')
    assert mlkit(*command).stderr == problem


def test_a_settings_file_that_is_not_there_is_refused(mlkit):
    assert mlkit("--config", "nowhere.toml", "doctor").returncode == 78


def test_completion_is_offered(mlkit):
    done = mlkit("--help")
    assert "--install-completion" in done.stdout


def test_a_defect_of_ours_is_one_line_with_exit_70_and_a_traceback_on_request(tmp_path):
    code = (
        "import sys, mlkit.environment as e\n"
        "e.survey = lambda: 1 / 0\n"
        "from mlkit.cli.main import main\n"
        "main()\n"
    )

    def run(*arguments):
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    done = run("doctor")
    assert done.returncode == 70
    assert done.stderr.startswith("error: internal: ZeroDivisionError")
    assert "Traceback" not in done.stderr
    assert "Traceback" in run("--debug", "doctor").stderr


def test_ctrl_c_before_the_command_is_imported_is_one_line(tmp_path):
    code = (
        "import sys\n"
        "class Stop:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())\n"
        "from mlkit.__main__ import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code, "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


def shell(line, tmp_path):
    """Run a line of bash in which `$mlkit` is the command; return its exit code and errors."""
    environment = {**os.environ, "mlkit": f"{sys.executable} -m mlkit"}
    done = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("bpmn run", "FILE"),
        ("bpmn render", "[FILE]"),
        ("bandit fit", "LOG..."),
        ("bandit quantile", "POSTERIORS [P...]"),
        ("image debug", "CONTAINER [-- COMMAND...]"),
    ],
)
def test_usage_lines_are_written_as_in_manual_pages(mlkit, words, arguments):
    first, *_ = mlkit(*words.split(), "--help").stdout.splitlines()
    assert first == f"Usage: mlkit {words} [OPTIONS] {arguments}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("doctor --nope", "No such option: --nope"),
        ("doctor extra", "unexpected extra argument"),
        ("bandit sample", "Missing argument 'POSTERIORS'"),
        ("bandit sample p --draws x", "'--draws': Input should be a valid integer"),
        ("doktor", "No such command 'doktor'"),
    ],
)
def test_a_wrong_option_is_an_error_like_all_others(mlkit, words, message):
    done = mlkit(*words.split())
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert hint.startswith("hint: mlkit")


@pytest.mark.parametrize("words", ["pairs fit p.csv A B --report", "bpmn render DIAGRAM -o"])
@pytest.mark.parametrize("name", ["loop.svg", f"{'n' * 300}.svg"])
def test_an_output_that_no_file_can_have_as_name_is_one_line(mlkit, tmp_path, words, name):
    path = tmp_path / "p.bpmn"
    path.write_text(DIAGRAM)
    (tmp_path / "loop.svg").symlink_to("loop.svg")
    done = mlkit(*words.replace("DIAGRAM", str(path)).split(), tmp_path / name)
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert error.startswith(f"error: {tmp_path / name}: ")
    assert hint == "hint: name another file"


@pytest.mark.parametrize("words", ["doctor", "doctor --json", "--help", "--version"])
def test_a_full_disk_under_standard_output_is_told(words, tmp_path):
    code, errors = shell(f"$mlkit {words} >/dev/full", tmp_path)
    assert code == 69
    assert errors.startswith(
        "error: standard output: No space left on device\nhint: free some disk"
    )
    assert errors.count("\n") == 2


def test_a_closed_standard_output_is_told(tmp_path):
    code, errors = shell("$mlkit doctor >&-", tmp_path)
    assert code == 69
    assert errors.startswith("error: standard output is closed\nhint: ")


def test_a_closed_standard_error_is_no_failure(tmp_path):
    assert shell("$mlkit doctor 2>&-", tmp_path) == (0, "")


@pytest.mark.parametrize("words", ["doctor", "doctor --json", "--help"])
def test_a_reader_that_goes_away_is_no_complaint(words, tmp_path):
    line = f"set -o pipefail; (trap '' PIPE; exec $mlkit {words}) | exec 0<&-"
    code, errors = shell(line, tmp_path)
    assert code in {0, 141}  # all may fit in the pipe before its reader has gone
    assert errors == ""


@pytest.mark.parametrize(
    "arguments",
    [("message", "m\udcff"), ("claim", "0/0", "--as", "ann\udcff")],
)
def test_bytes_that_are_no_text_are_a_wrong_use(mlkit, tmp_path, arguments):
    (tmp_path / "p.bpmn").write_text(DIAGRAM.replace("endEvent", "userTask"))
    waiting = json.loads(mlkit("bpmn", "run", "p.bpmn", "--json").stdout)["instance"]
    given = [each.replace("0/0", f"{waiting}/2") for each in arguments]
    done = mlkit("bpmn", *given)
    assert done.returncode == 2, done.stderr
    assert "\\udcff': not UTF-8" in done.stderr
    assert "internal" not in done.stderr
    tasks = json.loads(mlkit("bpmn", "tasks", "--json").stdout)["tasks"]
    assert [each["assignee"] for each in tasks] == [None]

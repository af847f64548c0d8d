"""What CI services are told, and what fails a pipeline."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mlkit.cli.image import ci
from mlkit.errors import BadData, UsageError
from mlkit.image.proof.findings import Finding
from mlkit.image.report.gate import Gate, read_known, read_size
from mlkit.image.report.markdown import summary

ROOT = Path(__file__).parents[3]
EVIL = "a|b <script> `x` [l](http://e)\n::add-mask::1%"


def fields(**changes):
    """Return what a slimming that went well prints."""
    return {
        "image": "app:1",
        "result": "app:1-slim",
        "digest": None,
        "verdict": "equal",
        "size": {"before": 200_000_000, "after": 20_000_000},
        "packages": {"before": 90, "kept": ["libc6"]},
        "reach": {"text": "reached 9 of 10 lines"},
        "warnings": [],
        "findings": [],
        "differences": [],
        "failures": [],
    } | changes


@pytest.mark.parametrize(
    ("text", "size"),
    [("150MB", 150_000_000), ("1.5 GiB", 3 << 29), ("1000", 1000), ("2kB", 2000), ("0", 0)],
)
def test_sizes_are_read_with_their_unit(text, size):
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1e9", "nan", "1 TB", "1,000", "9" * 400])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="not a size"):
        read_size(text)


def test_a_gate_names_the_size_and_each_new_finding():
    found = [Finding("pid1-dies", "it dies", "an init"), Finding("old", "it was so", "")]
    gate = Gate(10, ("new-finding", "warning"), frozenset({"old"}))
    size, finding, warning = gate.failures(11, found, ["only / was requested"])
    assert "11 bytes" in size
    assert "pid1-dies" in finding
    assert "only / was requested" in warning
    assert gate.failures(10, found[1:], []) == []
    assert Gate().failures(1 << 60, found, ["weak"]) == []


def test_known_findings_are_read_of_what_doctor_or_slim_printed(tmp_path):
    known = tmp_path / "known.json"
    known.write_text(json.dumps({"findings": [{"code": "shell-form", "observed": "sh"}]}))
    assert read_known(known) == {"shell-form"}
    for text in ("", "[]", '{"findings": 1}', "[" * 100_000):
        known.write_text(text)
        with pytest.raises(BadData, match="no findings"):
            read_known(known)


def test_a_summary_shows_what_the_app_has_said_as_plain_text():
    difference = {"what": "/", "original": EVIL, "candidate": "b", "effect": "broken"}
    shown = summary(fields(verdict="broken", result=None, differences=[difference]))
    assert "### ❌ app\\:1: broken" in shown
    assert "| size | 200.0 MB | 20.0 MB |" in shown
    (line,) = [each for each in shown.splitlines() if "script" in each]
    assert "<script>" not in line
    assert "a\\|b" in line
    assert "\\[l\\]\\(http" in line
    assert "add\\-mask" in line


def test_github_gets_groups_annotations_a_summary_and_outputs(tmp_path, capsys):
    paths = {name: tmp_path / name for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    environment = {"GITHUB_ACTIONS": "true"} | {name: str(path) for name, path in paths.items()}
    service = ci.service(environment)
    with service.phases() as phase:
        phase("trace")
        phase("proof")
    service.report(fields(result="a\nverdict=equal", failures=[EVIL]))
    with service.quoting():
        sys.stdout.write("::add-mask::1\n")
    out, err = capsys.readouterr()
    groups = ["::group::trace", "::endgroup::", "::group::proof", "::endgroup::"]
    assert err.splitlines()[:4] == groups
    (remark,) = err.splitlines()[4:]
    assert remark.startswith("::error title=app%3A1::a|b")
    assert remark.endswith("::add-mask::1%25")
    stop, quoted, go = out.splitlines()
    assert (stop, quoted) == (f"::stop-commands::{go.strip(':')}", "::add-mask::1")
    assert "app\\:1" in paths["GITHUB_STEP_SUMMARY"].read_text()
    outputs = paths["GITHUB_OUTPUT"].read_text().splitlines()
    assert outputs[:2] == ["verdict=equal", "result=a\\nverdict=equal"]
    assert "size-after=20000000" in outputs


def test_gitlab_gets_sections_and_a_report_of_code_quality(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    service = ci.service({"GITLAB_CI": "true"})
    with service.phases() as phase:
        phase("keep-set")
    finding = {"code": "pid1-dies", "observed": "it dies", "cure": "an init"}
    service.report(fields(findings=[finding], warnings=["weak"]))
    err = capsys.readouterr().err
    assert ":mlkit_keep_set\r\x1b[0Kkeep-set\n" in err
    assert "\x1b[0Ksection_end:" in err
    report = json.loads((tmp_path / ci.CODE_QUALITY).read_text())
    assert [each["severity"] for each in report] == ["minor", "info"]
    assert len({each["fingerprint"] for each in report}) == 2


def test_an_unknown_service_gets_plain_lines(capsys):
    service = ci.service({})
    with service.phases() as phase, service.quoting():
        phase("trace")
    service.report(fields(failures=["too large"]))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "trace ...\nerror: app:1: too large\n"


def test_the_action_hands_its_inputs_over_as_they_are(tmp_path):
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    step = action["runs"]["steps"][1]
    assert "${{" not in step["run"]
    program = tmp_path / "mlkit" / "bin" / "mlkit"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    evil = '$(touch evil)"; touch evil; "'
    given = {"IMAGE": evil, "TAG": "", "OUTPUT": "docker", "PROBES": "http:1/\nlog:a b",
             "MAX_SIZE": "1MB", "FAIL_ON": "warning", "ARGUMENTS": ""}  # fmt: skip
    assert set(step["env"]) == set(given)
    environment = {"PATH": os.environ["PATH"], "RUNNER_TEMP": str(tmp_path)} | given
    script = ["bash", "-euo", "pipefail", "-c", step["run"]]
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True,
                          check=True)  # fmt: skip
    said = done.stdout.splitlines()
    assert said[:2] == ["image", "slim"]
    assert said[-2:] == ["--", evil]
    assert said[said.index("--probe") + 1 : said.index("--fail-on")] == [
        "http:1/", "--probe", "log:a b"]  # fmt: skip
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_the_examples_name_options_that_exist(name, mlkit):
    text = (ROOT / "examples" / "image" / "ci" / f"{name}.yml").read_text()
    assert yaml.safe_load(text)
    shown = mlkit("image", "slim", "--help").stdout
    options = set(re.findall(r"--[a-z-]+", text))
    theirs = {"--tag", "--username", "--password-stdin"}
    assert all(each in shown for each in options - theirs)

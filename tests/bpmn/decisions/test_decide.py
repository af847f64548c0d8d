"""The command `bpmn decide`: what it prints, lines and rows, and warnings about inputs."""

from __future__ import annotations

import csv
import json

from bpmn.decisions.tables import ROLLOUT, load, table
from typer.testing import CliRunner

from mlkit.cli.main import app


def test_decide_prints_the_value_and_the_rules():
    asked = ["bpmn", "decide", str(ROLLOUT), "--var", "model accuracy=0.97", "--var", "region=EU"]
    found = CliRunner().invoke(app, [*asked, "--explain"])
    assert found.exit_code == 0
    assert "{deploy: true, share: 0.1}" in found.stdout
    assert "rules that matched: 1" in found.stdout
    document = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert document["value"] == {"c": {"deploy": True, "share": {"n": "0.1"}}}
    assert document["matched"][0]["rules"] == [1]


def test_decide_answers_lines_and_rows(tmp_path):
    asked = {"id": 1, "decision": "Risk", "context": {"model accuracy": {"@": "0.95"}}}
    lines = json.dumps(asked) + "\nbroken\n" + json.dumps({"id": 2, "decision": "gone"})
    found = CliRunner().invoke(app, ["bpmn", "decide", str(ROLLOUT), "--lines"], input=lines)
    answers = [json.loads(line) for line in found.stdout.splitlines()]
    assert answers[0] == {"id": 1, "value": "low"}
    assert "error" in answers[1]
    assert "there is no decision 'gone'" in answers[2]["error"]
    rows = tmp_path / "rows.csv"
    rows.write_text("model accuracy,region\n0.95,US\n0.5,EU\n")
    asked = ["bpmn", "decide", str(ROLLOUT), "--table", str(rows), "-o", str(tmp_path / "out.csv")]
    assert CliRunner().invoke(app, asked).exit_code == 0
    with (tmp_path / "out.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [each["share"] for each in found] == ["0.5", "0"]


def test_inputs_that_are_missing_or_unknown_are_named(tmp_path):
    def warnings_of(*arguments):
        return CliRunner().invoke(app, ["bpmn", *map(str, arguments)]).stderr

    accuracy = ("--var", "model accuracy=0.97")
    assert warnings_of("decide", ROLLOUT, *accuracy) == "warning: no value for 'region': null\n"
    assert warnings_of("decide", ROLLOUT, *accuracy, "--var", "region=EU") == ""
    wrong = ("--var", "accuracy=1", "--var", "region=EU", "-o", tmp_path / "x.svg")
    found = warnings_of("render", ROLLOUT, *wrong)
    assert "the model has no input 'accuracy'" in found
    assert "no value for 'model accuracy'" in found
    (tmp_path / "rows.csv").write_text("region,note\nEU,x\n")
    found = warnings_of("decide", ROLLOUT, "--table", tmp_path / "rows.csv")
    assert found.startswith("warning: no value for 'model accuracy': null\n1 row decided: ")


def test_contexts_are_printed_as_a_table_and_other_values_as_themselves(tmp_path):
    given = ["--var", "model accuracy=0.95", "--var", "region=US"]
    found = CliRunner().invoke(app, ["bpmn", "decide", str(ROLLOUT), *given])
    assert found.exit_code == 0
    heads, values = (
        [each.strip() for each in line.replace("┃", "│").split("│")[1:-1]]
        for line in found.stdout.splitlines()[1:4:2]
    )
    assert dict(zip(heads, values, strict=True)) == {"deploy": "true", "share": "0.5"}
    load(tmp_path, table([("-", '"[b]x"')]))
    plain = CliRunner().invoke(app, ["bpmn", "decide", str(tmp_path / "model.dmn"), "--var", "x=1"])
    assert plain.stdout == '"[b]x"\n'

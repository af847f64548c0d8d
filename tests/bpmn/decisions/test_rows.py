"""Tables of rows: CSV and Parquet, results as columns, failures by row."""

from __future__ import annotations

import csv
import io
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from mlkit.bpmn import Decisions
from mlkit.bpmn.decisions.rows import decide_rows
from mlkit.cli.main import app
from mlkit.progress import silent

ROLLOUT = Path(__file__).parent / "rollout.dmn"
ROWS = "model accuracy,region,note\n0.97,EU,a\nhigh,EU,b\n0.2,US,c\n"


def decide(*arguments, given=None):
    asked = ["bpmn", "decide", str(ROLLOUT), "--table", *map(str, arguments)]
    return CliRunner().invoke(app, asked, input=given)


def test_rows_that_fail_have_an_error_and_the_others_a_result(tmp_path):
    (tmp_path / "rows.csv").write_text(ROWS)
    done = decide(tmp_path / "rows.csv")
    assert done.exit_code == 1
    assert "1 row failed; the first: " in done.stderr
    assert "rows.csv:3: " in done.stderr
    rows = list(csv.DictReader((tmp_path / "rows.decided.csv").read_text().splitlines()))
    assert [each["deploy"] for each in rows] == ["true", "false", "false"]
    assert [each["note"] for each in rows] == ["a", "b", "c"]
    assert [bool(each["error"]) for each in rows] == [False, True, False]


def test_an_empty_line_is_no_row():
    done = decide("-", "-o", "-", given="region\n\nEU\n\n")
    assert len(list(csv.DictReader(done.stdout.splitlines()))) == 1


def test_a_dash_is_standard_input_and_output():
    done = decide("-", given=ROWS.replace("high", "0.5"))
    assert done.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [each["share"] for each in rows] == ["0.1", "0", "0"]


def test_parquet_keeps_types(tmp_path):
    columns = {
        "model accuracy": [0.97, 0.2], "region": ["EU", "US"], "day": [date(2026, 1, 2), None],
    }  # fmt: skip
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")
    assert decide(tmp_path / "rows.parquet").exit_code == 0
    found = parquet.read_table(tmp_path / "rows.decided.parquet")
    assert found.schema.field("day").type == pa.date32()
    assert found["deploy"].to_pylist() == [True, False]
    assert found["share"].to_pylist() == [0.1, 0.0]
    assert found["day"].to_pylist() == columns["day"]


@pytest.mark.parametrize(
    ("rows", "code", "problem"),
    [
        ("", 65, "no header"), ("a,a\n1,2\n", 65, "'a' appears twice"),
        ("region,note\nEU\n", 65, ":2: 1 cells, not 2"), ('region\n"EU\n', 65, "unexpected end"),
        ("region,error,Rollout.error\n", 65, "a column 'Rollout.error' already"),
        ("caf\xe9\n", 65, "not UTF-8"),
    ],
)  # fmt: skip
def test_broken_tables_are_refused(tmp_path, rows, code, problem):
    (tmp_path / "rows.csv").write_text(rows, encoding="latin-1")
    done = decide(tmp_path / "rows.csv")
    assert done.exit_code == code
    assert problem in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["rows.csv"]


def test_progress_reports_how_far_the_file_is_read(tmp_path):
    (tmp_path / "rows.csv").write_text("region\n" + "EU\n" * 5000)
    seen = []
    decide_rows(
        Decisions(ROLLOUT), "Rollout", tmp_path / "rows.csv", tmp_path / "out.csv",
        {"model accuracy": 1}, lambda done, total=None: seen.append((done, total)),
    )  # fmt: skip
    size = (tmp_path / "rows.csv").stat().st_size
    assert len(seen) == 5
    assert all(0 < done <= size == total for done, total in seen)


def test_numbers_keep_their_digits_and_texts_their_zeros(tmp_path):
    path = tmp_path / "m.dmn"
    path.write_text(
        '<definitions xmlns="https://www.omg.org/spec/DMN/20191111/MODEL/" name="m" namespace="u">'
        '<inputData id="x" name="x"/><decision id="d" name="d"><informationRequirement>'
        '<requiredInput href="#x"/></informationRequirement><literalExpression><text>[x, '
        "x instance of number]</text></literalExpression></decision></definitions>"
    )
    cells = ["0.1234567890123456789012345", "007", "1e3", "true", "[1, 2]", "NaN", "1_000"]
    (tmp_path / "rows.csv").write_text("\n".join(["x", *(f'"{each}"' for each in cells)]) + "\n")
    decide_rows(Decisions(path), "d", tmp_path / "rows.csv", tmp_path / "out.csv", {}, silent)
    found = [each["d"] for each in csv.DictReader((tmp_path / "out.csv").read_text().splitlines())]
    assert found == [
        "[0.1234567890123456789012345, true]", '["007", false]', "[1000, true]", "[true, false]",
        "[[1, 2], false]", '["NaN", false]', '["1_000", false]',
    ]  # fmt: skip

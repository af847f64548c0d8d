"""The pictures of decision models: what is drawn, where, and that no file can break it."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import re
import shutil
from pathlib import Path

import pytest
from lxml import etree
from typer.testing import CliRunner

from mlkit.bpmn.render.decisions import cells, draw, svg, text
from mlkit.bpmn.render.themes import DARK
from mlkit.cli.main import app
from mlkit.errors import BadData, MlkitError

LOANS = Path(__file__).parent / "loans.dmn"
ROLLOUT = Path(__file__).parents[3] / "examples" / "dmn" / "rollout.dmn"
SVG = "{http://www.w3.org/2000/svg}"
HEAD = '<definitions xmlns="https://www.omg.org/spec/DMN/20191111/MODEL/" name="m" namespace="u">'
ASKED = {"income": 100, "debts": 25}


def render(*arguments):
    return CliRunner().invoke(app, ["bpmn", "render", *map(str, arguments)])


def document(*arguments):
    done = render(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def picture(drawn, theme="auto"):
    return etree.fromstring(svg(drawn, drawn.parts, theme))


def by_element(root, kind):
    found = (each for each in root.iter(f"{SVG}g") if each.get("data-type") == kind)
    return {each.get("data-element"): each for each in found}


def words(element):
    return " ".join(each.text or "" for each in element.iter(f"{SVG}tspan"))


def printed(drawn, columns=None):
    lines = text(drawn, drawn.parts, columns)
    return "\n".join("".join(part for part, _ in line) for line in lines)


@pytest.fixture
def plain(tmp_path):
    """The loans without coordinates."""
    path = tmp_path / "loans.dmn"
    path.write_text(re.sub(r"<dmndi:DMNDI>.*</dmndi:DMNDI>", "", LOANS.read_text(), flags=re.S))
    return path


@pytest.fixture
def model(tmp_path):
    def write(body):
        path = tmp_path / "model.dmn"
        path.write_text(f"{HEAD}{body}</definitions>")
        return path

    return write


def test_elements_are_where_the_file_draws_them():
    found = document(LOANS)
    boxes = {
        each["element"]: [each[k] for k in ("x", "y", "width", "height")]
        for each in found["shapes"]
    }
    assert boxes["offer"] == [110, 50, 180, 70]
    assert boxes["policy"] == [400, 190, 140, 60]
    assert len(boxes) == 8
    edges = {each["element"]: each for each in found["edges"]}
    assert edges["k1"]["points"] == [[400, 85], [290, 85]]
    assert (edges["a1"]["source"], edges["a1"]["target"]) == ("policy", "grade")


def test_what_has_no_coordinates_is_laid_out_from_below_without_overlap(plain):
    found = document(plain)
    boxes = {each["element"]: each for each in found["shapes"]}
    assert set(boxes) == {
        "income", "debts", "policy", "grade", "ratio", "offer", "service", "note",
    }  # fmt: skip
    for one, other in itertools.combinations(boxes.values(), 2):
        apart = (
            one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
            or one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
        )  # fmt: skip
        assert apart, (one, other)
    for each in found["edges"]:
        assert boxes[each["target"]]["y"] < boxes[each["source"]]["y"]
        assert each["points"][-1][1] == boxes[each["target"]]["y"] + boxes[each["target"]]["height"]


def test_each_kind_is_drawn_in_the_notation_of_dmn():
    root = picture(draw(LOANS))
    kinds = {each.get("data-type") for each in root.iter(f"{SVG}g") if each.get("data-type")}
    assert kinds == {
        "inputData", "decision", "businessKnowledgeModel", "knowledgeSource", "decisionService",
        "textAnnotation", "informationRequirement", "knowledgeRequirement",
        "authorityRequirement", "association", "decisionTable", "boxedExpression",
    }  # fmt: skip
    assert words(by_element(root, "knowledgeSource")["policy"]) == "Credit policy"
    assert len(by_element(root, "authorityRequirement")["a1"].findall(f"{SVG}circle")) == 1


def test_tables_are_drawn_with_policy_defaults_and_annotations():
    root = picture(draw(LOANS))
    grade = words(by_element(root, "decisionTable")["grade"])
    for each in ("F", "Ratio", '"A", "B", "C"', 'default: "C"', "Why", "hardly any debts", "< 0.2"):
        assert each in grade
    assert "Offer / extras (collect, sum)" in words(root)
    assert [each["policy"] for each in document(LOANS)["tables"]] == ["F", "C+"]


def test_rules_that_matched_are_coloured_and_ticked():
    root = picture(draw(LOANS, inputs=ASKED))
    for table in by_element(root, "decisionTable").values():
        rules = {
            e.get("data-rule"): e.get("data-state") for e in table.iter() if e.get("data-rule")
        }
        assert rules == {"1": None, "2": "matched"}
        assert len(list(table.iterfind(f".//{SVG}g[@data-symbol='matched']"))) == 1
    decisions = by_element(root, "decision")
    assert {each.get("data-state") for each in decisions.values()} == {"done"}
    assert "= 0.25" in words(decisions["ratio"])
    assert "= 100" in words(by_element(root, "inputData")["income"])


def test_the_command_colours_by_vars_and_by_one_decision(tmp_path):
    (tmp_path / "v.json").write_text(json.dumps(ASKED))
    found = document(LOANS, "--vars", tmp_path / "v.json")
    assert [each["matched"] for each in found["tables"]] == [[2], [2]]
    found = document(LOANS, "--var", "income=100", "--var", "debts=25", "--decision", "ratio")
    assert [each["matched"] for each in found["tables"]] == [[], []]
    values = {each["name"]: each["value"] for each in found["shapes"]}
    assert (values["ratio"], values["Offer"]) == ("0.25", None)


def test_a_table_that_is_read_often_shows_all_its_rules(model):
    path = model(
        '<businessKnowledgeModel id="f" name="f"><encapsulatedLogic><formalParameter name="n"/>'
        "<decisionTable><input><inputExpression><text>n</text></inputExpression></input>"
        "<output/><rule><inputEntry><text>1</text></inputEntry><outputEntry><text>2</text>"
        "</outputEntry></rule><rule><inputEntry><text>2</text></inputEntry><outputEntry><text>3"
        "</text></outputEntry></rule></decisionTable></encapsulatedLogic></businessKnowledgeModel>"
        '<decision id="d" name="d"><knowledgeRequirement><requiredKnowledge href="#f"/>'
        "</knowledgeRequirement><literalExpression><text>f(1) + f(2)</text></literalExpression>"
        "</decision>"
    )
    drawn = draw(path, inputs={})
    assert "f (unique, read 2 times)" in printed(drawn)
    assert printed(drawn).count("✔") == 3  # Two rules and the decision.


def test_a_decision_that_cannot_be_decided_is_shown_as_failed():
    done = render(ROLLOUT, "--var", "model accuracy=high", "--var", "region=EU", "--json")
    states = {each["element"]: each["state"] for each in json.loads(done.stdout)["shapes"]}
    assert states["rollout"] == "failed"
    assert "not a number" in done.stderr


def test_pictures_are_read_aloud():
    drawn = draw(ROLLOUT, inputs={"model accuracy": 0.97, "region": "EU"})
    root = picture(drawn)
    assert root.get("role") == "img"
    title, description = (root.find(f"{SVG}{each}") for each in ("title", "desc"))
    assert root.get("aria-labelledby").split() == [title.get("id"), description.get("id")]
    assert title.text == "Rollout"
    assert "requires model accuracy, region" in description.text
    assert "Rules that matched: 2." in description.text


def test_light_dark_and_what_the_reader_prefers():
    drawn = draw(ROLLOUT, inputs={"model accuracy": 0.97, "region": "EU"})
    used = {
        theme: {e.get(p) for e in picture(drawn, theme).iter() for p in ("fill", "stroke")}
        - {None, "none"}
        for theme in ("auto", "light", "dark")
    }
    assert used["auto"] == used["light"] <= set(DARK)
    assert used["dark"] == {DARK[each] for each in used["light"]}
    assert "prefers-color-scheme: dark" in picture(drawn, "auto").find(f"{SVG}style").text
    assert picture(drawn, "light").find(f"{SVG}style") is None


def luminance(colour):
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", [lambda each: each, DARK.get], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ("#22242a", "#ffffff"), ("#22242a", "#eef0f4"), ("#22242a", "#dcf5e3"),
        ("#1c7c45", "#dcf5e3"), ("#1c7c45", "#eef0f4"), ("#c22727", "#fde0de"),
    ],
)  # fmt: skip
def test_texts_have_the_contrast_that_wcag_demands(colour, ink, paper):
    low, high = sorted((luminance(colour(ink)), luminance(colour(paper))))
    assert (high + 0.05) / (low + 0.05) >= 4.5


EVIL = "&lt;script&gt;alert(1)&lt;/script&gt; &#155;31m &#8238;gpj.&amp;amp; " + "W" * 300


@pytest.fixture
def hostile(model):
    return model(
        f'<inputData id="i&quot;&gt;&lt;script&gt;" name="{EVIL}"/><decision id="d" name="{EVIL}">'
        f'<decisionTable><input label="{EVIL}"><inputExpression><text>{EVIL}</text>'
        f'</inputExpression></input><output name="o"/><rule><inputEntry><text>{EVIL}</text>'
        "</inputEntry></rule><rule/></decisionTable></decision>"
        '<decision id="e" name="e"><informationRequirement><requiredDecision href="#e"/>'
        '</informationRequirement></decision><decision name=""/><textAnnotation id="t"/>'
    )


def test_what_people_write_is_text_and_nothing_else(hostile):
    drawn = draw(hostile)
    content = svg(drawn, drawn.parts)
    tags = {etree.QName(each).localname for each in etree.fromstring(content).iter()}
    assert tags <= {"svg", "title", "desc", "style", "rect", "g", "path", "circle", "text", "tspan"}
    assert b"<script" not in content
    for steering in ("\x9b", "\u202e"):
        assert steering not in printed(drawn)
        assert steering not in content.decode()


def test_mutated_models_are_drawn_or_refused(tmp_path):
    chance = random.Random(5)
    source = LOANS.read_text()
    texts = re.findall(r'"([^"<>]*)"', source)
    path = tmp_path / "mutated.dmn"
    drawn = 0
    for _ in range(60):
        path.write_text(
            re.sub(
                r'"([^"<>]*)"',
                lambda each: f'"{chance.choice(texts) if chance.random() < 0.04 else each[1]}"',
                source,
            )
        )
        with contextlib.suppress(MlkitError):
            found = draw(path, inputs=ASKED if chance.random() < 0.5 else None)
            etree.fromstring(svg(found, found.parts))
            assert printed(found)
            drawn += 1
    assert drawn > 5


def test_many_decisions_that_stand_alone_are_in_rows(model):
    path = model("".join(f'<decision id="d{n}" name="d{n}"/>' for n in range(40)))
    assert float(picture(draw(path)).get("width")) < 1300


def test_long_names_do_not_make_a_picture_wide(hostile):
    width = float(picture(draw(hostile)).get("width"))
    assert width < 1200


@pytest.mark.parametrize("size", ["0", "1", "3", "9"])
def test_elements_that_are_drawn_tiny_do_no_harm(tmp_path, size):
    path = tmp_path / "tiny.dmn"
    tiny = re.sub(r'width="\d+" height="\d+"', f'width="{size}" height="{size}"', LOANS.read_text())
    path.write_text(tiny.replace('name="income"', 'name="漢字漢字"'))
    drawn = draw(path)
    assert printed(drawn)
    assert etree.fromstring(svg(drawn, drawn.parts)).get("role") == "img"


@pytest.mark.parametrize("columns", [30, 60, 200])
def test_text_keeps_to_the_width_of_the_terminal(columns):
    drawn = draw(LOANS, inputs=ASKED)
    tables = [each for each in printed(drawn, columns).splitlines() if each[:1] in "│┌╞└"]
    assert tables
    if columns >= 60:
        assert max(map(cells.width, tables)) <= columns
    if columns == 30:
        assert "✔ Decision: ratio = 0.25 ← income, debts" in printed(drawn, columns)


def test_wide_characters_keep_columns_straight(model):
    path = model(
        '<decision id="d" name="漢é決定"><decisionTable><input label="漢字"><inputExpression>'
        '<text>1</text></inputExpression></input><output name="o"/><rule><inputEntry>'
        "<text>é漢</text></inputEntry><outputEntry><text>1</text></outputEntry></rule></decisionTable></decision>"
    )
    lines = printed(draw(path)).splitlines()
    table = lines[lines.index("漢é決定 (unique)") + 1 :]
    assert len({cells.width(each) for each in table}) == 1
    node = [each for each in lines if each[:1] in "┌│└"][:6]
    assert "漢é決定" in "".join(node)
    assert len({cells.width(each) for each in node}) == 1


def test_a_part_can_be_chosen_and_written(tmp_path):
    done = render(LOANS, "--diagram", "grade")
    assert done.stdout.startswith("grade (first)")
    assert "extras" not in done.stdout
    names = [(each["number"], each["name"]) for each in document(LOANS)["diagrams"]]
    assert names[:2] == [(1, "How an offer comes about"), (2, "grade")]
    assert "Offer / extras" in [name for _, name in names]
    assert render(LOANS, "--diagram", "9").exit_code == 66
    assert render(LOANS, "-o", tmp_path / "a.svg", "--theme", "dark").exit_code == 0
    assert etree.parse(tmp_path / "a.svg").getroot().tag == f"{SVG}svg"
    assert render(LOANS, "-o", tmp_path / "a.png", "--diagram", "2").exit_code == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_imported_elements_have_the_name_of_their_import(tmp_path):
    shutil.copy(LOANS, tmp_path / "loans.dmn")
    path = tmp_path / "bank.dmn"
    path.write_text(
        f'{HEAD}<import name="loans" namespace="https://example.org/loans" importType="DMN"/>'
        '<decision id="d" name="d"><informationRequirement id="r"><requiredDecision '
        'href="https://example.org/loans#offer"/></informationRequirement><literalExpression>'
        "<text>loans.Offer</text></literalExpression></decision></definitions>"
    )
    assert "loans.Offer" in printed(draw(path))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.dmn"], 66, "none.dmn"),
        ([LOANS, "--decision", "nothing"], 65, "no decision 'nothing'"),
        ([LOANS, "-o", "x.gif"], 2, ".svg or .png"),
        (["x.bpmn", "--var", "a=1"], 2, "DMN files only"),
        (["x.bpmn", "--decision", "d"], 2, "DMN files only"),
    ],
)
def test_wrong_use_is_a_one_line_error(arguments, code, message):
    done = render(*arguments)
    assert done.exit_code == code
    assert message in done.output


def test_what_holds_nothing_or_far_coordinates_is_refused(model, tmp_path):
    with pytest.raises(BadData, match="nothing to draw"):
        draw(model(""))
    far = tmp_path / "far.dmn"
    for wrong in ("1e99", "nan", "left"):
        far.write_text(LOANS.read_text().replace('x="110" y="50"', f'x="{wrong}" y="50"'))
        with pytest.raises(BadData, match="not a coordinate"):
            draw(far)

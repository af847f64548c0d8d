"""Start forms: what a browser and a program are asked, and what is accepted."""

from __future__ import annotations

import re

import pytest
from bpmn.conftest import diagram
from bpmn.server.conftest import Server
from commands import run_mlkit

from mlkit.bpmn.definition.model import FormField
from mlkit.bpmn.people import start_forms
from mlkit.errors import BadData

REQUIRED = '<camunda:validation><camunda:constraint name="{}"{}/></camunda:validation>'
FIELDS = "".join(
    f'<camunda:formField id="{name}" label="{label}" type="{kind}"{default}>{inner}'
    "</camunda:formField>"
    for name, label, kind, default, inner in (
        ("title", "Title &lt;b>", "string", "", REQUIRED.format("required", "")),
        ("rows", "Rows", "long", ' defaultValue="10"', REQUIRED.format("min", ' config="3"')),
        ("day", "Day", "date", "", ""),
        ("data", "Data", "file", "", ""),
        ("api_token", "Token", "string", "", ""),
    )
)  # fmt: skip
FORM = f"<extensionElements><camunda:formData>{FIELDS}</camunda:formData></extensionElements>"
WORK = (
    '<scriptTask id="w" scriptFormat="python"><script>size = len(data) if data else 0; '
    'kind = type(day).__name__</script></scriptTask><endEvent id="e"/>'
)
DIAGRAM = diagram(f'<startEvent id="s">{FORM}</startEvent>{WORK}', "s>w w>e")
PLAIN = diagram('<startEvent id="s"/><endEvent id="e"/>', "s>e").replace('id="p"', 'id="plain"')
BROKEN = diagram('<startEvent id="s" camunda:formKey="none.form"/><endEvent id="e"/>', "s>e")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    (folder / "tokens").write_text("root\nlook viewer vic\n")
    made = Server(folder, "--token-file", "tokens")
    made.http.headers["authorization"] = "Bearer root"
    for name, xml in (("p", DIAGRAM), ("plain", PLAIN), ("b", BROKEN.replace('id="p"', 'id="b"'))):
        files = [("file", (f"{name}.bpmn", xml))]
        answer = made("POST", "/api/v1/definitions", files=files)
        assert answer.status_code == 201, answer.text
    yield made
    if made.process.poll() is None:
        assert made.stop() == 143
    made.http.close()


def ended(server, instance: str) -> dict:
    path = f"/api/v1/instances/{instance}"
    server.wait(lambda: server("GET", path).json()["state"] == "completed")
    return server("GET", path).json()


def test_a_start_without_the_page_checks_the_values_of_the_form(server, tmp_path):
    path, command = "/api/v1/instances", ("bpmn", "start", "p")

    def start(**variables):
        return server("POST", path, json={"process": "p", "variables": variables})

    for wrong, problem in (
        ({"title": "T", "rows": 2}, "rows: less than min 3"),
        ({"title": "T", "rows": "many"}, "rows: 'many' is not a long"),
        ({"rows": 5}, "title: is required"),
        ({"title": "T", "day": "soon"}, "day: 'soon' is not a date"),
    ):
        answer = start(**wrong)
        assert (answer.status_code, problem in answer.text) == (422, True), answer.text
        given = [part for n, e in wrong.items() for part in ("--var", f"{n}={e}")]
        done = run_mlkit(*command, *given, "--state", server.state)
        assert (done.returncode, problem in done.stderr) == (65, True), done.stderr
    found = ended(server, start(title="T", day="2026-01-02", beside=[1]).json()["instance"])
    shown = {name: found["variables"][name] for name in ("title", "rows", "beside", "kind")}
    assert shown == {"title": "T", "rows": 10, "beside": [1], "kind": "date"}
    done = run_mlkit(*command, "--var", "title=T", "--var", "rows=4", "--state", server.state)
    assert done.returncode in (0, 3), done.stderr


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"name": "a", "home": {"city": "b"}}, {"name": "a", "home": {"city": "b"}}),
        ({"name": "a", "home.city": "b"}, {"name": "a", "home": {"city": "b"}}),
        ({"name": "a", "home": {"city": "b", "zip": 1}, "x": 2},
         {"name": "a", "home": {"city": "b", "zip": 1}, "x": 2}),
        ({"name": "a", "home": "b"}, "home: is not an object"),
        ({"name": "a", "x.y": 1}, "variable 'x.y'"),
        ({"name": "a", "home.zip": 1}, "variable 'home.zip'"),
        ({}, "name: is required"),
    ],
)  # fmt: skip
def test_values_beside_those_of_a_form_are_kept(given, found):
    form = (
        FormField("name", "Name", "string", required=True),
        FormField("home.city", "City", "string"),
    )
    if isinstance(found, dict):
        assert start_forms.fill_with_others(form, given) == found
    else:
        with pytest.raises(BadData, match=re.escape(found)):
            start_forms.fill_with_others(form, given)


def test_a_program_reads_and_submits_the_form(server):
    path = "/api/v1/definitions/p/form"
    found = server("GET", path).json()
    assert [each["id"] for each in found["form"]] == ["title", "rows", "day", "data", "api_token"]
    assert (found["version"], found["form"][1]["default"]) == (1, "10")
    assert [each["id"] for each in found["form"] if each["secret"]] == ["api_token"]
    for variables, text in (
        ({}, "title: is required"), ({"title": "a", "rows": 2}, "rows: "),
        ({"title": "a", "rows": "many"}, "rows: "), ({"title": "a", "more": 1}, "more: no such"),
        ({"title": "a", "day": "someday"}, "day: "),
    ):  # fmt: skip
        refused = server("POST", path, json={"variables": variables})
        assert (refused.status_code, text in refused.json()["detail"]) == (422, True), refused.text
    given = {"title": "a", "day": "2026-01-31"}
    made = server("POST", path, json={"variables": given, "business_key": "k"})
    assert made.status_code == 201, made.text
    shown = ended(server, made.json()["instance"])
    assert (shown["business_key"], shown["variables"]["rows"]) == ("k", 10)
    assert shown["variables"]["kind"] == "date"
    looks = {"authorization": "Bearer look"}
    assert server("GET", path, headers=looks).status_code == 200
    assert server("POST", path, json={"variables": given}, headers=looks).status_code == 403
    assert server("GET", "/api/v1/definitions/none/form").status_code == 404


@pytest.mark.parametrize("process", ["plain", "b"])
def test_a_definition_without_a_form_takes_any_values(server, process):
    path = f"/api/v1/definitions/{process}/form"
    assert server("GET", path).json()["form"] == []
    made = server("POST", path, json={"variables": {"x": 1}})
    assert ended(server, made.json()["instance"])["variables"] == {"x": 1}
    assert 'name="variables"' in server("GET", f"/definitions/{process}").text


def test_a_browser_fills_the_form(server):
    page = server("GET", "/definitions/p").text
    assert "Title &lt;b&gt;" in page
    assert 'name="field.rows" value="10"' in page
    assert 'type="password"' in page
    token = re.search(r'name="form_token" value="([^"]+)"', page)[1]
    form = {"form_token": token, "version": "1", "action": "start", "business_key": "mine",
            "field.title": "", "field.rows": "1", "field.api_token": "t0ps3cret"}  # fmt: skip
    files = {"field.data": ("a.csv", b"12345")}
    refused = server("POST", "/definitions/p", data=form, files=files)
    assert refused.status_code == 422
    assert "2 fields to look at" in refused.text
    assert "t0ps3cret" not in refused.text
    assert 'name="field.rows" value="1"' in refused.text
    assert 'value="mine"' in refused.text
    kept = re.search(r'name="field.data" value="([^"]+)" checked', refused.text)[1]
    again = {**form, "field.title": "x", "field.rows": "7", "field.data": kept}
    forged = server("POST", "/definitions/p", data={**again, "field.data": kept[:-3]})
    assert forged.status_code == 422
    started = server("POST", "/definitions/p", data=again, allow_redirects=False)
    assert started.status_code == 303, started.text
    instance = re.search("instances/([0-9a-f]+)", started.headers["location"])[1]
    variables = ended(server, instance)["variables"]
    assert (variables["size"], variables["rows"], variables["title"]) == (5, 7, "x")
    assert variables["api_token"] == "******"
    stale = server("POST", "/definitions/p", data={**again, "form_token": "x"})
    assert stale.status_code == 422

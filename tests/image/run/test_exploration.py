"""What an app is asked beyond the probes: routes of its document, links of its pages."""

from __future__ import annotations

import json

import pytest

from mlkit.errors import BadData
from mlkit.image.proof.compare import compare
from mlkit.image.proof.reach import reach
from mlkit.image.run import openapi
from mlkit.image.run.exploration import Exploration, explore
from mlkit.image.run.inspector import Process, hosts_of, orphans
from mlkit.image.run.observation import Observation, stop_patience
from mlkit.image.run.probe import ASK, Answer, Probe, ask, parse
from mlkit.image.run.trace import Trace, failed_lookups, read_lines

DOCUMENT = {
    "openapi": "3.1.0",
    "components": {"schemas": {"Item": {
        "type": "object", "required": ["name", "count", "tags"],
        "properties": {"name": {"type": "string", "minLength": 3}, "count": {"type": "integer"},
                       "tags": {"type": "array", "items": {"enum": ["red"]}},
                       "more": {"$ref": "#/components/schemas/Item"}}}}},
    "paths": {
        "/items/{id}": {
            "parameters": [{"name": "id", "in": "path", "schema": {"type": "integer"}}],
            "get": {"parameters": [
                {"name": "q", "in": "query", "required": True, "schema": {"type": "string"}},
                {"name": "page", "in": "query", "schema": {"type": "integer"}}]},
        },
        "/items": {"post": {"requestBody": {"content": {"application/json": {
            "schema": {"$ref": "#/components/schemas/Item"}}}}}, "delete": {}},
        "/when": {"get": {"parameters": [
            {"name": "d", "in": "query", "required": True,
             "schema": {"type": "string", "format": "date"}}]}},
    },
}  # fmt: skip
PAGE = b'<a href="/one">1</a> <a href="two?x=1">2</a> <a href="http://elsewhere/x">3</a> \
<script src="/app.js"></script> <a href="/logout">out</a> <a href="//[bad">4</a>'


class Server:
    """Answers like a server."""

    def __init__(self, **pages):
        self.pages = pages
        self.asked = []

    def __call__(self, probe):
        self.asked.append(probe.argument)
        kind, body = self.pages.get(probe.argument, ("", None))
        status = 404 if body is None else 200
        return Answer(probe.text, True, status, {"content-type": kind}, body or b"")


def test_links_of_pages_are_followed_on_the_same_server_only():
    server = Server(**{"/": ("text/html", PAGE), "/one": ("text/html", b'<a href="/three">')})
    root = parse("http:8000/", [])
    found = explore(Exploration(), [server(root)], [root], server)
    paths = {probe.argument for probe, _ in found}
    assert {"/one", "/two?x=1", "/app.js", "/three"} <= paths
    assert not {"/logout", "/x", "/"} & paths
    assert all(probe.explored and answer.probe for probe, answer in found)


def test_routes_of_the_document_that_the_app_serves_are_asked_with_generated_parameters():
    served = json.dumps(DOCUMENT).encode()
    server = Server(**{"/": ("text/plain", b"hi"), "/openapi.json": ("application/json", served)})
    port = parse("tcp:8000", [])
    found = explore(Exploration(), [Answer("tcp:8000", True)], [port], server)
    assert {"/items/1?q=a", "/when?d=2024-01-01"} <= {probe.argument for probe, _ in found}
    assert {probe.method for probe, _ in found} == {"GET"}


def test_a_document_of_the_users_has_bodies_generated_as_well():
    document = openapi.read_document(json.dumps(DOCUMENT).encode())
    probes = {each.argument: each for each in openapi.routes(document, 80, openapi.ALL)}
    body = json.loads(probes["/items"].body)
    assert body == {"name": "aaa", "count": 1, "tags": ["red"]}
    assert probes["/items"].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"openapi": "3", "paths": []}',
        "[" * 100_000,
        '{"paths": {"/a": {"get": 1}}}',
    ],
)
def test_what_is_no_document_is_none(text):
    assert openapi.read_document(text.encode()) is None
    probes = [parse("tcp:80", [])]
    with pytest.raises(BadData, match="no OpenAPI document"):
        explore(Exploration(False, text.encode()), [], probes, Server())


def test_odd_documents_break_nothing():
    document = {"openapi": "3", "paths": {"/a/{b}": {"get": {"parameters": [
        1, {"in": "path", "name": "b", "schema": {"$ref": "#/x/y"}}, {"$ref": "#/paths"}]}},
        "/c": {"get": {"parameters": 3}}, "d": {"get": {}}, "/e": 4}}  # fmt: skip
    assert [each.argument for each in openapi.routes(document, 80)] == ["/a/a", "/c"]
    schema = {"type": "object", "required": ["s"], "properties": {"s": {"$ref": "#/s"}}}
    content = {"application/json": {"schema": {"$ref": "#/s"}}}
    paths = {"/l": {"post": {"requestBody": {"content": content}}}}
    loop = {"openapi": "3", "paths": paths, "s": schema}
    assert next(openapi.routes(loop, 80, openapi.ALL)).body


def test_what_varies_and_nobody_asked_for_is_compared_by_its_status():
    def run(status, body, explored):
        return Observation(answers=[Answer("p", True, status, {}, body, explored=explored)])

    for explored, count in ((True, 0), (False, 1)):
        originals = [run(200, each, explored) for each in (b"value: a", b"value: b", b"value: x")]
        assert len(compare(originals, run(200, b"nothing alike", explored))) == count
        assert compare(originals, run(500, b"", explored))
    same = [run(200, b"same", True)] * 3
    assert compare(same, run(200, b"other", True))


def test_a_gateway_whose_servers_are_still_starting_is_asked_again(monkeypatch):
    class Up:
        def state(self):
            return type("State", (), {"running": True})

    for status in (502, 503, 504):
        answers = [Answer("p", True, status), Answer("p", True, 200)]
        left = iter(answers)
        monkeypatch.setitem(ASK, "exec", lambda *_, left=left: next(left))
        assert ask(Probe("p", "exec"), Up(), Up(), 5).status == 200


TERM = 1 << 14


@pytest.mark.parametrize(
    ("config", "caught", "seconds"),
    [
        ({}, TERM, 10),
        ({"StopTimeout": 30}, TERM, 30),
        ({"StopTimeout": "x"}, TERM, 10),
        ({"StopTimeout": 10**9}, TERM, 120),
        ({}, 0, 2),
        ({"StopSignal": "SIGQUIT"}, TERM, 2),
        ({"StopSignal": "SIGQUIT"}, 1 << 2, 10),
    ],
)
def test_how_long_a_container_has_to_stop(config, caught, seconds):
    assert stop_patience(config, [Process(1, 0, "S", "0:0", caught)]) == seconds
    assert stop_patience({}, []) == 10


def test_zombies_of_process_1_are_told_from_those_of_others():
    processes = [Process(1, 0, "S", "0:0"), Process(2, 1, "Z", "0:0"), Process(3, 9, "Z", "0:0")]
    assert orphans(processes) == 1


def test_what_could_not_be_made_lacks_its_directory(tmp_path):
    from image.archives import Member, layer, saved

    from mlkit.image.filesystem.archive import open_image
    from mlkit.image.filesystem.inventory import take

    def files(name, *members):
        with open_image(saved(tmp_path / name, layer(*members), config={})) as image:
            return take(image).files

    trace = read_lines(["make /var/lib/app/body", "make /none/x"])
    original = files("a.tar", Member("var/lib/app"), Member("x", "x"))
    assert failed_lookups(trace, original, files("b.tar", Member("x", "x"))) == ["/var/lib/app"]


def test_a_verdict_says_how_much_of_the_own_code_ran(tmp_path):
    from mlkit.image.filesystem.inventory import Entry, FileSystem

    files = FileSystem()
    for path in ("srv/a.py", "srv/b.py", "srv/c.py", "srv/__pycache__/b.cpython-311.pyc"):
        files.add(Entry(path, "file", 0o644))
    trace = Trace(frozenset({"/srv/a.py", "/srv/__pycache__/b.cpython-311.pyc"}))
    own = ["srv/a.py", "srv/b.py", "srv/c.py"]
    found = reach(own, trace, files, [Probe("a", "tcp"), Probe("b", "tcp")], [Probe("b", "tcp")])
    assert (found.own, found.reached, list(found.unreached)) == (3, 2, ["srv/c.py"])
    assert found.text == "2 asked, 1 of them found by itself; 2 of 3 files of own code were loaded"
    blind = reach(own, Trace(method="none"), files, [], [])
    assert "not traced" in blind.text


def test_hosts_are_found_in_time_in_proportion_to_the_text():
    assert hosts_of(["a" * 200_000, "x://u:p@db.example:1/", "://" * 50_000]) == ["db.example"]

"""The examples: their scenarios, their drawings, and their mails to a real SMTP server."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from ports import free_port

from mlkit.bpmn import render
from mlkit.bpmn.definition import xml_documents
from mlkit.bpmn.definition.parser import parse, xml
from mlkit.bpmn.lint.validation import lint
from mlkit.bpmn.render import diagram_interchange
from mlkit.bpmn.runtime.session import Settings
from mlkit.bpmn.scenarios.run import run_scenario
from mlkit.bpmn.scenarios.scenario import load

EXAMPLES = Path(__file__).parents[2] / "examples" / "bpmn"
DIAGRAMS = sorted(EXAMPLES.glob("*/*.bpmn"))
SCENARIOS = [
    pytest.param(path, number, id=f"{path.parent.name}-{number}")
    for path in sorted(EXAMPLES.glob("*/scenarios.json"))
    for number in range(len(load(path)))
]


@pytest.mark.parametrize(("path", "number"), SCENARIOS)
def test_a_scenario_goes_as_expected(path, number, need_program):
    if path.parent.name == "forecast":
        need_program("Rscript")
    result = run_scenario(load(path)[number], path.parent, Settings(workers=1))
    assert result.differences == []


@pytest.mark.parametrize("path", DIAGRAMS, ids=lambda path: path.stem)
def test_an_example_is_sound_fully_drawn_and_has_scenarios(path):
    assert not lint(parse(path), path.parent)
    assert (path.parent / "scenarios.json").exists()
    (found,) = render.pictures(path)
    process = parse(path).processes[0].body
    assert {each.element.get("id") for each in found.shapes} == set(process.nodes)
    assert {each.element.get("id") for each in found.edges} == set(process.flows)
    assert len(diagram_interchange.planes(xml.parse(xml_documents.read(path), path.name))) == 1


class Post:
    """Keeps what an SMTP server receives."""

    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):
        self.mails.append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 kept"


@pytest.fixture
def post():
    """A real SMTP server on loopback; gives its address and its mails."""
    handler = Post()
    port = free_port()
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    yield f"127.0.0.1:{port}", handler.mails
    controller.stop()


@pytest.fixture
def run(mlkit, tmp_path, post):
    """Run an example in a copy of its folder."""

    def go(name, *variables):
        folder, file = name.split("/")
        shutil.copytree(EXAMPLES / folder, tmp_path / folder)
        options = [part for each in variables for part in ("--var", each)]
        server = ("--var", f"mail_server={post[0]}")
        done = mlkit("bpmn", "run", tmp_path / folder / file, *options, *server, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return go


def test_the_showcase_mails_its_owner_when_fetching_fails(run, post):
    document = run("showcase/pipeline.bpmn", "owner=ann", "source=none.csv")
    ((receivers, mail),) = post[1]
    assert receivers == ["ann@localhost"]
    assert "Subject: Fetching data failed" in mail
    assert "none.csv: No such file or directory" in mail
    assert document["trace"][-1]["element"] == "not_fetched"


def test_an_input_file_is_read_and_the_report_mailed(run, post):
    document = run("intake/intake.bpmn", "input_file=sales.csv", "sender=bob@localhost")
    ((receivers, mail),) = post[1]
    assert receivers == ["bob@localhost"]
    assert f"{sum(document['variables']['totals'].values()):.2f}" in mail


@pytest.fixture
def shop(tmp_path):
    """The shop's pages, served on loopback; gives its folder and its address."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            return

    folder = shutil.copytree(EXAMPLES / "scraping" / "pages", tmp_path / "shop")
    pages = functools.partial(Silent, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_the_shop_is_scraped_over_http_and_the_changes_mailed(run, post, shop):
    document = run("scraping/scrape.bpmn", "owner=ann", f"shop={shop[1]}")
    ((_, mail),) = post[1]
    assert "Teapot: 45.0 -> 39.0" in mail
    assert len(document["variables"]["offers"]) == 3


def test_a_page_that_is_gone_is_mailed_too(run, post, shop):
    (shop[0] / "cups.html").unlink()
    document = run("scraping/scrape.bpmn", "owner=ann", f"shop={shop[1]}")
    ((_, mail),) = post[1]
    assert "cups.html: HTTP Error 404" in mail
    assert document["trace"][-1]["element"] == "failed"

"""The report of a slimming: its sums, its treemap and its page."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import lxml.html
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image.archives import Member, layer, saved

from mlkit.image.base import base_image
from mlkit.image.command.entrypoint import parse
from mlkit.image.filesystem import build
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.keep.plan import plan
from mlkit.image.keep.request import Request
from mlkit.image.packages.installed import read_packages
from mlkit.image.proof.compare import Difference
from mlkit.image.proof.evidence import evidence
from mlkit.image.proof.findings import Finding
from mlkit.image.proof.reach import Reach
from mlkit.image.report.page import context, show, write
from mlkit.image.report.summary import sizes, weakness
from mlkit.image.report.treemap import Box, squarify
from mlkit.image.result import Built
from mlkit.image.run.observation import Observation
from mlkit.image.run.probe import Answer
from mlkit.image.run.trace import Trace
from mlkit.image.slimmed import Slimmed

EVIL = "<script>alert(1)</script>"
STATUS = f"Package: app\nStatus: install ok installed\nVersion: 1{EVIL}\nArchitecture: all\n"
CONFIG = {"Entrypoint": ["/usr/bin/app"]}


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=40))
def test_a_treemap_divides_its_rectangle_by_the_sizes(values):
    values = sorted(values, reverse=True)
    box = Box(0.0, 0.0, 800.0, 400.0)
    boxes = squarify(values, box)
    for value, each in zip(values, boxes, strict=True):
        assert each.area == pytest.approx(box.area * value / sum(values), rel=1e-6, abs=1e-4)
        assert -1e-6 <= each.x <= each.x + each.width <= 800.0 + 1e-6
        assert -1e-6 <= each.y <= each.y + each.height <= 400.0 + 1e-6
    for one, other in itertools.pairwise(boxes):
        across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
        down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
        assert min(across, down) < 1e-6, "two areas overlap"


def test_a_treemap_prefers_squares():
    boxes = squarify([6, 6, 4, 3, 2, 2, 1], Box(0.0, 0.0, 600.0, 400.0))
    assert all(1 / 3.1 < each.width / each.height < 3.1 for each in boxes)


@pytest.fixture
def slimmed(tmp_path):
    """Return an image of two layers, full of hostile names, and what slimming it came to."""
    lower = layer(
        Member("usr/bin/app", "x" * 1000),
        Member("usr/bin/again", hard="usr/bin/app"),
        Member("usr/share/doc/app/manual", "x" * 500),
        Member("var/lib/dpkg/status", STATUS),
        Member("var/lib/dpkg/info/app.list", "/usr/bin/app\n/usr/bin/again\n"
                                             "/usr/share/doc/app/manual\n"),
    )  # fmt: skip
    upper = layer(Member(f"srv/{EVIL.replace('/', '')}", "x" * 7), Member("dev/null", kind=b"3"))
    path = saved(
        tmp_path / "i.tar", lower, upper, config=CONFIG,
        history=[{"created_by": "/bin/sh -c #(nop) ADD  x"}, {"empty_layer": True},
                 {"created_by": f"COPY {EVIL}"}],
    )  # fmt: skip
    with open_image(path) as image:
        inventory = take(image)
        packages = read_packages(inventory)
        kept = plan(inventory, packages, Request(parse(CONFIG)))
        entries = inventory.files.entries
        own = [build.Item(entries[each], inventory) for each in sorted(kept.reasons)]
        own.append(build.file("tini", b"12345"))
        files = base_image.merge(inventory, [build.file("etc/zone", b"123")], own)
        run = Observation(ready=0.2, stop=0.1, answers=[Answer("http:/", True, 200, body=b"hi")])
        yield (
            inventory,
            Slimmed(
                built=Built(b"{}", [], "sha256:0", "static", files),
                plan=kept,
                trace=Trace(),
                verdict="broken",
                differences=[Difference("log", "no such line", f"\x1b[31m{EVIL}", "broken")],
                findings=[Finding("shell-form", EVIL, "cure")],
                notes=[Finding("root", EVIL, "cure")],
                added=[f"/{EVIL}"],
                command=["/usr/bin/app", EVIL],
                packages=packages,
                originals=[run, run, replace(run, ready=0.4)],
                candidate=run,
                gained=True,
                reach=Reach(3, 2, 9, 4, ["srv/late.py"], True),
                sizes=sizes(inventory, packages, kept, files),
                profile="balanced",
                warnings=[EVIL],
            ),
        )


def test_sums_by_package_and_by_layer_agree_with_the_whole(slimmed):
    inventory, result = slimmed
    for shares in (result.sizes.packages, result.sizes.layers):
        assert sum(each.before for each in shares) == inventory.size
        assert sum(each.after for each in shares) == result.built.size
    packages = {each.name: (each.before, each.after) for each in result.sizes.packages}
    assert packages["app"] == (1500, 1000), "hard links count once"
    assert packages["(mlkit)"] == (0, 5)
    assert [each.name for each in result.sizes.layers] == [
        "1 ADD x", f"2 COPY {EVIL}", "(base)", "(mlkit)",
    ]  # fmt: skip
    assert result.sizes.dropped[0].path == "usr/share/doc/app/manual"
    assert "usr/bin/again" not in {each.path for each in result.sizes.dropped}


def test_the_page_begins_with_what_was_asked_and_what_was_not_reached(slimmed, tmp_path):
    inventory, result = slimmed
    path = tmp_path / "r.html"
    write(path, show("app", inventory, result))
    text = path.read_text()
    assert "srv/late.py" in text
    places = [text.index(f'id="{each}"') for each in ("reached", "comparison", "findings", "map")]
    assert places == sorted(places)


def test_what_was_equal_is_evidence_too(slimmed):
    _, result = slimmed
    found = evidence(result.originals, result.candidate, result.differences)
    assert [each.effect for each in found].count("broken") == 1
    told = {each.what: (each.original, each.candidate, each.effect) for each in found}
    assert told["ready time"] == ("0.2 to 0.4 s", "0.2 s", "equal")
    assert told["probe http:/"] == ("holds, 200, 2 bytes", "holds, 200, 2 bytes", "equal")


def test_the_page_escapes_what_it_shows_and_fetches_nothing(slimmed, tmp_path):
    inventory, result = slimmed
    path = tmp_path / "r.html"
    write(path, show(EVIL, inventory, result))
    text = path.read_text()
    assert "<script" not in text
    assert not re.search(r"(src|href)=\"(?!#)", text)
    page = lxml.html.fromstring(text)
    assert page.find(".//title").text == f"{EVIL}, slimmed"
    shown = page.text_content()
    assert "It was not kept." in shown
    assert f"app 1{EVIL}" in shown
    assert "/usr/share/doc/app/manual" in shown
    assert "dev/null" in shown
    assert len(page.findall(".//svg")) == 2
    assert {"Comparison", "Findings", "Sizes", "Packages"} <= {
        each.text for each in page.findall(".//h2")
    }


def known(*names, package="libssl3", fixed=""):
    return [{"id": each, "package": package, "version": "3.0", "fixed": fixed} for each in names]


def test_the_page_shows_the_vulnerabilities_that_are_left_and_those_that_are_gone(
    slimmed, tmp_path
):
    inventory, result = slimmed
    path = tmp_path / "r.html"
    left = [*known("CVE-2", EVIL, fixed="3.1"), *known("CVE-2", package="openssl", fixed="3.1")]
    found = {"before": [*known("CVE-1", "CVE-3"), *left], "after": left}
    write(path, show("app", inventory, result, found))
    page = lxml.html.fromstring(path.read_text())
    (section,) = page.xpath("//h2[@id='vulnerabilities']")
    shown = [each.text_content() for each in section.itersiblings()]
    assert shown[0] == "2 of 4 that are left"
    rows = [[cell.text_content() for cell in row] for row in section.getnext().getnext().iter("tr")]
    assert rows[1:] == [
        [EVIL, "libssl3 3.0", "3.1"],
        ["CVE-2", "libssl3 3.0, openssl 3.0", "3.1"],
    ]
    assert shown[2:4] == ["2 that are gone", "CVE-1, CVE-3"]
    assert page.xpath("//nav/a[@href='#vulnerabilities']")
    write(path, show("app", inventory, result, {"before": known("CVE-1"), "after": []}))
    assert "0 of 1 that are left" in path.read_text()
    write(path, show("app", inventory, result))
    assert "ulnerabilities" not in path.read_text(), "nobody has looked for them"


def test_an_image_without_packages_and_with_nothing_dropped_has_a_page(tmp_path, slimmed):
    _, result = slimmed
    with open_image(saved(tmp_path / "s.tar", layer(Member("app", "")), config=CONFIG)) as image:
        inventory = take(image)
        packages = read_packages(inventory)
        kept = plan(inventory, packages, Request(parse(CONFIG)))
        files = base_image.merge(inventory, [], [])
        bare = replace(
            result, packages=packages, plan=kept, built=replace(result.built, files=files),
            sizes=sizes(inventory, packages, kept, files), findings=[],
        )  # fmt: skip
        assert context("x", "x:1", inventory, bare)["before"] == 0
        write(tmp_path / "r.html", show("x", inventory, bare) | {"place": "x:1"})
    assert "mlkit image explain x:1" in (tmp_path / "r.html").read_text()


def test_weak_probes_are_told():
    assert weakness(["http:8000/"], asked=True) is None
    assert "port 80, 443" in weakness(["tcp:80", "tcp:443"], asked=False)
    assert "starts and stays up" in weakness([], asked=False)

"""Our pictures beside those of bpmn-js in Chromium: the same shapes, markers and labels."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from bpmn.gallery import gallery, pools
from installing import install
from lxml import etree

from mlkit.bpmn import render

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent / "bpmn_js"
EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "bpmn").glob("*/*.bpmn"))
FILES = {"gallery": gallery(), "pools": pools()}
FILES |= {each.stem: each.read_text("utf-8") for each in EXAMPLES}
SVG = "{http://www.w3.org/2000/svg}"
# What bpmn-js calls the paths that it draws, and what we call the same symbol.
SYMBOLS = {
    "EVENT_MESSAGE": "message", "EVENT_TIMER_WH": "timer", "EVENT_CONDITIONAL": "conditional",
    "EVENT_SIGNAL": "signal", "EVENT_LINK": "link", "EVENT_ERROR": "error",
    "EVENT_ESCALATION": "escalation", "EVENT_COMPENSATION": "compensate",
    "EVENT_CANCEL_45": "cancel", "EVENT_MULTIPLE": "multiple",
    "EVENT_PARALLEL_MULTIPLE": "parallelMultiple", "GATEWAY_EXCLUSIVE": "exclusiveGateway",
    "GATEWAY_PARALLEL": "parallelGateway", "GATEWAY_COMPLEX": "complexGateway",
    "GATEWAY_EVENT_BASED": "eventBasedGateway", "TASK_TYPE_USER_1": "userTask",
    "TASK_TYPE_SERVICE": "serviceTask", "TASK_TYPE_SCRIPT": "scriptTask",
    "TASK_TYPE_MANUAL": "manualTask", "TASK_TYPE_SEND": "sendTask",
    "TASK_TYPE_BUSINESS_RULE_MAIN": "businessRuleTask", "MARKER_LOOP": "loop",
    "MARKER_PARALLEL": "parallel", "MARKER_SEQUENTIAL": "sequential",
    "MARKER_COMPENSATION": "compensation", "MARKER_ADHOC": "adhoc",
    "MARKER_SUB_PROCESS": "collapsed", "DATA_OBJECT_COLLECTION_PATH": "parallel",
}  # fmt: skip
STARTS = ("default-start", "conditional-start", "message-start", "open-start")
ENDS = ("arrow", "message-end", "open-end")


@pytest.fixture(scope="session")
def library(request):
    """Install bpmn-js, once, into pytest's cache."""
    if (npm := shutil.which("npm")) is None:
        pytest.skip("needs the program npm")
    folder = request.config.cache.mkdir("bpmn-js")
    built = folder / "node_modules/bpmn-js/dist/bpmn-viewer.production.min.js"
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    install([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder, "node_modules")
    return built


@pytest.fixture(scope="session")
def theirs(library, tmp_path_factory):
    """Draw all files with bpmn-js; return what it drew of each."""
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("needs the program chromium")
    folder = tmp_path_factory.mktemp("bpmn-js")
    files = json.dumps(FILES).replace("</", "<\\/")
    page = (HERE / "look.html").read_text("utf-8").replace("LIBRARY", library.as_uri())
    (folder / "look.html").write_text(page.replace("FILES", files), "utf-8")
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={folder / 'profile'}", "--allow-file-access-from-files",
        "--virtual-time-budget=60000", "--dump-dom", (folder / "look.html").as_uri(),
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    found = re.search(r'<pre id="result">(.*?)</pre>', ran.stdout, re.DOTALL)
    assert found is not None, ran.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


def known(document):
    """Describe what bpmn-js drew, by element, in the terms of `described`."""
    found = {}
    for each in document["drawn"]:
        entry = found.setdefault(each["id"], {"text": ""})
        entry["text"] += "".join(each["text"].split())
        if each["label"]:
            entry["label"] = each["box"]
            continue
        kind = each["type"].partition(":")[2]
        parts = [part for part in each["parts"] if not part["hidden"]]
        entry |= {
            "symbols": sorted(their_symbols(kind, parts)),
            "filled": kind.endswith("Event") and any(map(dark, parts)),
            "points": [tuple(map(float, point)) for point in each["points"]],
        }  # fmt: skip
        if each["points"]:
            entry["start"] = any(part["start"] for part in parts)
            entry["end"] = any(part["end"] for part in parts)
            entry["dashed"] = any(part["dashed"] for part in parts)
        else:
            entry["box"] = [float(number) for number in each["box"]]
            entry["dashed"] = parts[0]["dashed"]
            entry["bold"] = parts[0]["width"] > 3
            entry["rings"] = rings(kind, parts)
    return found


def dark(part):
    return part["fill"] not in ("none", "rgb(255, 255, 255)", "white")


def rings(kind, parts):
    """Count the outlines: of events, event gateways and transactions."""
    names = [part["name"] for part in parts]
    circles = sum(part["tag"] == "circle" for part in parts)
    rects = sum(part["tag"] == "rect" for part in parts) - names.count("MARKER_SUB_PROCESS")
    if kind.endswith("Event"):
        terminates = circles == 2 and dark(parts[1])
        return circles - ("EVENT_TIMER_WH" in names) - terminates
    if kind == "EventBasedGateway":
        return circles
    return rects if kind in ("Transaction", "SubProcess", "Task") else 0


def their_symbols(kind, parts):
    for part in parts:
        name = SYMBOLS.get(part["name"])
        if name == "sendTask" and not dark(part):
            name = "receiveTask"
        if kind == "EventBasedGateway" and name == "parallelGateway":
            name = "eventBasedGateway:parallel"
        if name == "serviceTask" and part is not parts[2]:
            continue
        if name:
            yield name
    circles = [part for part in parts if part["tag"] == "circle"]
    if kind == "InclusiveGateway" and circles:
        yield "inclusiveGateway"
    if kind == "EndEvent" and len(circles) == 2 and dark(circles[1]):
        yield "terminate"
    if kind in ("DataInput", "DataOutput") and len(parts) == 2:
        yield kind[0].lower() + kind[1:]


def described(svg):
    """Describe what we drew."""
    found = {}
    for group in etree.fromstring(svg).iter(f"{SVG}g"):
        if group.get("data-type") is None:
            continue
        kind = group.get("data-type")
        marks = [each for each in group.iter(f"{SVG}g") if each.get("data-symbol")]
        names = [each.get("data-symbol") for each in marks]
        outline = [e for e in group if e.tag in (f"{SVG}rect", f"{SVG}circle", f"{SVG}path")]
        entry = found[group.get("data-element")] = {
            "text": "".join("".join(t.text or "" for t in group.iter(f"{SVG}tspan")).split()),
            "symbols": sorted(n for n in names if n not in STARTS + ENDS),
            "filled": kind.endswith("Event") and any(filled(each) for each in marks),
            "dashed": bool(outline and outline[0].get("stroke-dasharray")),
            "lines": [(float(t.get("x")), float(t.get("y"))) for t in group.iter(f"{SVG}tspan")],
        }
        entry |= {"start": bool({*names} & {*STARTS}), "end": bool({*names} & {*ENDS})}
        if outline:
            entry["bold"] = float(outline[0].get("stroke-width")) > 3
            entry["rings"] = our_rings(kind, group, marks)
    return found


def filled(symbol):
    ink = "#22242a"
    return any(each.get("fill") == ink for each in symbol)


def our_rings(kind, group, marks):
    if kind.endswith("Event"):
        return len(group.findall(f"{SVG}circle"))
    if kind == "eventBasedGateway":
        return len(marks[0].findall(f"{SVG}circle"))
    rects = len(group.findall(f"{SVG}rect"))
    return rects if kind in ("transaction", "subProcess", "task") else 0


@pytest.mark.parametrize("name", FILES)
def test_the_same_shapes_markers_and_labels_are_drawn(theirs, name):
    assert theirs[name]["warnings"] == []
    picture = render.parse(FILES[name].encode(), name)[0]
    ours, wanted = described(render.svg(picture)), known(theirs[name])
    assert ours.keys() == wanted.keys()
    assert len(ours) > 10
    places = {str(each.element.get("id")): each for each in (*picture.shapes, *picture.edges)}
    differences = []
    for key, want in wanted.items():
        have, place = ours[key], places[key]
        if want["points"]:
            have["points"] = [tuple(each) for each in place.points]
        else:
            have["box"] = [*place.box]
        checked = [each for each in want if each != "label" and want[each] != []]
        differences += [
            f"{key}: {each} is {have.get(each)!r}, not {want[each]!r}"
            for each in checked
            if have.get(each) != want[each]
        ]
        if "label" in want and not near(have["lines"], want["label"]):
            differences.append(f"{key}: its label is at {have['lines']}, not in {want['label']}")
    assert differences == []


def near(lines, box):
    """Return whether a label is about where theirs is."""
    x = sum(each for each, _ in lines) / len(lines)
    y = sum(each for _, each in lines) / len(lines) - 4
    left, top, width, height = box
    return abs(x - left - width / 2) < 30 and abs(y - top - height / 2) < 25

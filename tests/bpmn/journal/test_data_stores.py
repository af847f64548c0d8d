"""Data stores (10.4.1): values beyond one instance, set together with a task's completion."""

from __future__ import annotations

import json
import sqlite3

import pytest
from commands import run_mlkit

from mlkit.bpmn.engine.events import StoreRead
from mlkit.bpmn.journal import open_journal
from mlkit.bpmn.journal.sql.stores import SqlStores
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import ConfigurationError, ServiceUnavailable

ENDS = '<startEvent id="s"/><endEvent id="e"/>'
STORE = '<dataStoreReference id="r" name="seen"/>'
# As bpmn.io draws them: no source at the way out, a placeholder at the way in.
IN = (
    '<property id="t" name="__targetRef_placeholder"/><dataInputAssociation id="i">'
    "<sourceRef>r</sourceRef><targetRef>t</targetRef></dataInputAssociation>"
)
OUT = '<dataOutputAssociation id="o"><targetRef>r</targetRef></dataOutputAssociation>'


def script(text, inner=IN + OUT, name="w"):
    return f'<scriptTask id="{name}">{inner}<script>{text}</script></scriptTask>'


COUNT = script("seen = (seen or 0) + 1")


@pytest.fixture
def run(tmp_path, diagram):
    """Run a diagram of this body in the same state folder each time."""

    def start(body, flows="s>w w>e", roots="", *more):
        path = tmp_path / "p.bpmn"
        path.write_text(diagram(body, flows, roots))
        ran = run_mlkit("bpmn", "run", path, "--json", *more, cwd=tmp_path)
        assert ran.returncode in (0, 1, 3), ran.stderr
        return json.loads(ran.stdout)

    return start


@pytest.fixture
def kept(tmp_path):
    def read():
        journal = open_journal(tmp_path / ".mlkit")
        found = {each.name: each.value for each in journal.stores.all()}
        journal.close()
        return found

    return read


def test_a_value_outlives_the_instance(run, kept, tmp_path):
    first = run(ENDS + STORE + COUNT)
    second = run(ENDS + STORE + COUNT)
    assert (first["state"], second["state"]) == ("completed", "completed")
    assert kept() == {"seen": 2}
    assert "seen" not in second["variables"]  # it is the task's own, and the store's

    shown = run_mlkit("bpmn", "stores", "--json", cwd=tmp_path, check=True)
    (store,) = json.loads(shown.stdout)["stores"]
    assert (store["name"], store["value"]) == ("seen", 2)
    assert store["instance"] == second["instance"]


def test_references_to_one_store_share_it_whatever_their_names(run, kept):
    roots = '<dataStore id="d" name="ledger"/>'
    refs = '<dataStoreReference id="r" name="Old" dataStoreRef="d"/>'
    refs += '<dataStoreReference id="q" name="New" dataStoreRef="d"/>'
    read = IN.replace(">r<", ">q<")
    body = ENDS + refs + script("ledger = [1]", OUT) + script("size = len(ledger)", read, "x")
    assert run(body, "s>w w>x x>e", roots)["variables"]["size"] == 1
    assert kept() == {"ledger": [1]}


def test_a_failed_task_stores_nothing(run, kept):
    done = run(ENDS + STORE + script("seen = 5\nraise ValueError('no')"))
    assert done["state"] == "incident"
    assert kept() == {}


def test_a_task_that_leaves_no_such_variable_stores_nothing(run, kept):
    assert run(ENDS + STORE + script("other = 5", OUT))["state"] == "completed"
    assert kept() == {}


def test_a_store_is_set_together_with_the_completion(tmp_path, diagram, monkeypatch):
    """A commit that fails leaves neither; the next one has both."""
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(ENDS + STORE + COUNT, "s>w w>e", ""))
    state = tmp_path / "state"
    with Session(state, create=True) as session:
        row = session.begin(path, {})
        really = SqlStores.set

        def broken(self, *given):
            really(self, *given)
            raise OSError("the disk is gone")

        monkeypatch.setattr(SqlStores, "set", broken)
        with pytest.raises(ServiceUnavailable):
            session.advance([row])
        monkeypatch.undo()
        assert session.journal.stores.all() == []
        assert session.state(row).status == "running"
        assert session.advance([session.journal.find(row.id)])[0].status == "completed"
        assert [each.value for each in session.journal.stores.all()] == [1]


MAPPED = (
    '<ioSpecification><dataInput id="n" name="known"/><dataOutput id="m" name="more"/>'
    "<inputSet/><outputSet/></ioSpecification>"
    '<dataInputAssociation id="i"><sourceRef>r</sourceRef><targetRef>n</targetRef>{}'
    '</dataInputAssociation><dataOutputAssociation id="o"><sourceRef>m</sourceRef>'
    "<targetRef>r</targetRef>{}</dataOutputAssociation>"
)


def test_data_inputs_and_outputs_lead_to_and_from_a_store(play):
    body = ENDS + STORE + script("pass", MAPPED.format("", ""))
    done = play(body, "s>w w>e", lambda _, v: {"more": v["known"] + 1}).start()
    done.apply(StoreRead(done.find("w"), {"seen": 4}))
    assert [(e.name, e.value) for e in done.stored] == [("seen", 5)]
    assert done.state.status == "completed"


def test_associations_compute_what_goes_in_and_out(play):
    change = "<transformation>seen[0]</transformation>"
    assign = "<assignment><from>[more, 7]</from><to>r</to></assignment>"
    body = ENDS + STORE + script("pass", MAPPED.format(change, assign))
    done = play(body, "s>w w>e", lambda _, v: {"more": v["known"] + 1}).start()
    done.apply(StoreRead(done.find("w"), {"seen": [4]}))
    assert [e.value for e in done.stored] == [[5, 7]]


def test_a_multi_instance_goes_through_what_a_store_holds(play):
    loop = (
        "<multiInstanceLoopCharacteristics><loopDataInputRef>n</loopDataInputRef>"
        '<inputDataItem id="k" name="each"/></multiInstanceLoopCharacteristics>'
    )
    inner = MAPPED.partition('<dataOutputAssociation id="o">')[0].format("") + loop
    runs = []
    done = play(ENDS + STORE + script("pass", inner), "s>w w>e",
                lambda _, v: runs.append(v["each"]) or {}).start()  # fmt: skip
    done.apply(StoreRead(done.find("w"), {"seen": [3, 4]}))
    assert runs == [3, 4]
    assert done.state.status == "completed"


def test_the_turns_of_a_loop_see_what_the_one_before_left(play):
    inner = IN + OUT + "<standardLoopCharacteristics loopMaximum='3'/>"
    done = play(ENDS + STORE + script("pass", inner), "s>w w>e",
                lambda _, v: {"seen": v["seen"] + 1}).start()  # fmt: skip
    done.apply(StoreRead(done.find("w"), {"seen": 0}))
    assert [e.value for e in done.stored] == [1, 2, 3]


def test_a_boundary_event_and_a_retry_work_as_without_a_store(play):
    guard = '<boundaryEvent id="b" attachedToRef="w"><errorEventDefinition/></boundaryEvent>'
    body = ENDS + STORE + COUNT + guard + '<endEvent id="f"/>'
    done = play(body, "s>w w>e b>f", lambda *_: "broken").start()
    done.apply(StoreRead(done.find("w"), {"seen": None}))
    assert done.completed("e", "f") == ["f"]
    assert done.stored == []


def test_a_late_value_has_no_effect(play):
    body = (
        ENDS
        + STORE
        + COUNT
        + '<userTask id="u"/><endEvent id="f">'
        + ('<terminateEventDefinition/></endEvent><parallelGateway id="g"/>')
    )
    done = play(body, "s>g g>w g>u w>e u>f").start()
    waiting = done.find("w")
    done.complete("u").apply(StoreRead(waiting, {"seen": 1}))
    assert done.state.status == "completed"
    assert done.runs == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (STORE + f'<intermediateThrowEvent id="x">{IN}</intermediateThrowEvent>', "data.store i"),
        (STORE.replace("seen", "Seen it"), "data.drawn r"),
        (STORE.replace("seen", "Seen it") + script("pass", OUT, "x"), "data.drawn o"),
        (
            STORE + '<dataObjectReference id="a" name="a"/>' + script(
                "pass", IN.replace("</sourceRef>", "</sourceRef><sourceRef>a</sourceRef>"), "x"
            ),
            "data.sources i",
        ),
        (
            STORE + '<eventBasedGateway id="g"/><receiveTask id="x" messageRef="Paid">'
            f"{IN}</receiveTask><sequenceFlow id='y' sourceRef='g' targetRef='x'/>",
            "data.store x",
        ),
    ],
)  # fmt: skip
def test_lint_tells_where_a_store_means_nothing(problems, diagram, body, problem):
    assert problem in problems(diagram(ENDS + body, "s>e"))


def test_lint_has_nothing_against_a_drawn_store(problems, diagram):
    assert problems(diagram(ENDS + STORE + COUNT, "s>w w>e", "")) == []


def test_a_journal_of_a_later_version_is_left_alone(tmp_path):
    with Session(tmp_path / "st", create=True):
        pass
    with sqlite3.connect(tmp_path / "st" / "journal.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="journal version 99"):
        open_journal(tmp_path / "st")


def test_a_scenario_fills_stores_and_expects_what_they_hold(tmp_path, diagram):
    (tmp_path / "p.bpmn").write_text(diagram(ENDS + STORE + COUNT, "s>w w>e", ""))
    scenario = {"diagram": "p.bpmn", "stores": {"seen": 4}, "expect": {"stores": {"seen": 5}}}
    (tmp_path / "s.json").write_text(json.dumps(scenario))
    ran = run_mlkit("bpmn", "test", "s.json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout
    scenario["expect"]["stores"] = {"seen": 6}
    (tmp_path / "s.json").write_text(json.dumps(scenario))
    ran = run_mlkit("bpmn", "test", "s.json", cwd=tmp_path)
    assert ran.returncode == 1
    assert "store seen: expected 6, is 5" in ran.stdout

"""Moving an instance to another version of its definition: what goes along, and what does not."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlkit.bpmn.engine.events import Claim, Complete, Migrate, Retry
from mlkit.bpmn.engine.migration import migrate
from mlkit.bpmn.engine.state import document
from mlkit.bpmn.engine.waits import ForMessage, ForTimer
from tests.bpmn.engine.test_properties import BLOCKS, Writer

DAY = 86_400.0
TIMER = "<timerEventDefinition><timeDuration>{}</timeDuration></timerEventDefinition>"
MESSAGE = '<messageEventDefinition messageRef="Paid"/>'
TASK = '<startEvent id="s"/><userTask id="u"/><endEvent id="e"/>'


def boundary(name, event, on="u", interrupting=True):
    cancels = str(interrupting).lower()
    head = f'<boundaryEvent id="{name}" attachedToRef="{on}" cancelActivity="{cancels}">'
    return f'{head}{event}</boundaryEvent><endEvent id="{name}_end"/>'


def moved(done, other, mapping=(), at=None):
    """Move what is played to the diagram of something else; return what came of it."""
    mapping = dict(mapping)
    found = migrate(done.engine.graph, other.engine.graph, done.state, mapping, at or done.now)
    if not found.problems:
        done.engine = other.engine
        event = Migrate("2", mapping, state=document(found.state))
        done.apply(event)
        done.trace += [(each.element, each.event) for each in found.outcome.trace]
        for effect in found.outcome.effects:
            done._act(effect)
    return found


@pytest.fixture
def move(play):
    """Move what is played to another diagram; return what came of it."""

    def move(done, body, flows, mapping=(), at=None):
        return moved(done, play(body, flows, done.answers), mapping, at)

    return move


def test_a_token_goes_on_at_the_element_of_its_name(play, move):
    done = play(TASK, "s>u u>e").start(x=1)
    found = move(done, TASK + '<task id="t"/>', "s>u u>t t>e", at=done.now + 5)
    assert found.problems == []
    assert found.places == {done.find("u"): ("u", "u")}
    done.complete("u", y=2)
    assert done.completed() == ["s", "u", "t", "e"]
    assert done.state.roots()[0].variables == {"x": 1, "y": 2}


def test_what_prevents_it_is_named_all_at_once_and_nothing_changes(play, move, as_json):
    body = '<startEvent id="s"/><parallelGateway id="f"/><userTask id="a"/><userTask id="b"/>'
    done = play(body, "s>f f>a f>b").start()
    before = as_json(done.state)
    found = move(done, '<startEvent id="s"/><manualTask id="a"/>', "s>a", {"zz": "a", "b": "yy"})
    assert sorted(each.split(":")[0] for each in found.problems) == ["a", "b", "yy", "zz"]
    assert any("a userTask, but a manualTask in the new version" in e for e in found.problems)
    assert as_json(done.state) == before


def test_a_mapping_may_swap_elements(play, move):
    body = '<startEvent id="s"/><userTask id="a"/><userTask id="b"/>'
    done = play(body, "s>a a>b").start()
    assert not move(done, body, "s>b b>a", {"a": "b", "b": "a"}).problems
    done.complete("b").complete("a")
    assert done.state.status == "completed"


def test_a_claim_stays(play, move):
    done = play(TASK, "s>u u>e").start()
    done.apply(Claim(done.find("u"), "ann", "ann"))
    assert not move(done, TASK.replace('"u"', '"v"'), "s>v v>e", {"u": "v"}).problems
    assert done.state.activations[done.find("v")].wait.assignee == "ann"


# -- boundary events ---------------------------------------------------------------------------


def test_the_same_timer_keeps_its_time_and_a_changed_one_begins_anew(play, move):
    body = TASK + boundary("b", TIMER.format("P1D"))
    flows = "s>u u>e b>b_end"
    done = play(body, flows).start()
    began = done.now
    assert move(done, "\n" + body, flows, at=began + 60).notes == []
    assert done.state.due == began + DAY
    found = move(done, TASK + boundary("b", TIMER.format("P2D")), flows, at=began + 60)
    assert "b: its event has changed" in found.notes[0]
    assert done.state.due == began + 60 + 2 * DAY
    done.tick()
    assert done.completed("b", "u") == ["b"]


def test_a_boundary_event_is_added_and_taken_away(play, move):
    done = play(TASK, "s>u u>e").start()
    more = TASK + boundary("b", MESSAGE)
    found = move(done, more, "s>u u>e b>b_end")
    assert found.notes == ["b: waited for from now on"]
    assert isinstance(done.state.activations[done.find("b")].wait, ForMessage)
    found = move(done, TASK, "s>u u>e")
    assert found.notes == ["b: no longer waited for"]
    assert {each.node for each in done.state.activations.values()} == {"u"}


def test_a_boundary_event_of_another_kind_takes_its_place(play, move):
    flows = "s>u u>e b>b_end"
    done = play(TASK + boundary("b", MESSAGE), flows).start()
    assert not move(done, TASK + boundary("b", TIMER.format("P1D")), flows).problems
    assert isinstance(done.state.activations[done.find("b")].wait, ForTimer)
    assert done.state.due == done.now + DAY


def test_what_has_happened_does_not_happen_again(play, move):
    body = TASK + boundary("b", TIMER.format("P1D"), interrupting=False)
    flows = "s>u u>e b>b_end"
    done = play(body, flows).start().tick()
    assert done.completed("b") == ["b"]
    assert not move(done, body, flows).problems
    assert done.state.due is None


# -- events ------------------------------------------------------------------------------------


def test_a_message_wait_follows_the_new_name(play, move):
    wait = f'<startEvent id="s"/><intermediateCatchEvent id="c">{MESSAGE}</intermediateCatchEvent>'
    done = play(wait, "s>c").start()
    assert not move(done, wait.replace('"c"', '"d"'), "s>d", {"c": "d"}).problems
    assert done.state.activations[done.find("d")].wait.name == "paid"
    roots = '<message id="Paid" name="settled"/>'
    other = play(wait.replace('"c"', '"d"'), "s>d", None, roots).engine
    found = migrate(done.engine.graph, other.graph, done.state, {}, done.now)
    (activation,) = found.state.activations.values()
    assert activation.wait.name == "settled"
    assert [type(each).__name__ for each in found.outcome.effects] == ["Unsubscribe", "Subscribe"]


def test_the_events_behind_a_gateway_follow(play, move):
    catch = '<intermediateCatchEvent id="{}">{}</intermediateCatchEvent><endEvent id="{}_end"/>'
    gate = '<startEvent id="s"/><eventBasedGateway id="g"/>'
    m, t = catch.format("m", MESSAGE, "m"), catch.format("t", TIMER.format("P1D"), "t")
    done = play(gate + m + t, "s>g g>m m>m_end g>t t>t_end").start()
    signal = catch.format("n", '<signalEventDefinition signalRef="Stop"/>', "n")
    found = move(done, gate + t + signal, "s>g g>t t>t_end g>n n>n_end")
    assert sorted(found.notes) == ["m: no longer waited for", "n: waited for from now on"]
    done.signal("stop")
    assert done.completed() == ["s", "g", "n", "n_end"]
    assert done.state.status == "completed"


def test_a_gateway_without_its_events_is_refused(play, move):
    catch = '<intermediateCatchEvent id="{}">{}</intermediateCatchEvent>'
    gate = '<startEvent id="s"/><eventBasedGateway id="g"/>'
    done = play(
        gate + catch.format("m", MESSAGE) + catch.format("t", TIMER.format("P1D")), "s>g g>m g>t"
    ).start()
    found = move(done, '<startEvent id="s"/><userTask id="g"/>', "s>g")
    assert [each.split(":")[0] for each in found.problems] == ["g"]


def test_event_subprocesses_follow(play, move, arrows):
    def triggered(event):
        start = f'<startEvent id="ts" isInterrupting="true">{event}</startEvent>'
        inner = f'{start}<endEvent id="te"/>{arrows("ts>te", "in")}'
        return f'<subProcess id="sub" triggeredByEvent="true">{inner}</subProcess>'

    done = play(TASK, "s>u u>e").start()
    assert move(done, TASK + triggered(TIMER.format("P1D")), "s>u u>e").notes == [
        "sub: waited for from now on"
    ]
    assert done.state.due == done.now + DAY
    done.tick()
    assert done.completed("ts", "te") == ["ts", "te"]
    assert done.state.status == "completed"


# -- scopes, joins, loops ----------------------------------------------------------------------


def test_an_inside_must_stay_inside(play, move, arrows):
    inner = '<userTask id="u"/>'
    inside = f'<startEvent id="s"/><subProcess id="sub">{inner}</subProcess>'
    done = play(inside, "s>sub").start()
    outside = f'<startEvent id="s"/>{inner}<subProcess id="sub"><task id="t"/></subProcess>'
    found = move(done, outside, "s>u u>sub")
    assert found.problems == ["u: it is in p in the new version, not in sub"]
    renamed = inside.replace('"sub"', '"part"')
    assert not move(done, renamed, "s>part", {"sub": "part"}).problems
    done.complete("u")
    assert done.completed() == ["s", "u", "part"]


JOIN = (
    '<startEvent id="s"/><parallelGateway id="f"/><userTask id="a"/><userTask id="b"/>'
    '<userTask id="c"/><parallelGateway id="j"/><endEvent id="e"/>'
)


def test_tokens_at_a_join_find_their_flows_by_their_ends(play, move):
    done = play(JOIN, "s>f f>a f>b f>c a>j b>j c>j j>e").start().complete("a")
    # The flows have other ids now: `f4` is the third of them here.
    assert not move(done, JOIN, "c>j b>j a>j s>f f>a f>b f>c j>e").problems
    done.complete("b").complete("c")
    assert done.completed("j", "e") == ["j", "e"]
    assert done.state.status == "completed"


def test_a_join_that_has_got_all_it_waits_for_opens(play, move):
    done = play(JOIN, "s>f f>a f>b f>c a>j b>j c>j j>e").start().complete("a").complete("b")
    found = move(done, JOIN + '<endEvent id="x"/>', "s>f f>a f>b f>c a>j b>j c>x j>e")
    assert not found.problems
    assert done.completed("j", "e") == ["j", "e"]
    done.complete("c")
    assert done.state.status == "completed"


def test_a_token_at_a_join_that_is_gone_is_refused(play, move):
    done = play(JOIN, "s>f f>a f>b f>c a>j b>j c>j j>e").start().complete("a")
    found = move(done, JOIN, "s>f f>a f>b f>c b>j c>j j>e a>e")
    (problem,) = found.problems
    assert problem.startswith("j: a token waits there that came along f4")


def loop(marker, kind="userTask", name="u"):
    return f'<startEvent id="s"/><{kind} id="{name}">{marker}</{kind}><endEvent id="e"/>'


PARALLEL = (
    "<multiInstanceLoopCharacteristics><loopCardinality>{}</loopCardinality>"
    "</multiInstanceLoopCharacteristics>"
)
SEQUENTIAL = PARALLEL.replace("Characteristics>", 'Characteristics isSequential="true">', 1)


def test_iterations_go_on(play, move):
    done = play(loop(SEQUENTIAL.format(3)), "s>u u>e").start()
    done.apply(Complete(done.find("u", "iteration")))
    assert not move(done, loop(SEQUENTIAL.format(3), name="v"), "s>v v>e", {"u": "v"}).problems
    for _ in range(2):
        done.apply(Complete(done.find("v", "iteration")))
    assert done.state.status == "completed"
    assert done.completed("v") == ["v"] * 3
    assert done.completed("u") == ["u"]


@pytest.mark.parametrize("other", ["", PARALLEL.format(3)])
def test_iterations_that_would_go_another_way_are_refused(play, move, other):
    done = play(loop(SEQUENTIAL.format(3)), "s>u u>e").start()
    found = move(done, loop(other), "s>u u>e")
    assert found.problems
    assert found.problems[0].startswith("u: ")


def test_what_runs_is_refused_and_an_incident_goes_along(play, move):
    script = '<startEvent id="s"/><scriptTask id="{}"><script>pass</script></scriptTask>'
    answers = [None, "broken"]
    done = play(script.format("t"), "s>t", lambda *_: answers[0]).start()
    assert "wait until its script has ended" in move(done, script.format("t"), "s>t").problems[0]
    done = play(script.format("t"), "s>t", lambda *_: answers[1]).start()
    assert done.state.effective_status == "incident"
    assert not move(done, script.format("v"), "s>v", {"t": "v"}).problems
    assert done.state.effective_status == "incident"
    answers[1] = {}
    done.apply(Retry())
    assert done.completed("v") == ["v"]
    assert done.state.status == "completed"


def test_what_can_be_compensated_must_be_there(play, move):
    body = (
        '<startEvent id="s"/><task id="a"/><userTask id="u"/>'
        '<boundaryEvent id="c" attachedToRef="a"><compensateEventDefinition/></boundaryEvent>'
        '<task id="undo" isForCompensation="true"/>'
        '<association id="as" associationDirection="One" sourceRef="c" targetRef="undo"/>'
        '<endEvent id="e"><compensateEventDefinition/></endEvent>'
    )
    done = play(body, "s>a a>u u>e").start()
    bare = '<startEvent id="s"/><userTask id="u"/><endEvent id="e"/>'
    (problem,) = move(done, bare, "s>u u>e").problems
    assert problem.startswith("a: it can be compensated")
    renamed = re.sub(r'"a"', '"z"', body)
    assert not move(done, renamed, "s>z z>u u>e", {"a": "z"}).problems
    done.complete("u")
    assert done.completed("undo") == ["undo"]


# -- the law -----------------------------------------------------------------------------------


def _renamed(text, names):
    return re.sub(r"\bn\d+\b", lambda found: names.get(found[0], found[0]), text)


@given(
    block=BLOCKS,
    order=st.randoms(use_true_random=False),
    when=st.integers(0, 12),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_same_diagram_with_other_names_ends_alike(
    play, arrows, move, as_json, block, order, when
):
    """An instance that is moved in the middle ends as one that is not."""
    writer = Writer(arrows)
    body, flows, entry, leaving = writer.write(block, 1)
    body = f'<startEvent id="s"/><endEvent id="e"/>{body}'
    flows = " ".join([*flows, f"s>{entry}", f"{leaving}>e"])
    names = {f"n{number}": f"m{number}x" for number in range(1, writer.number + 1)}
    stays = play(body, flows, lambda *_: None).start()
    moves = play(body, flows, lambda *_: None).start()
    steps, is_moved = 0, False
    while stays.state.status == "running":
        open_ = [a for a in stays.state.activations.values() if a.status in ("working", "waiting")]
        if steps >= when and not is_moved and all(each.status == "waiting" for each in open_):
            found = move(moves, _renamed(body, names), _renamed(flows, names), names)
            assert found.problems == []
            assert found.notes == []
            assert found.outcome.trace == []
            is_moved = True
        chosen = order.choice(open_).id
        stays.apply(Complete(chosen, {"x": steps}))
        moves.apply(Complete(chosen, {"x": steps}))
        steps += 1
    assert moves.state.status == "completed"
    assert [(names.get(e, e), w) for e, w in stays.trace] == [
        (names.get(e, e), w) for e, w in moves.trace
    ]
    assert as_json(moves.state.roots()[0].variables) == as_json(stays.state.roots()[0].variables)

"""Compensation (13.5.5) and transactions (13.3.4): undo what completed, the last first."""

from __future__ import annotations

import pytest

from mlkit.bpmn.engine.events import Complete

ENDS = '<startEvent id="s"/><endEvent id="e"/>'
ALL = "<compensateEventDefinition/>"


def task(name: str, kind: str = "task", inner: str = "") -> str:
    """Write an activity with a compensation handler `undo_NAME`."""
    return (
        f'<{kind} id="{name}">{inner}</{kind}><boundaryEvent id="b_{name}" attachedToRef="{name}">'
        f'{ALL}</boundaryEvent><userTask id="undo_{name}" isForCompensation="true"/>'
        f'<association id="as_{name}" sourceRef="b_{name}" targetRef="undo_{name}"/>'
    )


def throw(definition: str = ALL) -> str:
    return f'<intermediateThrowEvent id="t">{definition}</intermediateThrowEvent>'


def waiting(done) -> list[str]:
    return [each.node for each in done.state.activations.values() if each.status == "waiting"]


def test_handlers_run_one_after_the_other_the_last_first(play, as_json):
    body = ENDS + task("a") + task("b") + task("c") + throw()
    done = play(body, "s>a a>b b>t t>c c>e").start()
    assert waiting(done) == ["undo_b"]
    done.complete("undo_b")
    assert waiting(done) == ["undo_a"]
    assert done.completed("t") == []
    done.complete("undo_a")
    assert done.completed()[-3:] == ["t", "c", "e"]
    assert done.state.status == "completed"
    assert as_json(done.replayed()) == as_json(done.state)


def test_without_anything_to_undo_the_token_passes(play):
    done = play(ENDS + task("a") + throw(), "s>t t>a a>e").start()
    assert done.completed() == ["s", "t", "a", "e"]


def test_one_activity_can_be_named(play):
    named = '<compensateEventDefinition activityRef="a"/>'
    done = play(ENDS + task("a") + task("b") + throw(named), "s>a a>b b>t t>e").start()
    assert waiting(done) == ["undo_a"]
    done.complete("undo_a")
    assert done.state.status == "completed"


def test_what_was_undone_is_not_undone_again(play):
    body = ENDS + task("a") + throw() + throw().replace('"t"', '"t2"')
    done = play(body, "s>a a>t t>t2 t2>e").start()
    done.complete("undo_a")
    assert done.state.status == "completed"
    assert done.completed("undo_a") == ["undo_a"]


def test_an_end_event_can_compensate(play):
    body = '<startEvent id="s"/>' + task("a") + f'<endEvent id="e">{ALL}</endEvent>'
    done = play(body, "s>a a>e").start()
    assert done.state.status == "running"
    done.complete("undo_a")
    assert done.completed() == ["s", "a", "undo_a", "e"]
    assert done.state.status == "completed"


def test_a_completed_sub_process_undoes_what_was_done_inside(play, arrows):
    inside = '<startEvent id="is"/>' + task("a") + task("b") + arrows("is>a a>b", "i")
    body = ENDS + f'<subProcess id="p1">{inside}</subProcess>' + task("c") + throw()
    done = play(body, "s>p1 p1>c c>t t>e").start()
    order = []
    while waiting(done):
        order += waiting(done)
        done.complete(order[-1])
    assert order == ["undo_c", "undo_b", "undo_a"]
    assert done.state.status == "completed"


def test_a_handler_on_the_sub_process_stands_for_what_is_inside(play, arrows):
    inside = '<startEvent id="is"/>' + task("a") + arrows("is>a", "i")
    done = play(ENDS + task("p1", "subProcess", inside) + throw(), "s>p1 p1>t t>e").start()
    assert waiting(done) == ["undo_p1"]


def test_a_compensation_event_sub_process_decides_what_is_undone(play, arrows):
    handler = f'<startEvent id="hs">{ALL}</startEvent><userTask id="mine"/>{throw()}'
    handler += arrows("hs>mine mine>t", "h")
    inside = '<startEvent id="is"/>' + task("a") + arrows("is>a", "i")
    inside += f'<subProcess id="h" triggeredByEvent="true">{handler}</subProcess>'
    outer = throw().replace('"t"', '"t1"')
    done = play(ENDS + f'<subProcess id="p1">{inside}</subProcess>' + outer, "s>p1 p1>t1 t1>e")
    done.start()
    assert waiting(done) == ["mine"]
    done.complete("mine")
    assert waiting(done) == ["undo_a"]
    done.complete("undo_a")
    assert done.completed()[-4:] == ["t", "h", "t1", "e"]


def test_each_completed_turn_is_undone_with_its_own_variables(play):
    loop = '<multiInstanceLoopCharacteristics camunda:collection="items"'
    loop += ' camunda:elementVariable="x"/>'
    done = play(ENDS + task("a", inner=loop) + throw(), "s>a a>t t>e").start(items=[7, 8])
    seen = []
    while waiting(done):
        handler = done.state.activations[done.find("undo_a")]
        seen.append(done.state.lookup(handler.local, "x"))
        done.complete("undo_a")
    assert seen == [8, 7]
    assert done.state.status == "completed"


def test_an_activity_that_did_not_complete_is_not_undone(play):
    body = ENDS + task("a", "userTask") + task("b") + throw()
    done = play(body, "s>a s>b b>t a>e t>e").start()
    assert "undo_a" not in waiting(done)
    assert "undo_b" in waiting(done)


def test_a_called_process_can_be_undone(play_xml):
    def arrow(number, source, target):
        return f'<sequenceFlow id="f{number}" sourceRef="{source}" targetRef="{target}"/>'

    xml = (
        '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"><process id="p">'
        f'{ENDS}<callActivity id="c" calledElement="q"/>{throw()}{arrow(1, "s", "c")}'
        f'{arrow(2, "c", "t")}{arrow(3, "t", "e")}</process><process id="q">'
        f'<startEvent id="qs"/>{task("a")}{arrow(4, "qs", "a")}</process></definitions>'
    )
    done = play_xml(xml).start()
    assert waiting(done) == ["undo_a"]
    done.complete("undo_a")
    assert done.completed()[-2:] == ["t", "e"]


# -- transactions --------------------------------------------------------------------------------

CANCEL = "<cancelEventDefinition/>"


def transaction(body: str, cancel: bool = True) -> str:
    end = f'<endEvent id="no">{CANCEL}</endEvent>' if cancel else ""
    inside = f'<startEvent id="is"/><endEvent id="ok"/>{end}{body}'
    guard = f'<boundaryEvent id="cancelled" attachedToRef="x">{CANCEL}</boundaryEvent>'
    return f'<transaction id="x">{inside}</transaction>{guard}<task id="late"/>'


OUTER = "s>x x>e cancelled>late late>e"


def test_a_cancelled_transaction_undoes_then_leaves_by_its_cancel_event(play, arrows, as_json):
    body = task("a") + task("b") + '<userTask id="open"/>'
    body += arrows("is>a a>b is>open open>ok b>no", "i")
    done = play(ENDS + transaction(body), OUTER).start()
    assert ("open", "terminated") in done.trace
    assert waiting(done) == ["undo_b"]
    done.complete("undo_b").complete("undo_a")
    assert ("x", "terminated") in done.trace
    assert done.completed()[-3:] == ["cancelled", "late", "e"]
    assert done.state.status == "completed"
    assert as_json(done.replayed()) == as_json(done.state)


def test_a_transaction_that_succeeds_goes_on_as_any_sub_process(play, arrows):
    body = task("a") + arrows("is>a a>ok", "i")
    done = play(ENDS + transaction(body, cancel=False), OUTER).start()
    assert done.completed() == ["s", "is", "a", "ok", "x", "e"]


def test_a_cancel_inside_a_nested_sub_process_ends_the_transaction(play, arrows):
    nested = f'<startEvent id="ns"/>{task("b")}<endEvent id="nn">{CANCEL}</endEvent>'
    nested = f'<subProcess id="n">{nested}{arrows("ns>b b>nn", "n")}</subProcess>'
    body = task("a") + nested + arrows("is>a a>n n>ok", "i")
    done = play(ENDS + transaction(body, cancel=False), OUTER).start()
    assert waiting(done) == ["undo_b"]
    done.complete("undo_b").complete("undo_a")
    assert done.completed("late", "x") == ["late"]
    assert done.state.status == "completed"


def test_a_hazard_leaves_by_the_error_event_without_undoing(play, arrows):
    body = task("a") + '<scriptTask id="w"><script>1</script></scriptTask>'
    inside = transaction(body + arrows("is>a a>w w>ok", "i"), cancel=False)
    inside += '<boundaryEvent id="bad" attachedToRef="x"><errorEventDefinition/></boundaryEvent>'
    done = play(ENDS + inside, OUTER + " bad>late", lambda *_: "!BAD").start()
    assert done.completed()[-3:] == ["bad", "late", "e"]
    assert not waiting(done)


def test_a_handler_that_works_outside_counts_its_own_attempts(play):
    body = ENDS + task("a").replace("userTask", "scriptTask").replace(
        'isForCompensation="true"/>', 'isForCompensation="true"><script>1</script></scriptTask>'
    )
    done = play(body + throw(), "s>a a>t t>e", lambda *_: None).start()
    assert done.runs == ["undo_a"]
    done.apply(Complete(done.find("undo_a"), {"undone": True}))
    assert done.variables == {"undone": True}
    assert done.state.status == "completed"


@pytest.mark.parametrize("sequential", ["true", "false"])
def test_a_turn_of_a_transaction_that_is_cancelled_cancels_and_undoes_all_turns(
    play, arrows, as_json, sequential
):
    turns = (
        f'<multiInstanceLoopCharacteristics isSequential="{sequential}">'
        "<loopCardinality>3</loopCardinality></multiInstanceLoopCharacteristics>"
    )
    body = task("a") + '<userTask id="w"/><exclusiveGateway id="g" default="fi4"/>'
    body += arrows("is>a a>w w>g g>no?bad g>ok", "i")
    inside = transaction(body).replace('<transaction id="x">', f'<transaction id="x">{turns}')
    done = play(ENDS + inside, OUTER).start()
    first = next(each for each in done.state.activations.values() if each.node == "w")
    done.apply(Complete(first.id, {"bad": False}))
    done.complete("w", bad=True)
    while "undo_a" in waiting(done):
        done.complete("undo_a")
    assert len(done.completed("undo_a")) == len(done.completed("a"))
    assert done.completed("late", "e") == ["late", "e"]
    assert done.state.status == "completed"
    assert as_json(done.replayed()) == as_json(done.state)


@pytest.mark.parametrize("sequential", ["true", "false"])
def test_a_cancelled_turn_ends_all_turns_of_its_transaction_and_undoes_them(
    play, arrows, sequential, as_json
):
    many = f'<multiInstanceLoopCharacteristics isSequential="{sequential}">'
    many += "<loopCardinality>3</loopCardinality></multiInstanceLoopCharacteristics>"
    body = f'{many}{task("a")}<userTask id="check"/><exclusiveGateway id="g" default="fi4"/>'
    body = body.replace('<userTask id="undo_a"', '<scriptTask id="undo_a"').replace(
        'isForCompensation="true"/>', 'isForCompensation="true"><script>1</script></scriptTask>'
    )
    body += arrows("is>a a>check check>g g>no?loopCounter==1 g>ok", "i")
    undone = []

    def undo(_, variables):
        undone.append(variables["loopCounter"])
        return {}

    done = play(ENDS + transaction(body), OUTER, undo).start()
    while done.state.status == "running":
        first = min(e.id for e in done.state.activations.values() if e.node == "check")
        done.apply(Complete(first))
    assert undone == ([1, 0] if sequential == "true" else [2, 1, 0])
    assert done.completed("late", "x") == ["x", "late"]
    assert done.state.status == "completed"
    assert as_json(done.replayed()) == as_json(done.state)


def test_a_transaction_within_another_is_cancelled_alone(play, arrows):
    inner = f'<startEvent id="ns"/>{task("b")}<endEvent id="nn">{CANCEL}</endEvent>'
    inner = f'<transaction id="n">{inner}{arrows("ns>b b>nn", "n")}</transaction>'
    inner += f'<boundaryEvent id="nc" attachedToRef="n">{CANCEL}</boundaryEvent>'
    outer = f'<startEvent id="is"/><endEvent id="ok"/>{task("a")}{inner}'
    outer += arrows("is>a a>n n>ok nc>ok", "i")
    done = play(f'{ENDS}<transaction id="x">{outer}</transaction>', "s>x x>e").start()
    assert waiting(done) == ["undo_b"]
    done.complete("undo_b")
    assert done.completed()[-4:] == ["nc", "ok", "x", "e"]


def test_an_event_sub_process_undoes_its_own_work_and_that_around_it(play, arrows):
    inner = '<startEvent id="is" isInterrupting="false"><signalEventDefinition signalRef="Stop"/>'
    inner += '</startEvent><userTask id="a"/><boundaryEvent id="ab" attachedToRef="a">'
    inner += '<compensateEventDefinition/></boundaryEvent><task id="ah" isForCompensation="true"/>'
    inner += '<intermediateThrowEvent id="it"><compensateEventDefinition/></intermediateThrowEvent>'
    inner += '<endEvent id="ie"/><association id="ia" sourceRef="ab" targetRef="ah"/>'
    inner += arrows("is>a a>it it>ie", "k")
    body = '<startEvent id="s"/><endEvent id="e"/><userTask id="o"/><userTask id="u"/>'
    body += '<boundaryEvent id="ob" attachedToRef="o"><compensateEventDefinition/></boundaryEvent>'
    body += '<task id="oh" isForCompensation="true"/>'
    body += '<association id="oa" sourceRef="ob" targetRef="oh"/>'
    body += f'<subProcess id="ev" triggeredByEvent="true">{inner}</subProcess>'
    done = play(body, "s>o o>u u>e").start()
    done.complete("o").signal("stop").complete("a")
    assert done.completed("ah", "oh") == ["ah", "oh"]
    # The second one undoes its own work, not once more that of the first.
    done.signal("stop").complete("a")
    assert done.completed("ah", "oh") == ["ah", "oh", "ah"]

"""Moving instances that wait inside called processes and ad-hoc sub-processes."""

from __future__ import annotations

import pytest

from mlkit.bpmn.engine.events import Begin, Complete
from mlkit.errors import BadData
from tests.bpmn.conftest import ROOTS, arrows
from tests.bpmn.engine.test_migration import move, moved  # noqa: F401 - a fixture

ENDS = '<startEvent id="s"/><endEvent id="e"/>'


# -- called processes --------------------------------------------------------------------------


def called(inner: str, flows: str, name: str = "q") -> str:
    return f'{ROOTS}<process id="{name}">{inner}{arrows(flows, name)}</process>'


def calls(name: str = "q", loop: str = "") -> str:
    return f'{ENDS}<callActivity id="c" calledElement="{name}">{loop}</callActivity>'


@pytest.fixture
def step(play):
    """Move what is played to a diagram whose called process is another one."""

    def step(done, body, roots, mapping=()):
        return moved(done, play(body, "s>c c>e", roots=roots), mapping)

    return step


Q = '<startEvent id="qs"/><userTask id="qa"/><endEvent id="qe"/>'
LONGER = called(Q + '<userTask id="qb"/>', "qs>qa qa>qb qb>qe")


def test_a_token_in_a_called_process_goes_on_there(play, step):
    done = play(calls(), "s>c c>e", roots=called(Q, "qs>qa qa>qe")).start(x=1)
    assert not step(done, calls(), LONGER).problems
    done.complete("qa").complete("qb", y=2)
    assert done.completed("qa", "qb", "c", "e") == ["qa", "qb", "c", "e"]
    assert done.state.status == "completed"


def test_another_process_is_called_where_it_is_mapped(play, step):
    other = called(Q.replace('"qa"', '"ra"'), "qs>ra ra>qe", "r")
    done = play(calls(), "s>c c>e", roots=called(Q, "qs>qa qa>qe")).start()
    problems = step(done, calls("r"), other, {"qa": "ra"}).problems
    assert "q: it runs inside c, which has r there: map it" in problems
    assert not step(done, calls("r"), other, {"q": "r", "qa": "ra"}).problems
    done.complete("ra")
    assert done.completed("c", "e") == ["c", "e"]


def test_what_waits_in_a_called_process_that_is_gone_is_refused(play, step):
    done = play(calls(), "s>c c>e", roots=called(Q, "qs>qa qa>qe")).start()
    task = f'{ENDS}<userTask id="c"/>'
    problems = step(done, task, ROOTS).problems
    assert any(each.startswith("c: it is a callActivity") for each in problems)
    assert any(each.startswith("qa: it holds a token") for each in problems)
    done.complete("qa")  # It goes on as it was.
    assert done.state.status == "completed"


@pytest.mark.parametrize("sequential", ["true", "false"])
def test_each_iteration_of_a_call_goes_along(play, step, sequential):
    loop = (
        f'<multiInstanceLoopCharacteristics isSequential="{sequential}"><loopCardinality>2'
        "</loopCardinality></multiInstanceLoopCharacteristics>"
    )
    done = play(calls(loop=loop), "s>c c>e", roots=called(Q, "qs>qa qa>qe")).start()
    assert not step(done, calls(loop=loop), LONGER).problems
    while done.state.status == "running":
        waiting = [each for each in done.state.activations.values() if each.status == "waiting"]
        done.apply(Complete(waiting[0].id))
    assert sorted(done.completed("qa", "qb")) == ["qa", "qa", "qb", "qb"]
    assert done.completed("c", "e")[-2:] == ["c", "e"]


# -- ad-hoc sub-processes ----------------------------------------------------------------------


LISTED = '<extensionElements><zeebe:adHoc activeElementsCollection="=todo"/></extensionElements>'


def ad_hoc(*tasks: str, attributes: str = "", inner: str = "") -> str:
    drawn = "".join(f'<userTask id="{each}"/>' for each in tasks)
    return f'{ENDS}<adHocSubProcess id="h" {attributes}>{inner}{drawn}</adHocSubProcess>'


def begin(done, element):
    return done.apply(Begin(done.find("h", ""), element))


def test_people_start_what_the_new_version_has(play, move):  # noqa: F811
    done = play(ad_hoc("a", "b"), "s>h h>e").start()
    begin(done, "a")
    assert not move(done, ad_hoc("a", "c"), "s>h h>e").problems
    with pytest.raises(BadData, match="'b' is not an activity"):
        begin(done, "b")
    begin(done, "c")
    done.complete("a").complete("c")
    done.apply(Complete(done.find("h")))
    assert done.completed("a", "c", "h", "e") == ["a", "c", "h", "e"]


SEQUENTIAL = {"attributes": 'ordering="Sequential"', "inner": LISTED}


def test_what_a_list_still_starts_is_renamed_or_refused(play, move):  # noqa: F811
    done = play(ad_hoc("a", "b", **SEQUENTIAL), "s>h h>e").start(todo=["a", "b"])
    other = ad_hoc("a", "z", **SEQUENTIAL)
    (problem,) = move(done, other, "s>h h>e").problems
    assert problem.startswith("b: h is to start it")
    assert not move(done, other, "s>h h>e", {"b": "z"}).problems
    done.complete("a").complete("z")
    assert done.completed("a", "z", "h", "e") == ["a", "z", "h", "e"]


def test_another_order_is_refused_and_another_condition_holds(play, move):  # noqa: F811
    done = play(ad_hoc("a", "b"), "s>h h>e").start(enough=False)
    begin(done, "a")
    begin(done, "b")
    ordered = ad_hoc("a", "b", attributes='ordering="Sequential"')
    (problem,) = move(done, ordered, "s>h h>e").problems
    assert problem.startswith("h: ")
    condition = "<completionCondition>enough == True</completionCondition>"
    assert not move(done, ad_hoc("a", "b", inner=condition), "s>h h>e").problems
    done.complete("a", enough=True)
    assert ("b", "terminated") in done.trace
    assert done.state.status == "completed"

"""Multiple events, event gateways that begin a process, message flows between pools (13.2-13.5)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mlkit.bpmn.engine.effects import Broadcast, Send

ENDS = '<startEvent id="s"/><endEvent id="e"/>'
TIMER = "<timerEventDefinition><timeDuration>PT1M</timeDuration></timerEventDefinition>"
MESSAGE = '<messageEventDefinition messageRef="Paid"/>'
SIGNAL = '<signalEventDefinition signalRef="Stop"/>'
BOTH = MESSAGE + SIGNAL


def part(done, number: int) -> int:
    return next(
        each.id
        for each in done.state.activations.values()
        if each.role == "part" and each.part == number
    )


def catch(attributes: str = "") -> str:
    return f'<intermediateCatchEvent id="c" {attributes}>{BOTH}</intermediateCatchEvent>'


@pytest.mark.parametrize("first", ["message", "signal"])
def test_a_multiple_event_goes_on_with_the_first_of_its_events(play, first):
    done = play(ENDS + catch(), "s>c c>e").start()
    if first == "signal":
        done.signal("stop")
    else:
        receive(done, part(done, 0))
    assert done.completed() == ["s", "c", "e"]
    assert not done.state.activations


def receive(done, activation, **variables):
    from mlkit.bpmn.engine.events import Receive

    return done.apply(Receive(activation, variables))


def test_a_parallel_multiple_event_needs_all(play, as_json):
    done = play(ENDS + catch('parallelMultiple="true"'), "s>c c>e").start()
    receive(done, part(done, 0), total=1)
    assert done.state.effective_status == "waiting"
    done.signal("stop")
    assert done.completed() == ["s", "c", "e"]
    assert done.variables == {"total": 1}
    assert as_json(done.replayed()) == as_json(done.state)


def test_a_multiple_boundary_event_without_interruption_goes_on_waiting(play):
    boundary = f'<boundaryEvent id="b" attachedToRef="u" cancelActivity="false">{BOTH}'
    body = ENDS + '<userTask id="u"/><task id="late"/>' + boundary + "</boundaryEvent>"
    done = play(body, "s>u u>e b>late late>e").start()
    receive(done, part(done, 0))
    done.signal("stop").signal("stop")
    assert done.completed("late") == ["late"] * 3
    done.complete("u")
    assert not done.state.activations


def test_a_multiple_boundary_event_catches_errors_too(play):
    boundary = '<boundaryEvent id="b" attachedToRef="w"><errorEventDefinition errorRef="Bad"/>'
    boundary += f"{SIGNAL}</boundaryEvent>"
    body = ENDS + '<scriptTask id="w"><script>1</script></scriptTask><task id="late"/>' + boundary
    done = play(body, "s>w w>e b>late late>e", lambda *_: "!BAD").start()
    assert done.completed("b", "late") == ["b", "late"]
    other = play(body, "s>w w>e b>late late>e", lambda *_: None).start()
    assert other.signal("stop").completed("late") == ["late"]


def test_a_multiple_end_event_throws_all(play):
    done = play(f'<startEvent id="s"/><endEvent id="e">{BOTH}</endEvent>', "s>e").start()
    assert [type(each) for each in done.sent] == [Send, Broadcast]
    assert done.state.status == "completed"


def test_a_multiple_start_event_begins_with_any(play):
    body = f'<startEvent id="s">{TIMER}{SIGNAL}</startEvent><endEvent id="e"/>'
    done = play(body, "s>e").start()
    assert done.state.effective_status == "waiting"
    done.signal("stop")
    assert done.completed() == ["s", "e"]
    assert done.state.status == "completed"


# -- instantiating gateways and receive tasks ----------------------------------------------------


def gateway(kind: str = "Exclusive") -> str:
    return (
        f'<eventBasedGateway id="g" instantiate="true" eventGatewayType="{kind}"/>'
        '<endEvent id="e"/>'
        f'<intermediateCatchEvent id="m">{MESSAGE}</intermediateCatchEvent>'
        f'<intermediateCatchEvent id="n">{SIGNAL}</intermediateCatchEvent>'
        '<task id="a"/><task id="b"/>'
    )


FLOWS = "g>m g>n m>a n>b a>e b>e"


def test_an_exclusive_gateway_begins_a_process_with_the_first_event(play):
    done = play(gateway(), FLOWS).start()
    assert done.state.effective_status == "waiting"
    done.signal("stop")
    assert done.completed() == ["g", "n", "b", "e"]
    assert done.state.status == "completed"


def test_a_parallel_gateway_begins_it_and_waits_for_all_events(play, as_json):
    done = play(gateway("Parallel"), FLOWS).start()
    done.signal("stop")
    assert done.completed("b", "a") == ["b"]
    assert done.state.status == "running"
    done.receive("m")
    assert done.completed("a", "b") == ["b", "a"]
    assert done.state.status == "completed"
    assert as_json(done.replayed()) == as_json(done.state)


def test_a_receive_task_can_begin_a_process(play):
    body = '<receiveTask id="r" messageRef="Paid" instantiate="true"/><endEvent id="e"/>'
    done = play(body + '<startEvent id="s">' + SIGNAL + "</startEvent>", "r>e s>e").start()
    done.receive("r", total=3)
    assert done.completed() == ["r", "e"]
    assert done.variables == {"total": 3}
    assert done.state.status == "completed"


# -- pools -----------------------------------------------------------------------------------------


def pools(left: str, right: str, flows: str, marks: tuple[str, str] = ("true", "true")) -> str:
    """Write two pools `p` and `q`; `flows` are message flows `a>b`, by spaces."""
    drawn = "".join(
        f'<messageFlow id="m{number}" sourceRef="{each.split(">")[0]}"'
        f' targetRef="{each.split(">")[1]}"/>'
        for number, each in enumerate(flows.split())
    )
    return (
        '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"'
        ' xmlns:camunda="http://camunda.org/schema/1.0/bpmn">'
        '<collaboration id="co"><participant id="left" processRef="p"/>'
        f'<participant id="right" processRef="q"/><participant id="world"/>{drawn}</collaboration>'
        f'<process id="p" isExecutable="{marks[0]}">{left}</process>'
        f'<process id="q" isExecutable="{marks[1]}">{right}</process></definitions>'
    )


def chain(*nodes: str) -> str:
    """Write nodes in a row; each is `tag id [inside]`."""
    parts = [each.split(" ", 2) for each in nodes]
    body = "".join(f'<{p[0]} id="{p[1]}">{p[2] if len(p) > 2 else ""}</{p[0]}>' for p in parts)
    names = [p[1] for p in parts]
    return body + "".join(
        f'<sequenceFlow id="{a}-{b}" sourceRef="{a}" targetRef="{b}"/>' for a, b in pairwise(names)
    )


PING = "<messageEventDefinition/>"


def test_two_pools_talk_along_their_message_flows(play_xml, as_json):
    left = chain("startEvent s", f"intermediateThrowEvent ask {PING}",
                 f"intermediateCatchEvent hear {PING}", "endEvent e")  # fmt: skip
    right = chain(f"startEvent qs {PING}", "userTask think", f"endEvent qe {PING}")
    done = play_xml(pools(left, right, "ask>qs qe>hear")).start()
    assert done.completed() == ["s", "ask", "qs"]
    done.complete("think")
    assert done.completed()[-4:] == ["think", "qe", "hear", "e"]
    assert done.state.status == "completed"
    assert not done.sent
    assert as_json(done.replayed()) == as_json(done.state)


def test_a_message_carries_what_its_event_maps(play_xml):
    mapped = (
        '<extensionElements><camunda:inputOutput><camunda:inputParameter name="total">${2 * n}'
        f"</camunda:inputParameter></camunda:inputOutput></extensionElements>{PING}"
    )
    left = chain("startEvent s", f"endEvent e {mapped}")
    right = chain(f"startEvent qs {PING}", "userTask u", "endEvent qe")
    done = play_xml(pools(left, right, "e>qs")).start(n=4)
    pool = next(each for each in done.state.roots() if each.element == "q")
    assert pool.variables["total"] == 8


def test_an_early_message_waits_for_its_receiver(play_xml):
    left = chain("startEvent s", f"endEvent e {PING}")
    right = chain("startEvent qs", "userTask u", f"intermediateCatchEvent hear {PING}",
                  "endEvent qe")  # fmt: skip
    done = play_xml(pools(left, right, "e>hear")).start()
    assert done.state.status == "running"
    done.complete("u")
    assert done.state.status == "completed"


def test_each_message_to_a_start_event_begins_the_pool_anew(play_xml):
    left = chain("startEvent s", f"intermediateThrowEvent a {PING}", f"endEvent e {PING}")
    right = chain(f"startEvent qs {PING}", "userTask u", "endEvent qe")
    xml = pools(left, right, "a>right e>right").replace(
        PING, '<messageEventDefinition messageRef="Go"/>'
    )
    xml = xml.replace("<collaboration", '<message id="Go" name="go"/><collaboration', 1)
    done = play_xml(xml).start()
    assert len([each for each in done.state.roots() if each.element == "q"]) == 2
    done.complete("u").complete("u")
    assert done.state.status == "completed"


def test_a_pool_that_nobody_calls_does_not_keep_the_instance(play_xml):
    left = chain("startEvent s", "endEvent e")
    right = chain(f"startEvent qs {PING}", "endEvent qe")
    done = play_xml(pools(left, right, "world>qs")).start()
    assert done.completed() == ["s", "e"]
    assert done.state.status == "completed"
    assert not done.state.activations


def test_a_message_to_the_world_outside_is_sent_out(play_xml):
    left = chain("startEvent s", f"endEvent e {PING}")
    done = play_xml(pools(left, chain("startEvent qs", "endEvent qe"), "e>world")).start()
    assert [(type(each), each.name) for each in done.sent] == [(Send, "m0")]


def test_a_message_to_a_pool_that_does_not_run_here_is_sent_out(play_xml):
    left = chain("startEvent s", f"endEvent e {PING}")
    right = chain(f"startEvent qs {PING}", "endEvent qe")
    done = play_xml(pools(left, right, "e>qs", ("true", "false"))).start()
    assert [type(each) for each in done.sent] == [Send]
    assert done.state.status == "completed"


def test_only_the_pools_that_are_marked_run_and_all_where_none_is(play_xml):
    left, right = chain("startEvent s", "endEvent e"), chain("startEvent qs", "endEvent qe")
    both = play_xml(pools(left, right, "", ("false", "false"))).start()
    assert sorted(both.completed()) == ["e", "qe", "qs", "s"]
    one = play_xml(pools(left, right, "", ("false", "true"))).start()
    assert one.completed() == ["qs", "qe"]


def test_a_correlation_property_finds_the_receiver(play_xml):
    """Two receivers wait for one message; the key in it says which of them is meant."""
    message = '<messageEventDefinition messageRef="Go"/>'
    mapped = (
        '<extensionElements><camunda:inputOutput><camunda:inputParameter name="order">${n}'
        f"</camunda:inputParameter></camunda:inputOutput></extensionElements>{message}"
    )
    left = chain("startEvent s", "userTask u", f"endEvent e {mapped}")
    right = (
        '<correlationSubscription id="cs" correlationKeyRef="ck"><correlationPropertyBinding'
        ' id="cb" correlationPropertyRef="cp"><dataPath>mine</dataPath>'
        "</correlationPropertyBinding></correlationSubscription>"
        + chain("startEvent qs", f"intermediateCatchEvent hear {message}", "endEvent qe")
    )
    xml = pools(left, right, "e>hear").replace(
        "<collaboration",
        '<message id="Go" name="go"/><correlationProperty id="cp">'
        '<correlationPropertyRetrievalExpression id="cr" messageRef="Go"><messagePath>order'
        "</messagePath></correlationPropertyRetrievalExpression></correlationProperty>"
        "<collaboration",
        1,
    )
    matching = play_xml(xml).start(n=7, mine=7)
    matching.complete("u")
    assert matching.state.status == "completed"
    other = play_xml(xml).start(n=7, mine=8)
    other.complete("u")
    assert other.state.effective_status == "waiting"


def keyed_by_two(properties, key):
    """A receiver that awaits a message by two properties of it."""
    declared = "".join(
        f'<correlationProperty id="{name}"><correlationPropertyRetrievalExpression id="r{name}"'
        f' messageRef="Go"><messagePath>{name}</messagePath>'
        "</correlationPropertyRetrievalExpression></correlationProperty>"
        for name in properties
    )
    references = "".join(f"<correlationPropertyRef>{each}</correlationPropertyRef>" for each in key)
    left = chain(
        "startEvent s",
        "userTask u",
        "endEvent e <extensionElements><camunda:inputOutput>"
        + "".join(
            f'<camunda:inputParameter name="{each}">${{sent_{each}}}</camunda:inputParameter>'
            for each in properties
        )
        + '</camunda:inputOutput></extensionElements><messageEventDefinition messageRef="Go"/>',
    )
    message = '<messageEventDefinition messageRef="Go"/>'
    right = chain("startEvent qs", f"intermediateCatchEvent hear {message}", "endEvent qe")
    grouped = f'<correlationKey id="ck">{references}</correlationKey>' if key else ""
    return (
        pools(left, right, "e>hear")
        .replace("<collaboration", f'<message id="Go" name="go"/>{declared}<collaboration', 1)
        .replace("</collaboration>", f"{grouped}</collaboration>", 1)
    )


@pytest.mark.parametrize("key", [(), ("day", "shop"), ("shop",)])
def test_all_properties_of_a_correlation_key_count(play_xml, key):
    xml = keyed_by_two(("shop", "day"), key)
    known = {"shop": 7, "day": "a,b"}
    for sent, met in (
        ({"sent_shop": 7, "sent_day": "a,b"}, True),
        ({"sent_shop": 7, "sent_day": "c"}, key == ("shop",)),
        ({"sent_shop": 8, "sent_day": "a,b"}, False),
    ):
        play = play_xml(xml).start(**known, **sent)
        play.complete("u")
        assert (play.state.status == "completed") == met


def test_keys_of_several_values_do_not_run_into_one_another(play_xml):
    xml = keyed_by_two(("shop", "day"), ())
    play = play_xml(xml).start(shop="a,b", day="c", sent_shop="a", sent_day="b,c")
    play.complete("u")
    assert play.state.effective_status == "waiting"


def test_terminate_ends_its_own_pool_only(play_xml):
    left = chain("startEvent s", "endEvent e <terminateEventDefinition/>")
    right = chain("startEvent qs", "userTask u", "endEvent qe")
    done = play_xml(pools(left, right, "")).start()
    assert done.state.status == "running"
    assert done.complete("u").state.status == "completed"


def test_a_message_flow_from_a_task_that_sends_nothing_is_an_error(problems):
    left = chain("startEvent s", "task t", "endEvent e")
    right = chain(f"startEvent qs {PING}", "endEvent qe")
    assert "flow.message t" in problems(pools(left, right, "t>qs"))


def test_a_message_that_several_wait_for_is_an_incident_of_its_event(play_xml):
    left = chain("startEvent s", "userTask u", f"intermediateThrowEvent ask {PING}", "endEvent e")
    ends = '<parallelGateway id="g"/><userTask id="more"/><endEvent id="qe"/>'
    right = (
        f'<startEvent id="qs"/><intermediateCatchEvent id="hear">{PING}</intermediateCatchEvent>'
    )
    flows = (("qs", "g"), ("g", "hear"), ("g", "more"), ("more", "hear"), ("hear", "qe"))
    right += ends + "".join(
        f'<sequenceFlow id="{a}-{b}" sourceRef="{a}" targetRef="{b}"/>' for a, b in flows
    )
    done = play_xml(pools(left, right, "ask>hear")).start()
    done.complete("more").complete("u")
    assert done.state.effective_status == "incident"
    assert done.completed("hear") == []
    problem = done.state.activations[done.find("ask")].incident.message
    assert "2 activities wait for it" in problem

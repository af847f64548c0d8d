"""The workflow control-flow patterns that BPMN can express.

Numbers and names are those of Russell, ter Hofstede, van der Aalst and Mulyar (2006),
"Workflow Control-Flow Patterns: A Revised View". A pattern that is missing here is one that BPMN
says by another one of these, or cannot say without data that keeps count.
"""

from __future__ import annotations

ENDS = '<startEvent id="s"/><endEvent id="e"/>'
SIGNAL = '<signalEventDefinition signalRef="Stop"/>'
MESSAGE = '<messageEventDefinition messageRef="Paid"/>'


def task(*names):
    return "".join(f'<task id="{name}"/>' for name in names)


def user(*names):
    return "".join(f'<userTask id="{name}"/>' for name in names)


def gateway(kind, *names):
    return "".join(f'<{kind}Gateway id="{name}"/>' for name in names)


def several(name, inside):
    """A task of several instances."""
    loop = f"<multiInstanceLoopCharacteristics>{inside}</multiInstanceLoopCharacteristics>"
    return f'<userTask id="{name}">{loop}</userTask>'


def cardinality(value):
    return f"<loopCardinality>{value}</loopCardinality>"


def done(found):
    return found.state.status == "completed"


def test_1_sequence(play):
    found = play(ENDS + user("a", "b"), "s>a a>b b>e").start()
    assert [each.node for each in found.state.activations.values()] == ["a"]
    found.complete("a").complete("b")
    assert found.completed() == ["s", "a", "b", "e"]


def test_2_and_3_parallel_split_and_synchronization(play):
    body = ENDS + gateway("parallel", "q", "j") + user("a", "b") + task("c")
    found = play(body, "s>q q>a q>b a>j b>j j>c c>e").start()
    found.complete("b")
    assert found.completed("c") == []
    found.complete("a")
    assert found.completed("c") == ["c"]


def test_4_and_5_exclusive_choice_and_simple_merge(play):
    body = ENDS + gateway("exclusive", "x", "m") + task("a", "b", "c")
    found = play(body, "s>x x>a?n==1 x>b?n==2 a>m b>m m>c c>e").start(n=2)
    assert found.completed("a", "b", "c") == ["b", "c"]


def test_6_and_7_multi_choice_and_structured_synchronizing_merge(play):
    body = ENDS + gateway("inclusive", "o", "j") + user("a", "b", "c") + task("d")
    found = play(body, "s>o o>a?n>0 o>b?n>1 o>c?n>2 a>j b>j c>j j>d d>e").start(n=2)
    found.complete("a")
    assert found.completed("d") == []
    found.complete("b")
    assert found.completed("d") == ["d"]
    assert done(found)


def test_8_multi_merge(play):
    body = ENDS + gateway("parallel", "q") + gateway("exclusive", "m") + user("a", "b") + task("c")
    found = play(body, "s>q q>a q>b a>m b>m m>c c>e").start()
    found.complete("a")
    assert found.completed("c") == ["c"]
    found.complete("b")
    assert found.completed("c") == ["c", "c"]


def test_9_structured_discriminator(play):
    condition = "<activationCondition>activationCount >= 1</activationCondition>"
    body = ENDS + gateway("parallel", "q") + user("a", "b", "c") + task("d")
    body += f'<complexGateway id="g">{condition}</complexGateway>'
    found = play(body, "s>q q>a q>b q>c a>g b>g c>g g>d d>e").start()
    for name in "bac":
        found.complete(name)
    assert found.completed("d") == ["d"]
    assert done(found)


def test_10_arbitrary_cycles(play):
    """Two ways in and two ways out: no structured loop can say it."""
    body = ENDS + gateway("exclusive", "x0", "m1", "m2", "x1", "x2") + user("a", "b")
    flows = "s>x0 x0>m1?way==1 x0>m2?way==2 m1>a a>x1 x1>m2?again x1>e?again==False"
    flows += " m2>b b>x2 x2>m1?again x2>e?again==False"
    found = play(body, flows).start(way=2, again=True)
    found.complete("b").complete("a").complete("b", again=False)
    assert found.completed("a", "b") == ["b", "a", "b"]
    assert done(found)


def test_11_implicit_termination(play):
    body = '<startEvent id="s"/>' + gateway("parallel", "q") + user("a", "b")
    found = play(body, "s>q q>a q>b").start()
    found.complete("a")
    assert not done(found)
    found.complete("b")
    assert done(found)


def test_13_multiple_instances_with_knowledge_at_design_time(play):
    found = play(ENDS + several("a", cardinality(3)), "s>a a>e").start()
    for _ in range(3):
        assert found.completed("e") == []
        found.complete("a")
    assert done(found)


def test_14_multiple_instances_with_knowledge_at_run_time(play):
    found = play(ENDS + several("a", cardinality("n + 1")), "s>a a>e").start(n=1)
    found.complete("a").complete("a")
    assert done(found)


def test_12_and_15_instances_without_synchronization_and_as_many_as_come(play):
    """Each signal begins another one, and nobody waits for it before the end."""
    caught = f'<startEvent id="i" isInterrupting="false">{SIGNAL}</startEvent>'
    inner = caught + '<userTask id="w"/><endEvent id="x"/>'
    inner += '<sequenceFlow id="k1" sourceRef="i" targetRef="w"/>'
    inner += '<sequenceFlow id="k2" sourceRef="w" targetRef="x"/>'
    body = ENDS + user("a") + f'<subProcess id="h" triggeredByEvent="true">{inner}</subProcess>'
    found = play(body, "s>a a>e").start()
    found.signal("stop").signal("stop").complete("a")
    assert not done(found)
    found.complete("w").complete("w")
    assert found.completed("w") == ["w", "w"]
    assert done(found)


def test_16_deferred_choice(play):
    body = ENDS + gateway("eventBased", "g") + task("a", "b")
    body += f'<intermediateCatchEvent id="m">{MESSAGE}</intermediateCatchEvent>'
    body += f'<intermediateCatchEvent id="n">{SIGNAL}</intermediateCatchEvent>'
    found = play(body, "s>g g>m g>n m>a n>b a>e b>e").start()
    found.signal("stop")
    assert found.completed("a", "b") == ["b"]
    assert done(found), "the other event is withdrawn"


def test_18_milestone(play):
    """A message counts only while the milestone is reached and not passed."""
    caught = f'<boundaryEvent id="o" attachedToRef="a" cancelActivity="false">{MESSAGE}'
    body = ENDS + user("before", "a", "after") + task("order") + f"{caught}</boundaryEvent>"
    found = play(body, "s>before before>a a>after after>e o>order").start()
    assert all(each.node != "o" for each in found.state.activations.values())
    found.complete("before").receive("o")
    assert found.completed("order") == ["order"]
    found.complete("a")
    assert all(each.node != "o" for each in found.state.activations.values())


def test_19_cancel_activity(play):
    body = ENDS + user("a") + task("b") + f'<boundaryEvent id="o" attachedToRef="a">{SIGNAL}'
    found = play(body + "</boundaryEvent>", "s>a a>e o>b b>e").start()
    found.signal("stop")
    assert found.completed("a", "b") == ["b"]
    assert ("a", "terminated") in found.trace


def test_20_cancel_case(play):
    body = ENDS + gateway("parallel", "q") + user("a", "b")
    body += '<endEvent id="t"><terminateEventDefinition/></endEvent>'
    found = play(body, "s>q q>a q>b a>t b>e").start()
    found.complete("a")
    assert done(found)
    assert ("b", "terminated") in found.trace


def test_21_structured_loop(play):
    loop = '<standardLoopCharacteristics testBefore="true"><loopCondition>n &lt; 3</loopCondition>'
    body = ENDS + f'<userTask id="a">{loop}</standardLoopCharacteristics></userTask>'
    found = play(body, "s>a a>e").start(n=1)
    found.complete("a", n=2).complete("a", n=3)
    assert found.completed("a").count("a") >= 2
    assert done(found)
    assert play(body, "s>a a>e").start(n=3).completed("e") == ["e"]


def test_22_recursion(play_xml):
    """A process that calls itself."""
    xml = (
        '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"'
        ' xmlns:camunda="http://camunda.org/schema/1.0/bpmn">'
        '<process id="p" isExecutable="true"><startEvent id="s"/><endEvent id="e"/>'
        '<exclusiveGateway id="x"/><callActivity id="c" calledElement="p"><extensionElements>'
        '<camunda:in sourceExpression="${n - 1}" target="n"/></extensionElements></callActivity>'
        '<sequenceFlow id="f1" sourceRef="s" targetRef="x"/>'
        '<sequenceFlow id="f2" sourceRef="x" targetRef="c">'
        "<conditionExpression>n > 0</conditionExpression></sequenceFlow>"
        '<sequenceFlow id="f3" sourceRef="x" targetRef="e">'
        "<conditionExpression>n == 0</conditionExpression></sequenceFlow>"
        '<sequenceFlow id="f4" sourceRef="c" targetRef="e"/></process></definitions>'
    )
    found = play_xml(xml).start(n=3)
    assert done(found)
    assert found.completed("s").count("s") == 4


def test_23_transient_trigger(play):
    body = ENDS + user("a") + f'<intermediateCatchEvent id="n">{SIGNAL}</intermediateCatchEvent>'
    found = play(body, "s>a a>n n>e").start()
    found.signal("stop").complete("a")
    assert not done(found), "nobody waited when it came"
    assert done(found.signal("stop"))


def test_25_cancel_region(play, arrows):
    inner = '<startEvent id="i"/>' + gateway("parallel", "q") + user("a", "b")
    inner += arrows("i>q q>a q>b", "k")
    body = ENDS + f'<subProcess id="r">{inner}</subProcess>' + user("z") + task("after")
    body += f'<boundaryEvent id="o" attachedToRef="r">{SIGNAL}</boundaryEvent>'
    body += gateway("parallel", "pg")
    found = play(body, "s>pg pg>r pg>z r>e z>e o>after after>e").start()
    found.signal("stop")
    assert {("a", "terminated"), ("b", "terminated")} <= set(found.trace)
    assert found.completed("after") == ["after"]
    assert done(found.complete("z")), "what is outside goes on"


def test_26_cancel_multiple_instance_activity(play):
    body = ENDS + several("a", cardinality(3)) + task("b")
    body += f'<boundaryEvent id="o" attachedToRef="a">{SIGNAL}</boundaryEvent>'
    found = play(body, "s>a a>e o>b b>e").start()
    found.complete("a").signal("stop")
    assert found.completed("b") == ["b"]
    assert done(found)


def test_27_and_34_complete_multiple_instances_after_some(play):
    enough = "<completionCondition>nrOfCompletedInstances >= 2</completionCondition>"
    body = ENDS + several("a", cardinality(4) + enough)
    found = play(body, "s>a a>e").start()
    found.complete("a").complete("a")
    assert done(found)
    assert sum(each == ("a", "terminated") for each in found.trace) == 2


def test_28_and_33_joins_in_loops_take_one_token_of_each_flow_a_time(play):
    body = ENDS + gateway("parallel", "q", "j") + gateway("exclusive", "m", "x")
    body += user("a", "b") + task("c")
    found = play(body, "s>m m>q q>a q>b a>j b>j j>c c>x x>m?again x>e?again==False").start()
    found.complete("a").complete("b", again=True)
    found.complete("b").complete("a", again=False)
    assert found.completed("c") == ["c", "c"]
    assert done(found)


def test_30_structured_partial_join(play):
    condition = "<activationCondition>activationCount >= 2</activationCondition>"
    body = ENDS + gateway("parallel", "q") + user("a", "b", "c") + task("d")
    body += f'<complexGateway id="g">{condition}</complexGateway>'
    found = play(body, "s>q q>a q>b q>c a>g b>g c>g g>d d>e").start().complete("c")
    assert found.completed("d") == []
    found.complete("a")
    assert found.completed("d") == ["d"]
    found.complete("b")
    assert found.completed("d") == ["d"]
    assert done(found)


def test_37_and_38_synchronizing_merges_of_unstructured_flows(play):
    """The join waits for what can still come, and no longer when it has gone elsewhere."""
    body = ENDS + gateway("inclusive", "o", "j") + gateway("exclusive", "x")
    body += user("a", "b", "c") + task("d")
    flows = "s>o o>a?True o>b?True a>x x>j?way==1 x>c?way==2 b>j j>d d>e c>e"
    for way in (1, 2):
        found = play(body, flows).start().complete("b")
        assert found.completed("d") == []
        found.complete("a", way=way)
        assert found.completed("d") == ["d"]
        assert done(found) == (way == 1)


def test_41_thread_merge(play):
    body = ENDS + gateway("parallel", "q") + user("a", "b") + gateway("exclusive", "m")
    body += '<task id="w" startQuantity="2"/>'
    found = play(body, "s>q q>a q>b a>m b>m m>w w>e").start().complete("a")
    assert found.completed("w") == []
    found.complete("b")
    assert found.completed("w") == ["w"]
    assert done(found)


def test_42_thread_split(play):
    body = ENDS + '<task id="w" completionQuantity="3"/>' + user("a")
    found = play(body, "s>w w>a a>e").start()
    for _ in range(3):
        assert not done(found)
        found.complete("a")
    assert found.completed("a", "e") == ["a", "e"] * 3
    assert done(found)


def test_43_explicit_termination(play):
    body = ENDS + gateway("parallel", "q") + user("a", "b", "c")
    body += '<endEvent id="t"><terminateEventDefinition/></endEvent>'
    found = play(body, "s>q q>a q>b q>c a>e b>t c>e").start()
    found.complete("a").complete("b")
    assert done(found)
    assert ("c", "terminated") in found.trace

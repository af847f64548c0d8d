"""Short ways to write files as Camunda 7, Activiti and Flowable do."""

from __future__ import annotations

from itertools import pairwise

SPACES = {
    "camunda": "http://camunda.org/schema/1.0/bpmn",
    "flowable": "http://flowable.org/bpmn",
    "activiti": "http://activiti.org/bpmn",
    "operaton": "http://operaton.org/schema/1.0/bpmn",
}


def file(body: str, roots: str = "", vendor: str = "camunda", more: str = "") -> str:
    """Write a file of a vendor; its attributes are written `v:name`."""
    return (
        f'<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d" '
        f'xmlns:v="{SPACES[vendor]}">{roots}'
        f'<process id="p" isExecutable="true"><startEvent id="s"/><endEvent id="e"/>{body}'
        f"</process>{more}</definitions>"
    )


def flow(name: str, source: str, target: str, condition: str = "") -> str:
    """Write a sequence flow."""
    inner = f"<conditionExpression>{condition}</conditionExpression>" if condition else ""
    ends = f'sourceRef="{source}" targetRef="{target}"'
    return f'<sequenceFlow id="{name}" {ends}>{inner}</sequenceFlow>'


def line(*nodes: str) -> str:
    """Write the flows from the start through some nodes to the end."""
    ends = ["s", *nodes, "e"]
    return "".join(flow(f"f{n}", a, b) for n, (a, b) in enumerate(pairwise(ends)))


MANY = (
    '<multiInstanceLoopCharacteristics isSequential="{}" v:collection="${{items}}" '
    'v:elementVariable="i"/>'
)
TWICE = (
    "<multiInstanceLoopCharacteristics><loopCardinality>2</loopCardinality>"
    "</multiInstanceLoopCharacteristics>"
)
CALLED = """<process id="q" isExecutable="true"><startEvent id="sq"/><endEvent id="eq">
<errorEventDefinition errorRef="E"/></endEvent><sequenceFlow id="fq" sourceRef="sq" targetRef="eq"/>
</process>"""
ERROR = '<error id="E" errorCode="E42" v:errorMessage="bad ${x}"/>'


def call(mappings: str) -> str:
    """Write a call of the process `q`, and a task `h` for the error that ends it."""
    return (
        f'<callActivity id="c" calledElement="q"><extensionElements>{mappings}</extensionElements>'
        '</callActivity><boundaryEvent id="b" attachedToRef="c"><errorEventDefinition errorRef="E" '
        'v:errorCodeVariable="code" v:errorMessageVariable="text"/></boundaryEvent>'
        '<userTask id="h"/>' + flow("h1", "b", "h") + flow("h2", "h", "e")
    )


def computed(name: str, expression: str, result: str = "r") -> str:
    """Write a service task whose result is an expression."""
    return f'<serviceTask id="{name}" v:expression="{expression}" v:resultVariable="{result}"/>'

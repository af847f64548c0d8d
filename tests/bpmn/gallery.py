"""A diagram that holds every shape, marker and edge of BPMN, drawn with DI on a grid."""

from __future__ import annotations

from itertools import count

HEAD = (
    '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d"'
    ' xmlns:di="http://www.omg.org/spec/BPMN/20100524/DI"'
    ' xmlns:dc="http://www.omg.org/spec/DD/20100524/DC"'
    ' xmlns:w="http://www.omg.org/spec/DD/20100524/DI">'
)
KINDS = {
    "startEvent": ("", "message", "timer", "conditional", "signal", "error", "escalation",
                   "compensate"),
    "intermediateCatchEvent": ("message", "timer", "conditional", "signal", "link"),
    "intermediateThrowEvent": ("", "message", "signal", "escalation", "compensate", "link"),
    "endEvent": ("", "message", "signal", "error", "escalation", "compensate", "cancel",
                 "terminate"),
    "boundaryEvent": ("message", "timer", "conditional", "signal", "error", "escalation",
                      "compensate", "cancel"),
}  # fmt: skip
TASKS = (
    "task", "userTask", "serviceTask", "scriptTask", "manualTask", "sendTask", "receiveTask",
    "businessRuleTask", "callActivity",
)  # fmt: skip
GATEWAYS = (
    "exclusiveGateway", "parallelGateway", "inclusiveGateway", "complexGateway",
    "eventBasedGateway",
)  # fmt: skip
LOOPS = {
    "loop": "<standardLoopCharacteristics/>",
    "parallel": "<multiInstanceLoopCharacteristics/>",
    "sequential": '<multiInstanceLoopCharacteristics isSequential="true"/>',
}


class Gallery:
    """Collects elements with their places, row by row."""

    def __init__(self) -> None:
        self.elements: list[str] = []
        self.drawn: list[str] = []
        self.x, self.y = 40.0, 40.0
        self.number = count()

    def row(self, height: float) -> None:
        self.x, self.y = 40.0, self.y + height

    def shape(
        self, kind: str, body: str = "", width: float = 100, height: float = 80,
        attributes: str = "", drawn: str = "", name: str = "",
    ) -> str:  # fmt: skip
        key = f"{kind}_{next(self.number)}"
        self.elements.append(
            f'<{kind} id="{key}" name="{name or kind}" {attributes}>{body}</{kind}>'
        )
        bounds = f'<dc:Bounds x="{self.x}" y="{self.y}" width="{width}" height="{height}"/>'
        self.drawn.append(
            f'<di:BPMNShape id="{key}_di" bpmnElement="{key}" {drawn}>{bounds}</di:BPMNShape>'
        )
        self.x += max(width, 70) + 40
        return key

    def edge(self, kind: str, source: str, target: str, body: str = "", name: str = "") -> str:
        key = f"{kind}_{next(self.number)}"
        ends = f'sourceRef="{source}" targetRef="{target}"'
        self.elements.append(f'<{kind} id="{key}" name="{name}" {ends}>{body}</{kind}>')
        start, end = self.x - 240, self.x - 140
        points = "".join(f'<w:waypoint x="{x}" y="{self.y + 40}"/>' for x in (start, end))
        self.drawn.append(f'<di:BPMNEdge id="{key}_di" bpmnElement="{key}">{points}</di:BPMNEdge>')
        return key

    def document(self) -> str:
        plane = f'<di:BPMNPlane id="pl" bpmnElement="p">{"".join(self.drawn)}</di:BPMNPlane>'
        process = f'<process id="p">{"".join(self.elements)}</process>'
        return f'{HEAD}{process}<di:BPMNDiagram id="dg">{plane}</di:BPMNDiagram></definitions>'


def gallery() -> str:
    """Give the file."""
    drawing = Gallery()
    for kind, symbols in KINDS.items():
        for symbol in symbols:
            body = f"<{symbol}EventDefinition/>" if symbol else ""
            drawing.shape(kind, body, 36, 36, name=symbol or "none")
        both = "<messageEventDefinition/><timerEventDefinition/>"
        drawing.shape(kind, both, 36, 36, name="multiple")
        if kind not in ("endEvent", "intermediateThrowEvent"):
            drawing.shape(kind, both, 36, 36, 'parallelMultiple="true"', name="all of them")
            weak = 'cancelActivity="false"' if kind == "boundaryEvent" else 'isInterrupting="false"'
            drawing.shape(kind, both, 36, 36, weak, name="goes beside")
        drawing.row(90)
    for kind in GATEWAYS:
        drawing.shape(kind, "", 50, 50, drawn='isMarkerVisible="true"')
    drawing.shape("exclusiveGateway", "", 50, 50, name="plain")
    drawing.shape("eventBasedGateway", "", 50, 50, 'instantiate="true"')
    drawing.shape("eventBasedGateway", "", 50, 50, 'instantiate="true" eventGatewayType="Parallel"')
    drawing.row(110)
    for kind in TASKS:
        drawing.shape(kind)
    drawing.row(110)
    for name, body in LOOPS.items():
        drawing.shape("task", body, name=name)
    drawing.shape("task", "", attributes='isForCompensation="true"', name="undo")
    drawing.shape("subProcess", LOOPS["loop"], drawn='isExpanded="false"')
    drawing.shape("adHocSubProcess", "", drawn='isExpanded="false"')
    drawing.shape("transaction", "", drawn='isExpanded="false"')
    drawing.row(110)
    for kind in ("subProcess", "transaction", "adHocSubProcess"):
        drawing.shape(kind, "", 200, 120, drawn='isExpanded="true"')
    drawing.shape("subProcess", "", 200, 120, 'triggeredByEvent="true"', 'isExpanded="true"')
    drawing.row(150)
    drawing.elements.append('<dataObject id="many" isCollection="true"/>')
    drawing.shape("dataObjectReference", "", 36, 50)
    drawing.shape("dataObjectReference", "", 36, 50, 'dataObjectRef="many"', name="collection")
    drawing.shape("dataStoreReference", "", 50, 50)
    drawing.shape("textAnnotation", "<text>A note of two lines, perhaps</text>", 120, 50)
    drawing.shape("group", "", 120, 70)
    drawing.row(120)
    pairs = (("sequenceFlow", "<conditionExpression>x</conditionExpression>", "conditional"),
             ("sequenceFlow", "", "plain"), ("association", "", ""))  # fmt: skip
    for kind, body, name in pairs:
        source = drawing.shape("task", name="from")
        drawing.x += 60
        target = drawing.shape("task", name="to")
        drawing.edge(kind, source, target, body, name)
    return drawing.document()

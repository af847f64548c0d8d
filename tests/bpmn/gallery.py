"""A diagram that holds every shape, marker and edge of BPMN, drawn with DI on a grid."""

from __future__ import annotations

from itertools import count

HEAD = (
    '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d"'
    ' xmlns:di="http://www.omg.org/spec/BPMN/20100524/DI"'
    ' xmlns:dc="http://www.omg.org/spec/DD/20100524/DC"'
    ' xmlns:w="http://www.omg.org/spec/DD/20100524/DI">'
)
ROOTS = '<category id="c"><categoryValue id="cv" value="The group"/></category>'
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
WEAK = {"startEvent": "isInterrupting", "boundaryEvent": "cancelActivity"}
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
NAMELESS = ("textAnnotation", "group")


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
        named = "" if kind in NAMELESS else f'name="{name or kind}"'
        self.elements.append(f'<{kind} id="{key}" {named} {attributes}>{body}</{kind}>')
        bounds = f'<dc:Bounds x="{self.x}" y="{self.y}" width="{width}" height="{height}"/>'
        self.drawn.append(
            f'<di:BPMNShape id="{key}_di" bpmnElement="{key}" {drawn}>{bounds}</di:BPMNShape>'
        )
        self.x += max(width, 70) + 40
        return key

    def edge(
        self, kind: str, source: str, target: str, body: str = "", name: str = "",
        direction: str = "",
    ) -> str:  # fmt: skip
        key = f"{kind}_{next(self.number)}"
        ends = f'sourceRef="{source}" targetRef="{target}"'
        ends += f' associationDirection="{direction}"' if direction else ""
        named = f'name="{name}"' if name else ""
        self.elements.append(f'<{kind} id="{key}" {named} {ends}>{body}</{kind}>')
        start, end = self.x - 240, self.x - 140
        points = "".join(f'<w:waypoint x="{x}" y="{self.y + 40}"/>' for x in (start, end))
        self.drawn.append(f'<di:BPMNEdge id="{key}_di" bpmnElement="{key}">{points}</di:BPMNEdge>')
        return key

    def default_flow(self) -> None:
        key = f"sequenceFlow_{next(self.number) + 3}"
        source = self.shape("task", attributes=f'default="{key}"', name="from")
        self.x += 60
        target = self.shape("task", name="to")
        assert self.edge("sequenceFlow", source, target, name="otherwise") == key

    def document(self) -> str:
        plane = f'<di:BPMNPlane id="pl" bpmnElement="p">{"".join(self.drawn)}</di:BPMNPlane>'
        process = f'<process id="p">{"".join(self.elements)}</process>'
        return (
            f'{HEAD}{ROOTS}{process}<di:BPMNDiagram id="dg">{plane}</di:BPMNDiagram></definitions>'
        )


def events(drawing: Gallery) -> None:
    for kind, symbols in KINDS.items():
        attached = ""
        if kind == "boundaryEvent":
            attached = f'attachedToRef="{drawing.shape("task", name="host")}"'
        for symbol in symbols:
            body = f"<{symbol}EventDefinition/>" if symbol else ""
            drawing.shape(kind, body, 36, 36, attached, name=symbol or "none")
        both = "<messageEventDefinition/><timerEventDefinition/>"
        drawing.shape(kind, both, 36, 36, attached, name="multiple")
        if kind not in ("endEvent", "intermediateThrowEvent"):
            more = attached + ' parallelMultiple="true"'
            drawing.shape(kind, both, 36, 36, more, name="all of them")
        for symbol in symbols if kind in WEAK else ():
            if symbol not in ("", "error", "compensate", "cancel"):
                body = f"<{symbol}EventDefinition/>"
                weak = f'{attached} {WEAK[kind]}="false"'
                drawing.shape(kind, body, 36, 36, weak, name="goes beside")
        drawing.row(90)


def gallery() -> str:
    """Return the file."""
    drawing = Gallery()
    events(drawing)
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
    drawing.shape("group", "", 120, 70, 'categoryValueRef="cv"')
    drawing.row(120)
    pairs = (("sequenceFlow", "<conditionExpression>x</conditionExpression>", "conditional"),
             ("sequenceFlow", "", "plain"), ("association", "", ""),
             ("one", "", ""), ("both", "", ""))  # fmt: skip
    for kind, body, name in pairs:
        source = drawing.shape("task", name="from")
        drawing.x += 60
        target = drawing.shape("task", name="to")
        if kind in ("one", "both"):
            drawing.edge("association", source, target, body, name, kind.capitalize())
        else:
            drawing.edge(kind, source, target, body, name)
    drawing.row(110)
    drawing.default_flow()
    return drawing.document()


POOLS = """<collaboration id="co"><participant id="buyer" name="Buyer" processRef="p1"/>
<participant id="shop" name="The shop"><participantMultiplicity minimum="2"/></participant>
<participant id="bank" name="Bank" processRef="p2"/>
<messageFlow id="m1" name="order" sourceRef="ask" targetRef="shop"/>
<messageFlow id="m2" sourceRef="shop" targetRef="got"/></collaboration>
<process id="p1"><laneSet id="ls"><lane id="l1" name="Front"><flowNodeRef>ask</flowNodeRef></lane>
<lane id="l2" name="Back"><flowNodeRef>got</flowNodeRef></lane></laneSet>
<sendTask id="ask" name="Ask"/><receiveTask id="got" name="Get it"/>
<ioSpecification><dataInput id="di" name="in"/><dataOutput id="do" name="out"/>
<inputSet id="is"/><outputSet id="os"/></ioSpecification>
<sequenceFlow id="f1" name="then" sourceRef="ask" targetRef="got"/></process>
<process id="p2"><userTask id="book" name="Book"><property id="t" name="__targetRef_placeholder"/>
<dataInputAssociation id="a1"><sourceRef>ds</sourceRef><targetRef>t</targetRef>
</dataInputAssociation><dataOutputAssociation id="a2"><targetRef>ob</targetRef>
</dataOutputAssociation></userTask><dataStoreReference id="ds" name="Accounts"/>
<dataObject id="o"/><dataObjectReference id="ob" name="Receipt" dataObjectRef="o"/></process>"""
PLACES = {
    "buyer": (40, 40, 600, 260), "l1": (70, 40, 570, 130), "l2": (70, 170, 570, 130),
    "ask": (140, 65, 100, 80), "got": (400, 195, 100, 80), "shop": (40, 340, 600, 60),
    "bank": (40, 440, 600, 200), "book": (250, 460, 100, 80), "ds": (120, 480, 50, 50),
    "ob": (450, 480, 36, 50), "di": (560, 60, 36, 50), "do": (560, 220, 36, 50),
}  # fmt: skip
LINES = {
    "m1": ((190, 145), (190, 340)), "m2": ((450, 340), (450, 275)),
    "f1": ((240, 105), (320, 105), (320, 235), (400, 235)),
    "a1": ((170, 505), (250, 505)), "a2": ((350, 505), (450, 505)),
}  # fmt: skip


def pools() -> str:
    """Return a file with pools, lanes, message flows and data."""
    drawn = "".join(
        f'<di:BPMNShape id="{key}_di" bpmnElement="{key}" isHorizontal="true">'
        f'<dc:Bounds x="{x}" y="{y}" width="{w}" height="{h}"/></di:BPMNShape>'
        for key, (x, y, w, h) in PLACES.items()
    )
    for key, points in LINES.items():
        ways = "".join(f'<w:waypoint x="{x}" y="{y}"/>' for x, y in points)
        drawn += f'<di:BPMNEdge id="{key}_di" bpmnElement="{key}">{ways}</di:BPMNEdge>'
    plane = f'<di:BPMNPlane id="pl" bpmnElement="co">{drawn}</di:BPMNPlane>'
    return f'{HEAD}{POOLS}<di:BPMNDiagram id="dg">{plane}</di:BPMNDiagram></definitions>'

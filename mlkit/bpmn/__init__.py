"""BPMN diagrams as durable pipelines: parse, check, run, resume."""


class BpmnError(Exception):
    """A modelled error that a Python callable throws for a boundary event to catch.

    Args:
        code: The code that the diagram's error event names.
        message: Text for people.
    """

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code

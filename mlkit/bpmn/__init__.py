"""BPMN diagrams as durable pipelines: parse, check, run, resume."""

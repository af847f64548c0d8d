"""`mlkit bpmn`."""

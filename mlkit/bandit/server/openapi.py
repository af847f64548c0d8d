"""The description of the HTTP interface: an OpenAPI 3.1 document, and a page made from it."""

from __future__ import annotations

import html
import json
from typing import Any

from mlkit import __version__
from mlkit.bandit.server.messages import EVENT_ID_BYTES, ID_BYTES, Limits

_Json = dict[str, Any]
_METHODS = ("get", "put", "post", "delete")


def document(limits: Limits, token: bool) -> _Json:
    """Give the OpenAPI document of a server with these limits, with or without a token."""
    described: _Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "mlkit bandit serve",
            "version": __version__,
            "description": "Recommendations by Thompson sampling, and feedback on them.",
        },
        "paths": _paths(limits, token),
        "components": {"schemas": _schemas(limits)},
    }
    if token:
        scheme = {"type": "http", "scheme": "bearer"}
        described["components"]["securitySchemes"] = {"token": scheme}
        described["security"] = [{"token": []}]
    return described


def _paths(limits: Limits, token: bool) -> _Json:
    arm_id = {
        "name": "id",
        "in": "path",
        "required": True,
        "description": f"1 to {ID_BYTES} bytes of UTF-8, percent-encoded once; it may hold `/`.",
        "schema": {"type": "string", "minLength": 1, "maxLength": ID_BYTES // 4},
    }
    paths = {
        "/predict": {"post": _predict()},
        "/feedback": {"post": _feedback()},
        "/arms": {"get": _list_arms(limits)},
        "/arms/{id}": {"parameters": [arm_id], **_one_arm()},
        "/health": {"get": _health()},
        "/metrics": {"get": _text("Prometheus metrics, summed over the workers.", "text/plain")},
        "/openapi.json": {"get": _operation("This document.", {200: {"type": "object"}})},
        "/docs": {"get": _text("This interface as a page.", "text/html")},
    }
    if token:
        _add_unauthorized(paths)
    return paths


def _add_unauthorized(paths: _Json) -> None:
    for path, item in paths.items():
        for method in _METHODS:
            if method in item and path != "/health":
                item[method]["responses"]["401"] = _error("The bearer token is missing or wrong.")


def _predict() -> _Json:
    return _operation(
        "Rank candidates: the best k by a draw from each candidate's posterior.",
        {200: _one_or_list("Prediction")},
        errors=(400, 413, 422, 503),
        body=_one_or_list("PredictRequest"),
        example={"context": "u123", "candidates": ["c1", "c2", "c3"], "k": 2},
    )


def _feedback() -> _Json:
    return _operation(
        "Give rewards. The answer follows when they are on disk; a list is taken as a whole.",
        {200: _one_or_list("FeedbackReceipt")},
        errors=(400, 409, 410, 413, 422, 503),
        body=_one_or_list("FeedbackEvent"),
        example={"event_id": "click-1", "context": "u123", "arm": "c1", "reward": 1},
    )


def _list_arms(limits: Limits) -> _Json:
    limit = {"type": "integer", "minimum": 1, "maximum": limits.max_page, "default": 100}
    operation = _operation(
        "List the arms in the order of their ids.", {200: _ref("ArmsPage")}, errors=(400, 422, 503)
    )
    operation["parameters"] = [
        {"name": "limit", "in": "query", "schema": limit},
        {
            "name": "after",
            "in": "query",
            "description": "The `next` of the page before.",
            "schema": _id(),
        },
    ]
    return operation


def _one_arm() -> _Json:
    put = _operation(
        "Add an arm, or set its posterior; without a body it is the prior.",
        {200: _ref("Arm"), 201: _ref("Arm")},
        errors=(400, 413, 422, 503),
        body=_ref("ArmParameters"),
        example={"a": 1, "b": 20},
    )
    put["requestBody"]["required"] = False
    return {
        "get": _operation("Show an arm.", {200: _ref("Arm")}, errors=(400, 404, 422, 503)),
        "put": put,
        "delete": _operation(
            "Remove an arm and all that is known of it.",
            {204: None},
            errors=(400, 404, 422, 503),
        ),
    }


def _health() -> _Json:
    return _operation(
        "Tell whether predictions can be served; needs no token.",
        {200: _ref("Health")},
        errors=(503,),
    )


_ERRORS = {
    400: "Malformed JSON (with the position), or an id in the path that is not UTF-8.",
    404: "There is no such arm.",
    409: "The event id was used with another body; nothing was taken.",
    410: "The decision is older than the dedupe window; nothing was taken.",
    413: "The body is too large.",
    422: "A wrong type or value (with the field); nothing was done.",
    503: "The posteriors are being loaded, or the journal cannot be written: try again.",
}
_DONE = {200: "Done.", 201: "The arm is new.", 204: "The arm is gone."}


def _operation(
    summary: str,
    answers: dict[int, _Json | None],
    *,
    errors: tuple[int, ...] = (),
    body: _Json | None = None,
    example: Any = None,
) -> _Json:
    operation: _Json = {"summary": summary, "responses": {}}
    if body is not None:
        content = {"application/json": {"schema": body, "example": example}}
        operation["requestBody"] = {"required": True, "content": content}
    for status, schema in answers.items():
        answer: _Json = {"description": _DONE[status]}
        if schema is not None:
            answer["content"] = {"application/json": {"schema": schema}}
        operation["responses"][str(status)] = answer
    for status in errors:
        operation["responses"][str(status)] = _error(_ERRORS[status])
    return operation


def _text(summary: str, kind: str) -> _Json:
    content = {kind: {"schema": {"type": "string"}}}
    return {"summary": summary, "responses": {"200": {"description": "Done.", "content": content}}}


def _error(description: str) -> _Json:
    return {
        "description": description,
        "content": {"application/json": {"schema": _ref("Error")}},
    }


def _ref(name: str) -> _Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _one_or_list(name: str) -> _Json:
    return {"oneOf": [_ref(name), _ref(f"{name}List")]}


def _id(most: int = ID_BYTES) -> _Json:
    # JSON Schema counts characters, of up to 4 bytes.
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": most // 4,
        "description": f"1 to {most} bytes of UTF-8",
    }


def _optional(schema: _Json) -> _Json:
    return {**schema, "type": [schema["type"], "null"]}


def _object(required: str, /, *, closed: bool = True, **properties: _Json) -> _Json:
    schema = {"type": "object", "required": required.split(), "properties": properties}
    return {**schema, "additionalProperties": False} if closed else schema


def _list(name: str, most: int) -> _Json:
    return {"type": "array", "minItems": 1, "maxItems": most, "items": _ref(name)}


def _schemas(limits: Limits) -> _Json:
    return {
        **_prediction_schemas(limits),
        **_feedback_schemas(limits),
        **_arm_schemas(),
        "Health": _object(
            "status model arms uptime",
            status={"const": "ok"},
            model={"type": "string"},
            arms={"type": "integer"},
            uptime={"type": "number", "description": "Seconds since the start of the server."},
        ),
        "Error": _object(
            "error hint",
            error={"type": "string", "description": "What is wrong, and where."},
            hint={"type": "string", "description": "What to do about it."},
        ),
    }


def _prediction_schemas(limits: Limits) -> _Json:
    candidates = {
        "type": "array",
        "items": {"type": "string", "maxLength": ID_BYTES // 4},
        "maxItems": limits.max_candidates,
        "description": "Arms to choose from (default: all arms). One given twice is drawn twice.",
    }
    k = {"type": "integer", "minimum": 1, "maximum": limits.max_k, "default": 10}
    seed = {
        "type": "integer",
        "minimum": 0,
        "maximum": (1 << 64) - 1,
        "description": "Makes the answer repeatable while the posteriors stay the same.",
    }
    share = {"type": "number", "minimum": 0, "maximum": 1}
    unknown = _object(
        "contexts arms",
        contexts={**share, "description": "Without a posterior in the context."},
        arms={**share, "description": "Without a posterior of their own: the prior was used."},
    )
    prediction = _object(
        "decision_id arms scores unknown",
        decision_id={"type": "string", "description": "Give it back with the feedback."},
        arms={"type": "array", "items": {"type": "string"}, "description": "Best first."},
        scores={"type": "array", "items": {**share}, "description": "Their draws."},
        unknown={**unknown, "description": "Shares of the candidates."},
    )
    return {
        "PredictRequest": _object(
            "",
            context=_optional(_id()),
            candidates=_optional(candidates),
            k=k,
            seed=_optional(seed),
        ),
        "PredictRequestList": _list("PredictRequest", limits.max_batch),
        "Prediction": prediction,
        "PredictionList": _list("Prediction", limits.max_batch),
    }


def _feedback_schemas(limits: Limits) -> _Json:
    event = _object(
        "arm reward",
        arm=_id(),
        reward={"type": "number", "minimum": 0, "maximum": 1},
        decision_id=_optional({"type": "string", "description": "From the answer of /predict."}),
        context=_optional(_id()),
        event_id=_optional(_id(EVENT_ID_BYTES)),
    )
    event["description"] = (
        "Carries a `decision_id`, or an `event_id` of the client's and perhaps a `context`. "
        "The default `event_id` is made of the decision and the arm."
    )
    receipt = _object(
        "event_id duplicate ignored",
        event_id={"type": "string"},
        duplicate={"type": "boolean", "description": "It was taken before; nothing changed."},
        ignored={"type": "boolean", "description": "The arm was removed; nothing changed."},
    )
    return {
        "FeedbackEvent": event,
        "FeedbackEventList": _list("FeedbackEvent", limits.max_events),
        "FeedbackReceipt": receipt,
        "FeedbackReceiptList": _list("FeedbackReceipt", limits.max_events),
    }


def _arm_schemas() -> _Json:
    number = {"type": "number", "minimum": 1e-300, "maximum": 1e15}
    pulls = {"type": "integer", "minimum": 0, "maximum": 10**15, "default": 0}
    arm = _object(
        "arm a b pulls mean",
        arm={"type": "string"},
        a=number,
        b=number,
        pulls={"type": "integer", "minimum": 0},
        mean={"type": "number", "minimum": 0, "maximum": 1},
    )
    page = _object(
        "arms next",
        arms={"type": "array", "items": _ref("Arm")},
        next={"type": ["string", "null"], "description": "Give it as `after` to go on."},
    )
    parameters = _object("", a=_optional(number), b=_optional(number), pulls=pulls)
    parameters["dependentRequired"] = {"a": ["b"], "b": ["a"]}
    return {"ArmParameters": parameters, "Arm": arm, "ArmsPage": page}


# The page


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c2733; background: #fff; }
h2 { margin-top: 2.5rem; border-top: 1px solid #d5dce4; padding-top: 1rem; font-size: 1.15rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; background: #f2f5f8; }
code { padding: .1em .3em; border-radius: 3px; }
pre { padding: .8rem 1rem; overflow-x: auto; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; }
td { padding: .25rem .8rem .25rem 0; vertical-align: top; border-top: 1px solid #eef1f4; }
.method { color: #0b62a8; }
@media (prefers-color-scheme: dark) {
  body { color: #dbe3ea; background: #14191f; } code, pre { background: #202831; }
  h2, td { border-color: #303b47; } .method { color: #6db7f2; } a { color: #6db7f2; }
}
"""


def page(limits: Limits, token: bool) -> bytes:
    """Give the interface as an HTML page that loads nothing else."""
    described = document(limits, token)
    info = described["info"]
    operations = [
        _operation_html(method, path, item[method])
        for path, item in described["paths"].items()
        for method in _METHODS
        if method in item
    ]
    schemas = [_schema_html(*each) for each in described["components"]["schemas"].items()]
    text = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{info["title"]}</title>
<style>{_STYLE}</style>
<h1>{info["title"]} <small>{info["version"]}</small></h1>
<p>{info["description"]} The same as a machine reads it: <a href="openapi.json">openapi.json</a>.
{"<p>Every path but <code>/health</code> needs <code>Authorization: Bearer TOKEN</code>." * token}
{"".join(operations)}
<h2>Documents</h2>
{"".join(schemas)}
</html>
"""
    return text.encode()


def _operation_html(method: str, path: str, operation: _Json) -> str:
    answers = "".join(
        f"<tr><td><code>{status}</code><td>{html.escape(answer['description'])}"
        for status, answer in operation["responses"].items()
    )
    return (
        f'<h2><span class="method">{method.upper()}</span> <code>{path}</code></h2>'
        f"<p>{html.escape(operation['summary'])}{_example_html(method, path, operation)}"
        f"<table>{answers}</table>\n"
    )


def _example_html(method: str, path: str, operation: _Json) -> str:
    if "requestBody" not in operation:
        return ""
    example = json.dumps(operation["requestBody"]["content"]["application/json"]["example"])
    verb = "" if method == "post" else f" -X {method.upper()}"
    call = f"curl{verb} http://127.0.0.1:8000{path.replace('{id}', 'c1')} -d '{example}'"
    return f"<pre>{html.escape(call)}</pre>"


def _schema_html(name: str, schema: _Json) -> str:
    text = html.escape(json.dumps(schema, indent=1))
    return f"<details><summary><code>{name}</code></summary><pre>{text}</pre></details>\n"

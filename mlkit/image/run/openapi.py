"""Routes out of an OpenAPI document, with parameters and bodies generated from its schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from mlkit.image.run.probe import Probe

WELL_KNOWN = (
    *("/openapi.json", "/swagger.json", "/v3/api-docs", "/swagger/v1/swagger.json"),
    *("/api/openapi.json", "/api-docs", "/api/v1/openapi.json", "/docs/openapi.json"),
    *("/v2/api-docs", "/q/openapi?format=json", "/swagger/doc.json"),
)
"""Where frameworks serve their document."""
READING, ALL = ("get",), ("get", "post", "put", "patch")
DEEPEST = 6
"""Schemas within one another; a deeper one is left out."""
LARGEST = 4 << 20
SAMPLES = {
    "date": "2024-01-01",
    "date-time": "2024-01-01T00:00:00Z",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "email": "a@example.com",
    "uri": "http://localhost/",
    "ipv4": "127.0.0.1",
}


def read_document(data: bytes) -> dict[str, Any] | None:
    """Read an OpenAPI or Swagger document in JSON; None if it is none."""
    if len(data) > LARGEST:
        return None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    named = isinstance(document, dict) and ({"openapi", "swagger"} & document.keys())
    return document if named and isinstance(document.get("paths"), dict) else None


def routes(
    document: dict[str, Any], port: int, methods: tuple[str, ...] = READING
) -> Iterator[Probe]:
    """List probes of a document's operations.

    Args:
        document: As `read_document` gives it.
        port: Of the server.
        methods: Which operations, in lower case.
    """
    base = str(document.get("basePath") or "").rstrip("/")
    for path, operations in document["paths"].items():
        if not isinstance(operations, dict) or not str(path).startswith("/"):
            continue
        for method in methods:
            operation = operations.get(method)
            if isinstance(operation, dict):
                shared = operations.get("parameters")
                yield _probe(document, base + path, method, operation, port, shared)


def _probe(
    document: dict[str, Any], path: str, method: str, operation: Any, port: int, shared: Any
) -> Probe:
    query, headers = {}, {}
    for each in (*_list(shared), *_list(operation.get("parameters"))):
        parameter = _resolve(document, each)
        value = _text(_example(document, {**parameter, **_dict(parameter.get("schema"))}))
        name, where = str(parameter.get("name")), parameter.get("in")
        if where == "path":
            path = path.replace(f"{{{name}}}", quote(value, safe="") or "a")
        elif where == "query" and parameter.get("required"):
            query[name] = value
        elif where == "header" and parameter.get("required"):
            headers[name] = value
    content = _dict(_dict(_resolve(document, operation.get("requestBody"))).get("content"))
    body = None
    if method != "get" and "application/json" in content:
        schema = _dict(content["application/json"])
        body = json.dumps(_example(document, {**schema, **_dict(schema.get("schema"))})).encode()
        headers["Content-Type"] = "application/json"
    place = path + (f"?{urlencode(query)}" if query else "")
    place = quote(place, safe="/?&=%:@!$'()*+,;~-._")
    text = f"http:{method.upper()} {port}{place}"
    return Probe(text, "http", place, port, method.upper(), None, headers, body)


def _example(document: dict[str, Any], given: Any, depth: int = DEEPEST) -> Any:
    """Generate a value of a schema."""
    schema = _resolve(document, given)
    for key in ("example", "default", "const"):
        if key in schema:
            return schema[key]
    if _list(schema.get("enum")):
        return schema["enum"][0]
    for key in ("allOf", "anyOf", "oneOf"):
        choices = _list(schema.get(key))
        if choices and depth:
            return _join(document, choices if key == "allOf" else choices[:1], depth)
    return _of_type(document, schema, depth)


def _join(document: dict[str, Any], schemas: list[Any], depth: int) -> Any:
    values = [_example(document, each, depth - 1) for each in schemas]
    whole: dict[str, Any] = {}
    for each in values:
        if not isinstance(each, dict):
            return each
        whole |= each
    return whole


def _of_type(document: dict[str, Any], schema: dict[str, Any], depth: int) -> Any:
    kind = schema.get("type")
    kind = next((each for each in kind if each != "null"), None) if isinstance(kind, list) else kind
    if kind == "object" or "properties" in schema:
        if not depth:
            return {}
        properties = _dict(schema.get("properties"))
        wanted = [name for name in _list(schema.get("required")) if name in properties]
        return {name: _example(document, properties[name], depth - 1) for name in wanted}
    if kind == "array":
        return [_example(document, schema.get("items"), depth - 1)] if depth else []
    if kind in {"integer", "number"}:
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        return max(1, low + 1) if isinstance(low, int | float) and low >= 1 else 1
    if kind == "boolean":
        return True
    length = schema.get("minLength")
    sample = SAMPLES.get(str(schema.get("format")), "a")
    return sample.ljust(min(length, 1000), "a") if isinstance(length, int) else sample


def _resolve(document: dict[str, Any], given: Any) -> dict[str, Any]:
    """Follow references within the document."""
    for _ in range(DEEPEST):
        reference = _dict(given).get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        given = document
        for part in reference[2:].split("/"):
            given = _dict(given).get(part.replace("~1", "/").replace("~0", "~"))
    return _dict(given)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

"""The description of an HTTP interface: an OpenAPI 3.1 document, made from its operations.

Schemas come from the types that are encoded and decoded. They are shaped so that generators of
clients read them right: numbers carry their format, a field that may be left out is not a union
with null, and no body is a union.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mlkit import __version__
from mlkit.web.access import ANY, Access
from mlkit.web.application import Operation, Parameter, Route
from mlkit.web.errors import ErrorDocuments

Json = dict[str, Any]
Bounds = Mapping[str, Mapping[str, Json]]
"""Type -> field -> keywords of its schema that are known only at run time."""
_REFERENCE = "#/components/schemas/{name}"
_FORMATS = {"integer": "int64", "number": "double"}
_EVERYWHERE = {
    408: "The request took too long to arrive.",
    431: "The request's head is too large.",
}
_WITH_BODY = {
    413: "The body is too large.",
    415: "The body is encoded in an unknown way.",
}


def document(
    title: str,
    description: str,
    routes: Sequence[Route],
    *,
    access: Access | None = None,
    bounds: Bounds | None = None,
    errors: ErrorDocuments = ErrorDocuments(),  # noqa: B008
) -> Json:
    """Return the OpenAPI document of an interface.

    Args:
        title: Its name.
        description: One sentence.
        routes: The described paths.
        access: How clients prove who they are.
        bounds: Limits of fields that are known only at run time.
        errors: How errors are answered.
    """
    described: Json = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": __version__, "description": description},
        "tags": [{"name": tag} for tag in _tags(routes)],
    }
    schemas = _Schemas(_types(routes, errors), bounds or {}, errors)
    described["paths"] = {route.name: _path(route, schemas, access) for route in routes}
    described["components"] = {"schemas": schemas.components}
    if access is not None:
        described["components"]["securitySchemes"] = {"access": access.scheme}
    return described


def _operations(routes: Sequence[Route]) -> Iterator[Operation]:
    return (operation for route in routes for operation in route.methods.values())


def _tags(routes: Sequence[Route]) -> list[str]:
    return list(dict.fromkeys(operation.tag for operation in _operations(routes)))


def _types(routes: Sequence[Route], errors: ErrorDocuments) -> list[Any]:
    found: list[Any] = [errors.type]
    for operation in _operations(routes):
        answers = [each.type for each in operation.answers.values() if each.type is not None]
        for one in (operation.body, *answers):
            if one is not None and one not in found:
                found.append(one)
    return found


class _Schemas:
    """The schemas of all types, and references to them."""

    def __init__(self, types: list[Any], bounds: Bounds, errors: ErrorDocuments) -> None:
        self.errors = errors
        schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
        self._types = types
        self._schemas = [_shape(schema) for schema in schemas]
        self.components = {name: _shape(schema) for name, schema in components.items()}
        for name, fields in bounds.items():
            for field, keywords in fields.items():
                self.components[name]["properties"][field] |= keywords

    def of(self, wanted: Any) -> Json:
        """Return the schema of a type, which is a reference for a struct."""
        return self._schemas[self._types.index(wanted)]


def _shape(schema: Json) -> Json:
    """Return a schema as generators of clients read it right."""
    schema = {key: _shape_value(key, value) for key, value in schema.items()}
    if schema.get("type") in _FORMATS:
        schema.setdefault("format", _FORMATS[schema["type"]])
    if all(isinstance(each, str) for each in schema.get("enum", [0])):
        schema["type"] = "string"  # without it, generators take any value
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        schema["properties"][name] = _without_null(field, name in required)
    return schema


def _shape_value(key: str, value: Any) -> Any:
    if key == "properties":
        return {name: _shape(field) for name, field in value.items()}
    if isinstance(value, dict) and key != "example":
        return _shape(value)
    if key in ("anyOf", "oneOf", "prefixItems"):
        return [_shape(each) for each in value]
    return value


def _without_null(field: Json, required: bool) -> Json:
    """Return `anyOf: [X, null]` as X, or as X whose type is one or null."""
    options = field.get("anyOf", [])
    others = [each for each in options if each != {"type": "null"}]
    if len(others) != 1 or len(options) != 2:
        return field
    rest = {key: value for key, value in field.items() if key not in ("anyOf", "default")}
    merged = {**others[0], **rest}
    if required:
        merged["type"] = [merged["type"], "null"]
    return merged


def _path(route: Route, schemas: _Schemas, access: Access | None) -> Json:
    described: Json = {}
    if route.parameters:
        described["parameters"] = [_parameter(each) for each in route.parameters]
    for method, operation in route.methods.items():
        described[method.lower()] = _operation(operation, schemas, access)
    return described


def _parameter(parameter: Parameter) -> Json:
    described: Json = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "schema": _shape(parameter.schema),
    }
    return described | ({"description": parameter.description} if parameter.description else {})


def _operation(operation: Operation, schemas: _Schemas, access: Access | None) -> Json:
    described: Json = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
    }
    if operation.parameters:
        described["parameters"] = [_parameter(each) for each in operation.parameters]
    if operation.body is not None:
        content: Json = {"schema": schemas.of(operation.body)}
        if operation.example is not None:
            content["example"] = operation.example
        body = {"required": operation.body_required, "content": {operation.body_media: content}}
        described["requestBody"] = body
    described["responses"] = _responses(operation, schemas, access)
    if access is not None:
        described["security"] = [] if operation.role is None else [{"access": []}]
    return described


def _responses(operation: Operation, schemas: _Schemas, access: Access | None) -> Json:
    answers: Json = {}
    for status, answer in operation.answers.items():
        described: Json = {"description": answer.description}
        if answer.media != "application/json":
            described["content"] = {answer.media: {"schema": {"type": "string"}}}
        elif answer.type is not None:
            described["content"] = {answer.media: {"schema": schemas.of(answer.type)}}
        answers[str(status)] = described
    for status, text in sorted(_problems(operation, access).items()):
        content = {schemas.errors.media: {"schema": schemas.of(schemas.errors.type)}}
        answers[str(status)] = {"description": text, "content": content}
    return answers


def _problems(operation: Operation, access: Access | None) -> dict[int, str]:
    problems = dict(_EVERYWHERE)
    if operation.body is not None:
        problems |= _WITH_BODY
    if access is not None and operation.role is not None:
        refused = f"The role `{operation.role}` is needed."
        if operation.role == ANY:
            refused = "The request comes from a page of another site."
        problems |= {401: access.description, 403: refused}
    return problems | dict(operation.problems)


def curl(base: str, method: str, path: str, operation: Json) -> str:
    """Return a command line that calls an operation of a document."""
    words = ["curl", *(["-X", method.upper()] if method not in ("get", "post") else [])]
    words.append(base + re.sub(r"\{\w+\}", "c1", path))
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    if "example" in content:
        words += ["-d", f"'{msgspec.json.encode(content['example']).decode()}'"]
    return " ".join(words)

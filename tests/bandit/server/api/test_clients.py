"""Clients that are generated from the OpenAPI document speak with the server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).with_name("clients")
# Pinned here and not in pyproject.toml: it runs in an environment of its own, since it decides the
# versions of typer, ruff and httpx.
PYTHON_GENERATOR = "openapi-python-client==0.29.1"


def run(*command, cwd, **variables):
    environment = {**os.environ, **variables}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def described(start, tmp_path):
    """Start a server, and write its OpenAPI document to a file; return what it draws, too."""
    server = start("--workers", "1")
    (tmp_path / "openapi.json").write_bytes(server.raw("GET", "/openapi.json")[1])
    asked = {"context": "u1", "candidates": ["c1", "c2", "a/b é"], "k": 2, "seed": 2**64 - 1}
    return f"http://127.0.0.1:{server.port}", server.post("/predict", asked)


def check(answers, expected):
    """Check what a program of a client was answered: every bit of a score arrives."""
    for prediction in (answers["prediction"], *answers["batch"]):
        assert prediction["arms"] == expected["arms"]
        assert prediction["scores"] == expected["scores"]
    assert len(answers["batch"]) == 2
    assert answers["receipt"]["duplicate"] is False
    assert [each["duplicate"] for each in answers["receipts"]] == [True]
    assert answers["arm"]["arm"] == "a/b é"
    assert (answers["arms"], answers["next"]) == (3, None)
    assert "did not show 'rde'" in answers["error"]["error"]


@pytest.mark.slow
def test_a_client_in_go(start, tmp_path, need_program):
    """By oapi-codegen."""
    go = need_program("go")
    url, expected = described(start, tmp_path)
    module = tmp_path / "module"
    shutil.copytree(PROGRAMS / "go", module)
    (module / "client").mkdir()
    # As other tests compile for images: they share what is compiled of Go's library.
    environment = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
    generate = [go, "tool", "oapi-codegen", "-generate", "types,client", "-package", "client"]
    run(*generate, "-o", "client/client.go", tmp_path / "openapi.json", cwd=module, **environment)
    answers = json.loads(run(go, "run", ".", url, cwd=module, **environment))
    check(answers, expected)


@pytest.mark.slow
def test_a_client_in_python(start, tmp_path):
    """By openapi-python-client, in an environment of its own, as it needs another typer."""
    url, expected = described(start, tmp_path)
    environment = tmp_path / "environment"
    venv.create(environment)
    python = environment / "bin" / "python"
    # By the pip that is here, which need not be installed there first.
    pip = [sys.executable, "-m", "pip", "--python", python]
    try:
        run(*pip, "install", "-q", "--no-compile", PYTHON_GENERATOR, cwd=tmp_path)
    except AssertionError as error:
        pytest.skip(f"needs {PYTHON_GENERATOR}, which cannot be installed: {error}")
    generator = environment / "bin" / "openapi-python-client"
    options = "--path", "openapi.json", "--output-path", "client", "--meta", "none"
    path = f"{environment / 'bin'}:{os.environ['PATH']}"  # the formatter that it calls
    run(generator, "generate", *options, "--fail-on-warning", cwd=tmp_path, PATH=path)
    program = shutil.copy(PROGRAMS / "program.py", tmp_path)
    # What is generated is imported from the folder of the program.
    answers = json.loads(run(python, program, url, cwd=tmp_path, PYTHONSAFEPATH=""))
    check(answers, expected)


def test_no_body_is_a_union_and_numbers_have_formats(server):
    document = server.get("/openapi.json")
    operations = [
        item[method]
        for item in document["paths"].values()
        for method in item
        if method in ("get", "put", "post", "delete")
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all(operation["tags"] for operation in operations)
    text = json.dumps(document)
    for keyword in ("oneOf", "anyOf", "allOf"):
        assert f'"{keyword}"' not in text
    numbers = list(_numbers(document))
    assert numbers
    assert all("format" in each for each in numbers)


def _numbers(schema):
    if isinstance(schema, dict):
        if schema.get("type") in ("number", "integer"):
            yield schema
        for each in schema.values():
            yield from _numbers(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _numbers(each)

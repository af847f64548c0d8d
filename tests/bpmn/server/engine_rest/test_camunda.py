"""One suite of requests, sent to mlkit and to Camunda 7.24 itself."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from installing import install
from ports import free_port

HERE = Path(__file__).parent
PATIENCE = 300.0
FILES = ("orders.bpmn", "plain.bpmn", "called.bpmn")
MAVEN = ["mvn", "-q", "-B", "compile", "dependency:copy-dependencies", "-DoutputDirectory=lib"]
OPTIONS = (
    "--server.address=127.0.0.1", "--spring.datasource.url=jdbc:h2:mem:c;DB_CLOSE_DELAY=-1",
    "--camunda.bpm.auto-deployment-enabled=false",
    "--camunda.bpm.generic-properties.properties.historyTimeToLive=P180D",
)  # fmt: skip


def _conversation():
    spec = importlib.util.spec_from_file_location("conversation", HERE / "conversation.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


CONVERSATION = _conversation()


@pytest.fixture(scope="module")
def camunda(request, tmp_path_factory):
    """Start Camunda with a database in memory; return the URL of its REST API."""
    if not (shutil.which("mvn") and shutil.which("javac")):
        pytest.skip("needs the programs mvn and javac")
    folder = request.config.cache.mkdir("engine-rest-camunda")
    shutil.copytree(HERE / "camunda", folder, dirs_exist_ok=True)
    install(MAVEN, folder, "lib")
    port = free_port()
    classes = f"{folder}/target/classes:{folder}/lib/*"
    flags = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx400m", "-cp", classes)
    log = tmp_path_factory.mktemp("camunda") / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            ["java", *flags, "mlkit.Server", f"--server.port={port}", *OPTIONS],
            cwd=log.parent, stdout=output, stderr=output,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}/engine-rest"
    try:
        _wait(url, server, log)
        yield url
    finally:
        server.kill()
        server.wait()


def _wait(url, server, log):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-2000:]
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{url}/version", timeout=60).ok:
                return
        time.sleep(0.2)
    raise AssertionError(f"Camunda does not answer: {log.read_text()[-2000:]}")


def deployed(url):
    files = {each: (each, (HERE / each).read_bytes()) for each in FILES}
    form = {"deployment-name": "orders"}
    found = requests.post(f"{url}/deployment/create", files=files, data=form, timeout=PATIENCE)
    assert found.status_code == 200, found.text
    return url


@pytest.mark.slow
def test_both_servers_answer_alike(server, camunda):
    urls = deployed(f"{server.url}/engine-rest"), deployed(camunda)
    different = []
    for group in CONVERSATION.GROUPS:
        ours, theirs = (CONVERSATION.Peer(url) for url in urls)
        for peer in (ours, theirs):
            group(peer)
        assert len(ours.replies) == len(theirs.replies)
        pairs = zip(ours.replies, theirs.replies, strict=True)
        different += [(group.__name__, *pair) for pair in pairs if not alike(*pair)]
    assert different == []


def alike(ours, theirs):
    """Compare two replies; those that differ on purpose must do so."""
    same_status, same_body = ours.status == theirs.status, ours.body == theirs.body
    if ours.differs:
        return (same_status or ours.status_differs) and not (same_status and same_body)
    return same_status and same_body


def test_mlkit_alone_keeps_to_the_conversation(server):
    url = deployed(f"{server.url}/engine-rest")
    for group in CONVERSATION.GROUPS:
        peer = CONVERSATION.Peer(url)
        group(peer)
        assert all(reply.status < 500 or "code" in reply.body for reply in peer.replies)

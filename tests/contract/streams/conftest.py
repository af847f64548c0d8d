"""One Apache Kafka node for all tests of a run that need one."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import time
import uuid
from pathlib import Path

import pytest

POM = Path(__file__).parent / "kafka" / "pom.xml"
JAVA = ["java", "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
GENEROUS = 180.0


def _require(holds: bool, reason: str) -> None:
    if holds:
        return
    if os.environ.get("MLKIT_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _jars(folder: Path) -> str:
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies",
               f"-DoutputDirectory={folder}"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    _require(done.returncode == 0, f"Kafka cannot be fetched: {done.stdout[-500:]}")
    return f"{folder}/*"


def _ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _identity() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """Start a node, and yield its URL."""
    pytest.importorskip("confluent_kafka")
    _require(bool(shutil.which("java") and shutil.which("mvn")), "Java and Maven are not installed")
    folder = tmp_path_factory.mktemp("kafka")
    java = [*JAVA, "-cp", _jars(folder / "jars")]
    port, control = _ports(2)
    voter = _identity()
    settings = folder / "server.properties"
    settings.write_text(
        f"""
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{control}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control}
controller.listener.names=CONTROLLER
log.dirs={folder / "data"}
offsets.topic.num.partitions=2
transaction.state.log.num.partitions=2
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""
    )
    subprocess.run(
        [*java, "kafka.tools.StorageTool", "format", "-t", _identity(), "-c", str(settings),
         "-I", f"1@127.0.0.1:{control}:{voter}"],
        check=True, capture_output=True,
    )  # fmt: skip
    with (folder / "output").open("w") as output:
        node = subprocess.Popen([*java, "kafka.Kafka", str(settings)], stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + GENEROUS
            while not _answers(port) and node.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            assert _answers(port), (folder / "output").read_text()[-2000:]
            yield f"kafka://127.0.0.1:{port}"
        finally:
            node.kill()
            node.wait()

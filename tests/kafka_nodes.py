"""Apache Kafka nodes for the tests: from Maven, in a temporary folder, on free ports."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import confluent_kafka
import confluent_kafka.admin
import installing
import pytest
from ports import free_ports

POM = Path(__file__).parent / "contract" / "streams" / "kafka" / "pom.xml"
JAVA = ["java", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
GENEROUS = 300.0
ATTEMPTS = 3
"""A free port may be taken by somebody else before a node has it."""


def require(holds: bool, reason: str) -> None:
    """Skip a test that misses something, or fail it where nothing may be missing."""
    if holds:
        return
    if os.environ.get("MLKIT_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def jars(folder: Path) -> str:
    """Fetch Kafka into a folder, and return its class path."""
    require(bool(shutil.which("java") and shutil.which("mvn")), "Java and Maven are not installed")
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies",
               f"-DoutputDirectory={folder}"]  # fmt: skip
    installing.fetch(command, folder.parent)
    return f"{folder}/*"


def start(folder: Path, count: int, heap: str = "-Xmx512m", settings: str = "") -> Nodes:
    """Start nodes that answer.

    Args:
        folder: For their settings, data and output.
        count: How many of them; topics have three replicas, or as many as there are nodes.
        heap: The most memory of each.
        settings: More of them, as lines of `server.properties`.
    """
    java = [*JAVA, heap, "-cp", jars(folder / "jars")]
    for attempt in range(ATTEMPTS):
        nodes = Nodes(java, folder / str(attempt), count, settings)
        if nodes.answer() and nodes.know_each_other():
            return nodes
        nodes.stop()
    pytest.fail(nodes.output())


class Nodes:
    """Nodes that are brokers and controllers, known by 1, 2, ..."""

    def __init__(self, java: list[str], folder: Path, count: int, settings: str) -> None:
        self._java, self._folder, self._more = java, folder, settings
        self._ports = free_ports(2 * count)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.numbers = range(1, count + 1)
        self._format()
        for number in self.numbers:
            self._run(number)

    @property
    def servers(self) -> str:
        """The addresses of their clients."""
        return ",".join(f"127.0.0.1:{self._ports[number - 1]}" for number in self.numbers)

    def kill(self, number: int) -> None:
        """End a node by SIGKILL."""
        self._processes[number].kill()
        self._processes[number].wait()

    def restart(self, number: int) -> None:
        """Start a node that was killed, over its data, and wait until it answers."""
        for _ in range(ATTEMPTS):
            self._run(number)
            if self._answers(number):
                return
        pytest.fail(self.output())

    def answer(self) -> bool:
        """Wait until all nodes answer, and return whether they do."""
        return all(map(self._answers, self.numbers))

    def know_each_other(self) -> bool:
        """Wait until clients are told of all nodes, and return whether they are."""
        deadline = time.monotonic() + GENEROUS
        while time.monotonic() < deadline:
            with contextlib.suppress(confluent_kafka.KafkaException):
                if len(self.admin().list_topics(timeout=10).brokers) == len(self.numbers):
                    return True
            time.sleep(0.1)
        return False

    def admin(self) -> Any:
        """Return a client that asks about topics."""
        return confluent_kafka.admin.AdminClient({"bootstrap.servers": self.servers})

    def leader(self, topic: str) -> tuple[int, int]:
        """Return the node that leads a topic's first partition, and how many are in sync."""
        found = self.admin().list_topics(topic, timeout=GENEROUS).topics[topic].partitions[0]
        return found.leader, len(found.isrs)

    def stop(self) -> None:
        """End all nodes, and remove their data."""
        for number in self._processes:
            self.kill(number)
        for number in self.numbers:
            shutil.rmtree(self._folder / str(number) / "data", ignore_errors=True)

    def output(self) -> str:
        """Return the last words of all nodes."""
        files = [self._folder / str(number) / "output" for number in self.numbers]
        return "\n".join(f"{each}: {each.read_text()[-2000:]}" for each in files if each.exists())

    def _format(self) -> None:
        cluster = _identity()
        controls = [f"127.0.0.1:{port}" for port in self._ports[len(self.numbers) :]]
        voters = ",".join(
            f"{number}@{control}:{_identity()}"
            for number, control in zip(self.numbers, controls, strict=True)
        )
        formats = []
        for number in self.numbers:
            settings = self._settings(number)
            settings.parent.mkdir(parents=True)
            settings.write_text(self._properties(number, controls))
            command = [*self._java, "kafka.tools.StorageTool", "format", "-t", cluster,
                       "-c", str(settings), "-I", voters]  # fmt: skip
            formats.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        assert [each.wait(GENEROUS) for each in formats] == [0] * len(formats)

    def _settings(self, number: int) -> Path:
        return self._folder / str(number) / "server.properties"

    def _properties(self, number: int, controls: list[str]) -> str:
        count = min(len(self.numbers), 3)
        listeners = (
            f"PLAINTEXT://127.0.0.1:{self._ports[number - 1]},CONTROLLER://{controls[number - 1]}"
        )
        return f"""
process.roles=broker,controller
node.id={number}
controller.quorum.bootstrap.servers={",".join(controls)}
listeners={listeners}
advertised.listeners={listeners}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={self._folder / str(number) / "data"}
offsets.topic.num.partitions=2
transaction.state.log.num.partitions=2
default.replication.factor={count}
offsets.topic.replication.factor={count}
transaction.state.log.replication.factor={count}
share.coordinator.state.topic.replication.factor={count}
min.insync.replicas={max(1, count - 1)}
transaction.state.log.min.isr={max(1, count - 1)}
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
auto.create.topics.enable=false
{self._more}
"""

    def _run(self, number: int) -> None:
        settings = self._settings(number)
        with (settings.parent / "output").open("a") as output:
            self._processes[number] = subprocess.Popen(
                [*self._java, "kafka.Kafka", str(settings)], stdout=output, stderr=output
            )

    def _answers(self, number: int) -> bool:
        process, port = self._processes[number], self._ports[number - 1]
        deadline = time.monotonic() + GENEROUS
        while process.poll() is None and time.monotonic() < deadline:
            if _listens(port):
                return process.poll() is None
            time.sleep(0.1)
        return False


def _identity() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True

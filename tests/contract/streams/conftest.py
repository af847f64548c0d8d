"""One Apache Kafka node for all tests of a run that need one."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """Start a node, and yield its URL."""
    pytest.importorskip("confluent_kafka")
    import kafka_nodes

    nodes = kafka_nodes.start(tmp_path_factory.mktemp("kafka"), 1)
    try:
        yield f"kafka://{nodes.servers}"
    finally:
        nodes.stop()

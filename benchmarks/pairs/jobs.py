"""A Python job of one line, records a second, exactly once, beside quixstreams on the same Kafka.

    python benchmarks/pairs/jobs.py kafka://HOST:PORT [--peer PYTHON] [--json FILE]

Both read the same topic of JSON bars from its beginning, add one field by one line of Python, and
write to a topic of their own, in transactions that carry the offsets. What is measured is from the
first to the last record of the output, by the broker's clock, so that neither the start of an
interpreter nor that of a consumer group counts. The third is the ceiling of all that use
confluent-kafka, as both do: records are read and written as they are, with no work at all.
quixstreams may need another version of the Kafka client: `--peer` names an interpreter that has it.
Without it the benchmark fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic

from mlkit import streams
from mlkit.pairs.feeds.records import PriceRecord, encode
from mlkit.streams import Message, Partition

JOB = "def process(data):\n    return data.assign(mid=(data['high'] + data['low']) / 2)\n"
PEER = """
import sys
from quixstreams import Application
servers, source, target, count = sys.argv[1:]
app = Application(broker_address=servers, consumer_group="g" + target, loglevel="ERROR",
                  auto_offset_reset="earliest", processing_guarantee="exactly-once",
                  auto_create_topics=False)
frame = app.dataframe(app.topic(source, value_deserializer="json"))
frame = frame.apply(lambda row: {**row, "mid": (row["high"] + row["low"]) / 2})
frame.to_topic(app.topic(target, value_serializer="json"))
app.run(count=int(count), timeout=120)
"""

BARE = """
import sys
from confluent_kafka import Consumer, Producer
servers, source, target, count = sys.argv[1:]
server = {"bootstrap.servers": servers}
reader = Consumer({**server, "group.id": "g" + target, "enable.auto.commit": False,
                   "auto.offset.reset": "earliest", "isolation.level": "read_committed"})
reader.subscribe([source])
writer = Producer({**server, "transactional.id": target, "linger.ms": 1,
                   "delivery.report.only.error": True})
writer.init_transactions(60)
left = int(count)
while left:
    found = reader.consume(min(left, 10_000), 1.0)
    if not found:
        continue
    writer.begin_transaction()
    for each in found:
        writer.produce(target, each.value(), each.key(), 0)
    places = reader.position(reader.assignment())
    writer.send_offsets_to_transaction(places, reader.consumer_group_metadata(), 60)
    writer.commit_transaction(60)
    left -= len(found)
"""


def create(url: str, topic: str) -> None:
    """Create a topic whose records have the broker's time."""
    admin = AdminClient({"bootstrap.servers": url.removeprefix("kafka://")})
    settings = {"message.timestamp.type": "LogAppendTime"}
    admin.create_topics([NewTopic(topic, 1, 1, config=settings)])[topic].result()


def fill(log: streams.Log, topic: str, count: int) -> None:
    """Write bars of 100 tickers."""
    for start in range(0, count, 10_000):
        bars = [
            PriceRecord(n * 10**9, f"T{n % 100:02}", 100.0, high=101.0 + n % 7, low=99.0)
            for n in range(start, min(start + 10_000, count))
        ]
        log.append(topic, [Message(encode(each), each.ticker.encode()) for each in bars])


def ours(url: str, source: str, target: str) -> None:
    """Run the job until all is read."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.py"
        file.write_text(JOB)
        command = [sys.executable, "-m", "mlkit", "pairs", "job", "run", str(file), "--in", source,
                   "--out", target, "--log", url, "--until-end"]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def program(text: str, python: str, url: str, source: str, target: str, count: int) -> None:
    """Run a program until all is read."""
    arguments = [url.removeprefix("kafka://"), source, target, str(count)]
    subprocess.run([python, "-c", text, *arguments], check=True, stdout=subprocess.DEVNULL)


def rate(log: streams.Log, topic: str, count: int) -> float:
    """Return the records a second after the first ones came, if all are there, each once."""
    found = log.read(Partition(topic, 0), 0, 2 * count)
    times = [json.loads(each.value)["time"] for each in found]
    if len(found) != count or len(set(times)) != count:
        raise SystemExit(f"{topic}: {len(found):,} records of {count:,}")
    begun, ended = found[0].timestamp, found[-1].timestamp
    return sum(each.timestamp > begun for each in found) / max(ended - begun, 1) * 1000


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--peer", default=sys.executable)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    needed = [asked.peer, "-c", "import quixstreams"]
    if subprocess.run(needed, stderr=subprocess.DEVNULL, check=False).returncode:
        raise SystemExit(f"{asked.peer}: no quixstreams; pip install quixstreams, or --peer PYTHON")
    log = streams.open(asked.url)
    names = ("bars", "mlkit", "quix", "bare")
    source, own, other, bare = (f"{name}-{time.time_ns()}" for name in names)
    for topic in (source, own, other, bare):
        create(asked.url, topic)
    fill(log, source, asked.records)
    ours(asked.url, source, own)
    program(PEER, asked.peer, asked.url, source, other, asked.records)
    program(BARE, sys.executable, asked.url, source, bare, asked.records)
    topics = {"mlkit": own, "quixstreams": other, "bare": bare}
    found = {name: rate(log, topic, asked.records) for name, topic in topics.items()}
    found["ratio"] = found["mlkit"] / found["quixstreams"]
    found["load"] = os.getloadavg()[0]
    print("a job of one line, exactly once, records a second on the same Kafka:")
    print("mlkit {mlkit:,.0f}, quixstreams {quixstreams:,.0f}, ratio {ratio:.1f}".format(**found))
    print("the client alone, without any work: {bare:,.0f}".format(**found))
    print(f"load {found['load']:.1f}")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Instances of ten committed tasks a second on PostgreSQL: mlkit, Camunda 7 and Flowable.

    python benchmarks/bpmn/java_engines.py [--seconds 20] [--warm 20] [--instances 400]
                                           [--json FILE]

All use one PostgreSQL, Debian's, in a temporary folder, with every commit synced, one after the
other and 32 instances in flight. Camunda and Flowable are embedded in a JVM of their own; their
tasks do nothing, and each is a job with a commit of its own (`asyncBefore`, `async`), on as many
threads as there are processors. mlkit runs ten scripts in isolated workers, started over REST:
`journals.py` is the same beside SQLite and DBOS. The jars come from Maven; where Java, Maven or a
jar is missing the benchmark says so and fails.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import psycopg
from journals import instances
from rest import drawing
from served import load, new_schema, postgresql, postgresql_server

SOURCES = Path(__file__).parent / "java"
ENGINES = ("camunda", "flowable")
LIMIT = 600.0
"""Seconds for the programs that are not measured."""


def build(folder: Path, engine: str) -> str:
    """Fetch the jars of an engine, compile its source, and return the class path."""
    for program in ("java", "javac", "mvn"):
        if shutil.which(program) is None:
            raise SystemExit(f"{engine} is missing: {program} is not installed")
    jars, classes = folder / f"{engine}-jars", folder / f"{engine}-classes"
    maven = ["mvn", "-q", "-B", "-f", str(SOURCES / "pom.xml"), "-P", engine]
    maven += ["dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
    if subprocess.run(maven, check=False, timeout=LIMIT).returncode:
        raise SystemExit(f"{engine} is missing: Maven cannot fetch it")
    sources = [*SOURCES.glob("common/*.java"), *SOURCES.glob(f"{engine}/*.java")]
    java = ["javac", "--release", "17", "-cp", f"{jars}/*", "-d", str(classes), *map(str, sources)]
    if subprocess.run(java, check=False, timeout=LIMIT).returncode:
        raise SystemExit(f"{engine} is missing: its source does not compile")
    return f"{classes}:{jars}/*"


def measure(path: str, engine: str, url: str, warm: float, seconds: float) -> tuple[float, float]:
    """Return the instances per second of an engine, and its processor milliseconds for each."""
    command = ["java", "-Xmx1g", "-cp", path, "mlkit.Peer", url, str(warm), str(seconds)]
    patience = LIMIT + warm + seconds
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, timeout=patience)
    if done.returncode or not done.stdout.split():
        raise SystemExit(f"{engine} has failed")
    rate, processor = map(float, done.stdout.split()[-2:])
    return rate, processor


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def main() -> None:
    """Measure one after the other, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--warm", type=float, default=20)
    parser.add_argument("--instances", type=int, default=400)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    found: dict[str, tuple[float, float | None]] = {}
    with tempfile.TemporaryDirectory(prefix="mlkit-") as name:
        folder = Path(name)
        paths = {each: build(folder, each) for each in ENGINES}
        diagram = folder / "ten.bpmn"
        diagram.write_text(drawing())
        port = os.environ["PGPORT"] = str(free_port())  # Of all clients of libpq.
        # The driver of Java knows no Unix sockets.
        settings = ("listen_addresses = '127.0.0.1'", f"port = {port}")
        with postgresql(folder, settings) as server:
            url = new_schema(server)
            rate = instances(folder / "state", diagram, url, chosen.instances)
            found["mlkit"] = rate, None
            for each in ENGINES:
                with psycopg.connect(server.url(), autocommit=True) as connection:
                    connection.execute(f"CREATE DATABASE {each}")
                jdbc = f"jdbc:postgresql://127.0.0.1:{port}/{each}?user={postgresql_server.USER}"
                found[each] = measure(paths[each], each, jdbc, chosen.warm, chosen.seconds)
    ratios = {each: found["mlkit"][0] / found[each][0] for each in ENGINES}
    print(f"ten committed tasks on PostgreSQL, instances per second (load {load():.1f})")
    for each, (rate, processor) in found.items():
        beside = f"   mlkit is {ratios[each]:.2f} times as fast" if each in ratios else ""
        spent = "" if processor is None else f"   {processor:.1f} ms of processor time in the JVM"
        print(f"{each:>10} {rate:8.1f}{beside}{spent}")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({**found, "ratios": ratios, "load": load()}, indent=1))


if __name__ == "__main__":
    main()

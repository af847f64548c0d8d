"""Sizes and times of slimming, on images that are assembled from Debian packages.

Prints a table and, with `--json FILE`, writes the figures. Needs a Docker Engine and mmdebstrap.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

import docker

from mlkit.image import slim as stages
from mlkit.image.base.debian import init_program
from mlkit.image.filesystem.image_source import in_engine
from mlkit.image.proof.compare import compare
from mlkit.image.run.early_trace import trace_early
from mlkit.image.run.engine.engine import Engine
from mlkit.image.run.observation import Runner, Settings, Tools
from mlkit.image.run.probe import parse
from mlkit.image.slim import Options, Slimmer

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples" / "image"
PYTHON = 'FROM {}\nCOPY server.py /srv/server.py\nEXPOSE 8000\nCMD ["python3", "/srv/server.py"]\n'
GO = """FROM {}
WORKDIR /build
COPY prefork.go /build/
RUN CGO_ENABLED=0 GOCACHE=/root/.cache/go go build -o /usr/local/bin/prefork prefork.go
EXPOSE 3000
ENTRYPOINT ["/usr/local/bin/prefork"]
"""
# As the authors of services build them for a base without anything: stripped, alone.
STATIC_GO = """FROM {} AS build
WORKDIR /build
COPY prefork.go /build/
RUN CGO_ENABLED=0 GOCACHE=/root/.cache/go go build -ldflags="-s -w" -o /prefork prefork.go
FROM scratch
COPY --from=build /prefork /prefork
EXPOSE 3000
ENTRYPOINT ["/prefork"]
"""
BIG_FILES, BIG_SIZE = 40, 50 << 20
HEAVY = """FROM {}
COPY server.py libheavy.so data.bin /srv/
EXPOSE 8000
CMD ["python3", "/srv/server.py"]
"""
LIBRARY, DATA = 600_000_000, 1_000_000_000


def debian(client, stack, name, packages):
    """Assemble a Debian image."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "root.tar"
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}"]
        subprocess.run([*command, "bookworm", archive], check=True)
        client.api.import_image_from_file(str(archive), repository=name, tag="1")
    stack.callback(client.images.remove, f"{name}:1", force=True)
    return f"{name}:1"


def built(client, stack, name, dockerfile, *files):
    """Build an image from a Dockerfile and files."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Dockerfile").write_text(dockerfile)
        for each in files:
            target = Path(folder) / each.name
            target.write_bytes(each.read_bytes())
            target.chmod(0o755)
        client.images.build(path=folder, tag=name, forcerm=True)
    stack.callback(client.images.remove, name, force=True)
    return name


def timed(times, holder, name):
    """Note how long a stage of a slimming takes."""
    stage = getattr(holder, name)

    def run(*arguments):
        began = time.perf_counter()
        try:
            return stage(*arguments)
        finally:
            times[name] = times.get(name, 0) + time.perf_counter() - began

    setattr(holder, name, run)
    return stage


def slim(engine, tools, name, profile, probe, late, watch=0.5):
    """Slim once; return sizes, times, and whether what was not probed works."""
    times = {}
    began = time.perf_counter()
    with in_engine(engine, name) as source, tempfile.TemporaryDirectory() as folder:
        runner, other = (
            Runner(engine, tools, Settings([parse(each, [])], watch=watch), init_program())
            for each in (probe, late)
        )
        options = Options(profile=profile)
        early = trace_early(runner, source, options)
        times["early"] = time.perf_counter() - began
        inventory = source.inventory()
        times["inventory"] = time.perf_counter() - began
        slimmer = Slimmer(runner, inventory, name, options, Path(folder), early)
        for each in ("_trace", "_prove"):
            timed(times, slimmer, each)
        timed(times, slimmer._builder, "build")
        with closing(slimmer):
            planned = timed(times, stages, "plan")
            try:
                result = slimmer.run()
            finally:
                stages.plan = planned
            command = list(result.command)
            init = command[:1] == ["/tini"]
            original = other.run(name, command[2:] if init else command, init=init)
            found = compare([original], other.run(result.built.image, command))
        return {
            "before": inventory.size,
            "after": result.built.size,
            "verdict": result.verdict,
            "init": len(init_program()) if init else 0,
            "late": not any(each.effect == "broken" for each in found),
            "times": times,
        }


def together(times):
    """Add up inventory, trace and build; trial and proof are told apart.

    The trace runs while the inventory is taken; what `_trace` takes comes on top of both.
    """
    return sum(times[each] for each in ("inventory", "_trace", "plan", "build"))


def repeat(rounds, what, *arguments):
    """Slim several times; the sizes are the same, the times are not."""
    runs = [slim(*arguments) for _ in range(rounds)]
    seconds = [together(each["times"]) for each in runs]
    found = runs[0] | {"seconds": seconds, "proof": [each["times"]["_prove"] for each in runs]}
    size, init = found["after"] / 1e6, found["init"] / 1e6
    late = "works" if all(each["late"] for each in runs) else "BROKEN"
    print(
        f"{what:24} {found['before'] / 1e6:8.1f} -> {size:6.2f} MB (init {init:.2f})"
        f"  {found['verdict']:8} late: {late}  inventory, trace, build"
        f" {min(seconds):.2f} s (median {statistics.median(seconds):.2f}, max {max(seconds):.2f})"
    )
    return found


def big(client, stack, engine):
    """Inventory 2 GB, in a process of its own, beside `docker save`."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(BIG_FILES):
            (Path(folder) / f"{number}.bin").write_bytes(os.urandom(BIG_SIZE))
        (Path(folder) / "Dockerfile").write_text('FROM scratch\nCOPY *.bin /data/\nCMD ["/x"]\n')
        client.images.build(path=folder, tag="mlkit-bench-big", forcerm=True)
    stack.callback(client.images.remove, "mlkit-bench-big", force=True)
    saves, inventories = [], []
    for _ in range(3):
        with tempfile.NamedTemporaryFile() as file:
            began = time.perf_counter()
            subprocess.run(["docker", "save", "-o", file.name, "mlkit-bench-big"], check=True)
            saves.append(time.perf_counter() - began)
        began = time.perf_counter()
        command = [sys.executable, "-m", "mlkit", "image", "sbom", "mlkit-bench-big"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        inventories.append(time.perf_counter() - began)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    ratio = min(inventories) / min(saves)
    print(
        f"{BIG_FILES * BIG_SIZE / 1e9:.1f} GB inventoried in {min(inventories):.1f} s,"
        f" `docker save` {min(saves):.1f} s: {ratio:.2f} times, peak {memory / 1e6:.0f} MB"
    )
    return {"saves": saves, "inventories": inventories, "ratio": ratio, "memory": memory}


def heavy(client, stack):
    """Slim an image with a large library and a large file, in a process of its own: its peak."""
    base = debian(client, stack, "mlkit-bench-python", "python3,ca-certificates,tzdata")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "libheavy.so"
        library.write_bytes(next(Path("/usr/lib").glob("*-linux-gnu/libz.so.1")).read_bytes())
        for path, size in ((library, LIBRARY), (Path(folder) / "data.bin", DATA)):
            with path.open("ab") as file:
                file.writelines(os.urandom(1_000_000) for _ in range(size // 1_000_000))
        (Path(folder) / "server.py").write_bytes((HERE / "server.py").read_bytes())
        (Path(folder) / "Dockerfile").write_text(HEAVY.format(base))
        client.images.build(path=folder, tag="mlkit-bench-heavy", forcerm=True)
    stack.callback(client.images.remove, "mlkit-bench-heavy", force=True)
    command = [sys.executable, "-m", "mlkit", "image", "slim", "mlkit-bench-heavy", "--dry-run"]
    command += ["--probe=http:8000/", "--watch=0.5", "--json"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    with process:
        found = json.loads(process.stdout.read())
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
    seconds, memory = time.perf_counter() - began, usage.ru_maxrss * 1024
    print(
        f"a library of {LIBRARY / 1e6:.0f} MB and a file of {DATA / 1e6:.0f} MB: the whole of a"
        f" slimming {seconds:.0f} s, {found['verdict']}, peak {memory / 1e6:.0f} MB"
    )
    return {"seconds": seconds, "memory": memory, "verdict": found["verdict"]}


def main():
    """Run all, or what is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("what", nargs="*", help="python, static, go, big, heavy (default: all)")
    wanted = parser.parse_args()
    what = set(wanted.what or ("python", "static", "go", "big", "heavy"))
    figures = {}
    with ExitStack() as stack:
        client = stack.enter_context(closing(docker.from_env(timeout=600)))
        engine = stack.enter_context(closing(Engine()))
        tools = stack.enter_context(Tools(engine))
        if "big" in what:
            figures["big"] = big(client, stack, engine)
        if "heavy" in what:
            figures["heavy"] = heavy(client, stack)
        if "python" in what:
            base = debian(client, stack, "mlkit-bench-python", "python3,ca-certificates,tzdata")
            name = built(client, stack, "mlkit-bench-server", PYTHON.format(base),
                         HERE / "server.py")  # fmt: skip
            for profile, probe in (("tight", "lazy"), ("balanced", ""), ("safe", "")):
                figures[f"python {profile}"] = repeat(
                    wanted.rounds, f"Python {profile}", engine, tools, name, profile,
                    f"http:8000/{probe}", "http:8000/lazy=200")  # fmt: skip
        if "static" in what:
            with tempfile.TemporaryDirectory() as folder:
                program = Path(folder) / "prefork"
                source = EXAMPLES / "prefork.c"
                subprocess.run(["cc", "-O1", "-static", "-o", program, source], check=True)
                name = built(client, stack, "mlkit-bench-static",
                             (EXAMPLES / "Dockerfile").read_text(), program)  # fmt: skip
            figures["static"] = repeat(wanted.rounds, "static prefork, C", engine, tools, name,
                                       "balanced", "http:3000/", "http:3000/late=200")  # fmt: skip
        if "go" in what:
            base = debian(client, stack, "mlkit-bench-golang", "golang,git,ca-certificates")
            name = built(client, stack, "mlkit-bench-go", GO.format(base), HERE / "prefork.go")
            alone = built(client, stack, "mlkit-bench-go-static", STATIC_GO.format(base),
                          HERE / "prefork.go")  # fmt: skip
            figures["static go"] = repeat(
                wanted.rounds, "static prefork, Go", engine, tools, alone,
                "balanced", "http:3000/", "http:3000/late=200")  # fmt: skip
            figures["go"] = repeat(wanted.rounds, "Go build image", engine, tools, name,
                                   "balanced", "http:3000/", "http:3000/late=200")  # fmt: skip
    if wanted.json:
        wanted.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()

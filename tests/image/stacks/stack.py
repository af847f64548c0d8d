"""Whole stacks in one file each: what an image is made of, and what is asked of it.

A definition is a TOML file:

    packages  Debian packages
    pip, npm  packages of Python (in /opt/venv) and of Node (in the working directory)
    source    files that `build`, a line for a shell on this machine, makes `out/` of: files of /
    needs     the programs that `build` wants
    files     files of the image; what begins with #! may be run
    run       lines that the image is made with
    env, user, workdir, entrypoint, command, port, stop   what the image's config says
    dies      as process 1 the original dies: it is asked behind an init
    probe     what slimming is told, if not only `/`
    late      routes, `[METHOD ]/PATH[ BODY]`, that slimming is not told
    exec      commands in the container that slimming is not told
    client    lines for a shell on this machine, with CONTAINER and PORT
    written   files that it writes
    wait      a command that has to hold before that; `appears`, a file that has to be there
    fails     what the original is to answer with an error: a route, `exec COMMAND`, `client LINE`
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml"))
BASE = "mlkit-stack-base:bookworm"
COMPARED = ("content-type", "content-encoding", "location", "cache-control", "etag",
            "last-modified", "vary", "content-disposition")  # fmt: skip
VARIES = re.compile(rb"0x[0-9a-f]+|[A-Za-z0-9]{32,}|\d+")
"""Numbers, addresses and tokens."""
PATIENCE = 300
"""Seconds until a stack answers."""

Said = tuple[Any, bytes, dict[str, str]]
"""A status or exit code, a body or output, and headers."""
Differing = dict[str, tuple[Said, Said | None]]
"""What was asked, with both answers."""


def read(name: str) -> dict[str, Any]:
    """Return the definition of a stack."""
    return tomllib.loads((FOLDER / f"{name}.toml").read_text())


def docker(*arguments: Any, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the client of the engine; builds take no other builder than the engine's own."""
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(
        ["docker", *map(str, arguments)],
        capture_output=True, text=True, errors="replace", env=environment, check=False,
    )  # fmt: skip
    if check and done.returncode:
        raise RuntimeError(f"docker {arguments[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done


def missing(stack: dict[str, Any]) -> str:
    """Return a program of this machine that a stack needs and that is not there."""
    wanted = ["docker", "mmdebstrap", *stack.get("needs", ())]
    wanted += ["python3.11"] if "pip" in stack else []
    wanted += ["npm"] if "npm" in stack else []
    return next((each for each in wanted if shutil.which(each) is None), "")


def build(name: str, base: str = "") -> str:
    """Build the image of a stack and return its name; the engine keeps steps that it has done.

    Args:
        name: The stack.
        base: An image that has the stack's packages; without one they are installed.
    """
    stack = read(name)
    if base:
        stack |= {"from": base, "packages": []}
    else:
        _base()
    image = f"mlkit-stack-{name}:original"
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        _context(stack, context)
        (context / "Dockerfile").write_text("\n".join(_lines(stack, context)) + "\n")
        docker("build", "--quiet", "--network", "host", "--tag", image, folder)
    return image


def _base() -> None:
    """Make the Debian that all stacks share, unless the engine has it."""
    if docker("image", "inspect", BASE, check=False).returncode == 0:
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root.tar")
        command = ["mmdebstrap", "--quiet", "--variant=minbase"]
        command += ["--include=ca-certificates,tzdata", "bookworm", str(root)]
        subprocess.run(command, check=True)
        docker("import", root, BASE)


def _context(stack: dict[str, Any], context: Path) -> None:
    """Lay out what the image is built from."""
    out = context / "out"
    out.mkdir()
    _write(stack.get("source", {}), context)
    _write(stack.get("files", {}), out)
    if "build" in stack:
        _shell(stack["build"], context)
    if "pip" in stack:
        names = " ".join(f"'{each}'" for each in stack["pip"])
        _shell(f"python3.11 -m pip download -q --only-binary :all: -d wheels {names}", context)
    if "npm" in stack:
        _shell(f"mkdir node && cd node && npm install --silent {' '.join(stack['npm'])}", context)
    for path in [out, *out.rglob("*")]:  # the same files let the engine keep its steps
        os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)


def _write(files: dict[str, str], folder: Path) -> None:
    for path, text in files.items():
        place = folder / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        if text.startswith("#!"):
            place.chmod(0o755)


def _shell(line: str, folder: Path) -> None:
    done = subprocess.run(["bash", "-ec", line], cwd=folder, capture_output=True, text=True,
                          errors="replace", check=False)  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{line}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def _lines(stack: dict[str, Any], context: Path) -> list[str]:
    """Return the Dockerfile of a stack."""
    packages = " ".join(sorted(stack.get("packages", ())))
    lines = [f"FROM {stack.get('from', BASE)}"]
    if packages:
        lines.append(
            "RUN mkdir -p /usr/share/man/man1 /usr/share/man/man7 && apt-get update -qq && "
            "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "
            f"{packages} && rm -rf /var/lib/apt/lists/*"
        )
    lines += [f"WORKDIR {stack['workdir']}"] if "workdir" in stack else []
    if "pip" in stack:
        pip = "/opt/venv/bin/pip install -q --no-index --find-links /wheels /wheels/*"
        path = "/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        lines += ["COPY wheels /wheels", f"RUN python3 -m venv /opt/venv && {pip} && rm -r /wheels"]
        lines += [f"ENV PATH={path}"]
    if "npm" in stack:
        lines.append("COPY node ./")
    lines += ["COPY out /"] if any((context / "out").iterdir()) else []
    lines += [f"RUN {each}" for each in stack.get("run", ())]
    lines += [f"ENV {key}={json.dumps(value)}" for key, value in stack.get("env", {}).items()]
    for key, word in (("user", "USER"), ("port", "EXPOSE"), ("stop", "STOPSIGNAL")):
        lines += [f"{word} {stack[key]}"] if key in stack else []
    for key, word in (("entrypoint", "ENTRYPOINT"), ("command", "CMD")):
        if key in stack:
            form = stack[key] if isinstance(stack[key], str) else json.dumps(stack[key])
            lines.append(f"{word} {form}")
    return lines


def probes(stack: dict[str, Any]) -> list[str]:
    """Return the probes that slimming is told."""
    return list(stack.get("probe") or [f"http:{stack['port']}/"])


@dataclass(frozen=True)
class Result:
    """What slimming came to: its exit code, its document, and the seconds that it took."""

    image: str
    code: int
    document: dict[str, Any]
    seconds: float

    @property
    def problem(self) -> str:
        """Return why there is no result."""
        broken = [each for each in self.document.get("differences", ())
                  if each["effect"] == "broken"]  # fmt: skip
        return str(broken or self.document.get("error"))

    def figures(self, asked: int, broken: int) -> dict[str, Any]:
        """Return verdict, sizes in bytes, answers and seconds, as a line of results has them."""
        size = self.document.get("size", {"before": 0, "after": 0})
        verdict = "refused" if self.code else self.document["verdict"]
        works = 0 if self.code else asked - broken
        found = {"verdict": verdict, **size, "works": works, "asked": asked}
        return found | {"seconds": round(self.seconds, 1)}


def slim(image: str, stack: dict[str, Any], profile: str) -> Result:
    """Slim an image, probed as its definition says."""
    result = image.replace(":original", f":{profile}")
    command = [sys.executable, "-m", "mlkit", "image", "slim", image, "--tag", result, "--json"]
    command += [
        "--profile",
        profile,
        "--watch",
        "1",
        "--patience",
        "90",
        *(f"--probe={each}" for each in probes(stack)),
    ]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        document = json.loads(done.stdout)
    except ValueError:
        document = {"error": done.stderr[-2000:]}
    return Result(result, done.returncode, document, time.monotonic() - began)


def ask(image: str, stack: dict[str, Any]) -> dict[str, Said]:
    """Start an image and ask it all that slimming was not told."""
    published = ["--publish", f"127.0.0.1::{stack['port']}"] if "port" in stack else []
    if stack.get("dies") and image.endswith(":original"):
        published.append("--init")
    started = docker("run", "--detach", "--label", "mlkit-stack", "--hostname", "stack", *published,
                     image, check=False)  # fmt: skip
    if started.returncode:
        return {"start": ("fails", started.stderr.encode(), {})}
    container = started.stdout.strip()
    try:
        return _asked(container, stack)
    finally:
        docker("rm", "--force", "--volumes", container)


def _asked(container: str, stack: dict[str, Any]) -> dict[str, Said]:
    found: dict[str, Said] = {}
    where = docker("port", container, check=False).stdout.split()
    port = int(where[-1].rpartition(":")[2]) if where else 0
    if stack.get("late"):
        _wait(lambda: _is_ready(request(port, stack.get("ready", "/"))[0]))
        for line in stack["late"]:
            found[line] = request(port, line)
    if "wait" in stack:
        _wait(
            lambda: not docker("exec", container, "sh", "-c", stack["wait"], check=False).returncode
        )
    if "appears" in stack:
        _wait(lambda: written(container, stack["appears"])[0] == 0)
    for line in stack.get("exec", ()):
        found[f"exec {line}"] = execute(container, line)
    with tempfile.TemporaryDirectory() as folder:
        for line in stack.get("client", ()):
            found[f"client {line}"] = client(container, port, line, folder)
    for path in stack.get("written", ()):
        found[f"written {path}"] = written(container, path)
    return found


def execute(container: str, line: str) -> Said:
    """Run a command in a container: its words, or a line for the shell that the image has."""
    words = shlex.split(line)
    done = docker("exec", container, *words, check=False)
    return done.returncode, (done.stdout + done.stderr).encode(), {}


def client(container: str, port: int, line: str, folder: str) -> Said:
    """Run a line for a shell on this machine, where CONTAINER and PORT say what to ask."""
    environment = {**os.environ, "CONTAINER": container, "PORT": str(port)}
    done = subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True,
                          check=False)  # fmt: skip
    return done.returncode, done.stdout + done.stderr, {}


def written(container: str, path: str) -> Said:
    """Read a file of a container from outside."""
    done = subprocess.run(["docker", "cp", f"{container}:{path}", "-"],
                          capture_output=True, check=False)  # fmt: skip
    if done.returncode:
        return done.returncode, done.stderr, {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        names = tar.getnames()
        file = tar.extractfile(names[0])
        return 0, file.read() if file else " ".join(sorted(names)).encode(), {}


def _is_ready(status: Any) -> bool:
    return isinstance(status, int) and status < 500


def _wait(holds: Any) -> None:
    until = time.monotonic() + PATIENCE
    while not holds() and time.monotonic() < until:
        time.sleep(0.3)


def request(port: int, line: str) -> Said:
    """Ask `[METHOD ]/PATH[ BODY]`."""
    method, _, rest = line.partition(" ") if not line.startswith("/") else ("GET", "", line)
    path, _, body = rest.partition(" ")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/json"} if body.startswith(("{", "[")) else {}
    with contextlib.closing(connection):
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            headers = {each: _plain(names.get(each, ""), port) for each in COMPARED}
            return answer.status, answer.read(), headers
        except (OSError, http.client.HTTPException) as error:
            return "none", repr(error).encode(), {}


def _plain(text: str, port: int) -> str:
    return text.replace(f":{port}", ":PORT")


def differing(ours: dict[str, Said], theirs: dict[str, Said]) -> Differing:
    """Return what two containers answer differently."""
    return {
        line: (said, theirs.get(line))
        for line, said in ours.items()
        if line not in theirs or not alike(said, theirs[line])
    }


def failing(stack: dict[str, Any], answers: dict[str, Said]) -> dict[str, Said]:
    """Return what an original cannot answer, and is not said to: it would show nothing."""
    meant = stack.get("fails", ())
    return {
        line: said
        for line, said in answers.items()
        if _is_error(line, said[0]) and line not in meant
    }


def _is_error(line: str, status: Any) -> bool:
    kind = line.partition(" ")[0]
    return bool(status) if kind in {"exec", "client", "written"} else not _is_ready(status)


def alike(ours: Said, theirs: Said) -> bool:
    """Return whether two answers are the same, but for numbers in their text."""
    heads = [dict(each[2]) for each in (ours, theirs)]
    if heads[0].get("last-modified") and len({each["last-modified"] for each in heads}) == 1:
        for each in heads:  # some servers make it of the number of the inode
            each.pop("etag")
    text = VARIES.sub(b"#", ours[1]) == VARIES.sub(b"#", theirs[1])
    return ours[0] == theirs[0] and heads[0] == heads[1] and text

"""Fixtures that every workload's tests share."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import postgresql_server
import pytest
import requests
from commands import run_mlkit

# Shells start background jobs, and so all that these start, with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parents[1]
# One name for all processes of a run; what they share in a Docker Engine is listed in a file.
os.environ.setdefault("MLKIT_TEST_RUN", str(os.getpid()))
IMAGES = Path(tempfile.gettempdir()) / f"mlkit-test-images-{os.environ['MLKIT_TEST_RUN']}"
os.environ["MLKIT_TEST_IMAGES"] = str(IMAGES)
# Caches of the user are not what is tested, and must not grow by it.
_CACHE = tempfile.TemporaryDirectory(prefix="mlkit-test-cache-")
os.environ["XDG_CACHE_HOME"] = _CACHE.name
# Go has its own; all processes of a run share it, so that its library is compiled once.
GO_CACHE = Path(tempfile.gettempdir()) / f"mlkit-test-go-{os.environ['MLKIT_TEST_RUN']}"
os.environ.setdefault("GOCACHE", str(GO_CACHE))
os.environ.setdefault("GOGC", "800")  # its compiler is short-lived: a sixth of its work is garbage
# A mail server of a test may start late: by itself, aiosmtpd waits 5 s.
os.environ["AIOSMTPD_CONTROLLER_TIMEOUT"] = "120"
Run = Callable[..., "subprocess.CompletedProcess[str]"]
FOLDERS = itertools.count()
SLOW = re.compile(r"mark\.(slow|nightly)\b")

# Machines of CI are noisy: a slow example is not a failure. Derandomised runs can be repeated.
hypothesis.settings.register_profile("mlkit", deadline=None, derandomize=True)
hypothesis.settings.load_profile("mlkit")


# What is collected stays: looking through it for garbage takes each process a quarter of that time.
gc.disable()


def pytest_collection_finish() -> None:
    """Leave all that is there now out of further searches for garbage."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Take what is nightly for slow, before options select by marks.

    `.ci/slow-tests` reads only files that name these marks: others may not have such tests.
    """
    for item in items:
        if item.get_closest_marker("nightly"):
            item.add_marker("slow")
    for path in {item.path for item in items if item.get_closest_marker("slow")}:
        if not SLOW.search(path.read_text("utf-8")):
            raise pytest.UsageError(f"{path}: it has slow tests, and no mark says so in it")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """With MLKIT_REQUIRE_ALL=1, fail what skips: there, no component may be missing."""
    report = yield
    if (
        report.skipped
        and os.environ.get("MLKIT_REQUIRE_ALL") == "1"
        and not hasattr(report, "wasxfail")
    ):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and MLKIT_REQUIRE_ALL=1: {report.longrepr}"
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove what the processes of this run have shared: a database server, Go's cache, images."""
    if hasattr(session.config, "workerinput"):
        return
    postgresql_server.stop_shared()
    shutil.rmtree(GO_CACHE, ignore_errors=True)
    if not IMAGES.exists():
        return
    import docker

    gone = contextlib.suppress(docker.errors.DockerException)
    with gone, contextlib.closing(docker.from_env()) as client:
        for name in IMAGES.read_text().split():
            with contextlib.suppress(docker.errors.APIError):  # somebody else has removed it
                client.images.remove(name, force=True)
    IMAGES.unlink()


def pytest_unconfigure() -> None:
    """End a process whose threads keep it from ending, and show what they wait for."""
    faulthandler.dump_traceback_later(300, exit=True)


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty folder; pytest's looks for its number among all that have been made."""
    name = re.sub(r"\W", "_", request.node.name)[:20]
    return tmp_path_factory.mktemp(f"{name}-{os.getpid()}-{next(FOLDERS)}", numbered=False)


@pytest.fixture
def postgresql() -> str:
    """Return the URL of an empty schema of a PostgreSQL server, or skip."""
    if postgresql_server.programs() is None:
        pytest.skip("needs Debian's package postgresql")
    pytest.importorskip("psycopg")
    return postgresql_server.new_schema(postgresql_server.shared())


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Run a server that is compatible with S3; return its URL."""
    pytest.importorskip("obstore")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of an empty bucket; the environment holds what its clients need."""
    settings = {
        "ENDPOINT_URL": s3_server, "ALLOW_HTTP": "true", "REGION": "us-east-1",
        "ACCESS_KEY_ID": "somebody", "SECRET_ACCESS_KEY": "secret",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    name = f"bucket-{uuid.uuid4().hex}"
    requests.put(f"{s3_server}/{name}", timeout=60).raise_for_status()
    return f"s3://{name}"


@pytest.fixture
def repository() -> Path:
    """Return the project's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def need_program() -> Callable[[str], str]:
    """Return the path of a program, or skip; those of wheels lie beside the interpreter."""
    beside = str(Path(sys.executable).parent)

    def need(name: str) -> str:
        path = shutil.which(name) or shutil.which(name, path=beside)
        if path is None:
            pytest.skip(f"needs the program {name}")
        return path

    return need


@pytest.fixture
def mlkit(tmp_path: Path) -> Run:
    """Run `mlkit` in a process of its own, in an empty directory."""

    def run(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        return run_mlkit(*arguments, **({"cwd": tmp_path, "timeout": 600} | options))

    return run

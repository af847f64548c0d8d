"""A real Docker Engine, and base images built from Debian packages."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import pytest

from mlkit.errors import ServiceUnavailable
from mlkit.image.run.engine.engine import Engine

RUN = os.environ["MLKIT_TEST_RUN"]
ATTEMPTS = 3
# As in Debian's slim images, which most images are made from; and merged without the package that
# merges later, which needs all of Perl; and with few locales. It is half of the files, that each
# test packs and reads.
MERGED = Path("/usr/share/mmdebstrap/hooks/merged-usr")
WITHOUT = ("--include=usr-is-merged", f"--hook-dir={MERGED}", *(
    f"--dpkgopt=path-{rule}" for rule in
    ("exclude=/usr/share/doc/*", "include=/usr/share/doc/*/copyright", "exclude=/usr/share/man/*",
     "exclude=/usr/share/locale/*", "include=/usr/share/locale/de/*",
     "exclude=/usr/share/i18n/locales/*", "include=/usr/share/i18n/locales/[deit]*")
))  # fmt: skip
SHARED_IMAGES = Path(os.environ["MLKIT_TEST_IMAGES"])
"""Names of images that all processes of this run share; `tests/conftest.py` removes them."""


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """Return the engine; one that is installed and not running is started, and stopped again."""
    folder = tmp_path_factory.mktemp("docker")
    with contextlib.ExitStack() as stack:
        found = _running()
        if found is None:
            stack.enter_context(_daemon(folder))
            found = Engine()
        with contextlib.closing(found):
            yield found


def _running():
    """Return the engine that runs already, if there is one.

    The docker package leaves the socket of a refused connection to the garbage collector.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return Engine()
        except ServiceUnavailable:
            return None
        finally:
            gc.collect()


@contextlib.contextmanager
def _daemon(folder):
    if shutil.which("dockerd") is None or os.getuid() != 0:
        pytest.skip("needs a Docker Engine: dockerd, as root")
    command = ["dockerd", "--data-root", folder / "data", "--exec-root", folder / "exec"]
    command += ["--pidfile", folder / "pid"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as daemon,
    ):
        try:
            _wait(daemon, folder)
            yield
        finally:
            daemon.terminate()
            daemon.wait(180)


def _wait(daemon, folder):
    until = time.monotonic() + 180
    while time.monotonic() < until and daemon.poll() is None:
        if found := _running():
            found.close()
            return
        time.sleep(0.3)
    pytest.skip(f"dockerd does not start here: {(folder / 'log').read_text()[-400:]}")


@pytest.fixture(scope="session")
def build(engine, tmp_path_factory):
    """Build an image from a Dockerfile and files; it is removed at the end."""
    made = []

    def make(dockerfile, **files):
        folder = tmp_path_factory.mktemp("build")
        (folder / "Dockerfile").write_text(dockerfile)
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            path = folder / name.replace("_", ".", 1)
            path.write_bytes(data)
            path.chmod(0o755)
        name = f"mlkit-test-{os.getpid()}-{len(made)}"
        engine.build(folder, name)
        made.extend([name, f"{name}-slim"])
        return name

    yield make
    for name in made:
        engine.remove_image(name)


@pytest.fixture(scope="session")
def debian(engine):
    """Return a Debian image with Python and what the tests' images are made with."""
    return _assembled("debian", "python3,ca-certificates,tzdata,curl,openssl,locales,libcap2-bin")


@pytest.fixture(scope="session")
def node(engine):
    """Return a Debian image with Node."""
    return _assembled("node", "nodejs,node-semver")


@pytest.fixture(scope="session")
def more(engine):
    """Return a whole Debian image with Perl and programs that read data of other packages."""
    packages = "python3,locales,file,perl,fontconfig,fonts-dejavu-core,libexpat1"
    return _assembled("more", packages, whole=True)


def _assembled(kind, packages, whole=False):
    """Assemble a Debian image by mmdebstrap, once for all processes of this run.

    With MLKIT_TEST_ROOTS, once for all runs that share this folder, whichever engines they have.
    """
    if shutil.which("mmdebstrap") is None:
        pytest.skip("needs the program mmdebstrap")
    name = f"mlkit-test-{kind}:{RUN}"
    shared = os.environ.get("MLKIT_TEST_ROOTS")
    lock = Path(shared or tempfile.gettempdir(), f"mlkit-test-{kind}-{'' if shared else RUN}.lock")
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(contextlib.closing(_client()))
        folder = Path(shared or stack.enter_context(tempfile.TemporaryDirectory()))
        fcntl.flock(stack.enter_context(lock.open("w")), fcntl.LOCK_EX)
        if not client.api.images(name):
            archive = folder / f"{kind}.tar"
            if not archive.exists():
                _bootstrap(packages, folder / f"{kind}.new.tar", () if whole else WITHOUT)
                (folder / f"{kind}.new.tar").rename(archive)
            client.api.import_image_from_file(
                str(archive), repository=name.partition(":")[0], tag=RUN
            )
            with SHARED_IMAGES.open("a") as listed:
                listed.write(f"{name}\n")
    return name


def _bootstrap(packages, archive, options):
    """Make a root file system; a mirror that breaks off is asked again."""
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", *options]
    command.append("--dpkgopt=force-unsafe-io")  # a crash of the machine ends the tests too
    for _ in range(ATTEMPTS):
        archive.unlink(missing_ok=True)
        done = subprocess.run([*command, "bookworm", archive], capture_output=True, text=True,
                              errors="replace", check=False)  # fmt: skip
        if done.returncode == 0:
            return
    pytest.fail(f"mmdebstrap: {done.stderr[-2000:]}")


def _client():
    import docker

    try:
        return docker.from_env()
    except docker.errors.DockerException as error:
        raise ServiceUnavailable(f"no Docker Engine: {error}") from error

"""mlkit's own image, built without network, slimmed by mlkit, serves as before."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import docker
import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SERVE = ["bandit", "serve", "posteriors.parquet", "--state=state", "--workers=2", "--host=0.0.0.0"]
ROUTES = ("arms", "docs", "openapi.json", "gone")


def pip(*words):
    command = [sys.executable, "-m", "pip", "--quiet", *map(str, words)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        pytest.skip(f"needs wheels of mlkit's dependencies: {done.stderr.strip()[-300:]}")


@pytest.fixture(scope="module")
def client(engine):
    """Return a client of the engine."""
    with closing(docker.from_env()) as found:
        yield found


@pytest.fixture(scope="module")
def image(engine, client, debian, tmp_path_factory):
    """Build mlkit's image from wheels, and one with posteriors on top."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copy(ROOT / "Dockerfile", folder)
    wheels = folder / "wheels"
    ready = importlib.util.find_spec("scikit_build_core") and importlib.util.find_spec("pybind11")
    pip("wheel", *(["--no-build-isolation"] if ready else []), "--no-deps", "-w", wheels, ROOT)
    pip("download", "--only-binary=:all:", "-d", wheels, *wheels.glob("mlkit-*.whl"), "pip")
    name = f"mlkit-test-own-{os.getpid()}"
    base = f"{name}-base"
    settings = {"network_mode": "none", "buildargs": {"BASE": debian}}
    client.images.build(path=str(folder), tag=base, nocache=True, forcerm=True, **settings)
    above = folder / "above"
    above.mkdir()
    log = ROOT / "examples" / "bandit" / "random_men.csv.gz"
    command = [sys.executable, "-m", "mlkit", "bandit", "fit", log, "--arm=item_id"]
    command += ["--reward=click", "-o", above / "posteriors.parquet"]
    subprocess.run(command, check=True, capture_output=True)
    text = f"FROM {base}\nCOPY posteriors.parquet /data/\nCMD {json.dumps(SERVE)}\n"
    (above / "Dockerfile").write_text(text)
    engine.build(above, name)
    yield name
    for each in (f"{name}-slim", name, base):
        engine.remove_image(each)


def answers(client, image):
    """Start an image; return what it answers, of the metrics and its health only that it does."""
    container = client.containers.run(image, detach=True)
    try:
        container.reload()
        networks = container.attrs["NetworkSettings"]["Networks"]
        url = f"http://{next(iter(networks.values()))['IPAddress']}:8000"
        wait_for(f"{url}/health")
        found = {}
        for _ in range(20):
            chosen = json.loads(ask(f"{url}/predict", b'{"context": "u1", "k": 34}')[1])
            found.setdefault("keys", sorted(chosen))
            found.setdefault(
                "arms",
                sorted(str(each["arm"]) for each in chosen["arms"])
                if isinstance(chosen["arms"][0], dict)
                else sorted(chosen["arms"]),
            )
        for each in ROUTES:
            status, body = ask(f"{url}/{each}")
            found[each] = status, body.replace(url.encode(), b"")  # a page shows its own address
        found["bad"] = ask(f"{url}/predict", b'{"k": "x"}')
        found["metrics"] = ask(f"{url}/metrics")[0]
        show = ["mlkit", "bandit", "show", "posteriors.parquet", "--seed=1", "--json"]
        found["shown"] = container.exec_run(show, stderr=False)
        return found
    finally:
        container.remove(force=True, v=True)


def ask(url, data=None):
    try:
        with urllib.request.urlopen(url, data, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def wait_for(url):
    until = time.monotonic() + 300
    while time.monotonic() < until:
        try:
            if ask(url)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)
    pytest.fail(f"{url} does not answer")


def test_the_slimmed_image_serves_as_before(mlkit, client, image):
    options = ("--probe=http:8000/health=200", "--watch=1", "--patience=120", "--json")
    done = mlkit("image", "slim", image, *options, timeout=900)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert (done.returncode, found["verdict"]) in {(0, "equal"), (0, "improved")}, found[
        "differences"
    ]
    assert found["size"]["after"] < found["size"]["before"]
    assert "bin/sh" not in found["kept"]
    before, after = answers(client, image), answers(client, f"{image}-slim")
    assert after == before

"""Where results go and images come from, with a real Docker Engine and a real registry."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import platform
import subprocess
import tarfile
import urllib.request

import docker
import pytest
from image.archives import Member, index_layout, layer, layout, saved
from image.archives import manifest as write_manifest

from mlkit import zstd
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.filesystem.platforms import here

pytestmark = [pytest.mark.slow, pytest.mark.alone]
QUICK = ("--watch", "0.5", "--patience", "60", "--json")
ECHO = """#include <unistd.h>
int main(void) { write(1, "done\\n", 5); return 0; }
"""


def document(done, code=0):
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


MANUAL = b"x" * 5_000_000
"""What slimming drops: an image without it would be left as it is."""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Return a static program that says `done`."""
    folder = tmp_path_factory.mktemp("c")
    (folder / "echo.c").write_text(ECHO)
    subprocess.run(["cc", "-static", "-s", "-o", folder / "echo", folder / "echo.c"], check=True)
    return (folder / "echo").read_bytes()


@pytest.fixture(scope="module")
def echo(build, program):
    """Return an image of it."""
    text = 'FROM scratch\nCOPY echo /echo\nCOPY manual /usr/share/doc/manual\nCMD ["/echo"]\n'
    return build(text, echo=program, manual=MANUAL)


@pytest.fixture
def client(engine):
    """Return a client of the engine."""
    with contextlib.closing(docker.from_env()) as found:
        yield found


def images(client):
    """List what the engine holds: ids and names."""
    found = client.api.images()
    return sorted((each["Id"], *sorted(each["RepoTags"] or [])) for each in found)


def manifest(registry, path):
    """Ask the registry for a manifest: (its digest, the document)."""
    word = base64.b64encode(b"user:secret").decode()
    kinds = (
        "vnd.docker.distribution.manifest.v2",
        "vnd.oci.image.manifest.v1",
        "vnd.oci.image.index.v1",
    )
    accepted = ", ".join(f"application/{each}+json" for each in kinds)
    headers = {"Authorization": f"Basic {word}", "Accept": accepted}
    request = urllib.request.Request(f"http://{registry}/v2/{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers["Docker-Content-Digest"], json.load(answer)


def test_a_result_is_pushed_with_the_credentials_of_docker(mlkit, client, registry, echo, tmp_path):
    before = images(client)
    reference = f"{registry}/team/echo:1"
    command = ("image", "slim", echo, "--probe=exit:0", f"--output=registry:{reference}", *QUICK)
    refused = mlkit(*command, env=os.environ | {"DOCKER_CONFIG": str(tmp_path)})
    assert refused.returncode == 69, refused.stderr
    assert f"error: {reference}: not pushed: " in refused.stderr
    assert f"hint: `docker login {registry}" in refused.stderr
    word = base64.b64encode(b"user:secret").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {registry: {"auth": word}}}))
    state = {"status": "open", "urgency": "low"}
    known = {"CVE-1": {"releases": {platform.freedesktop_os_release()["VERSION_CODENAME"]: state}}}
    (tmp_path / "known.json").write_text(json.dumps({"base-files": known}))
    command += ("--sbom=bill.json", "--attest", "--vulnerabilities=known.json")
    found = document(mlkit(*command, env=os.environ | {"DOCKER_CONFIG": str(tmp_path)}))
    assert found["result"] == f"registry:{reference}"
    digest, there = manifest(registry, "team/echo/manifests/1")
    assert found["digest"] == digest
    assert found["id"] == there["config"]["digest"]
    bill = json.loads((tmp_path / "bill.json").read_text())
    assert bill["metadata"]["component"]["name"] == reference
    _, listed = manifest(registry, f"team/echo/manifests/{digest.replace(':', '-')}")
    (attested,) = listed["manifests"]
    assert attested["artifactType"] == found["attached"] == "application/vnd.in-toto+json"
    _, artifact = manifest(registry, f"team/echo/manifests/{attested['digest']}")
    assert artifact["subject"]["digest"] == digest
    assert found["vulnerabilities"]["before"] == [], "it has no packages"
    after = [(each["id"], each["package"]) for each in found["vulnerabilities"]["after"]]
    assert after == [("CVE-1", "base-files")], "that of the base"
    assert images(client) == before, "nothing is left in the engine"


def test_an_image_that_has_the_pushed_name_keeps_it(mlkit, client, engine, registry, echo):
    reference = f"{registry}/kept:1"
    engine.tag(echo, reference)
    before = images(client)
    done = mlkit("image", "slim", echo, "--probe=exit:0", f"--output=registry:{reference}", *QUICK)
    assert done.returncode == 69
    assert images(client) == before
    engine.remove_image(reference)


def test_archives_and_layouts_load_and_run(mlkit, client, echo, tmp_path, need_program):
    skopeo = need_program("skopeo")
    for output in ("slim.tar", "oci:slim"):
        found = document(
            mlkit("image", "slim", echo, "--probe=exit:0", "--tag=echo:s", "-o", output, *QUICK)
        )
        assert found["result"] == output
    names = (client.api.inspect_image(echo)["Id"],)
    loaded = subprocess.run(
        ["docker", "load", "-i", tmp_path / "slim.tar"], capture_output=True, check=True, text=True
    )
    assert "echo:s" in loaded.stdout
    assert client.images.get("echo:s").id not in names
    assert client.containers.run("echo:s", remove=True) == b"done\n"
    client.images.remove("echo:s")
    source, target = f"oci:{tmp_path}/slim:echo:s", f"docker-archive:{tmp_path}/copy.tar:echo:c"
    subprocess.run([skopeo, "--insecure-policy", "copy", source, target], check=True)
    with (tmp_path / "copy.tar").open("rb") as file:
        (copied,) = client.images.load(file)
    assert copied.id == found["id"]
    assert client.containers.run("echo:c", remove=True) == b"done\n"
    client.images.remove("echo:c")


def test_an_image_that_would_grow_is_left_as_it_is(mlkit, engine, build, program):
    name = build('FROM scratch\nCOPY echo /echo\nCMD ["/echo"]\n', echo=program)
    found = document(mlkit("image", "slim", name, "--probe=exit:0", *QUICK))
    assert (found["verdict"], found["gained"]) == ("equal", False)
    assert found["size"]["after"] == found["size"]["before"]
    assert any("unchanged" in each for each in found["warnings"])
    assert engine.inspect(f"{name}-slim")["Id"] == engine.inspect(name)["Id"]


@pytest.mark.parametrize("kind", ["archive", "layout", "layout tar", "zstd", "folder"])
def test_images_of_every_kind_are_slimmed_diagnosed_and_compared(
    mlkit, client, echo, program, tmp_path, kind
):
    path = tmp_path / "in"
    one = layer(Member("echo", program, mode=0o755), Member("usr/share/doc/manual", MANUAL))
    config = {"Cmd": ["/echo"]}
    if kind == "archive":
        path = saved(tmp_path / "in.tar", one, config=config)
    elif kind == "folder":
        path.mkdir()
        (path / "Dockerfile").write_text('FROM scratch\nADD echo.tar /\nCMD ["/echo"]\n')
        (path / "echo.tar").write_bytes(one)
    else:
        path.mkdir()
        compress = zstd.compress if kind == "zstd" else None
        layout(path, one, config=config, **({"compress": compress} if compress else {}))
    if kind == "layout tar":
        with tarfile.open(tmp_path / "layout.tar", "w") as tar:
            tar.add(path, ".")
        path = tmp_path / "layout.tar"
    before = images(client)
    found = document(mlkit("image", "doctor", path, "--probe=exit:0", *QUICK))
    assert found["findings"] == []
    found = document(mlkit("image", "slim", path, "--probe=exit:0", "-o", "slim.tar", *QUICK))
    assert found["verdict"] == "equal"
    with open_image(tmp_path / "slim.tar") as image:
        assert take(image).read_path("echo") == program
    compared = mlkit("image", "compare", path, "slim.tar", "--probe=exit:0", *QUICK)
    assert document(compared)["verdict"] == "equal"
    gone = document(mlkit("image", "diff", path, "slim.tar", "--json"))["removed"]
    assert all("usr/share/doc" in str(each) for each in gone)
    assert images(client) == before, "an archive's own name is not given in the engine"


VARIANTS = {"amd64": "v2", "arm64": "v9"}
"""A second platform that this machine runs, in images whose programs are those of the first."""


def test_each_platform_of_an_index_that_runs_here_is_slimmed_into_one_index(
    mlkit, client, registry, program, tmp_path
):
    one = layer(Member("echo", program, mode=0o755), Member("usr/share/doc/manual", MANUAL))
    described = [
        {"os": "linux", "architecture": here()},
        {"os": "linux", "architecture": "z80"},
        {"os": "linux", "architecture": here(), "variant": VARIANTS[here()]},
    ]
    (tmp_path / "in").mkdir()
    entries = [
        write_manifest(tmp_path / "in", one, config={"Cmd": ["/echo"]}, **each) | {"platform": each}
        for each in described
    ]
    notes = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": entries[0]["digest"],
    }
    attested = write_manifest(tmp_path / "in", layer(Member("statement", "1")))
    index_layout(tmp_path / "in", *entries, attested | {"annotations": notes})
    word = base64.b64encode(b"user:secret").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {registry: {"auth": word}}}))
    before = images(client)
    reference = f"{registry}/team/many:1"
    command = ("image", "slim", "in", "--all-platforms", "--probe=exit:0", "--attest", *QUICK)
    command += (f"--output=registry:{reference}", "--sbom=bill.json", "--report=report.html")
    found = document(mlkit(*command, env=os.environ | {"DOCKER_CONFIG": str(tmp_path)}))
    assert found["verdict"] == "equal"
    assert found["refused"] == [{"platform": "linux/z80", "reason": "an unknown architecture"}]
    names = [f"linux/{here()}", f"linux/{here()}/{VARIANTS[here()]}"]
    assert [each["platform"] for each in found["platforms"]] == names
    (dropped,) = found["dropped"]
    assert (dropped["kind"], dropped["platform"]) == ("attestation-manifest", names[0])
    digest, index = manifest(registry, "team/many/manifests/1")
    assert (found["result"], found["digest"]) == (f"registry:{reference}", digest)
    assert [each["platform"] for each in index["manifests"]] == [described[0], described[2]]
    for each, entry in zip(found["platforms"], index["manifests"], strict=True):
        assert each["digest"] == entry["digest"]
        _, listed = manifest(registry, f"team/many/manifests/{entry['digest'].replace(':', '-')}")
        assert [one["artifactType"] for one in listed["manifests"]] == [each["attached"]]
        name = each["platform"].replace("/", "-")
        assert json.loads((tmp_path / f"bill-{name}.json").read_text())["components"] is not None
        assert "linux/z80" in (tmp_path / f"report-{name}.html").read_text()
    assert images(client) == before, "nothing is left in the engine"
    client.images.pull(reference, auth_config={"username": "user", "password": "secret"})
    assert client.containers.run(reference, remove=True) == b"done\n"
    client.images.remove(reference)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output=x.zip"], "--output x.zip: not understood"),
        (["--output=registry:UPPER/case"], "UPPER/case: not the name of an image"),
        (["--tag=a b"], "a b: not the name of an image"),
        (["--tag=x", "--output=registry:r/x"], "--tag"),
        (["--output=oci:."], ".: not an empty folder"),
    ],
)
def test_a_wrong_output_is_told_before_any_work(mlkit, tmp_path, options, message):
    (tmp_path / "file").write_text("")
    done = mlkit("image", "slim", "no-such-image", *options)
    assert done.returncode == 2
    assert f"error: {message}" in done.stderr


@pytest.mark.parametrize("option", ["--report", "--sbom", "--trace-out", "--output"])
def test_a_place_that_cannot_be_written_is_told_before_any_work(mlkit, option):
    done = mlkit("image", "slim", "no-such-image", option, "nowhere/x.tar")
    assert done.returncode == 66
    assert "nowhere/x.tar: cannot be written" in done.stderr

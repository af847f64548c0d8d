"""Images of several platforms: this machine's is taken, and the rest is named."""

from __future__ import annotations

import json

import pytest
from image.archives import Member, layer, layout, saved

from mlkit.errors import BadData, UsageError
from mlkit.image.base import base_image
from mlkit.image.command.entrypoint import parse
from mlkit.image.filesystem import platforms
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.image_source import Source, refuse_architecture
from mlkit.image.filesystem.inventory import take
from mlkit.image.filesystem.platforms import here
from mlkit.image.options import Options
from mlkit.image.packages.package import Packages
from mlkit.image.proof.findings import of_index
from mlkit.image.result import Builder

FOREIGN = {"os": "linux", "architecture": "riscv64"}
ATTESTATION = {
    "platform": {"os": "unknown", "architecture": "unknown"},
    "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
}


def index(tmp_path, *more, own=True):
    """Write a layout whose index has further entries, each before the image of this machine."""
    layout(tmp_path, layer(Member("a", "1")), config={"Cmd": ["/a"]})
    place = tmp_path / "index.json"
    (entry,) = json.loads(place.read_text())["manifests"]
    entry["platform"] = {"os": "linux", "architecture": here()}
    entries = [{**entry, **each} for each in more] + ([entry] if own else [])
    place.write_text(json.dumps({"manifests": entries}))
    return tmp_path


def test_the_image_of_this_machine_is_taken_and_the_rest_is_named(tmp_path):
    variant = {"os": "linux", "architecture": "arm", "variant": "v7"}
    path = index(tmp_path, {"platform": FOREIGN}, ATTESTATION, {"platform": variant})
    with open_image(path) as image:
        assert image.others == ("attestation-manifest", "linux/arm/v7", "linux/riscv64")
        (note,) = of_index(image.others)
        assert "linux/riscv64: they are not in the result" in note.observed
    assert of_index(()) == []


def test_an_index_without_an_image_for_this_machine_names_what_it_has(tmp_path):
    windows = {"platform": {"os": "windows", "architecture": here()}}
    path = index(tmp_path, {"platform": FOREIGN}, windows, ATTESTATION, own=False)
    with pytest.raises(BadData, match=f"no image for linux/{here()}") as found, open_image(path):
        pass
    assert f"attestation-manifest, linux/riscv64, windows/{here()}" in str(found.value)


@pytest.mark.parametrize(
    "entry", [7, None, {"platform": 7}, {"annotations": [1], "platform": FOREIGN}, {"digest": 7}]
)
def test_odd_entries_are_bad_data(tmp_path, entry):
    path = index(tmp_path)
    (path / "index.json").write_text(json.dumps({"manifests": [entry]}))
    with pytest.raises(BadData), open_image(path):
        pass


HANDLER = """enabled
interpreter /usr/bin/qemu-emulator
flags: F
offset 0
magic {magic}
mask ffffffffffffff00fffffffffffffffffeffffff
"""
MAGICS = {"riscv64": "7f454c460201010000000000000000000200f300",
          "s390x": "7f454c4602020100000000000000000000020016"}  # fmt: skip


@pytest.fixture
def handlers(tmp_path, monkeypatch):
    """Return the folder of the kernel's handlers, with emulators for two architectures."""
    folder = tmp_path / "binfmt_misc"
    folder.mkdir()
    for name, magic in MAGICS.items():
        (folder / f"qemu-{name}").write_text(HANDLER.format(magic=magic))
    (folder / "status").write_text("enabled\n")
    (folder / "register").write_text("")
    (folder / "jar").write_text(HANDLER.format(magic="cafebabe"))
    monkeypatch.setattr(platforms, "HANDLERS", folder)
    return folder


@pytest.mark.parametrize("broken", ["disabled\nmagic {0}\n", "enabled\nmagic odd\n", "enabled\n"])
def test_an_architecture_with_an_emulator_can_be_run(handlers, broken):
    found = {each for each in platforms.MACHINES if platforms.runs(each)}
    assert found == {here(), "riscv64", "s390x"}
    (handlers / "qemu-riscv64").write_text(broken.format(MAGICS["riscv64"]))
    assert not platforms.runs("riscv64")
    assert not platforms.runs("z80")


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("text", ["arm64", "windows/amd64", "linux/", "linux/ppc64le", "linux/x"])
def test_a_platform_that_cannot_be_run_is_refused_by_its_name(text):
    with pytest.raises(UsageError, match=f"--platform {text}: "):
        platforms.check(text)
    assert platforms.check("linux/s390x") == "linux/s390x"


@pytest.mark.parametrize("level", ["v1", "v2", "v3", "v4"])
def test_a_level_of_x86_64_is_refused_where_the_processor_lacks_it(monkeypatch, tmp_path, level):
    v3 = "sse4_1 sse4_2 ssse3 pni popcnt cx16 lahf_lm avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {v3}\nbugs\t\t:\n")
    monkeypatch.setattr(platforms, "PROCESSOR", tmp_path / "cpuinfo")
    monkeypatch.setattr(platforms, "here", lambda: "amd64")
    text = f"linux/amd64/{level}"
    found = platforms.problem({"os": "linux", "architecture": "amd64", "variant": level})
    if level < "v4":
        assert found is None
        assert platforms.check(text) == text
        return
    lacking = "the processor lacks avx512bw, avx512cd, avx512dq, avx512f, avx512vl"
    assert found == lacking
    with pytest.raises(UsageError, match=f"--platform {text}: {lacking}"):
        platforms.check(text)


def test_the_platform_that_is_asked_for_is_taken(tmp_path):
    arm = {"platform": {"os": "linux", "architecture": "arm", "variant": "v7"}}
    path = index(tmp_path, arm, {"platform": FOREIGN})
    for wanted, others in (
        ("linux/riscv64", {f"linux/{here()}", "linux/arm/v7"}),
        ("linux/arm/v7", {f"linux/{here()}", "linux/riscv64"}),
        ("linux/arm", {f"linux/{here()}", "linux/riscv64"}),
    ):
        with open_image(path, platform=wanted) as image:
            assert set(image.others) == others
    missing = open_image(path, platform="linux/arm/v6")
    with pytest.raises(BadData, match="no image for linux/arm/v6"), missing:
        pass


@pytest.mark.usefixtures("handlers")
def test_images_that_nothing_here_runs_are_refused():
    def source(architecture):
        return Source("x", "app:1", architecture, {}, lambda: None)

    refuse_architecture(source("s390x"))
    refuse_architecture(source("s390x"), "linux/s390x")
    with pytest.raises(BadData, match="app:1: for ppc64le, and this machine is"):
        refuse_architecture(source("ppc64le"))
    with pytest.raises(BadData, match=f"app:1: for linux/{here()}, not for linux/s390x"):
        refuse_architecture(source(here()), "linux/s390x")


CHECKED = {"Cmd": ["/a"], "Healthcheck": {"Test": ["CMD-SHELL", "curl -f http://localhost/"]}}


@pytest.mark.parametrize(
    ("config", "needed"),
    [({"Cmd": ["/bin/sh", "-c", "/a $PORT"]}, "mlkit-launch"), (CHECKED, "mlkit-health")],
)
def test_programs_of_ours_do_not_get_into_images_for_other_machines(tmp_path, config, needed):
    for architecture in ("s390x", here()):
        archive = saved(tmp_path / "i.tar", layer(Member("a", "1", mode=0o755)), config=config,
                        architecture=architecture)  # fmt: skip
        with open_image(archive) as image:
            command, options = parse(config), Options(base="none")
            nothing = Packages({}, {})
            builder = Builder(None, take(image), nothing, command, options, tmp_path, b"")
            if architecture == here():
                builder.open_base()
                continue
            with pytest.raises(BadData, match=f"/{needed} is not made for s390x"):
                builder.open_base()


def test_bases_of_this_machine_do_not_get_into_images_for_other_machines():
    with pytest.raises(BadData, match="--base python3: of packages for"):
        base_image.refuse("python3", Packages({}, {}), "s390x")
    base_image.refuse("none", Packages({}, {}), "s390x")

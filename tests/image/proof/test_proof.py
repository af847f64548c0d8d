"""No false success: a result answers what was not traced as the original does, or is refused."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import struct
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import docker
import pytest
from image.cases import CASES, Case

from mlkit.errors import BadData
from mlkit.image.base.debian import init_program
from mlkit.image.command.entrypoint import original_argv
from mlkit.image.filesystem.image_source import take_inventory
from mlkit.image.filesystem.inventory import Inventory
from mlkit.image.proof.compare import settle
from mlkit.image.run.observation import Observation, Runner, Settings, Tools
from mlkit.image.run.probe import parse
from mlkit.image.slim import Options, Slimmer

pytestmark = pytest.mark.slow
APPS = Path(__file__).parents[1] / "apps"
ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "image"
NUMBERS = itertools.count()
BASES = ("debian", "node", "more")


@pytest.fixture(scope="session")
def tools(engine):
    """Return the image of our programs."""
    with Tools(engine) as made:
        yield made


@pytest.fixture(scope="session")
def context(tmp_path_factory):
    """Return a folder with all apps, compiled, to build images from."""
    folder = tmp_path_factory.mktemp("apps") / "context"
    shutil.copytree(APPS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("own.js", "module.mjs"):
        (folder / "lib" / name).chmod(0o644)
    for output, source, *options in (
        ("prefork", EXAMPLES / "prefork.c", "-static"),
        ("late", APPS / "late.c", "-O1"),
        ("beside", APPS / "beside.c", "-O1"),
        ("plugin.so", APPS / "plugin.c", "-shared", "-fPIC"),
    ):
        subprocess.run(["cc", *options, "-o", folder / output, source], check=True)
    shutil.copy(ROOT / "benchmarks" / "image" / "prefork.go", folder)
    (folder / "later.mo").write_bytes(catalogue({"": "charset=UTF-8\n", "hello": "hallo"}))
    return folder


def catalogue(messages):
    """Write a catalogue of translated messages, as GNU gettext reads it."""
    texts = [each.encode() for pair in sorted(messages.items()) for each in pair]
    count, tables = len(messages), b""
    at = 28 + 16 * count
    for begin in (0, 1):  # first all originals, then all translations
        for each in texts[begin::2]:
            tables += struct.pack("<II", len(each), at)
            at += len(each) + 1
    head = struct.pack("<7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 0)
    return head + tables + b"".join(each + b"\0" for each in (*texts[::2], *texts[1::2]))


@pytest.fixture(scope="session")
def wheels(context):
    """Put the wheels of a virtual environment beside the apps."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
    command += ["--python-version=3.11", "--dest", context / "wheels", "numpy<2.3", "PyYAML"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs wheels of NumPy and PyYAML: {done.stderr.strip()[-200:]}")


@pytest.fixture(scope="session")
def go_programs(context, need_program):
    """Put the Go programs beside the apps, compiled, and what compiled them."""
    go = need_program("go")
    variables = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    for name, *options in (("late",), ("prefork", "-ldflags=-s -w")):
        command = [go, "build", *options, "-o", f"{name}-go", f"{name}.go"]
        subprocess.run(command, check=True, cwd=context, env=variables)
    found = subprocess.run([go, "env", "GOROOT"], check=True, capture_output=True, text=True)
    for each in ("bin", "pkg/tool"):
        shutil.copytree(Path(found.stdout.strip()) / each, context / "goroot" / each)


def own_name():
    """Return a new name: what is built from the same files is one image, and others remove it."""
    return f"mlkit-test-proof-{os.getpid()}:{next(NUMBERS)}"


@dataclass(frozen=True)
class Subject:
    """A case whose image is built, with how the original answers what is not traced.

    Attributes:
        case: The case.
        name: Of the image in the engine.
        inventory: Its files.
        runner: Runs it with the probes of the slimming.
        late: Runs it with the others.
        originals: How it answers those.
    """

    case: Case
    name: str
    inventory: Inventory
    runner: Runner
    late: Runner
    originals: list[Observation]


@pytest.fixture(scope="module")
def subject(request, engine, tools, context):
    """Build the image of a case."""
    case = CASES[request.param]
    if "wheels" in case.dockerfile:
        request.getfixturevalue("wheels")
    if "-go" in case.dockerfile:
        request.getfixturevalue("go_programs")
    text = case.dockerfile
    for base in BASES:
        if f"{{{base}}}" in text:
            text = text.replace(f"{{{base}}}", request.getfixturevalue(base))
    (context / "Dockerfile").write_text(text.replace("{{", "{").replace("}}", "}"))
    with ExitStack() as stack:
        name = own_name()
        engine.build(context, name)
        stack.callback(engine.remove_image, name)
        inventory = stack.enter_context(take_inventory(name))
        runner, late = (
            Runner(engine, tools, Settings([parse(each, []) for each in probes], patience=60,
                                           watch=case.watch), init_program())
            for probes in (case.traced, case.late)
        )  # fmt: skip
        late = replace(late, settings=replace(late.settings, watch=0))
        argv, init = original_argv(inventory), case.starts[:1] == ("/tini",)
        originals = [late.run(name, argv, init=init) for _ in range(2)]
        assert all(each.works for each in originals), originals
        yield Subject(case, name, inventory, runner, late, originals)


def late_differences(subject, slimmed):
    """List what is broken on routes that were not traced; what is only slow is run again."""
    argv, init = original_argv(subject.inventory), subject.case.starts[:1] == ("/tini",)
    _, found = settle(
        subject.originals,
        lambda: subject.late.run(subject.name, argv, init=init),
        lambda: subject.late.run(slimmed.built.image, slimmed.command),
    )
    return [each for each in found if each.effect == "broken"]


# The safe profile keeps more of an image than the balanced one: the packages of what is kept, and
# what belongs to none. A case of each way to load shows that the rest is the same, and the other
# cases repeat it at night: a static program and a script have no packages of their own.
SAFE = ("late Python", "virtual environment", "late C", "Node")


def profiles():
    """List the cases with both profiles."""
    for case in CASES:
        yield pytest.param(case, "balanced", id=f"{case}-balanced")
        marks = [] if case in SAFE else [pytest.mark.nightly]
        yield pytest.param(case, "safe", id=f"{case}-safe", marks=marks)


@pytest.mark.parametrize(
    ("subject", "profile"), [*profiles()], indirect=["subject"], scope="module"
)
def test_a_result_answers_what_was_not_traced(subject, profile, tmp_path):
    case = subject.case
    options = Options(profile=profile)
    slimmer = Slimmer(subject.runner, subject.inventory, subject.name, options, tmp_path)
    with closing(slimmer):
        slimmed = slimmer.run()
        assert slimmed.verdict == case.verdict, slimmed.differences
        starts = tuple(slimmed.command[: len(case.starts)])
        assert starts == case.starts
        broken = late_differences(subject, slimmed)
    assert not broken, broken
    most = max(subject.inventory.size, case.most, 3e6)
    size = slimmed.built.size  # a failing comparison must not print the image
    assert size < (case.most or most if profile == "balanced" else most)


def slimmed_of(engine, tools, name, folder, probes, **settings):
    """Slim an image of the engine; return what it came to, and what is left in the engine."""
    options = settings.pop("options", Options())
    asked = Settings([parse(each, []) for each in probes], **{"patience": 60, **settings})
    runner = Runner(engine, tools, asked, init_program())
    with take_inventory(name) as inventory:
        slimmer = Slimmer(runner, inventory, name, options, folder)
        with closing(slimmer):
            return slimmer.run()


CLOCK = """RUN mkdir /opt/late && touch /opt/late/file
ENV SECONDS_UP={} LATE_FILE=/opt/late/file
CMD ["python3", {}]
"""
CLOCK_IMAGE = "FROM {}\nEXPOSE 8000\nWORKDIR /srv\nCOPY plain.py /srv/\n"


@pytest.fixture
def image(engine, context, debian):
    """Build an image of the apps; it is gone after the test."""
    made = []

    def make(text):
        (context / "Dockerfile").write_text(text.replace("{debian}", debian))
        made.append(own_name())
        engine.build(context, made[-1])
        return made[-1]

    yield make
    for each in made:
        engine.remove_image(each)


def clock(seconds, *flags):
    """Return an image whose app ends after seconds: with a flag always, else if a file is gone."""
    words = ", ".join(f'"{each}"' for each in ("plain.py", "--clock", *flags))
    return CLOCK_IMAGE.format("{debian}") + CLOCK.format(seconds, words)


def test_an_app_that_crashes_after_20_seconds_is_no_success(engine, tools, image, tmp_path):
    name = image(clock(20, "--dies"))
    with pytest.raises(BadData, match="does not work: it ends with exit code 3"):
        slimmed_of(engine, tools, name, tmp_path, ["http:8000/"], watch=22)


@pytest.mark.alone
def test_a_result_that_crashes_late_is_broken_and_says_what_it_lacks(
    engine, tools, image, tmp_path
):
    name = image(clock(2))
    before = left()
    lacking = Options(exclude=["/opt/late/*"])
    options = {"watch": 4, "options": lacking}
    slimmed = slimmed_of(engine, tools, name, tmp_path, ["http:8000/"], **options)
    assert slimmed.verdict == "broken"
    found = {each.what: each for each in slimmed.differences}
    assert (found["ending"].original, found["ending"].candidate) == ("stays up", "exit code 3")
    assert found["failed look-up"].candidate == "/opt/late/file"
    assert left() == before


def left():
    """List all images and containers of the engine."""
    with closing(docker.from_env()) as client:
        images = {each["Id"] for each in client.api.images(all=True)}
        return images | {each.id for each in client.containers.list(all=True, sparse=True)}


def test_a_file_that_only_a_trial_opens_is_added(engine, tools, image, tmp_path):
    text = "FROM {debian}\nCOPY counting.py /srv/\nVOLUME /count\n"
    text += "RUN mkdir /opt/late && echo x > /opt/late/0 && echo x > /opt/late/1\n"
    name = image(text + 'CMD ["python3", "/srv/counting.py"]\n')
    (tmp_path / "count").mkdir()
    slimmed = slimmed_of(
        engine, tools, name, tmp_path, ["log:True", "exit:0"], watch=0.2,
        volumes=[f"{tmp_path / 'count'}:/count"], options=Options(profile="tight"),
    )  # fmt: skip
    assert slimmed.verdict == "equal", slimmed.differences
    assert len(slimmed.added) == 1
    assert slimmed.added[0].startswith("/opt/late/")


def test_each_thing_that_is_worse_is_noticed(mlkit, engine, image):
    """Compare an image with one that differs in all that probes do not ask."""
    original = image(CLOCK_IMAGE.replace("{}", "{debian}") + "ENV TZ=Europe/Berlin NAME=a\n"
                     'CMD ["python3", "/srv/plain.py"]\n')  # fmt: skip
    worse = image(
        f"FROM {original}\nENV TZ=UTC NAME=b\nWORKDIR /tmp\nUSER 12\n"
        'ENV SSL_CERT_FILE=/gone\nCMD ["python3", "/srv/plain.py", "--orphans", "--deaf"]\n'
    )
    options = ("--probe=tcp:8000", "--watch=1", "--json")
    done = mlkit("image", "compare", original, worse, *options, timeout=300)
    assert done.returncode == 1, done.stderr
    broken = {each["what"] for each in json.loads(done.stdout)["differences"]
              if each["effect"] == "broken"}  # fmt: skip
    assert broken >= {
        *("user", "directory", "variable NAME", "variable TZ", "certificates", "zone"),
        *("zombies", "stop time"),
    }


def compared(mlkit, original, candidate, *options):
    """Compare two images; return the exit code and the differences, by what differs."""
    done = mlkit("image", "compare", original, candidate, *options, "--json", timeout=300)
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    return done.returncode, document["differences"], document["warnings"]


@pytest.mark.alone
def test_failed_lookups_of_a_candidate_are_reported(mlkit, engine, image):
    original = image(clock(1))
    lacking = image(f"FROM {original}\nRUN rm /opt/late/file /usr/share/doc/zlib1g/copyright\n")
    before = left()
    options = ("--probe=http:8000/", "--watch=2")
    code, found, warnings = compared(mlkit, original, lacking, *options)
    assert code == 1
    vain = [each for each in found if each["what"] == "failed look-up"]
    assert [(each["original"], each["candidate"]) for each in vain] == [("there", "/opt/late/file")]
    assert warnings == []
    assert compared(mlkit, original, original, *options)[:2] == (0, [])
    assert left() == before


@contextmanager
def network_of(image, *names):
    """Return the name of a network, and the addresses of containers in it."""
    with closing(docker.from_env()) as client, ExitStack() as stack:
        network = client.networks.create(f"mlkit-test-{os.getpid()}")
        stack.callback(network.remove)
        addresses = {}
        for name in names:
            each = client.containers.create(image, ["sleep", "600"], name=f"{network.name}-{name}")
            stack.callback(each.remove, force=True, v=True)
            network.connect(each, aliases=[name])
            each.start()
            each.reload()
            networks = each.attrs["NetworkSettings"]["Networks"]
            addresses[name] = networks[network.name]["IPAddress"]
        yield network.name, addresses


def test_a_name_that_resolves_otherwise_is_a_break(mlkit, engine, image, debian):
    text = CLOCK_IMAGE.replace("{}", "{debian}") + 'CMD ["python3", "plain.py"]\n'
    original = image(f"{text}ENV DB=tcp://me:secret@db/x HOSTALIASES=/etc/host.aliases\n")
    other = image(f"FROM {original}\nRUN echo db spare > /etc/host.aliases\n")
    deaf = image(f"FROM {original}\nRUN sed -i '/^hosts:/s/ .*/ gone/' /etc/nsswitch.conf\n")
    with network_of(debian, "db", "spare") as (network, addresses):
        options = ("--probe=http:8000/", "--watch=0", f"--network={network}")
        assert compared(mlkit, original, original, *options)[:2] == (0, [])
        code, found, _ = compared(mlkit, original, other, *options)
        assert code == 1
        assert [tuple(each.values()) for each in found] == [
            ("address of db", addresses["db"], addresses["spare"], "broken")
        ]
        code, found, _ = compared(mlkit, original, deaf, *options)
    assert code == 1
    broken = {each["what"]: each["original"] for each in found if each["effect"] == "broken"}
    assert broken.keys() == {"address of db", "address of localhost", "address of the host"}
    assert broken["address of db"] == addresses["db"]

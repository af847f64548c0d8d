"""What the engine's connection does beside other clients of the same engine."""

from __future__ import annotations

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import docker
import pytest

from mlkit.errors import BadData
from mlkit.image.filesystem import build
from mlkit.image.filesystem.platforms import here
from mlkit.image.run.engine.engine import LABEL, RUN

pytestmark = pytest.mark.slow


@pytest.fixture
def busy(engine, tmp_path):
    """Build and remove images beside the test, as another user of the engine does."""
    ended, folder = threading.Event(), tmp_path / "other"
    folder.mkdir()

    def others():
        client = docker.from_env()
        for number in range(10_000):
            if ended.is_set():
                break
            (folder / "Dockerfile").write_text(f"FROM scratch\nLABEL number={number}\nUSER 7\n")
            image = engine.build(folder)
            client.api.remove_image(image, force=True)
        client.close()

    thread = threading.Thread(target=others)
    thread.start()
    yield
    ended.set()
    thread.join(600)


@pytest.mark.usefixtures("busy")
def test_builds_and_lists_hold_while_others_remove_images(engine, tmp_path):
    folder = tmp_path / "one"  # not all of it: the others write meanwhile
    folder.mkdir()
    for number in range(10):
        (folder / "Dockerfile").write_text(f"FROM scratch\nENV NUMBER={number}\nUSER 8\n")
        image = engine.build(folder)
        assert engine.list_labelled("no.such.label") == []
        engine.clean(dry=True)
        engine.remove_image(image)


RACES = [
    'unable to find image "sha256:12"',
    "No such image: sha256:12",
    "unknown parent image ID sha256:12",
    "failed to get digest sha256:12: open /x/sha256/12: no such file or directory",
    'failed to get destination image "sha256:12": no such image: sha256:12',
    "failed to export image: failed to set parent sha256:12: unknown parent image ID sha256:12",
]


@pytest.fixture
def disturb(monkeypatch):
    """Let the next calls of a method of the client fail as if another client came in between."""

    def fail(owner, name, *errors):
        waiting, method = list(errors), getattr(owner, name)

        def sometimes(*arguments, **settings):
            if waiting:
                raise waiting.pop(0)
            return method(*arguments, **settings)

        monkeypatch.setattr(owner, name, sometimes)

    return fail


def test_a_build_is_tried_again_when_an_image_vanishes(engine, tmp_path, disturb):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nENV NUMBER=1\n")
    errors = [docker.errors.BuildError(text, []) for text in RACES]
    disturb(docker.models.images.ImageCollection, "build", *errors)
    image = engine.build(tmp_path)
    assert engine.inspect(image)["Config"]["Env"][-1] == "NUMBER=1"
    engine.remove_image(image)


def test_a_build_that_fails_by_itself_is_not_tried_again(engine, tmp_path, disturb):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    text = "The command 'docker inspect x' returned a non-zero code: 1: no such image"
    disturb(docker.models.images.ImageCollection, "build", docker.errors.BuildError(text, []))
    with pytest.raises(BadData, match="the build fails: The command"):
        engine.build(tmp_path)


def test_an_image_that_others_load_and_remove_at_once_is_loaded(engine):
    """Images of the same content are one, so that each removal is in the way of each load."""
    document = build.document([], {"Cmd": ["/x"], "Labels": {"pid": str(os.getpid())}}, here())

    def use(_):
        with engine.load_temporary(document, []) as image, engine.container(image) as container:
            return container.state().running

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(use, range(24))) == [False] * 24


def test_a_container_that_another_client_removes_too_is_waited_for(engine, disturb):
    document = build.document([], {"Cmd": ["/x"]}, here())
    busy = [docker.errors.APIError(f"removal of container {n} is already in progress")
            for n in range(3)]  # fmt: skip
    with engine.load_temporary(document, []) as image:
        disturb(docker.models.containers.Container, "remove", *busy)
        with engine.container(image) as container:
            made = container.id
    assert engine.find_container(made) is None


@pytest.mark.alone
def test_what_a_run_removes_at_its_end_was_not_left(engine, monkeypatch):
    """A run may remove its things and end after they were listed."""
    config = {"Cmd": ["/x"], "Labels": {LABEL: "1", RUN: "ended"}}
    document = build.document([], config, here())
    with contextlib.ExitStack() as stack:
        image = stack.enter_context(engine.load_temporary(document, []))
        listed = f"image {image[:19]}"
        assert listed in engine.clean(dry=True)
        method = engine._left

        def end_meanwhile(wanted):
            found = list(method(wanted))
            stack.close()
            return found

        monkeypatch.setattr(engine, "_left", end_meanwhile)
        assert listed not in engine.clean(dry=True)

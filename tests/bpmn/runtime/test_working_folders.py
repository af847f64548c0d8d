"""What tasks leave in their working folders, for the hosts that go on with their instances."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import time
from contextlib import closing

import pytest

from mlkit.bpmn.engine.work_file import WorkFile
from mlkit.bpmn.journal.artifacts import ArtifactStore
from mlkit.bpmn.people import attachments
from mlkit.bpmn.runtime import working_folders
from mlkit.bpmn.runtime.inspection import damage
from mlkit.bpmn.runtime.retention import prune
from mlkit.bpmn.runtime.runner import Runner
from mlkit.bpmn.runtime.running import Running
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.runtime.session import Session, Settings
from mlkit.bpmn.runtime.transfer import export, import_
from mlkit.errors import BadData, ServiceUnavailable
from mlkit.storage.objects import open_objects
from mlkit.workers.child import kept_files
from mlkit.workers.pool import ScriptPool

FLOW = "s>make make>u u>use use>e"


def nodes(make, use, attach=""):
    return (
        f'<startEvent id="s"/><scriptTask id="make"><script>{make}</script></scriptTask>'
        f'<userTask id="u" mlkit:attach="{attach}"/>'
        f'<scriptTask id="use"><script>{use}</script></scriptTask><endEvent id="e"/>'
    )


@pytest.fixture(params=["file", "s3"])
def store(request, tmp_path):
    if request.param == "s3":
        return request.getfixturevalue("bucket") + "/pipelines"
    return (tmp_path / "shared").as_uri()


@pytest.fixture
def shared(tmp_path):
    return (tmp_path / "shared").as_uri()


@pytest.fixture
def host(tmp_path, postgresql):
    """Return how to open the journal as a host does that has a state folder of its own."""

    def open_as(name, artifacts=None, journal=postgresql, workers=1):
        settings = Settings(workers, journal=journal, artifacts=artifacts)
        return Session(tmp_path / name, settings, True)

    return open_as


@pytest.fixture
def begin(tmp_path, diagram):
    """Return how to run an instance of a pipeline to its user task."""

    def begin(session, *scripts, flow=FLOW, **variables):
        path = tmp_path / "p.bpmn"
        path.write_text(diagram(nodes(*scripts), flow))
        row = session.begin(path, variables)
        session.advance([row])
        return row

    return begin


def complete(session, row):
    return Service(session).complete(f"{row.id}/u", {}, "ann").status


def variables(session, row):
    return Service(session).show(row.id)["variables"]


def folder(session, row):
    return session.journal.folder / "work" / row.id


def logs(session, row):
    return "".join(each["stderr"] for each in Service(session).logs(row.id)["logs"])


MAKE = """
import os
os.makedirs("models/empty")
with open("models/tree.bin", "wb") as file:
    file.write(bytes([n]) * 100_000)
os.chmod("models/tree.bin", 0o750)
with open("report é.txt", "w") as file:
    file.write("good")
"""
USE = """
import os
with open("models/tree.bin", "rb") as file:
    size = len(file.read())
with open("report é.txt") as file:
    text = file.read()
mode, empty = os.stat("models/tree.bin").st_mode &amp; 0o777, os.listdir("models/empty")
"""


def test_another_host_has_the_files_of_a_task(host, store, begin):
    with host("one", store) as session:
        row = begin(session, MAKE, USE, "report é.txt", n=7)
    with host("two") as session:
        [task] = session.tasks(session.journal.get(row.number))
        [found] = attachments.documents(task, session.journal.folder, session.journal.artifacts)
        assert (found.content, found.problem) == (b"good", "")
        assert complete(session, row) == "completed"
        shown = variables(session, row)
        assert (shown["size"], shown["text"], shown["mode"]) == (100_000, "good", 0o750)
        assert shown["empty"] == []
        assert damage(session) == []


def test_an_instance_that_comes_back_has_what_others_changed(host, shared, begin):
    change = "import os, pathlib\nos.unlink('a'); pathlib.Path('b').write_text('new')"
    read = "import os, pathlib\nfound = sorted(os.listdir()) + [pathlib.Path('b').read_text()]"
    scripts = (
        "import pathlib\nfor name in 'abc': pathlib.Path(name).write_text('old')",
        f"{change}</script></scriptTask><userTask id='v'/><scriptTask id='last'><script>{read}",
    )
    with host("one", shared) as session:
        row = begin(session, *scripts, flow="s>make make>u u>use use>v v>last last>e")
    with host("two") as session:
        assert complete(session, row) == "waiting"
    with host("one") as session:
        (folder(session, row) / "mine").write_text("never carried")
        assert Service(session).complete(f"{row.id}/v", {}, "ann").status == "completed"
        assert variables(session, row)["found"] == ["b", "c", "mine", "new"]


def test_what_only_a_failed_task_wrote_is_not_carried(host, shared, begin):
    make = (
        "import pathlib\npathlib.Path('good').write_text('')</script></scriptTask>"
        '<scriptTask id="bad"><script>import pathlib\npathlib.Path("junk").write_text("")\n'
        'raise BpmnError("no")</script></scriptTask>'
        '<boundaryEvent id="b" attachedToRef="bad"><errorEventDefinition/></boundaryEvent>'
        '<scriptTask id="then"><script>import pathlib\npathlib.Path("other").write_text("")'
    )
    use = "import os\nfound = sorted(os.listdir())"
    with host("one", shared) as session:
        row = begin(session, make, use, flow="s>make make>bad b>then bad>e then>u u>use use>e")
        assert (folder(session, row) / "junk").exists()
    with host("two") as session:
        assert complete(session, row) == "completed"
        assert variables(session, row)["found"] == ["good", "other"]


def test_what_an_earlier_attempt_left_goes_with_the_one_that_used_it(host, shared, begin):
    make = (
        "import os, pathlib\npathlib.Path(f'part{execution.attempt}').write_text('')\n"
        "if execution.attempt == 1: raise ValueError('again')"
    )
    use = "import os\nfound = sorted(os.listdir())"
    with host("one", shared) as session:
        row = begin(session, make, use)
        assert Service(session).retry(row.id, 0, "ann").status == "waiting"
    with host("two") as session:
        assert complete(session, row) == "completed"
        assert variables(session, row)["found"] == ["part1", "part2"]


def test_links_and_pipes_stay_and_are_named_in_the_log(host, shared, begin):
    make = (
        "import os\nopen('a', 'w').close()\nos.symlink('/etc/passwd', 'out')\n"
        "os.symlink('/etc', 'etc')\nos.mkfifo('pipe')"
    )
    use = "import os\nfound = sorted(os.listdir())"
    with host("one", shared) as session:
        row = begin(session, make, use)
        assert "not carried to other hosts: 'etc', 'out', 'pipe'" in logs(session, row)
    with host("two") as session:
        assert complete(session, row) == "completed"
        assert variables(session, row)["found"] == ["a"]


def test_what_a_failed_attempt_removed_has_gone_once_the_task_completes(host, shared, begin):
    make = (
        "import pathlib\npathlib.Path('x').write_text('')</script></scriptTask>"
        '<scriptTask id="again"><script>import os, pathlib\n'
        "if execution.attempt == 1: os.unlink('x'); raise ValueError('again')\n"
        "pathlib.Path('y').write_text('')"
    )
    use = "import os\nfound = sorted(os.listdir())"
    with host("one", shared) as session:
        row = begin(session, make, use, flow="s>make make>again again>u u>use use>e")
        assert Service(session).retry(row.id, 0, "ann").status == "waiting"
    with host("two") as session:
        assert complete(session, row) == "completed"
        assert variables(session, row)["found"] == ["y"]


WAIT = """
import os, pathlib, time
def wait(name):
    end = time.monotonic() + 60
    while not os.path.exists(name) and time.monotonic() &lt; end: time.sleep(0.01)
"""


def test_what_a_task_removes_that_another_one_has_carried_has_gone(host, shared, begin):
    a = "wait('b'); pathlib.Path('x').write_text('x'); wait(listed); os.unlink('x')"
    b = "pathlib.Path('b').write_text('b'); wait('x')"
    make = (
        f"{WAIT}{a}</script></scriptTask><scriptTask id='b'><script>{WAIT}{b}</script></scriptTask>"
        "<parallelGateway id='split'/><parallelGateway id='join'/>"
        "<scriptTask id='c'><script>import pathlib\npathlib.Path('go').write_text('go')"
    )
    use = "import os\nfound = sorted(os.listdir())"
    flow = "s>split split>make make>join split>b b>c c>join join>u u>use use>e"
    with host("one", shared, workers=2) as session:
        # What c leaves is stored after b was applied, and once c has listed the folder.
        listed = session.journal.artifacts.folder / hashlib.sha256(b"go").hexdigest()
        row = begin(session, make, use, flow=flow, listed=str(listed))
    with host("two") as session:
        assert complete(session, row) == "completed"
        assert variables(session, row)["found"] == ["b", "go"]


@pytest.mark.parametrize("limit", ["MOST_FILES", "MOST_BYTES"])
def test_a_task_fails_that_leaves_more_than_can_move(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(kept_files, limit, 3)
    for name in "abcd":
        (tmp_path / name).write_text("x")
    before = kept_files.Scan({}, [])
    with pytest.raises(kept_files.TooMuch, match="at most 3"):
        kept_files.keep(str(tmp_path), before, None, str(tmp_path / "store"))


def test_only_what_has_changed_is_stored(tmp_path):
    work, store = tmp_path / "work", tmp_path / "store"
    work.mkdir()
    for name in "abc":
        (work / name).write_text(name)
    before = kept_files.scan(str(work))
    (work / "b").write_text("new")
    (work / "c").unlink()
    kept, note = kept_files.keep(str(work), before, None, str(store))
    assert (kept["c"], note) == (None, "")
    assert kept.keys() == {"b", "c"}
    assert [each.read_text() for each in store.iterdir()] == ["new"]


def test_what_another_task_removes_meanwhile_is_not_there(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("")
    before = kept_files.Scan({}, [])
    scan = kept_files.scan

    def scan_and_remove(folder):
        found = scan(folder)
        (tmp_path / "a").unlink()
        return found

    monkeypatch.setattr(kept_files, "scan", scan_and_remove)
    kept, _ = kept_files.keep(str(tmp_path), before, None, str(tmp_path / "store"))
    assert kept == {"a": None}


def test_without_a_store_nothing_is_kept(tmp_path, begin):
    with Session(tmp_path / "one", Settings(1), True) as session:
        row = begin(session, MAKE, USE, n=1)
        assert session.state(row).files == {}
        assert not working_folders.note_of(folder(session, row)).exists()
        assert list(session.journal.artifacts.all()) == []
        assert complete(session, row) == "completed"


def test_a_task_is_not_begun_with_a_file_that_was_changed(host, shared, begin):
    with host("one", shared) as session:
        row = begin(session, MAKE, USE, n=1)
        name = session.state(row).files["models/tree.bin"].hash
    with host("two") as session:
        open_objects(shared).put(name, io.BytesIO(b"another content"))
        assert complete(session, row) == "incident"
        [incident] = Service(session).show(row.id)["incidents"]
        assert "its hash differs" in incident["message"]
        [problem] = damage(session)
        assert "its hash differs" in problem


def test_a_journal_moves_with_the_files_of_other_hosts(host, shared, tmp_path, begin):
    with host("one", shared) as session:
        row = begin(session, MAKE, USE, n=1)
    with host("two") as session:
        export(session, tmp_path / "journal.tar")
    with host("three", journal=None) as session:
        import_(session, tmp_path / "journal.tar")
        assert complete(session, row) == "completed"


def test_a_new_run_begins_with_the_files_as_they_were_then(host, shared, begin):
    use = (
        "import pathlib\nfile = pathlib.Path('n')\n"
        "n = int(file.read_text()) + 1\nfile.write_text(str(n))"
    )
    with host("one", shared) as session:
        row = begin(session, "import pathlib\npathlib.Path('n').write_text('1')", use)
        assert complete(session, row) == "completed"
        again = Service(session).rerun(row.id, "use")
        assert variables(session, again)["n"] == variables(session, row)["n"] == 2


def test_a_new_run_begins_with_nothing_where_nothing_was_there_then(host, shared, begin):
    make = "import os, pathlib\nfound = os.listdir()\npathlib.Path('x').write_text('')"
    with host("one", shared) as session:
        row = begin(session, make, "pass")
        again = Service(session).rerun(row.id, "make")
        assert variables(session, again)["found"] == []


def test_a_folder_is_emptied_only_where_tasks_have_emptied_it(host, shared, begin):
    make = "import pathlib\npathlib.Path('x').write_text('')"
    empty = (
        "import os\nos.unlink('x')</script></scriptTask><userTask id='v'/><scriptTask id='last'>"
        "<script>import os\nfound = os.listdir()"
    )
    with host("one", shared) as session:
        row = begin(session, make, empty, flow="s>make make>u u>use use>v v>last last>e")
        other = begin(session, "pass", "import os\nfound = os.listdir()")
        folder(session, other).mkdir(exist_ok=True)
        (folder(session, other) / "x").write_text("")
        working_folders.note(folder(session, other), session.state(row).files)
    with host("two") as session:
        assert complete(session, row) == "waiting"
    with host("one") as session:
        assert Service(session).complete(f"{row.id}/v", {}, "ann").status == "completed"
        assert variables(session, row)["found"] == []
        assert complete(session, other) == "completed"
        assert variables(session, other)["found"] == ["x"]


def test_a_folder_goes_with_its_instance(host, shared, begin):
    with host("one", shared) as session:
        row = begin(session, MAKE, USE, n=1)
        complete(session, row)
        prune(session, session.journal.get(row.number).updated + 1)
        assert list((session.journal.folder / "work").iterdir()) == []


def test_a_dropped_instance_restores_nothing_any_more(host, shared, begin):
    with host("one", shared) as session:
        row = begin(session, MAKE, USE, n=1)
        state, work = session.state(row), session.journal.folder / "work" / "other"
        running = Running(session.engine(row), state, row.number, row.id, {"work": str(work)})
        with closing(ScriptPool(1)) as pool:
            runner = Runner(pool, session.journal)
            runner.drop(running, ServiceUnavailable("the lease is over"))
            ended, deadline = [], time.monotonic() + 60
            runner.transfers.prepare(running, 1, (), ended.append)
            while not runner.transfers.finish() and time.monotonic() < deadline:
                time.sleep(0.01)
            runner.transfers.close()
        assert ended == [None]
        assert not work.exists()


def test_what_cannot_be_reached_fails_no_task_and_has_not_gone(tmp_path):
    work, store = tmp_path / "work", tmp_path / "store"
    work.mkdir()
    (work / "a").write_text("")
    here = os.open(work, os.O_RDONLY)
    for _ in range(20):  # A path of more than 4,096 characters.
        os.mkdir("d" * 250, dir_fd=here)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    found = kept_files.scan(str(work))
    assert list(found.files) == ["a"]
    hidden = found.left_out[0].removesuffix("/") + "/below"
    before = kept_files.Scan({**found.files, hidden: found.files["a"], "b": found.files["a"]}, [])
    kept, note = kept_files.keep(str(work), before, None, str(store))
    assert kept == {"b": None}
    assert "not carried to other hosts: 'ddd" in note
    shutil.rmtree(work)


def test_a_folder_that_can_only_be_listed_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "x").write_text("")
    before = kept_files.scan(str(tmp_path))
    stamp = kept_files._stamp

    def refuse(status):
        if status.st_ino == before.files["locked/x"].inode:
            raise PermissionError
        return stamp(status)

    monkeypatch.setattr(kept_files, "_stamp", refuse)
    kept, note = kept_files.keep(str(tmp_path), before, None, str(tmp_path / "store"))
    assert kept == {}
    assert "not carried to other hosts: 'locked/x/'" in note


def test_a_journal_in_which_a_file_is_a_folder_too_is_told(tmp_path):
    store = ArtifactStore(tmp_path / "artifacts")
    kept = attachments.upload(store, ("e", ""), "f", b"content")["$artifact"]
    files = {each: WorkFile(kept, 7, 0o600) for each in ("out", "out/x")}
    with pytest.raises(BadData, match="'out' is both a file and a folder"):
        working_folders.restore(tmp_path / "work", files, store)


def test_permissions_are_restored_of_what_is_new_and_of_what_is_there(tmp_path):
    store, work = ArtifactStore(tmp_path / "artifacts"), tmp_path / "work"
    kept = attachments.upload(store, ("e", ""), "f", b"content")["$artifact"]
    files = {"new": WorkFile(kept, 7, 0o640), "there": WorkFile(kept, 7, 0o604)}
    work.mkdir()
    (work / "there").write_bytes(b"content")
    working_folders.restore(work, {**files, "empty/": WorkFile("", 0, 0o710)}, store)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in work.iterdir()}
    assert modes == {"new": 0o640, "there": 0o604, "empty": 0o710}


HOSTILE = ("../out", "/etc/out", "a/../../out", "a//b", "./a", "", "a\0b", "..")


@pytest.mark.parametrize("path", HOSTILE)
def test_a_journal_does_not_write_outside_of_the_folder(tmp_path, path):
    store = ArtifactStore(tmp_path / "artifacts")
    kept = attachments.upload(store, ("e", ""), "f", b"content")["$artifact"]
    with pytest.raises(BadData, match="not the name of a file"):
        working_folders.restore(tmp_path / "work", {path: WorkFile(kept, 7, 0o600)}, store)
    assert not (tmp_path / "out").exists()


def test_what_is_in_the_way_of_a_file_is_replaced_and_not_followed(tmp_path):
    store, work, outside = (
        ArtifactStore(tmp_path / "artifacts"),
        tmp_path / "work",
        tmp_path / "out",
    )
    kept = attachments.upload(store, ("e", ""), "f", b"content")["$artifact"]
    work.mkdir()
    outside.mkdir()
    (outside / "file").write_text("mine")
    (work / "folder").symlink_to(outside)
    (work / "link").symlink_to(outside / "file")
    (work / "was a folder").mkdir()
    (work / "was a file").write_text("")
    os.mkfifo(work / "pipe")
    paths = ("folder/file", "link", "was a folder", "was a file/inner", "pipe")
    working_folders.restore(work, {each: WorkFile(kept, 7, 0o4755) for each in paths}, store)
    for each in paths:
        assert (work / each).read_bytes() == b"content"
        assert stat.S_IMODE((work / each).lstat().st_mode) == 0o755
    assert (outside / "file").read_text() == "mine"

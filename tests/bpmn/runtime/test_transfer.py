"""Journals that move from one back end to the other, with all that belongs to them."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import tarfile

import pytest

from mlkit.bpmn.journal.notices import NewMail
from mlkit.bpmn.people.links import Links, key_of
from mlkit.bpmn.runtime.host import Host
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.runtime.session import Session, Settings
from mlkit.bpmn.runtime.transfer import export, import_, require_exported
from mlkit.errors import BadData, InputMissing, UsageError

MAKE = "import os\nframe = b'x' * 100_000\nopen('note.txt', 'w').write('kept')\ntext = 'a\\x00ü'"
PIPELINE = (
    f'<startEvent id="s"/><scriptTask id="make"><script>{MAKE}</script></scriptTask>'
    '<userTask id="u"/><scriptTask id="size"><script>size = len(frame)</script></scriptTask>'
    '<endEvent id="e"/>'
)


@pytest.fixture(params=["to PostgreSQL", "to SQLite"])
def urls(request, postgresql):
    """Return the URLs of the old and of the new journal."""
    return (None, postgresql) if request.param == "to PostgreSQL" else (postgresql, None)


@pytest.fixture
def pipeline(tmp_path, diagram):
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(PIPELINE, "s>make make>u u>size size>e"))
    return path


def begin(session, path, key=""):
    row = session.begin(path, {}, key)
    session.advance([row])
    return row


def test_a_journal_moves_to_the_other_back_end_and_goes_on(urls, tmp_path, pipeline):
    old, new = urls
    with Session(tmp_path / "old", Settings(journal=old), create=True) as session:
        service = Service(session)
        rows = [begin(session, pipeline, f"key-{number}") for number in range(3)]
        service.complete(f"{rows[0].id}/u", {}, "ann")
        service.store("limits", {"rows": [1, 2.5, None]})
        service.message("paid", "k", {"sum": 9}, 600)
        shown = [service.show(each.id) for each in rows]
        done = export(session, tmp_path / "journal.tar")
    assert done["rows"]["instances"] == 3
    assert done["artifacts"] == 1
    with Session(tmp_path / "new", Settings(journal=new), create=True) as session:
        service = Service(session)
        assert import_(session, tmp_path / "journal.tar") == done
        assert [service.show(each.id) for each in rows] == shown
        assert [each.value for each in session.journal.stores.all()] == [{"rows": [1, 2.5, None]}]
        assert len(service.tasks()) == 2
        assert service.complete(f"{rows[1].id}/u", {}, "bob").status == "completed"
        assert service.show(rows[1].id)["variables"]["size"] == 100_000
        note = tmp_path / "new" / "work" / rows[1].id / "note.txt"
        assert note.read_text() == "kept"
        # New rows do not meet the numbers of those that were moved.
        another = begin(session, pipeline)
        assert another.number > max(each.number for each in rows)
        who = [each.who for _, each in session.journal.audit.entries(rows[0].id, None, 10)]
        assert "ann" in who


def test_a_journal_that_is_used_is_refused(back_end, tmp_path, pipeline):
    host = Host(tmp_path / "old", Settings(workers=1, journal=back_end.url(tmp_path / "old")))
    host.start()  # It has nothing to do, and owns no instance.
    with Session(tmp_path / "old") as session:
        with pytest.raises(UsageError, match="a process uses the journal"):
            export(session, tmp_path / "journal.tar")
        host.join()
        export(session, tmp_path / "journal.tar")
        begin(session, pipeline)
        with pytest.raises(UsageError, match="holds something already"):
            import_(session, tmp_path / "journal.tar")


def rewritten(file, name, change):
    """Change a member of an archive."""
    with tarfile.open(file) as old:
        members = [(each, old.extractfile(each)) for each in old]
        contents = [(each, content.read() if content else b"") for each, content in members]
    with tarfile.open(file, "w") as new:
        for member, content in contents:
            if member.name.startswith(name):
                content = change(member, content)
                member.size = len(content)
            new.addfile(member, io.BytesIO(content))


def evil(member, content):
    member.name = "work/../../evil"
    return content


def keyed(member, content):
    member.name = "work/../links.key"
    return content


def renamed(member, content):
    member.name = "artifacts/../../evil"
    return content


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("tables/events", lambda m, c: c.replace(b'"at"', b'"when"'), "columns are others"),
        ("tables/events", lambda m, c: b"", "not as they were"),
        ("tables/instances", lambda m, c: b"[1]\n", "columns are others"),
        ("tables/instances", lambda m, c: b"{", "cannot be read"),
        ("manifest", lambda m, c: c.replace(b'"journal": ', b'"journal": 9'), "another version"),
        ("manifest", lambda m, c: b"{}", "not an exported journal"),
        ("artifacts/", lambda m, c: c[:-1] + b"?", "is damaged"),
        ("artifacts/", renamed, "is not a stored value"),
        ("work/", lambda m, c: c[:-1] + b"?" if c else c, "is damaged"),
        ("work/", evil, "is not in a working folder"),
        ("work/", keyed, "is not in a working folder"),
    ],
)
def test_a_damaged_file_leaves_nothing(tmp_path, pipeline, name, change, why):
    with Session(tmp_path / "old", create=True) as session:
        begin(session, pipeline)
        export(session, tmp_path / "journal.tar")
    rewritten(tmp_path / "journal.tar", name, change)
    with Session(tmp_path / "new", create=True) as session:
        with pytest.raises(BadData, match=why):
            import_(session, tmp_path / "journal.tar")
        assert session.journal.rows() == []
    assert not list(tmp_path.rglob("evil"))
    assert not list(tmp_path.rglob("links.key"))


@pytest.mark.parametrize(
    "part", ["artifacts/", "work/", "tables/audit", "tables/mails", "summary.json"]
)
def test_a_file_that_lacks_a_part_is_refused(tmp_path, pipeline, part):
    """As one whose copy ended early, between two members: tar does not notice."""
    with Session(tmp_path / "old", create=True) as session:
        begin(session, pipeline)
        export(session, tmp_path / "journal.tar")
    with (
        tarfile.open(tmp_path / "journal.tar") as old,
        tarfile.open(tmp_path / "new.tar", "w") as new,
    ):
        for member in old:
            if not (member.isfile() and member.name.startswith(part)):
                new.addfile(member, old.extractfile(member))
    with Session(tmp_path / "new", create=True) as session:
        with pytest.raises(BadData, match="a part of it is missing"):
            import_(session, tmp_path / "new.tar")
        assert session.journal.rows() == []


def test_a_file_without_a_summary_of_an_older_mlkit_is_read(tmp_path, pipeline):
    with Session(tmp_path / "old", create=True) as session:
        begin(session, pipeline)
        done = export(session, tmp_path / "journal.tar")
    rewritten(
        tmp_path / "journal.tar", "manifest",
        lambda member, content: content.replace(b', "summarised": true', b""),
    )  # fmt: skip
    with Session(tmp_path / "new", create=True) as session:
        assert import_(session, tmp_path / "journal.tar") == done


_KILLED = """
import os, signal, sys
from pathlib import Path
from mlkit.bpmn.runtime import transfer
from mlkit.bpmn.runtime.session import Session

transfer._hash = lambda _: os.kill(os.getpid(), signal.SIGKILL)
with Session(Path(sys.argv[1]), create=True) as session:
    transfer.import_(session, Path(sys.argv[2]))
"""


@pytest.mark.parametrize("how", ["a full disk", "killed"])
def test_an_import_that_ends_early_leaves_no_part_of_a_file(tmp_path, diagram, how):
    path = tmp_path / "p.bpmn"
    large = "open('large', 'wb').write(b'x' * 3_000_000)"
    path.write_text(diagram(PIPELINE.replace(MAKE, f"frame = b'x' * 100_000\n{large}"),
                            "s>make make>u u>size size>e"))  # fmt: skip
    with Session(tmp_path / "old", create=True) as session:
        row = begin(session, path)
        export(session, tmp_path / "journal.tar")
    if how == "killed":
        command = [sys.executable, "-c", _KILLED, tmp_path / "new", tmp_path / "journal.tar"]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        assert list((tmp_path / "new").glob(".import-*/work/*/large"))
    else:
        limit = f"ulimit -f 2000; trap '' XFSZ; exec {sys.executable} -m mlkit bpmn import"
        done = subprocess.run(
            ["bash", "-c", f"{limit} journal.tar --state new"],
            cwd=tmp_path, check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 69, done.stderr
        assert "File too large" in done.stderr
        assert not list((tmp_path / "new").glob(".import-*"))
    assert not list((tmp_path / "new").glob("work/*/*"))
    with Session(tmp_path / "new") as session:
        assert session.journal.rows() == []
        import_(session, tmp_path / "journal.tar")
    moved = tmp_path / "new" / "work" / row.id / "large"
    assert moved.read_bytes() == b"x" * 3_000_000
    assert not list((tmp_path / "new").glob(".import-*"))


def test_files_of_working_folders_that_are_there_stay(tmp_path, pipeline):
    """As where the new journal has the same state folder."""
    with Session(tmp_path / "old", create=True) as session:
        row = begin(session, pipeline)
        export(session, tmp_path / "journal.tar")
    folder = tmp_path / "new" / "work" / row.id
    folder.mkdir(parents=True)
    (folder / "note.txt").write_text("newer")
    with Session(tmp_path / "new", create=True) as session:
        import_(session, tmp_path / "journal.tar")
    assert (folder / "note.txt").read_text() == "newer"


def test_a_link_that_was_sent_is_valid_where_the_journal_moved_with_its_key(
    mlkit, tmp_path, pipeline
):
    with Session(tmp_path / "old", create=True) as session:
        row = begin(session, pipeline)
        outbox = session.journal.outbox
        session.write(lambda _: outbox.add([NewMail("m", "task", 1, 1, "ann", "a@b.org")], 1.0))
    lacking = mlkit("bpmn", "export", "k.tar", "--with-keys", "--state", "old")
    assert (lacking.returncode, (tmp_path / "k.tar").exists()) == (66, False)
    token = Links(key_of(tmp_path / "old")).make(f"{row.id}/1", "ann")

    done = mlkit("bpmn", "export", "k.tar", "--with-keys", "--state", "old", "--json")
    assert json.loads(done.stdout)["keys"]
    assert (tmp_path / "k.tar").stat().st_mode & 0o777 == 0o600
    done = mlkit("bpmn", "import", "k.tar", "--state", "new")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "new" / "links.key").stat().st_mode & 0o777 == 0o600
    assert Links(key_of(tmp_path / "new")).read(token).person == "ann"

    key_of(make_folder(tmp_path / "other"))
    refused = mlkit("bpmn", "import", "k.tar", "--state", "other")
    assert refused.returncode == 2
    assert "another key" in refused.stderr

    said = mlkit("bpmn", "export", "j.tar", "--state", "old").stderr
    assert "--with-keys" in said
    assert mlkit("bpmn", "import", "j.tar", "--state", "third").stderr == said
    assert not (tmp_path / "third" / "links.key").exists()


def make_folder(path):
    path.mkdir()
    return path


def test_the_commands(mlkit, tmp_path, pipeline):
    with Session(tmp_path / "old", create=True) as session:
        row = begin(session, pipeline)
    file = tmp_path / "j.tar"
    done = mlkit("bpmn", "export", file, "--state", "old", "--json")
    assert json.loads(done.stdout)["rows"]["instances"] == 1
    assert file.stat().st_mode & 0o777 == 0o600
    done = mlkit("bpmn", "import", file, "--state", "new")
    assert done.stdout == f"{file}: 1 instance, 1 definition, 1 stored value\n"
    with Session(tmp_path / "new") as session:
        assert [each.id for each in session.journal.rows()] == [row.id]
    (tmp_path / "text").write_text("text")
    assert mlkit("bpmn", "import", "text", "--state", "other").returncode == 65
    assert not (tmp_path / "other").exists()
    with pytest.raises(InputMissing):
        require_exported(tmp_path / "nothing")

"""What a worker does with the word of a server that it should not trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlkit.bpmn.worker.carrying import Carrier
from mlkit.errors import BadData


class Server:
    """A server that answers with one job, whatever is asked."""

    url = "http://127.0.0.1"

    def __init__(self, **job: Any) -> None:
        self._job = {"variables": {}, "files": {}, "kind": "script", "limit": 1} | job

    def job(self, task: str) -> dict[str, Any]:
        return dict(self._job)


def carrier(server: Server, folder: Path) -> Carrier:
    return Carrier(lambda: server, folder / "contents", folder / "work")  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("task", ["../others", "/etc", ".", "..", "a/b", "a\0b", "1d24-3"])
def test_the_folder_of_a_task_is_made_and_removed_within_the_worker_s_own(tmp_path, task):
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "kept").write_text("mine")
    found = carrier(Server(), tmp_path)
    job = found.prepare(task)
    assert job is not None
    assert Path(job["work"]).parent == tmp_path / "work"
    assert Path(job["work"]).is_dir()
    found.end(task)
    assert not Path(job["work"]).exists()
    assert (tmp_path / "others" / "kept").read_text() == "mine"


@pytest.mark.parametrize("path", ["../out.txt", "/tmp/out.txt", "a/../../out.txt", "a\0"])
def test_a_file_that_leads_out_of_the_folder_is_refused(tmp_path, path):
    files = {path: ("a" * 64, 1, 0o644)}
    with pytest.raises(BadData, match="is not the name of a file"):
        carrier(Server(files=files), tmp_path).prepare("1")

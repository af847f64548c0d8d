"""CSV as a stream of batches."""

from __future__ import annotations

import gc
import io
import weakref

import pytest

from mlkit.bandit.logs import csv_input
from mlkit.errors import BadData


class Text(io.BufferedReader):
    """A file that can be watched."""


def watched(content: bytes) -> tuple[Text, weakref.ref[Text]]:
    text = Text(io.BytesIO(content))
    return text, weakref.ref(text)


@pytest.mark.parametrize("lines", [1, 3, 300_000])
def test_nothing_of_a_file_that_was_read_is_left_to_threads(tmp_path, lines):
    """A thread that drops the file while the interpreter ends would abort the process."""
    for _ in range(5):
        text, alive = watched(b"a,b\n" + b"1,2\n" * lines)
        batches = csv_input.read_batches(
            text, tmp_path / "l.csv", ["a"], on_bad_row=csv_input.refuse
        )
        del text
        assert sum(len(batch) for batch in batches) == lines
        assert alive() is None


def test_nor_of_one_that_is_wrong(tmp_path):
    path = tmp_path / "l.csv"
    path.write_bytes(b"a,b\n1\n")
    text, alive = watched(path.read_bytes())
    batches = csv_input.read_batches(text, path, ["a"], on_bad_row=csv_input.refuse)
    del text
    wrong = ""
    try:  # what `pytest.raises` returns would hold the file
        next(batches)
    except BadData as error:
        wrong = str(error)
    assert wrong == f"{path}: line 2: 1 fields, expected 2"
    gc.collect()  # the error and the frames of its traceback hold one another
    assert alive() is None


def test_nor_of_one_that_is_left_in_the_middle(tmp_path):
    text, alive = watched(b"a,b\n" + (b"1," + b"2" * 1000 + b"\n") * 30_000)  # four blocks
    batches = csv_input.read_batches(text, tmp_path / "l", ["a"], on_bad_row=csv_input.refuse)
    del text
    assert len(next(batches)) < 30_000
    batches.close()
    assert alive() is None

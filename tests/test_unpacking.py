"""Gzip with limits: bombs and damage are bad data, before the memory is full."""

from __future__ import annotations

import gzip
import io
import itertools
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlkit.errors import BadData
from mlkit.unpacking import GzipReader, UnpackLimits, unzip

ZEROS = gzip.compress(bytes(80 << 20), compresslevel=1)


def test_content_comes_back():
    text = b"date,A\n" * 100_000
    assert unzip(gzip.compress(text), "f") == text
    assert unzip(text, "f") == text
    assert unzip(gzip.compress(text) + gzip.compress(b"more"), "f") == text + b"more"


def test_a_bomb_is_refused_with_the_option_that_lets_it_in():
    with pytest.raises(BadData, match=r"^bomb: unpacks to more than 200 times its size$") as error:
        unzip(ZEROS, "bomb")
    assert "--max-ratio" in error.value.hint
    assert len(unzip(ZEROS, "bomb", UnpackLimits(ratio=1e4))) == 80 << 20


def test_a_size_limit_holds_whatever_the_ratio():
    with pytest.raises(BadData, match=r"more than 0\.00977 GiB") as error:
        unzip(ZEROS, "bomb", UnpackLimits(ratio=1e4, size=10 << 20))
    assert "--max-unpacked" in error.value.hint


def test_a_bomb_in_a_stream_stops_soon_after_the_limit():
    reader = GzipReader(io.BytesIO(ZEROS), "bomb", UnpackLimits(size=1 << 20))
    pieces = list(itertools.islice(iter(lambda: reader.read(1 << 30), b""), 16))
    assert sum(map(len, pieces)) == 1 << 20
    with pytest.raises(BadData):
        reader.read(1 << 30)


@pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: c[:20] + b"x" + c[21:]])
def test_damage_is_bad_data(damage):
    packed = gzip.compress(b"date,A,B\n2020-01-01,1,2\n" * 50)
    with pytest.raises(BadData, match="prices: damaged gzip file"):
        unzip(damage(packed), "prices")


def _gzipped(path, text):
    path.write_bytes(gzip.compress(text.encode()))


def _posteriors(folder):
    _gzipped(folder / "p.csv.gz", "arm,a,b\n" + "".join(f"a{n:06},1,1\n" for n in range(120_000)))


def _log(folder):
    _gzipped(folder / "l.jsonl.gz", " " * 1_500_000 + "\n")


def _table(folder):
    values = pa.array(["x" * 50] * 40_000)
    pq.write_table(pa.table({"region": values}), folder / "t.parquet")
    (folder / "m.dmn").write_text(
        '<definitions xmlns="https://www.omg.org/spec/DMN/20191111/MODEL/" id="d" name="d" '
        'namespace="x"><inputData id="i" name="region"><variable name="region"/></inputData>'
        '<decision id="r" name="r"><variable name="r"/><informationRequirement><requiredInput '
        'href="#i"/></informationRequirement><literalExpression><text>region</text>'
        "</literalExpression></decision></definitions>"
    )


def _workbook(folder):
    with zipfile.ZipFile(folder / "w.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", " " * 2_000_000)


@pytest.mark.parametrize(
    ("write", "command"),
    [
        (_posteriors, "bandit serve p.csv.gz --state s --port 0 --workers 1"),
        (_log, "bandit log verify l.jsonl.gz"),
        (_log, "bandit log compact l.jsonl.gz -o o.parquet"),
        (_log, "bandit log positions l.jsonl.gz"),
        (_table, "bpmn decide m.dmn --table t.parquet -o o.csv"),
        (_workbook, "pairs screen w.xlsx"),
    ],
)
def test_each_command_that_reads_compressed_files_has_a_limit(mlkit, tmp_path, write, command):
    pytest.importorskip("python_calamine")
    write(tmp_path)
    done = mlkit(*command.split(), "--max-unpacked", "0.001")
    assert done.returncode == 65, done.stderr
    assert "unpacks to more than 0.001 GiB" in done.stderr
    assert "--max-unpacked GIB raises the limit" in done.stderr

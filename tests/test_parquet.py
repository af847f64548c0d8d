"""Parquet with limits: damage of any kind and bombs are bad data."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlkit.errors import BadData, InputMissing
from mlkit.parquet import ParquetReader
from mlkit.unpacking import UnpackLimits

TABLE = pa.table(
    {
        "arm": [f"arm{i % 7}" for i in range(500)],
        "kind": pa.array([f"kind{i % 3}" for i in range(500)]).dictionary_encode(),
        "reward": np.arange(500) / 7,
        "at": pa.array(np.arange(500), pa.timestamp("us")),
        "missing": pa.array([None, "x"] * 250),
        "day": pa.array([None, 3] * 250, pa.int64()),
    }
)


def packed(table, **options):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


def test_a_table_comes_back_with_plain_text(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_bytes(packed(TABLE))
    plain = TABLE.set_column(1, "kind", TABLE["kind"].cast(pa.string()))
    for reader in (ParquetReader(path), ParquetReader(path.read_bytes(), "t")):
        assert reader.table().to_pydict() == plain.to_pydict()
        assert reader.table().schema.types == plain.schema.types
        assert sum(map(len, reader.batches(["reward"], 64))) == 500
    empty = ParquetReader(packed(TABLE.slice(0, 0)), "t").table()
    assert empty.schema.types == plain.schema.types


def test_metadata_is_kept():
    content = packed(TABLE.replace_schema_metadata({"mine": "yes"}))
    assert ParquetReader(content, "t").metadata[b"mine"] == b"yes"
    assert ParquetReader(content, "t").table().schema.metadata[b"mine"] == b"yes"


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(InputMissing, match="cannot be read"):
        ParquetReader(tmp_path / "no.parquet")


@pytest.mark.parametrize("options", [{}, {"compression": "zstd", "write_page_checksum": True}])
def test_no_damage_gets_through_as_another_error(options):
    """Bytes changed, cut out and cut off, also in the footer, which Arrow trusts most."""
    content, chance = packed(TABLE, **options), random.Random(7)
    messages = []
    for _ in range(400):
        damaged = bytearray(content)
        place = chance.choice([chance.randrange(len(content)), -1 - chance.randrange(900)])
        damaged[place] = chance.randrange(256)
        if chance.random() < 0.3:
            del damaged[place : place + chance.randrange(1, 30)]
        try:
            ParquetReader(bytes(damaged), "t").table()
        except BadData as error:
            messages.append(error.message)
    assert len(messages) > 200
    assert all(message.startswith("t: ") for message in messages)


def test_a_checksum_finds_a_changed_value():
    content = bytearray(packed(TABLE, compression="none", write_page_checksum=True))
    content[content.index(np.float64(300 / 7).tobytes())] ^= 1
    with pytest.raises(BadData, match=r"damaged Parquet file: .*CRC"):
        ParquetReader(bytes(content), "t").table()


# Made when they are asked for: together they take 700 MB.
BOMBS = {
    "numbers": lambda: np.ones(20_000_000),
    "one long text": lambda: pa.array(["y" * 100_000] * 2_000).dictionary_encode(),
    "blanks": lambda: pa.nulls(40_000_000, pa.float64()),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_before_it_takes_memory(kind):
    bomb = pa.table({"x": BOMBS[kind]()})
    content, rows = packed(bomb, compression="zstd"), len(bomb)
    del bomb
    assert len(content) < 1 << 20
    before = pa.default_memory_pool().bytes_allocated()
    with pytest.raises(BadData, match="bomb: unpacks to more than 200 times its size") as error:
        ParquetReader(content, "bomb").table()
    assert "--max-ratio" in error.value.hint
    assert pa.default_memory_pool().bytes_allocated() - before < 64 << 20
    raised = UnpackLimits(ratio=1e9, size=1 << 34)
    assert ParquetReader(content, "bomb", raised).table().num_rows == rows

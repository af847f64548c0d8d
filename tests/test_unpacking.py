"""Gzip with limits: bombs and damage are bad data, before the memory is full."""

from __future__ import annotations

import gzip
import io
import itertools

import pytest

from mlkit.errors import BadData
from mlkit.unpacking import GzipReader, UnpackLimits, unzipped

ZEROS = gzip.compress(bytes(80 << 20), compresslevel=1)


def test_content_comes_back():
    text = b"date,A\n" * 100_000
    assert unzipped(gzip.compress(text), "f") == text
    assert unzipped(text, "f") == text
    assert unzipped(gzip.compress(text) + gzip.compress(b"more"), "f") == text + b"more"


def test_a_bomb_is_refused_with_the_option_that_lets_it_in():
    with pytest.raises(BadData, match=r"^bomb: unpacks to more than 200 times its size$") as error:
        unzipped(ZEROS, "bomb")
    assert "--max-ratio" in error.value.hint
    assert len(unzipped(ZEROS, "bomb", UnpackLimits(ratio=1e4))) == 80 << 20


def test_a_size_limit_holds_whatever_the_ratio():
    with pytest.raises(BadData, match=r"more than 0\.00977 GiB") as error:
        unzipped(ZEROS, "bomb", UnpackLimits(ratio=1e4, size=10 << 20))
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
        unzipped(damage(packed), "prices")

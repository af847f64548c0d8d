"""Stores of features: each answers alike, and none can be made to hang, to swell or to lie."""

from __future__ import annotations

import asyncio
import socket
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feature_service import FeatureService, send

from mlkit.bandit.feature_stores import http
from mlkit.bandit.feature_stores.address import read_address
from mlkit.bandit.feature_stores.http import HttpFeatures
from mlkit.bandit.feature_stores.parquet import ParquetFeatures
from mlkit.bandit.feature_stores.source import SourceFailed, Subject
from mlkit.errors import BadData, InputMissing, UsageError

PATIENCE = 180.0
ARMS = {"c1": {"price": 9.5, "brand": "acme"}, "a/b é": {"price": 2.0, "brand": "ünder"}}
CONTEXTS = {"u1": {"age": 0.25}}


@pytest.fixture
def service():
    running = FeatureService({"arm": ARMS, "context": CONTEXTS})
    yield running
    running.close()


def parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture(params=["parquet", "http", "redis"])
def address(request, tmp_path):
    """Return where each store has the same features."""
    if request.param == "parquet":
        path = parquet(
            tmp_path / "f.parquet",
            arm=["c1", "a/b é", None],
            context=[None, None, "u1"],
            price=[9.5, 2.0, None],
            brand=["acme", "ünder", None],
            age=[None, None, 0.25],
        )
        return f"parquet:{path}"
    if request.param == "http":
        return request.getfixturevalue("service").url
    redis = request.getfixturevalue("start_redis")()
    for subject, rows in (("arm", ARMS), ("context", CONTEXTS)):
        for each, row in rows.items():
            redis.ask(
                "HSET", f"features:{subject}:{each}", *(x for pair in row.items() for x in pair)
            )
    return redis.url


def fetch(source, subject, ids, names):
    async def ask():
        try:
            return await source.fetch(subject, ids, names)
        finally:
            await source.close()

    return asyncio.run(ask())


def test_rows_of_known_ids_come_back(address):
    source = read_address(address).open(PATIENCE)
    found = fetch(source, Subject.ARM, ["c1", "nobody", "a/b é"], ["price", "brand"])
    assert set(found) == {"c1", "a/b é"}
    for each, row in found.items():
        assert float(row["price"]) == ARMS[each]["price"]
        assert row["brand"] == ARMS[each]["brand"]


def test_ids_of_contexts_are_not_those_of_arms(address):
    source = read_address(address).open(PATIENCE)
    found = fetch(source, Subject.CONTEXT, ["u1", "c1"], ["age"])
    assert {each: float(row["age"]) for each, row in found.items()} == {"u1": 0.25}


def test_a_key_of_another_kind_spoils_no_other_row(start_redis):
    redis = start_redis()
    redis.ask("SET", "features:arm:text", "not a hash")
    redis.ask("HSET", "features:arm:bytes", "price", b"\xff")
    redis.ask("HSET", "features:arm:c1", "price", "9.5")
    source = read_address(redis.url).open(PATIENCE)
    found = fetch(source, Subject.ARM, ["text", "bytes", "c1", "nobody"], ["price"])
    assert found == {"text": None, "bytes": None, "c1": {"price": "9.5"}}


def test_a_redis_that_refuses_or_is_gone_is_a_failure(start_redis):
    redis = start_redis()
    redis.ask("CONFIG", "SET", "requirepass", "sesame")
    with pytest.raises(SourceFailed):
        fetch(read_address(redis.url).open(PATIENCE), Subject.ARM, ["c1"], ["price"])
    redis.kill()
    with pytest.raises(SourceFailed):
        fetch(read_address(redis.url).open(PATIENCE), Subject.ARM, ["c1"], ["price"])


def test_a_password_of_redis_comes_from_a_file(start_redis, tmp_path):
    redis = start_redis()
    redis.ask("CONFIG", "SET", "requirepass", "sesame")
    (tmp_path / "secret").write_text("sesame\n")
    source = read_address(redis.url, tmp_path / "secret").open(PATIENCE)
    assert fetch(source, Subject.ARM, ["c1"], ["price"]) == {}


def test_the_token_and_the_names_reach_the_service(service, tmp_path):
    (tmp_path / "secret").write_text("t0ken\n")
    source = read_address(service.url, tmp_path / "secret").open(PATIENCE)
    assert fetch(source, Subject.ARM, ["c1"], ["price"]) == {"c1": ARMS["c1"]}
    assert service.asked == [{"subject": "arm", "ids": ["c1"], "names": ["price"]}]
    assert service.headers[0]["authorization"] == "Bearer t0ken"


ANSWERS = {
    "no JSON": lambda handler: send(handler, b"<html>"),
    "no object": lambda handler: send(handler, b"[1, 2]"),
    "nested deeply": lambda handler: send(handler, b'{"c1":' + b"[" * 100_000),
    "an error": lambda handler: send(handler, b"{}", 500),
    "a redirection": lambda handler: send(handler, b"", 302, location="http://127.0.0.1:1/"),
    "compressed": lambda handler: send(handler, b"{}", content_encoding="gzip"),
    "cut off": lambda handler: (
        handler.send_response(200),
        handler.send_header("content-length", "1000"),
        handler.end_headers(),
        handler.wfile.write(b'{"c1":'),
        handler.connection.shutdown(socket.SHUT_RDWR),
    ),
    "no HTTP": lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_that_cannot_be_used_is_a_failure(service, kind):
    service.misbehave = ANSWERS[kind]
    with pytest.raises(SourceFailed):
        fetch(HttpFeatures(service.url, PATIENCE), Subject.ARM, ["c1"], ["price"])


def test_a_row_that_is_no_object_spoils_no_other_row(service):
    service.rows = {"arm": {"c1": [1, 2], "c2": {"price": 1}}}
    found = fetch(HttpFeatures(service.url, PATIENCE), Subject.ARM, ["c1", "c2"], ["price"])
    assert found == {"c1": None, "c2": {"price": 1}}


def test_a_huge_answer_is_read_no_further(service, monkeypatch):
    monkeypatch.setattr(http, "MOST_BYTES", 1 << 20)
    service.misbehave = lambda handler: send(handler, b'{"c1": "' + b"x" * (2 << 20) + b'"}')
    with pytest.raises(SourceFailed, match="more than 1 MiB"):
        fetch(HttpFeatures(service.url, PATIENCE), Subject.ARM, ["c1"], ["price"])


def test_an_answer_that_drips_ends_with_the_timeout(service):
    stop = threading.Event()

    def drip(handler):
        handler.send_response(200)
        handler.send_header("content-length", "1000000")
        handler.end_headers()
        while not stop.wait(0.02):
            handler.wfile.write(b" ")

    service.misbehave = drip
    try:
        with pytest.raises(SourceFailed):
            fetch(HttpFeatures(service.url, 0.2), Subject.ARM, ["c1"], ["price"])
    finally:
        stop.set()


def test_a_file_that_is_replaced_is_read_again(tmp_path, monkeypatch):
    path = parquet(tmp_path / "f.parquet", arm=["c1"], price=[1.0])
    seconds = iter(range(0, 1_000_000, 10))
    source = ParquetFeatures(path, clock=lambda: float(next(seconds)))

    async def scenario():
        async def price():
            return (await source.fetch(Subject.ARM, ["c1"], ["price"]))["c1"]["price"]

        assert await price() == 1.0
        (tmp_path / "damaged").write_bytes(b"PAR1 damaged")
        (tmp_path / "damaged").replace(path)
        for _ in range(20):
            assert await price() == 1.0
            await asyncio.sleep(0.01)
        parquet(tmp_path / "new.parquet", arm=["c1"], price=[2.0]).replace(path)
        async with asyncio.timeout(PATIENCE):
            while await price() != 2.0:
                await asyncio.sleep(0.01)
        await source.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["c1"], "price": [1.0]}, "no column `arm` or `context`"),
        ({"arm": [1], "price": [1.0]}, "column 'arm' is not text"),
        ({"arm": ["c1", "c1"], "price": [1.0, 2.0]}, "the arm 'c1' has two rows"),
    ],
)
def test_a_file_without_good_ids_is_refused(tmp_path, columns, message):
    path = parquet(tmp_path / "f.parquet", **columns)
    with pytest.raises(BadData, match=message):
        ParquetFeatures(path)


def test_a_file_that_is_missing_or_damaged_is_refused(tmp_path):
    with pytest.raises(InputMissing):
        ParquetFeatures(tmp_path / "none.parquet")
    (tmp_path / "f.parquet").write_bytes(b"PAR1 damaged")
    with pytest.raises(BadData):
        ParquetFeatures(tmp_path / "f.parquet")


@pytest.mark.parametrize(
    "text",
    [
        *("", "parquet:", "features.parquet", "ftp://host/x", "http://", "http://host:port/"),
        *(
            "redis://",
            "redis://secret@host/x",
            "http://a b/",
            "http://host/\n",
            "http://host/#secret",
        ),
        *("http://host:0/", "http://[secret/"),
    ],
)
def test_what_names_no_store_is_refused_without_repeating_it(text):
    with pytest.raises(UsageError, match="--features") as raised:
        read_address(text)
    assert "secret" not in f"{raised.value.message}{raised.value.hint}"


def test_no_text_of_an_address_has_its_login(tmp_path):
    (tmp_path / "s").write_text("hidden")
    for url in ("http://ann:hidden@host/", "redis://ann:hidden@host/"):
        assert "hidden" not in repr(read_address(url))
    assert "hidden" not in repr(read_address("http://host/", tmp_path / "s"))
    with pytest.raises(UsageError, match="a Parquet file has none"):
        read_address("parquet:x", tmp_path / "s")

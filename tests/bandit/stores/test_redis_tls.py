"""Redis behind TLS and a password: the stream of a fleet, and the store of features."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("redis")
import trustme

from mlkit.bandit.feature_stores.address import read_address
from mlkit.bandit.feature_stores.source import SourceFailed, Subject
from mlkit.bandit.stores.redis.address import parse
from mlkit.bandit.stores.redis.connection import Connection
from mlkit.errors import ConfigurationError, ServiceUnavailable

PATIENCE = 180.0


@pytest.fixture
def secured(start_redis, tmp_path):
    """Return the place of a Redis with TLS, and the file of the certificate that vouches for it."""
    authority, redis = trustme.CA(), start_redis()
    issued = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    redis.ask("HSET", "features:arm:c1", "price", "9.5")
    port = redis.listen_with_tls(tmp_path / "cert.pem", tmp_path / "key.pem")
    redis.ask("CONFIG", "SET", "requirepass", "sesame")
    (tmp_path / "password").write_text("sesame\n")
    return f"localhost:{port}", tmp_path / "ca.pem", tmp_path / "password"


def ping(url, password=None):
    connection = Connection(parse(url, password), PATIENCE)
    try:
        return connection.call(lambda client: client.ping())
    finally:
        connection.close()


def features(url, password=None):
    async def fetch():
        source = read_address(url, password).open(PATIENCE)
        try:
            return await source.fetch(Subject.ARM, ["c1", "c2"], ["price"])
        finally:
            await source.close()

    return asyncio.run(fetch())


def test_a_certificate_and_a_password_open_it(secured):
    place, ca, password = secured
    url = f"rediss://{place}/0?ca={ca}"
    assert ping(url, password) is True
    assert features(url, password) == {"c1": {"price": "9.5"}}
    assert ping(f"rediss://:sesame@{place}/0?ca={ca}") is True


def test_a_wrong_password_is_a_wrong_configuration_and_is_not_repeated(secured):
    place, ca, _ = secured
    for url in (f"rediss://{place}/0?ca={ca}", f"rediss://:open@{place}/0?ca={ca}"):
        with pytest.raises(ConfigurationError) as raised:
            ping(url)
        assert "open" not in raised.value.message
        with pytest.raises(SourceFailed):
            features(url)


def test_a_certificate_that_nobody_vouches_for_and_no_tls_at_all_are_refused(secured):
    place, _, password = secured
    for url in (f"rediss://{place}/0", f"redis://{place}/0"):
        with pytest.raises(ServiceUnavailable):
            ping(url, password)
        with pytest.raises(SourceFailed):
            features(url, password)

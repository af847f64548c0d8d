"""URLs of a fleet's Redis: what they mean, and that no message repeats a password."""

from __future__ import annotations

import pytest

from mlkit.bandit.stores.redis.address import Address, check_name, parse
from mlkit.errors import InputMissing, UsageError

GOOD = {
    "redis://cache": Address((("cache", 6379),)),
    "redis://cache:7000/3": Address((("cache", 7000),), database=3),
    "redis://:p%40ss@cache": Address((("cache", 6379),), password="p@ss"),
    "rediss://ann:secret@[::1]:7000/0?ca=/etc/ca.pem": Address(
        (("::1", 7000),), user="ann", password="secret", is_tls=True, ca="/etc/ca.pem"
    ),
    "redis://a,b:7000/1": Address((("a", 6379), ("b", 7000)), database=1),
    "unix:///run/redis.sock?db=2": Address(socket="/run/redis.sock", database=2),
    "unix://ann:secret@/run/redis.sock": Address(
        socket="/run/redis.sock", user="ann", password="secret"
    ),
}


@pytest.mark.parametrize("url", GOOD)
def test_a_url_is_read(url):
    assert parse(url) == GOOD[url]


@pytest.mark.parametrize("url", GOOD)
def test_no_text_of_an_address_has_its_password(url):
    found = parse(url)
    for text in (str(found), repr(found)):
        assert not found.password or found.password not in text
    assert parse(str(found)) == parse(str(found))


@pytest.mark.parametrize(
    "url",
    [
        *("", "cache:6379", "http://cache", "redis://", "redis://cache:port", "redis://cache/zero"),
        *("redis://secret@@cache/x", "redis://cache?ca=x", "redis://cache?db=1", "redis://a,,b"),
        *("unix://relative", "redis://@cache", "redis://secret#1@cache", "redis://c\nache"),
        *("redis://cache:99999", "redis://cache/12345", "rediss://cache?cert=secret"),
    ],
)
def test_what_is_no_url_is_refused_without_repeating_it(url):
    with pytest.raises(UsageError, match="--store: the URL of the Redis cannot be read") as raised:
        parse(url)
    assert "secret" not in f"{raised.value.message}{raised.value.hint}"


def test_a_password_comes_from_a_file(tmp_path):
    file = tmp_path / "password"
    file.write_text("from the file\n")
    assert parse("redis://ann@cache", file).password == "from the file"
    file.write_text("\n")
    with pytest.raises(UsageError, match="there is no password in it"):
        parse("redis://ann@cache", file)
    with pytest.raises(InputMissing, match="missing: the password cannot be read"):
        parse("redis://ann@cache", tmp_path / "missing")


@pytest.mark.parametrize("name", ["", "a b", "{x}", "-a", "x" * 65, "ä", "a\n"])
def test_a_name_that_is_none_of_a_fleet_is_refused(name):
    with pytest.raises(UsageError, match="--fleet"):
        check_name(name)
    assert check_name("shop-2.eu_west") == "shop-2.eu_west"

"""What is a secret, and where nothing of it is left."""

from __future__ import annotations

import pytest

from mlkit.bpmn.people.masking import MASKED, Mask, is_secret

PLAIN = {"rows": 3, "note": "it is hunter22!", "tokens": 512, "none": None, "yes": True}


@pytest.mark.parametrize(
    "name",
    [
        "password", "dbPassword", "DB_PASSWORD_2", "passwd", "passphrase", "user-pwd", "secret",
        "clientSecret", "credentials", "token", "api_token", "accessToken", "apiKey", "APIKey",
        "private_key", "AWS_ACCESS_KEY", "apikey",
    ],
)  # fmt: skip
def test_names_of_secrets(name):
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    ["tokens", "max_tokens", "token_count", "secretary", "key", "business_key", "primaryKey",
     "compass", "passed", "tokenizer", "monkey", ""],
)  # fmt: skip
def test_names_of_none(name):
    assert not is_secret(name)


def test_what_a_secret_holds_is_hidden_wherever_it_is():
    variables = {
        **PLAIN, "password": "hunter22", "db": {"url": "x", "password": {"deep": ["s3cr3t-a"]}},
        "rows_": [{"pin": 123456, "name": "ann"}], "quoted_secret": 'a"b\nc\\d',
    }  # fmt: skip
    mask = Mask.of([variables], frozenset({"rows_.pin"}))
    assert mask.variables(variables) == {
        **PLAIN, "note": f"it is {MASKED}!", "password": MASKED,
        "db": {"url": "x", "password": MASKED}, "rows_": [{"pin": MASKED, "name": "ann"}],
        "quoted_secret": MASKED,
    }  # fmt: skip
    for text in ("hunter22", "s3cr3t-a", "123456", 'a"b\nc\\d', 'a\\"b\\nc\\\\d', 'a"b\\nc\\\\d'):
        assert mask.text(f"<{text}>") == f"<{MASKED}>"
    assert mask.document({"trace": [{"message": "hunter22"}], "variables": {"password": ""}}) == {
        "trace": [{"message": MASKED}], "variables": {"password": MASKED}
    }  # fmt: skip


def test_a_short_secret_masks_its_variable_and_no_text():
    mask = Mask.of([{"pin": "a", "password": "ab"}])
    assert mask.text("a cab") == "a cab"
    assert mask.variables({"password": "ab"}) == {"password": MASKED}


def test_the_longer_of_two_secrets_is_hidden_whole():
    mask = Mask.of([{"a_secret": "abcdef", "b_secret": "abcdefgh"}])
    assert mask.text("abcdefgh abcdef") == f"{MASKED} {MASKED}"

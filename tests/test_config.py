from __future__ import annotations

import pytest

from mlkit import config
from mlkit.errors import ConfigurationError


def test_dashes_and_underscores_name_the_same_setting(tmp_path):
    file = tmp_path / "mlkit.toml"
    file.write_text("[bandit.serve]\nmax-body = 1\n")
    assert config.load(file) == {"bandit": {"serve": {"max_body": 1}}}


def test_broken_toml_names_the_line(tmp_path):
    file = tmp_path / "mlkit.toml"
    file.write_text("[bandit]\nport = \n")
    with pytest.raises(ConfigurationError, match="line 2"):
        config.load(file)


def test_a_misspelt_setting_is_refused_with_the_near_one():
    with pytest.raises(ConfigurationError) as caught:
        config.check_names({"prot": 1}, ["port", "host"], "mlkit.toml: [bandit.serve]")
    assert "prot" in caught.value.message
    assert caught.value.hint == "did you mean 'port'?"


def test_a_value_where_a_table_belongs_is_refused():
    with pytest.raises(ConfigurationError, match="expected a table"):
        config.check_names(3, ["port"], "mlkit.toml: [bandit]")


def test_only_the_working_directory_is_searched(tmp_path):
    assert config.find(tmp_path) is None
    (tmp_path / "mlkit.toml").touch()
    assert config.find(tmp_path) == tmp_path / "mlkit.toml"
    assert config.find(tmp_path / "below") is None

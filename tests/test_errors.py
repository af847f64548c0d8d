from __future__ import annotations

import inspect
import re

from mlkit import errors


def kinds():
    return [
        each
        for _, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, errors.MlkitError)
    ]


def test_the_tree_in_the_docstring_is_the_tree():
    drawn = dict(re.findall(r"(?:── |^    )(\w+)\s+(\d+)\s", errors.__doc__, re.MULTILINE))
    codes = {kind.__name__: kind.exit_code for kind in kinds()} | {"Interrupted": 130}
    assert {name: int(code) for name, code in drawn.items()} == codes


def test_exit_codes_are_those_of_a_process():
    assert all(0 < kind.exit_code < 256 for kind in kinds())


def test_bad_data_is_a_value_error():
    """Library users catch ValueError, as they do with numpy."""
    assert issubclass(errors.BadData, ValueError)


def test_a_signal_leaves_with_128_and_its_number():
    assert errors.Interrupted(15).exit_code == 143


def test_a_message_is_one_line_whatever_it_quotes():
    error = errors.BadData("row 3: '1\n2\x1b[2J\udcff' is not a number", hint="a\tb")
    assert error.message == str(error) == "row 3: '1\\n2\\x1b[2J\\udcff' is not a number"
    assert error.hint == "a\\tb"
    assert errors.BadData("größer als 1\u202f000 €").message == "größer als 1\\u202f000 €"


def test_a_message_that_quotes_much_keeps_its_beginning_and_its_end():
    message = errors.BadData(f"row 3: '{'x' * 100_000}' is not a number").message
    assert len(message) < 600
    assert message.startswith("row 3: 'xxx")
    assert message.endswith("xxx' is not a number")

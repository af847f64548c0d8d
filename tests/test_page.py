"""What pages of reports have in common."""

import pytest

from mlkit import page


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (None, page.NONE),
        (float("nan"), page.NONE),
        (-0.001, "0.00"),
        (-1234.5, page.MINUS + "1,234.50"),
        (2.0, "2.00"),
    ],
)
def test_numbers_read_well(given, shown):
    assert page.number(given) == shown

"""Prices of two tickers, and rows that say them."""

from __future__ import annotations

from datetime import date, timedelta

DAYS = [date(2024, 1, 1) + timedelta(days=n) for n in range(40)]
A = [50.25 + n % 7 for n in range(40)]
B = [1200.5 + 3 * (n % 5) for n in range(40)]


def rows(form: str, **more) -> list[str]:
    """Write a row a day: its `day`, the prices `a` and `b`, its number `n`."""
    return [
        form.format(day=day, a=a, b=b, n=n, **more)
        for n, (day, a, b) in enumerate(zip(DAYS, A, B, strict=True))
    ]


def seconds(day: date) -> int:
    """Return a day's first second since 1970."""
    return int((day - date(1970, 1, 1)).days) * 86_400

"""Currencies: what they are called, and those that stand in the names of columns."""

from __future__ import annotations

import re

from mlkit.errors import BadData, UsageError
from mlkit.pairs.prices.reading import Reading, Sheet
from mlkit.pairs.prices.vendors import FIELD_NAMES, plain

_CODES = """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd btn bwp
    byn bzd cad cdf chf clf clp cny cop crc cup cve czk djf dkk dop dzd egp ern etb eur fjd fkp
    gbp gel ghs gip gmd gnf gtq gyd hkd hnl hrk htg huf idr ils inr iqd irr isk jmd jod jpy kes
    kgs khr kmf kpw krw kwd kyd kzt lak lbp lkr lrd lsl lyd mad mdl mga mkd mmk mnt mop mru mur
    mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub
    rwf sar sbd scr sdg sek sgd shp sll sos srd ssp stn svc syp szl thb tjs tmt tnd top try ttd
    twd tzs uah ugx usd uyu uzs ves vnd vuv wst xaf xag xau xcd xof xpd xpf xpt yer zar zmw zwl
    cnh gbx btc eth usdc usdt $ € £ ¥
"""
_CURRENCIES = frozenset(_CODES.split())
"""The currencies of ISO 4217, their signs, and what else exchanges price in."""
_PRICED = re.compile(
    r"(?P<field>.+?) ?(?:\((?P<round>[^()]+)\)|\[(?P<square>[^\[\]]+)\]|(?<= )(?P<bare>\S+))"
)
_PRICES = ("open", "high", "low", "close", "adjusted", "price")
_SIGNS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY"}


class NotInCurrency(UsageError):
    """A sheet names the currencies of its prices, and the one asked for is not among them."""


def canonical(name: str) -> str:
    """Return a currency's code: `usd` and `$` are USD; GBp, a hundredth of GBP, stays as it is."""
    return _SIGNS.get(name, name.upper() if name.islower() else name)


def absent(sheet: Sheet, reading: Reading, found: list[str]) -> NotInCurrency:
    """Return the error for a sheet without prices in the currency asked for."""
    has = f"has prices in {', '.join(found)}" if found else "names no currencies"
    return NotInCurrency(f"--currency {reading.currency}: {sheet.source} {has}")


def hint(found: list[str]) -> str:
    """Name the option that chooses one of several currencies."""
    return " or ".join(f"--currency {each}" for each in found)


def in_currency(name: str) -> tuple[str, str] | None:
    """Return field and currency of a column such as `close (USD)`, `Last [EUR]`, `close_usd`."""
    found = _PRICED.fullmatch(plain(name))
    if found is None or FIELD_NAMES.get(found["field"], found["field"]) not in _PRICES:
        return None
    currency = found["round"] or found["square"] or found["bare"]
    return (found["field"], canonical(currency)) if currency in _CURRENCIES else None


def of_currency(
    sheet: Sheet, rest: list[int], names: list[str], reading: Reading
) -> tuple[str | None, list[int]]:
    """Keep, of columns named by several currencies, those in the one asked for.

    They lose the currency's name.

    Returns:
        The currency, None where no name has one, and the columns that are left.

    Raises:
        BadData: There are several, and none is asked for.
        NotInCurrency: There is none in the currency asked for.
    """
    priced = {each: named for each in rest if (named := in_currency(names[each]))}
    found = list(dict.fromkeys(currency for _, currency in priced.values()))
    if len(found) == 1:  # A single `Price (USD)` may be a ticker's, as a single `Price` is.
        priced = {each: it for each, it in priced.items() if it[0] != "price"}
        found = found if priced else []
    chosen = found[0] if found else None
    if reading.currency is not None and found:
        chosen = canonical(reading.currency)
        if chosen not in found:
            raise absent(sheet, reading, found)
    elif len(found) > 1:
        raise BadData(f"{sheet.source}: prices in {' and in '.join(found)}", hint=hint(found))
    for column, (field, currency) in priced.items():
        if currency == chosen:
            names[column] = "close" if field == "price" else field
    return chosen, [each for each in rest if each not in priced or priced[each][1] == chosen]

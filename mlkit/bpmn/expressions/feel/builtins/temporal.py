"""Functions of dates, times and durations (DMN 1.5, 10.3.4.1, 10.3.4.7 and 10.3.4.10)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from mlkit.bpmn.expressions.feel.budget import Run
from mlkit.bpmn.expressions.feel.builtins.arguments import day, numeric, text
from mlkit.bpmn.expressions.feel.builtins.registry import Table, declare
from mlkit.bpmn.expressions.feel.calendar import (
    at_instant,
    check_zone,
    instant,
    make_date,
    month_length,
    to_days,
    week_of_year,
    weekday,
)
from mlkit.bpmn.expressions.feel.interchange import from_datetime
from mlkit.bpmn.expressions.feel.numbers import whole
from mlkit.bpmn.expressions.feel.temporal import (
    check_offset,
    combine,
    parse_date,
    parse_date_time,
    parse_duration,
    parse_temporal,
    parse_time,
)
from mlkit.bpmn.expressions.feel.values import (
    SECOND,
    Date,
    DateTime,
    Days,
    Months,
    Refused,
    Time,
)

TEMPORAL: Table = {}
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


@declare(TEMPORAL, "date", "from")
def _date(run: Run, value: Any) -> Date:
    return parse_date(value) if type(value) is str else day(value)


@declare(TEMPORAL, "date", "year, month, day")
def _date_of(run: Run, year: Any, month: Any, day_: Any) -> Date:
    return make_date(whole(year), whole(month), whole(day_))


@declare(TEMPORAL, "time", "from")
def _time(run: Run, value: Any) -> Time:
    if type(value) is DateTime:
        return Time(value.nanos, value.offset, value.zone)
    if type(value) is Date:
        return Time(0, 0)  # 10.3.4.1: a date is midnight in UTC.
    return value if type(value) is Time else parse_time(text(value))


@declare(TEMPORAL, "time", "hour, minute, second, offset?")
def _time_of(run: Run, hour: Any, minute: Any, second: Any, offset: Any = None) -> Time:
    seconds = numeric(second)
    hours, minutes = whole(hour), whole(minute)
    if not (0 <= hours < 24 and 0 <= minutes < 60 and 0 <= seconds < 60):
        raise Refused
    nanos = (hours * 60 + minutes) * 60 * SECOND + int(seconds * SECOND)
    return Time(nanos, None if offset is None else _offset(offset))


def _offset(length: Any) -> int:
    if type(length) is not Days or length.nanos % SECOND:
        raise Refused
    return check_offset(length.nanos // SECOND)


@declare(TEMPORAL, "date and time", "from")
def _moment(run: Run, value: Any) -> DateTime:
    if type(value) is DateTime:
        return value
    return DateTime(value, 0) if type(value) is Date else parse_date_time(text(value))


@declare(TEMPORAL, "date and time", "date, time")
def _moment_of(run: Run, date: Any, time: Any) -> DateTime:
    if type(time) is str:
        return _at_zone(date, time)
    if type(time) is not Time:
        raise Refused
    return combine(day(date), time)


def _at_zone(moment: Any, zone: str) -> DateTime:
    """Return a date and time in another zone: `date and time(moment, "Europe/Paris")`."""
    if type(moment) is not DateTime or moment.offset is None:
        raise Refused
    return at_instant(instant(moment), None, check_zone(zone))


@declare(TEMPORAL, "duration", "from")
def _duration(run: Run, value: Any) -> Days | Months:
    if type(value) is Days or type(value) is Months:
        return value
    return parse_duration(text(value))


@declare(TEMPORAL, "temporal", "from")
def _temporal(run: Run, value: Any) -> Any:
    return parse_temporal(text(value))


@declare(TEMPORAL, "years and months duration", "from, to")
def _months_between(run: Run, start: Any, end: Any) -> Months:
    """Return the whole months between two dates, towards zero."""
    one, other = day(start), day(end)
    if other < one:
        return Months(-_whole_months(other, one))
    return Months(_whole_months(one, other))


def _whole_months(start: Date, end: Date) -> int:
    months = (end.year - start.year) * 12 + end.month - start.month
    return months - (end.day < start.day)


@declare(TEMPORAL, "now", "")
def _now(run: Run) -> DateTime:
    return from_datetime(run.now)


@declare(TEMPORAL, "today", "")
def _today(run: Run) -> Date:
    return from_datetime(run.now).date


@declare(TEMPORAL, "day of week", "date")
def _day_of_week(run: Run, date: Any) -> str:
    return _DAYS[weekday(day(date)) - 1]


@declare(TEMPORAL, "month of year", "date")
def _month_of_year(run: Run, date: Any) -> str:
    return _MONTHS[day(date).month - 1]


@declare(TEMPORAL, "day of year", "date")
def _day_of_year(run: Run, date: Any) -> Decimal:
    found = day(date)
    return Decimal(to_days(found) - to_days(Date(found.year, 1, 1)) + 1)


@declare(TEMPORAL, "week of year", "date")
def _week_of_year(run: Run, date: Any) -> Decimal:
    return Decimal(week_of_year(day(date)))


@declare(TEMPORAL, "last day of month", "date")
def _last_day(run: Run, date: Any) -> Date:
    found = day(date)
    return found._replace(day=month_length(found.year, found.month))

"""Dates and ages: whole-day shifts that keep every interval of a person exact (DA and DT move together, TM stays)."""

from __future__ import annotations

import datetime as dt
import re

_DATE = re.compile(r"(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})")
_DATETIME = re.compile(r"(\d{8})(\d{0,6}(?:\.\d{1,6})?)([+-]\d{4})?")
_TIME = re.compile(r"\d{2}(?::?\d{2}(?::?\d{2}(?:\.\d{1,6})?)?)?")
_AGE = re.compile(r"(\d{3})([DWMY])")


def shift_date(value: str, days: int) -> str | None:
    """A DA value `days` earlier, also for the ACR-NEMA form `YYYY.MM.DD`; None when it is not a date."""
    match = _DATE.fullmatch(value.strip(" \0"))
    if match is None:
        return None
    try:
        shifted = dt.date(*map(int, match.groups())) - dt.timedelta(days)
    except (ValueError, OverflowError):
        return None
    return f"{shifted:%Y%m%d}".rjust(8, "0")


def shift_datetime(value: str, days: int) -> str | None:
    """A DT value `days` earlier with its clock time and offset from UTC as they were.

    None when it is not a date and time, or has no day: whole days cannot be taken from a year or a month.
    """
    match = _DATETIME.fullmatch(value.strip(" \0"))
    if match is None:
        return None
    date = shift_date(match[1], days)
    return None if date is None else f"{date}{match[2]}{match[3] or ''}"


def keep_time(value: str) -> str | None:
    """A TM value as it is, None when it is not a time."""
    text = value.strip(" \0")
    return text if _TIME.fullmatch(text) else None


def cap_age(value: str) -> str | None:
    """An AS value, 90 years and over as `090Y` (HIPAA 164.514(b)(2)(i)(C)); None when it is not an age."""
    match = _AGE.fullmatch(value.strip(" \0"))
    if match is None:
        return None
    years = int(match[1]) * {"D": 1, "W": 7, "M": 30.44, "Y": 365.25}[match[2]] / 365.25
    return "090Y" if years >= 90 else match[0]

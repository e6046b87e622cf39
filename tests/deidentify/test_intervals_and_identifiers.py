"""Over many invented people: intervals exact to the second, identifiers the same in every process and order."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from deidentify import dates
from deidentify.keys import KeyRing

KEYS = KeyRing(bytes(range(32)), "test")
_days = st.dates(dt.date(1990, 1, 1), dt.date(2026, 12, 31))
_moments = st.builds(dt.datetime.combine, _days, st.times())
_SURROGATES = st.binary(min_size=16, max_size=16)


@settings(max_examples=1000, deadline=None)
@given(_SURROGATES, st.lists(_days, min_size=2, max_size=12), st.lists(_moments, min_size=1, max_size=4))
def test_every_interval_of_a_person_is_exact(surrogate: bytes, days: list[dt.date], moments: list[dt.datetime]) -> None:
    shift = KEYS.date_shift_days(surrogate)
    moved = [dates.shift_date(f"{day:%Y%m%d}", shift) for day in days]
    assert [_day(text) - _day(moved[0]) for text in moved] == [day - days[0] for day in days]
    assert all(365 <= (day - _day(text)).days <= 3650 for day, text in zip(days, moved, strict=True))
    for moment in moments:
        text = dates.shift_datetime(f"{moment:%Y%m%d%H%M%S.%f}+0100", shift)
        assert text is not None
        back = dt.datetime.strptime(text, "%Y%m%d%H%M%S.%f%z").replace(tzinfo=None)
        assert moment - back == dt.timedelta(shift)
        assert (back.date() - _day(moved[0])) == moment.date() - days[0]  # DA and DT move together


def _day(text: str | None) -> dt.date:
    assert text is not None
    return dt.date(int(text[:4]), int(text[4:6]), int(text[6:]))


@settings(max_examples=300, deadline=None)
@given(st.dates(dt.date(1850, 1, 1), dt.date(2100, 12, 31)))
def test_a_month_or_a_year_is_never_guessed(day: dt.date) -> None:
    assert dates.shift_datetime(f"{day:%Y}", 400) is None
    assert dates.shift_datetime(f"{day:%Y%m}", 400) is None


def test_equal_shifts_are_as_rare_as_chance_has_it() -> None:
    shifts = [KEYS.date_shift_days(hashlib.sha256(bytes([n & 255, n >> 8])).digest()[:16]) for n in range(1000)]
    pairs = sum(a == b for i, a in enumerate(shifts) for b in shifts[:i])
    expected = 1000 * 999 / 2 / 3286
    assert abs(pairs - expected) < 5 * expected**0.5


PROGRAM = """
import sys
from deidentify.keys import KeyRing
keys = KeyRing(bytes(range(32)), "test")
numbers = [int(text) for text in sys.argv[1].split(",")]
for n in numbers:
    s = n.to_bytes(16, "big")
    print(n, keys.pseudonym(s), keys.date_shift_days(s), keys.uid(f"1.2.{n}"), keys.token(f"lesion {n}"))
"""


def test_two_processes_agree_in_any_order_and_under_any_hash_seed() -> None:
    def run(numbers: list[int], seed: str) -> list[str]:
        command = [sys.executable, "-c", PROGRAM, ",".join(map(str, numbers))]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
        return sorted(done.stdout.splitlines())

    numbers = list(range(200))
    assert run(numbers, "1") == run(numbers[::-1], "2")

"""Planted identifiers: unique texts that are put into objects and must be in no byte of what comes out."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass, field

_ONSETS = ("br", "kr", "v", "z", "dr", "st", "gr", "fl", "pr", "m", "t", "w", "sk", "tr")
_VOWELS = ("a", "e", "i", "o", "u", "ei", "au")
_CODAS = ("nk", "rv", "lt", "x", "sk", "mp", "ft", "zz", "rn", "ck")


@dataclass(frozen=True)
class Plant:
    """One identifier: the bytes in which it stands in a file. Found in the output, it is a leak."""

    category: str
    where: str
    form: bytes


@dataclass
class Planter:
    """Makes unique identifiers and remembers them. The same seed makes the same identifiers."""

    seed: int
    plants: list[Plant] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._used: set[str] = set()

    def _unique(self, make: object) -> str:
        assert callable(make)
        while True:
            text = str(make())
            if text not in self._used:
                self._used.add(text)
                return text

    def name(self) -> str:
        """A capitalised invented name of two syllables, 6 letters and longer."""
        pick = self.random.choice

        def make() -> str:
            text = "".join(pick(_ONSETS) + pick(_VOWELS) + pick(_CODAS) for _ in range(2))
            return text.capitalize()

        return self._unique(make)

    def number(self, digits: int = 9) -> str:
        return self._unique(lambda: str(self.random.randrange(10 ** (digits - 1), 10**digits)))

    def date(self) -> dt.date:
        """A day long ago, so that no shifted study date can equal it by chance."""
        self._used.add("1900-01-01")  # what stands in place of a birth date
        text = self._unique(lambda: dt.date(1801, 1, 1) + dt.timedelta(self.random.randrange(60000)))
        return dt.date.fromisoformat(text)

    def note(self, category: str, where: str, *texts: str, encoding: str = "ascii") -> None:
        self.plants += [Plant(category, where, text.encode(encoding)) for text in texts]

    def person(self, where: str) -> str:
        """A PN value; both components are planted."""
        family, given = self.name(), self.name()
        self.note("name", where, family, given)
        return f"{family}^{given}"

    def identifier(self, where: str) -> str:
        text = self.number()
        self.note("number", where, text)
        return text

    def day(self, where: str) -> str:
        text = f"{self.date():%Y%m%d}"
        self.note("date", where, text)
        return text

    def sentence(self, where: str, limit: int = 1024) -> str:
        """Free text of `limit` characters at most with a name, a telephone number, a record number and a date."""
        name, record, day = self.name(), self.number(), self.date()
        phone = (
            f"{self.random.randrange(200, 999)}-{self.random.randrange(100, 999)}-{self.random.randrange(1000, 9999)}"
        )
        text = f"per Dr {name}, MRN {record}, call {phone}, seen {day.isoformat()}"[:limit]
        self.note("free text", where, *(form for form in (name, record, phone, day.isoformat()) if form in text))
        return text

    def label(self, where: str) -> str:
        """A short text that fits SH (16 characters)."""
        name = self.name()
        self.note("label", where, name)
        return name[:16]

    def uid(self, where: str) -> str:
        """A UID of the kind that carries a serial number and a time."""
        serial, day = self.number(6), self.date()
        text = f"1.3.12.2.1107.5.2.{serial}.{day:%Y%m%d}101112{self.random.randrange(10**9)}"
        self.note("uid", where, text)
        return text

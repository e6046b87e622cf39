"""Invented patients with planted identifiers, in several character sets, two of them with the same Patient ID."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from planted.plants import Plant, Planter
from pydicom.charset import convert_encodings, encode_string


@dataclass(frozen=True)
class Patient:
    """`issuer_in_all`: whether every instance names the issuer, or only the first of a series."""

    key: str
    name: str
    patient_id: str
    issuer: str
    birth_date: str
    age: str
    charset: str | list[str]
    baseline: dt.date
    intervals: tuple[int, ...]
    issuer_in_all: bool = True

    @property
    def study_dates(self) -> tuple[dt.date, ...]:
        return tuple(self.baseline + dt.timedelta(sum(self.intervals[:n])) for n in range(len(self.intervals) + 1))


# Names whose bytes only a search in the declared character set finds.
_FOREIGN: tuple[tuple[str, str | list[str], str], ...] = (
    ("japanese", ["ISO 2022 IR 6", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ("korean", ["ISO 2022 IR 6", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ("german", "ISO_IR 100", "Größenmüller^Jörg"),
    ("greek", "ISO_IR 126", "Διονυσιος^Αθανασια"),
    ("russian", "ISO_IR 144", "Люкceмбypг^Анастасия"),
    ("chinese", "GB18030", "Wang^XiaoDong=王^小东"),
    ("arabic", "ISO_IR 192", "قباني^لنزار"),
)


def patients(planter: Planter, count: int) -> list[Patient]:
    """Two with one Patient ID under two issuers, one of 93 years, and one for each foreign character set, up to 9."""
    shared = planter.number()
    planter.note("number", "PatientID", shared)
    found = [
        _patient(planter, "first", planter.person("PatientName"), shared, "ISO_IR 100", "064Y", issuer_in_all=False),
        _patient(planter, "second", planter.person("PatientName"), shared, "ISO_IR 100", "093Y"),
    ]
    for key, charset, name in _FOREIGN[: count - 2]:
        patient = _patient(planter, key, name, planter.identifier("PatientID"), charset, "051Y")
        found.append(patient)
        where = f"PatientName ({key})"
        planter.plants += [Plant("name", where, form) for form in encoded_components(name, charset)]
    return found


def encoded_components(name: str, charset: str | list[str]) -> tuple[bytes, ...]:
    """The bytes of each component of a PN in the declared character set, without those of two letters."""
    encodings = convert_encodings(charset)
    components = [part for group in name.split("=") for part in group.split("^")]
    encoded = (encode_string(part, encodings) for part in components)
    return tuple(data for data in encoded if len(data) >= 4)


def _patient(
    planter: Planter,
    key: str,
    name: str,
    patient_id: str,
    charset: str | list[str],
    age: str,
    issuer_in_all: bool = True,
) -> Patient:
    issuer = planter.name()
    planter.note("label", "IssuerOfPatientID", issuer)
    birth = planter.day("PatientBirthDate")
    baseline = dt.date(2019, 1, 7) + dt.timedelta(planter.random.randrange(700))
    intervals = tuple(planter.random.randrange(28, 140) for _ in range(2))
    return Patient(key, name, patient_id, issuer, birth, age, charset, baseline, intervals, issuer_in_all)

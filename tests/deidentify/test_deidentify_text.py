"""Free text, dates and codes."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from deidentify import codes, dates, text
from deidentify.subject import Subject, fold, identifiers_of

NOBODY: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    "description",
    [
        "t1_mprage_sag_p2_iso", "AX T2 FLAIR FS", "t2_tirm_tra_dark-fluid_3mm", "ep2d_diff_3scan_trace_p2_ADC",
        "T1W_3D_TFE post Gd", "SAG 3D FLAIR CUBE", "WIP sT1W_3D", "Ax T1 MPR +C", "3D T1 BRAVO POST",
        "DTI 32 dir b1000",
        "t1_vibe_fs_cor_post_0.9mm", "rCBV", "pASL 3D tra iso 3.0", "B0 NS", "MR brain tumor follow up",
    ],
)  # fmt: skip
def test_protocol_words_survive(description):
    lost = set(_words(description)) - set(_words(text.clean(description, NOBODY)))
    assert lost <= {"wip", "3scan", "ns"}


@pytest.mark.parametrize(
    "description",
    ["AX T1 NON CONTRAST", "AX T1 C+", "AX T1 C-", "AX T1 -C", "T1 W/O GAD", "T1 NONCONTRAST", "T1 ohne KM", "T1 KM-",
     "T1 Gd+", "T1 sans gado", "T1 senza mdc", "eT1W_SE"],
)  # fmt: skip
def test_whether_contrast_agent_was_given_survives_word_for_word(description):
    """A lost NON or sign turns an unenhanced series into an enhanced one."""
    assert text.clean(description, NOBODY) == description


def _words(description: str) -> list[str]:
    return fold(description).replace("_", " ").replace("-", " ").split()


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("AX T1 SMITH JOHN POST", "AX T1 POST"),
        ("t1_mprage DOB 12/05/1961", "t1_mprage"),
        ("T2 555-123-4567", "T2"),
        ("FLAIR 12345678", "FLAIR"),
        ("FLAIR 2019-03-04", "FLAIR"),
        ("FLAIR 04.03.19", "FLAIR"),
        ("t1 dr. house 12 34 56 78", "t1"),
        ("name@example.org", ""),
        ("Zürich Müller", ""),
        ("\x1b$B;3ED\x1b(B T1", "T1"),
    ],
)
def test_everything_else_goes(description, expected):
    assert text.clean(text.visible(description), NOBODY) == expected


def test_words_of_the_vocabulary_go_when_they_name_the_subject():
    subject = Subject(b"", ("Dixon^Sagittal",))
    assert text.clean("t2 dixon sagittal", subject.words) == "t2"
    assert text.clean("t2 DIXON", subject.words) == "t2"


@given(st.text(max_size=80))
def test_cleaning_only_ever_selects_words_of_the_text(given_text):
    kept = text.clean(given_text, NOBODY)
    assert kept.isascii()
    assert all(part in given_text for part in kept.split())


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_cleaning_is_stable(given_text):
    once = text.clean(given_text, NOBODY)
    assert text.clean(once, NOBODY) == once


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("SIEMENS", "SIEMENS"),
        ("GE MEDICAL SYSTEMS", "GE MEDICAL SYSTEMS"),
        ("27\\LX\\MR Software release:DV25.0", None),
        ("syngo MR E11 SMITH", "syngo MR E11"),
        ("Model 20190304 X", "Model X"),
        ("john@example", ""),
    ],
)
def test_equipment_texts(sent, expected):
    words = Subject(b"", ("Smith^John",)).words
    values = [text.public(value, words) for value in sent.split("\\")]
    assert "\\".join(values) == (sent if expected is None else expected)


@given(
    st.dates(dt.date(1890, 1, 1), dt.date(2060, 12, 31)),
    st.dates(dt.date(1890, 1, 1), dt.date(2060, 12, 31)),
    st.integers(365, 3650),
    st.times(),
)
def test_intervals_are_exact_for_dates_and_datetimes(first, second, days, clock):
    def parse(value: str | None) -> dt.date:
        assert value is not None
        return dt.date(int(value[:4]), int(value[4:6]), int(value[6:8]))

    moved = [parse(dates.shift_date(f"{day:%Y%m%d}".rjust(8, "0"), days)) for day in (first, second)]
    assert moved[1] - moved[0] == second - first
    assert first - moved[0] == dt.timedelta(days)
    stamp = f"{first:%Y%m%d}".rjust(8, "0") + f"{clock:%H%M%S.%f}+0130"
    shifted = dates.shift_datetime(stamp, days)
    assert parse(shifted) == moved[0]
    assert shifted is not None
    assert shifted[8:] == stamp[8:]


@pytest.mark.parametrize("value", ["2023", "202305", "20230231", "yesterday", "2023051", "00000000"])
def test_what_is_no_full_date_is_not_shifted(value):
    assert dates.shift_date(value, 400) is None
    assert dates.shift_datetime(value, 400) is None


def test_ages_of_ninety_and_over_are_one_class():
    assert dates.cap_age("064Y") == "064Y"
    assert dates.cap_age("089Y") == "089Y"
    assert dates.cap_age("090Y") == "090Y"
    assert dates.cap_age("107Y") == "090Y"
    assert dates.cap_age("018M") == "018M"
    assert dates.cap_age("42") is None


def code(value: str, scheme: str, meaning: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, meaning
    return ds


def test_published_codes_stay_with_a_published_meaning():
    kept = codes.clean(code("12738006", "SCT", "Brain"), NOBODY, str.upper)
    assert (kept.value, kept.scheme, kept.meaning, kept.changed) == ("12738006", "SCT", "Brain", False)
    replaced = codes.clean(code("108369006", "SCT", "Dr Smith's patient"), NOBODY, str.upper)
    assert replaced.value == "108369006"
    assert replaced.meaning == "Tumor"


def test_private_codes_become_opaque_and_stay_distinguishable(keys):
    first = codes.clean(code("MRN-12345", "99HOSP", "John Smith"), NOBODY, keys.token)
    again = codes.clean(code("MRN-12345", "99HOSP", "John Smith"), NOBODY, keys.token)
    other = codes.clean(code("MRN-12346", "99HOSP", "John Smith"), NOBODY, keys.token)
    assert first == again
    assert first.value != other.value
    assert "12345" not in first.value
    assert first.meaning == "Unspecified"


@pytest.mark.parametrize("value", ["John", "123456; drop", "12-45-78-90"])
def test_a_value_that_no_published_scheme_could_hold_does_not_pass_under_its_name(keys, value):
    kept = codes.clean(code(value, "SCT", "Brain"), NOBODY, keys.token)
    assert value not in kept.value


def test_identifiers_are_gathered_at_any_depth_and_decoded():
    ds, item = Dataset(), Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName, ds.PatientID, ds.StudyDate = "Größe^Jörg", "A-123", "20200102"
    ds.InstitutionName = "University Hospital Nirgendwo"
    item.RequestingPhysician = "Brown^Emmett"
    ds.RequestAttributesSequence = [item]
    found = identifiers_of(ds)
    assert {"Größe^Jörg", "A-123", "20200102", "Brown^Emmett", "Nirgendwo"} <= set(found)
    assert "Hospital" not in " ".join(found)
    assert {"große", "grosse", "groesse", "jorg", "joerg", "brown"} & Subject(b"", found).words >= {
        "joerg",
        "jorg",
        "brown",
    }

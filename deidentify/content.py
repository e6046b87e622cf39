"""SR content items (PS3.3 C.17.3): what the attribute rules cannot see because only the concept name tells it."""

from __future__ import annotations

from pydicom.dataset import Dataset

from deidentify import codes, text
from deidentify.actions import Context
from deidentify.elements import ascii_element, text_of

_CONCEPT_NAME, _TEXT, _DATE, _PERSON = 0x0040A043, 0x0040A160, 0x0040A121, 0x0040A123
_MEASURED, _NUMERIC = 0x0040A300, 0x0040A30A
_BIRTH_DATE, _AGE, _SUBJECT_NAME, _TRACKING = "121031", "121033", "121029", "112039"
_SUBJECT_ID = "121030"


def amend(source: Dataset, out: Dataset, context: Context) -> None:
    """Finish a content item after its attributes were cleaned. Items are never dropped: by-reference relationships
    count positions (PS3.3 C.17.3.2.5)."""
    concept = _concept(source)
    if concept == _BIRTH_DATE and _DATE in out:
        out[_DATE] = ascii_element(_DATE, "DA", "19000101")
    elif concept == _SUBJECT_NAME and _PERSON in out:
        out[_PERSON] = ascii_element(_PERSON, "PN", context.pseudonym)
    elif concept == _SUBJECT_ID and _TEXT in out:
        out[_TEXT] = ascii_element(_TEXT, "UT", context.pseudonym)
    elif concept == _TRACKING and _TEXT in source:
        out[_TEXT] = ascii_element(_TEXT, "UT", context.known_or_token(text.visible(text_of(source.get_item(_TEXT)))))
    elif concept == _AGE and _MEASURED in out:
        _cap_age(out)


def _concept(item: Dataset) -> str:
    """The DCM code value of the concept name, "" for other schemes."""
    names = item[_CONCEPT_NAME].value if _CONCEPT_NAME in item else None
    if not names:
        return ""
    value, scheme, _, _ = codes.read(names[0])
    return value if scheme == "DCM" else ""


def _cap_age(out: Dataset) -> None:
    for measured in out[_MEASURED].value:
        if _NUMERIC in measured and float(measured[_NUMERIC].value or 0) >= 90:
            measured[_NUMERIC] = ascii_element(_NUMERIC, "DS", "90")

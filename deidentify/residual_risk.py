"""What remains risky in a folder that was de-identified: counts for the privacy officer, no value and no pseudonym."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset

from deidentify.elements import text_of
from deidentify.engine import Deidentified
from deidentify.ledger import Outcome
from deidentify.pixels import MR_IMAGES
from deidentify.profile import OPTIONS, Profile

SCHEMA = "timepoint-residual-risk/1"
AGE_BIN_YEARS = 5
_SAFE_PRIVATE = "113111 Retain Safe Private"
_CHARACTERISTICS = ("PatientSex", "PatientAge", "PatientSize", "PatientWeight")
_DEFACED = "113102"


@dataclass
class ResidualRisk:
    """Gathers what leaves, one instance after the other; memory grows with persons and studies, not with instances."""

    profile: Profile
    edition: str = ""
    key_id: str = ""
    instances: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    characteristics: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    safe_private: int = 0
    undefaced: int = 0
    studies: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    cells: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add(self, result: Deidentified) -> None:
        """Count an instance that was written."""
        ds, ledger = result.dataset, result.ledger
        self.edition, self.key_id = ledger.edition, ledger.key_id
        self.instances[ledger.sop_class_uid] += 1
        for outcome in Outcome:
            self.outcomes[outcome.value] += ledger.count_of(outcome)
        self.safe_private += sum(n for (_, _, reason), n in ledger.counts.items() if reason == _SAFE_PRIVATE)
        self.characteristics.update(keyword for keyword in _CHARACTERISTICS if _value(ds, keyword))
        self.undefaced += ledger.sop_class_uid in MR_IMAGES and not _is_defaced(ds)
        person = _value(ds, "PatientID")
        self.studies[person].add(_value(ds, "StudyInstanceUID"))
        self.cells.setdefault(person, (_value(ds, "PatientSex"), _age_bin(_value(ds, "PatientAge"))))

    def report(self) -> dict[str, Any]:
        """`{"schema", "kept", "risks", ...}`, for JSON."""
        groups = Counter(self.cells.values())
        repeated = sum(len(studies) > 3 for studies in self.studies.values())
        return {
            "schema": SCHEMA,
            "profile": self.profile.name,
            "options": {name: getattr(self.profile, name) for name in OPTIONS},
            "edition": self.edition,
            "key_id": self.key_id,
            "persons": len(self.studies),
            "studies": sum(map(len, self.studies.values())),
            "instances": dict(sorted(self.instances.items())),
            "refused": dict(sorted(self.refused.items())),
            "attributes": dict(sorted(self.outcomes.items())),
            "kept": {
                "characteristics": dict(sorted(self.characteristics.items())),
                "safe_private_elements": self.safe_private,
            },
            "risks": {
                "images_with_a_face_that_was_not_removed": self.undefaced,
                "persons_with_exact_intervals_of_four_or_more_studies": repeated if self._intervals else 0,
                "smallest_group_of_equal_sex_and_age": min(groups.values(), default=0),
                "persons_alone_in_sex_and_age": sum(count == 1 for count in groups.values()),
                "age_bin_years": AGE_BIN_YEARS,
            },
        }

    @property
    def _intervals(self) -> bool:
        return self.profile.retain_modified_dates


def _value(ds: Dataset, keyword: str) -> str:
    return text_of(ds.get_item(keyword)).strip(" \0") if keyword in ds else ""


def _age_bin(age: str) -> str:
    if len(age) != 4 or not age[:3].isdigit():
        return age
    years = int(age[:3]) if age[3] == "Y" else 0
    return str(years - years % AGE_BIN_YEARS)


def _is_defaced(ds: Dataset) -> bool:
    items = ds["DeidentificationMethodCodeSequence"].value if "DeidentificationMethodCodeSequence" in ds else ()
    return any(_value(item, "CodeValue") == _DEFACED for item in items)


def as_text(report: dict[str, Any]) -> str:
    """The report in sentences."""
    risks, kept = report["risks"], report["kept"]
    options = ", ".join(name for name, on in report["options"].items() if on)
    shown = ", ".join(f"{name} in {count}" for name, count in kept["characteristics"].items()) or "none"
    refused = ", ".join(f"{code} {count}" for code, count in report["refused"].items()) or "none"
    lines = [
        "Residual risk of this de-identified folder",
        "",
        f"Profile {report['profile']} (PS3.15 Annex E {report['edition']}; {options}); key {report['key_id']}.",
        f"{report['persons']} persons, {report['studies']} studies, {sum(report['instances'].values())} instances. "
        "Each instance was searched for the identifiers of its person before it was written.",
        f"Files that were not written: {refused}.",
        "",
        "Kept of the patient:",
        f"- characteristics: {shown}; ages of 90 and over read 90",
        f"- private elements of the reviewed list: {kept['safe_private_elements']}",
        "",
        "What a recipient could still do:",
        f"- recognise a face: {risks['images_with_a_face_that_was_not_removed']} MR images were not defaced",
        "- recognise a sequence of scan days: "
        f"{risks['persons_with_exact_intervals_of_four_or_more_studies']} persons have four studies or more at exact "
        "intervals; who knows three intervals finds nearly everyone",
        "- recognise sex and age: the smallest group of equal sex and age (in steps of "
        f"{risks['age_bin_years']} years) has {risks['smallest_group_of_equal_sex_and_age']} persons, "
        f"{risks['persons_alone_in_sex_and_age']} persons are alone in theirs",
        "- recognise rare findings in the images themselves: nothing guards against that",
    ]
    return "\n".join(lines) + "\n"

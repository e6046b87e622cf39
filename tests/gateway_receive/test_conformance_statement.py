"""The conformance statement says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from pydicom.uid import UID

from gateway.settings import Settings
from gateway.sop_classes import ACCEPTED, LABELMAP_SEGMENTATION, TRANSFER_SYNTAXES
from gateway.store_status import STATUS_OF
from gateway.tables import InstanceRole, QuarantineKind

STATEMENT = (Path(__file__).resolve().parents[2] / "docs" / "conformance-receive.md").read_text(encoding="utf-8")


def test_sop_classes_are_those_of_the_code() -> None:
    stated = re.findall(r"^\| (.+?) \| `([\d.]+)` \| (analysed|kept) \|$", STATEMENT, re.MULTILINE)
    wording = {InstanceRole.IMAGE: "analysed", InstanceRole.MATERIAL: "kept"}
    assert {uid: how for _, uid, how in stated} == {uid: wording[role] for uid, role in ACCEPTED.items()}
    assert all(name == UID(uid).name for name, uid, _ in stated if uid != LABELMAP_SEGMENTATION)


def test_transfer_syntaxes_are_those_of_the_code() -> None:
    stated = re.findall(r"^\| (.+?) \| `([\d.]+)` \|$", STATEMENT, re.MULTILINE)
    assert stated == [(UID(s).name, str(s)) for s in TRANSFER_SYNTAXES]


def test_statuses_and_defaults_are_those_of_the_code() -> None:
    assert {f"{status:04X}" for status in STATUS_OF.values()} == {"A900", "C000"}
    for kind in (
        QuarantineKind.CONFLICTING_COPY,
        QuarantineKind.CONFLICTING_PATIENT,
        QuarantineKind.MISSING_PATIENT_ID,
    ):
        assert kind not in STATUS_OF
        assert f"`{kind.value}`" in STATEMENT
    dicom = Settings().dicom
    for value in (dicom.ae_title, str(dicom.max_pdu), str(dicom.max_associations)):
        assert value in STATEMENT

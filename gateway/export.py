"""Export: the anonymised histories of all patients who have not opted out, with manifest and ledger entry.

Written to a folder of its own, whole or not at all. The histories carry random ids of this export only, days instead
of dates, and what a disclosure check coarsened or suppressed; the ledger keeps which patients went into it.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from gateway.audit import append
from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.engine import Arguments
from gateway.ownership import opted_out
from gateway.records import read_patient_record
from gateway.tables import ExportLedger, Patient, TimePoint
from longitudinal.disclosure import DisclosureReport, coarsen
from longitudinal.histories import Deidentification, Histories, Source, encode, sha256
from longitudinal.histories import Patient as History
from longitudinal.patient_history import NoHistoryError, patient_from_record

HISTORIES_NAME = "patient_histories.json"
MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class ExportSummary:
    """What an export wrote."""

    folder: Path
    ledger_key: str
    sha256: str
    counts: dict[str, int]


def run(gateway: Gateway, arguments: Arguments) -> None:
    """The scheduled export; its folder is named by the slot, so a repeat finds it there."""
    slot = dt.datetime.fromisoformat(str(arguments["slot"]))
    folder = gateway.exports_folder / f"{slot:%Y%m%dT%H%M%SZ}"
    if not folder.exists():
        export_histories(gateway, folder)


def export_histories(gateway: Gateway, folder: Path, since: dt.date | None = None) -> ExportSummary:
    """Write `patient_histories.json` and `manifest.json` into the new folder `folder`.

    `since`: only patients with a study acquired on or after that day.

    Raises:
        FileExistsError: when the folder exists already.
    """
    if folder.exists():
        raise FileExistsError(folder)
    with read_scope(gateway.database) as session:
        histories, patient_keys = _collect(session, since)
    released, report = coarsen(histories)
    data = encode(released)
    manifest = _manifest(released, report, sha256(data), since)
    counts = manifest["counts"]
    ledger = ExportLedger(folder=str(folder), since=since, sha256=sha256(data), counts=counts, pseudonyms=patient_keys)
    manifest["ledger_id"] = ledger.export_key
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / HISTORIES_NAME).write_bytes(data)
    (partial / MANIFEST_NAME).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    with session_scope(gateway.database) as session:
        session.add(ledger)
        append(session, actor="system", action="export", subject=ledger.export_key, detail=counts)
    partial.rename(folder)
    return ExportSummary(folder, ledger.export_key, sha256(data), counts)


def _collect(session: Session, since: dt.date | None) -> tuple[Histories, list[str]]:
    wanted = select(Patient).where(col(Patient.merged_into).is_(None))
    if since is not None:
        recent = select(TimePoint.patient_key).where(col(TimePoint.acquired) >= since)
        wanted = wanted.where(col(Patient.patient_key).in_(recent))
    patients: list[History] = []
    keys: list[str] = []
    for patient in session.exec(wanted.order_by(col(Patient.surrogate))).all():
        if opted_out(session, patient.patient_key):
            continue
        found = read_patient_record(session, patient.patient_key)
        try:
            patients.append(patient_from_record(found.record, found.history_context(f"p-{secrets.token_hex(8)}")))
        except NoHistoryError:
            continue
        keys.append(patient.patient_key)
    patients.sort(key=lambda p: p.pid)  # the order of the file must not tell the order of the database
    histories = Histories(
        created=dt.datetime.now(dt.UTC).replace(microsecond=0),
        source=Source(kind="site-export"),
        deidentification=Deidentification(profile="PS3.15 E.1 + relative days"),
        patients=tuple(patients),
    )
    return histories, keys


def _manifest(histories: Histories, report: DisclosureReport, digest: str, since: dt.date | None) -> dict[str, Any]:
    return {
        "schema": "timepoint-export/1",
        "histories_schema": histories.schema_,
        "feature_schema": histories.feature_schema,
        "created": histories.created.isoformat() if histories.created else None,
        "since": since.isoformat() if since else None,
        "sha256": digest,
        "counts": {"patients": len(histories.patients), "scans": sum(len(p.scans) for p in histories.patients)},
        "disclosure": asdict(report),
    }

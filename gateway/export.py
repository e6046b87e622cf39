"""Export: the anonymised histories of all patients who have not opted out, with manifest, risk report and ledger entry.

Written to a folder of its own, whole or not at all, and only after the written files passed a check that shares no
code with what wrote them. Same records and same key, same bytes. The ledger keeps which patients went into it.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from deidentify.keys import KeyRing
from deidentify.tables import EDITION
from gateway import release_ledger
from gateway.audit import append
from gateway.context import Gateway
from gateway.database import session_scope
from gateway.engine import Arguments
from gateway.errors import NotAllowed
from gateway.ownership import opted_out
from gateway.records import read_patient_record
from gateway.tables import ExportLedger, Patient, TimePoint
from longitudinal.histories import Deidentification, Histories, Source, encode, sha256
from longitudinal.histories import Patient as History
from longitudinal.patient_history import NoHistoryError, patient_from_record
from longitudinal.release import Release, ReleaseRules, prepare_release
from longitudinal.release_check import check_release
from longitudinal.residual_risk import residual_risk, risk_text

HISTORIES_NAME = "patient_histories.json"
MANIFEST_NAME = "manifest.json"
RISK_NAMES = ("residual_risk.json", "residual_risk.md")
PROFILE = "PS3.15 E.1 + relative days"


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


def export_histories(
    gateway: Gateway, folder: Path, since: dt.date | None = None, rules: ReleaseRules | None = None
) -> ExportSummary:
    """Write histories, manifest and risk report into the new folder `folder`.

    `since`: only patients with a study acquired on or after that day. `rules`: those of the settings, unless given.

    Raises:
        FileExistsError: when the folder exists already.
        NotAllowed: when the written files do not pass the check; nothing is left of them then.
    """
    if folder.exists():
        raise FileExistsError(folder)
    with session_scope(gateway.database) as session:
        histories, members = _collect(session, since, gateway.keys)
        release = prepare_release(histories, _rules(gateway, session, rules))
        data = encode(release.histories)
        released = {p.pid for p in release.histories.patients}
        held = {key: pid for key, pid in sorted(members.items()) if pid in released}
        statement = _statement(gateway, release, sha256(data), since, rules or _settled(gateway))
        ledger = ExportLedger(
            folder=str(folder), since=since, sha256=sha256(data), counts=statement["counts"], pseudonyms=list(held)
        )
        link = release_ledger.append(session, ledger, held, statement)
        manifest = {
            **statement,
            "created": ledger.created_at.replace(microsecond=0).isoformat(),
            "ledger_id": ledger.export_key,
            "ledger": {"number": link.number, "hash": link.hash, "previous": link.previous},
            "recalls": [recall.as_json() for recall in release_ledger.recalls(session)],
        }
        partial = _write(folder, data, manifest, release)
        append(session, actor="system", action="export", subject=ledger.export_key, detail=statement["counts"])
        export_key = ledger.export_key
    partial.rename(folder)
    return ExportSummary(folder, export_key, sha256(data), statement["counts"])


def _settled(gateway: Gateway) -> ReleaseRules:
    asked = gateway.settings.export
    return ReleaseRules(asked.k, asked.interval_days, asked.volume_step_ml)


def _rules(gateway: Gateway, session: Session, given: ReleaseRules | None) -> ReleaseRules:
    """Classes of ages never get narrower from one release to the next."""
    rules = given or _settled(gateway)
    last = release_ledger.newest(session)
    if last is None:
        return rules
    before = int(last.statement["bins"]["age_years"])
    return ReleaseRules(rules.k, rules.interval_days, rules.volume_step_ml, max(before, rules.age_years))


def _collect(session: Session, since: dt.date | None, keys: KeyRing) -> tuple[Histories, dict[str, str]]:
    """The histories, and the id in the file of each patient key."""
    wanted = select(Patient).where(col(Patient.merged_into).is_(None))
    if since is not None:
        recent = select(TimePoint.patient_key).where(col(TimePoint.acquired) >= since)
        wanted = wanted.where(col(Patient.patient_key).in_(recent))
    found: list[tuple[str, bytes, History]] = []
    for patient in session.exec(wanted.order_by(col(Patient.surrogate))).all():
        if opted_out(session, patient.patient_key):
            continue
        stored = read_patient_record(session, patient.patient_key)
        surrogate = bytes.fromhex(patient.surrogate)
        try:
            history = patient_from_record(stored.record, stored.history_context(patient.patient_key))
        except NoHistoryError:
            continue
        found.append((patient.patient_key, surrogate, history))
    return _named(found, keys)


def _named(found: list[tuple[str, bytes, History]], keys: KeyRing) -> tuple[Histories, dict[str, str]]:
    """Give every history an id of this content only: the same records give the same ids, others tell nothing of them,
    and none tells which images are of the same person."""
    histories = Histories(
        source=Source(kind="site-export"),
        deidentification=Deidentification(profile=PROFILE),
        patients=tuple(history for _, _, history in found),
    )
    project = keys.for_project(f"{keys.project}/histories/{sha256(encode(histories))}")
    members = {key: f"p-{project.pseudonym(surrogate).lower()}" for key, surrogate, _ in found}
    renamed = [history.model_copy(update={"pid": members[key]}) for key, _, history in found]
    renamed.sort(key=lambda p: p.pid)  # the order of the file must not tell the order of the database
    return histories.model_copy(update={"patients": tuple(renamed)}), members


def _statement(
    gateway: Gateway, release: Release, digest: str, since: dt.date | None, rules: ReleaseRules
) -> dict[str, Any]:
    """What the manifest and the ledger say of a release."""
    histories = release.histories
    return {
        "schema": "timepoint-export/1",
        "program": f"timepoint {version('timepoint')}",
        "histories_schema": histories.schema_,
        "feature_schema": histories.feature_schema,
        "profile": f"{PROFILE}, {gateway.profile.name}, PS3.15 {EDITION}",
        "key_id": gateway.keys.key_id,
        "since": since.isoformat() if since else None,
        "sha256": digest,
        "counts": {"patients": len(histories.patients), "scans": sum(len(p.scans) for p in histories.patients)},
        "rules": {"k": rules.k, "interval_days": rules.interval_days, "volume_step_ml": rules.volume_step_ml},
        "bins": {"age_years": release.age_years},
        "suppressed": {"patients": release.suppressed, "scans": release.scans_cut, "longest": release.longest},
        "disclosure": asdict(release.disclosure),
    }


def _write(folder: Path, data: bytes, manifest: dict[str, Any], release: Release) -> Path:
    """The files in a folder beside the one wanted, checked as they were written."""
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    risk = residual_risk(release.histories, release.disclosure.k)
    report = {**risk.as_json(), "suppressed": manifest["suppressed"], "sentences": release.disclosure.sentences}
    (partial / HISTORIES_NAME).write_bytes(data)
    for name, document in ((MANIFEST_NAME, manifest), (RISK_NAMES[0], report)):
        (partial / name).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    text = risk_text(risk, release.suppressed, release.disclosure.sentences)
    (partial / RISK_NAMES[1]).write_text(text, encoding="utf-8")
    problems = check_folder(partial)
    if problems:
        shutil.rmtree(partial)
        raise NotAllowed(f"The export was not written, its check found: {' '.join(problems)}")
    return partial


def check_folder(folder: Path) -> list[str]:
    """What is wrong with the release in a folder, sentences without values; empty for one that may leave."""
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
        data = (folder / HISTORIES_NAME).read_bytes()
    except (OSError, ValueError):
        return [f"{HISTORIES_NAME} or {MANIFEST_NAME} is missing or cannot be read."]
    return check_release(data, manifest)

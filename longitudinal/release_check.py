"""Proof over the files of a release as they were written, by code that shares nothing with what wrote them.

Reads JSON and counts. Neither the schema nor `disclosure` is imported, so that a mistake there does not hide itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

HEAD = {"schema", "created", "source", "feature_schema", "units", "deidentification", "patients"}
PATIENT = {
    "pid", "split", "tumour_type", "who_grade", "idh", "mgmt", "codel_1p19q", "age_decade", "sex", "treatments",
    "scans",
}  # fmt: skip
SCAN = {
    "t", "scanner", "seg_model", "volume_cc", "target_cc", "target_sd_ln", "features", "quality", "rano",
}  # fmt: skip
TREATMENT = {"kind", "decided", "start", "stop", "agent", "extent", "planned"}
DESCRIBING = ("tumour_type", "who_grade", "idh", "mgmt", "codel_1p19q", "age_decade", "sex")
DAYS = ("decided", "start", "stop")
_DATE = re.compile(
    r"(?<![0-9A-Za-z])(?:18|19|20)\d\d([-/. ]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z])(?:0?[1-9]|[12]\d|3[01])[-/.](?:0?[1-9]|1[0-2])[-/.](?:19|20)?\d\d(?![0-9A-Za-z])"
)
_UID = re.compile(r"\d+(?:\.\d+){4,}")
_PID = re.compile(r"p-[a-z2-7]{16}")


def check_release(data: bytes, manifest: Mapping[str, Any]) -> list[str]:
    """What is wrong with a release, one sentence each without values; empty for one that may leave.

    Args:
        data: the bytes of `patient_histories.json`.
        manifest: the content of `manifest.json` beside it.
    """
    try:
        document = json.loads(data)
        patients = document["patients"]
        k, days = int(manifest["rules"]["k"]), int(manifest["rules"]["interval_days"])
        step = float(manifest["rules"]["volume_step_ml"])
    except (ValueError, KeyError, TypeError):
        return ["The histories or the manifest cannot be read, or the manifest states no rules."]
    found = list(_manifest(data, patients, manifest))
    found += _texts(document)
    found += _keys(document, patients)
    found += _classes(patients, k)
    found += _names(patients, k)
    found += _steps(patients, days, step)
    return found


def _manifest(data: bytes, patients: list[dict[str, Any]], manifest: Mapping[str, Any]) -> Iterator[str]:
    if manifest.get("sha256") != hashlib.sha256(data).hexdigest():
        yield "The hash in the manifest is not that of the histories."
    counts = {"patients": len(patients), "scans": sum(len(p.get("scans", ())) for p in patients)}
    if manifest.get("counts") != counts:
        yield "The counts in the manifest are not those of the histories."
    for name in ("schema", "histories_schema", "profile", "key_id", "ledger_id", "program", "disclosure"):
        if not manifest.get(name):
            yield f"The manifest does not state {name}."


def _texts(document: dict[str, Any]) -> Iterator[str]:
    if document.get("created") is not None:
        yield "The histories state when they were made."
    for where, value in _leaves(document, ""):
        text = str(value)
        if isinstance(value, str) and _DATE.search(text):
            yield f"{where} holds a calendar date."
        if isinstance(value, str) and _UID.search(text):
            yield f"{where} holds a UID."
        if isinstance(value, int) and 18000101 <= abs(value) <= 21001231:
            yield f"{where} holds a number that reads as a date."


def _leaves(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{where}.{key}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, where)
    elif not isinstance(value, bool) and value is not None:
        yield where, value


def _keys(document: dict[str, Any], patients: list[dict[str, Any]]) -> Iterator[str]:
    unknown = set(document) - HEAD
    for patient in patients:
        unknown |= set(patient) - PATIENT
        unknown |= {key for scan in patient.get("scans", ()) for key in set(scan) - SCAN}
        unknown |= {key for treatment in patient.get("treatments", ()) for key in set(treatment) - TREATMENT}
    if unknown:
        yield f"{len(unknown)} fields are not of the schema."
    pids = [str(p.get("pid")) for p in patients]
    if len(set(pids)) != len(pids) or pids != sorted(pids) or not all(_PID.fullmatch(pid) for pid in pids):
        yield "Patient ids are not unique, sorted and of the form that tells nothing."


def _classes(patients: list[dict[str, Any]], k: int) -> Iterator[str]:
    classes = Counter(tuple(patient.get(name) for name in DESCRIBING) for patient in patients)
    small = [size for size in classes.values() if size < k]
    if small:
        yield f"{sum(small)} patients are in {len(small)} classes of fewer than {k}."
    lengths = Counter(len(patient.get("scans", ())) for patient in patients)
    if lengths and lengths[max(lengths)] < k:
        yield f"Fewer than {k} patients have the longest follow-up."


def _names(patients: list[dict[str, Any]], k: int) -> Iterator[str]:
    for label, part, key in (("agents", "treatments", "agent"), ("scanners", "scans", "scanner")):
        shared = Counter(n for p in patients for n in {i[key] for i in p.get(part, ()) if i.get(key) is not None})
        rare = [name for name, number in shared.items() if number < k]
        if rare:
            yield f"{len(rare)} {label} are named by fewer than {k} patients."


def _steps(patients: list[dict[str, Any]], days: int, step: float) -> Iterator[str]:
    times = [scan["t"] for p in patients for scan in p["scans"]]
    times += [t[name] for p in patients for t in p.get("treatments", ()) for name in DAYS if t.get(name) is not None]
    if any(time % days for time in times):
        yield f"A time is not a multiple of {days} days."
    volumes = [v for p in patients for scan in p["scans"] for v in (*scan["volume_cc"].values(), scan["target_cc"])]
    if any(abs(volume / step - round(volume / step)) > 1e-3 for volume in volumes):
        yield f"A volume is not a multiple of {step:g} ml."

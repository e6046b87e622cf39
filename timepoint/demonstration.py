"""The demonstration: simulated studies go the whole way on this machine, over the same doors as in a hospital.

A small PACS and a FHIR endpoint run in this process; the gateway runs as `timepoint serve` in processes of its own and
is only spoken to over DICOM, FHIR and its database.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError
from sqlmodel import col, select

from gateway.context import Gateway, open_gateway
from gateway.database import read_scope
from gateway.dimse_client import RemoteAe, echo, store
from gateway.export import export_histories
from gateway.overview import is_settled, summarise_study
from gateway.settings import load_settings
from gateway.tables import Study
from longitudinal.release import ReleaseRules
from longitudinal.types import Region
from timepoint import __version__
from timepoint.small_pacs import SmallPacs, running_small_pacs
from timepoint_fhir.endpoint import running_endpoint

PACS_AE = "SMALLPACS"
QUIET_S = 5.0
START_TIMEOUT_S = 120.0
STUDY_TIMEOUT_S = 900.0
SEND_TRIES = 3
Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


class DemoFailed(Exception):
    """The demonstration did not come to its end; the message tells where it stopped."""


@dataclass(frozen=True)
class DemoSite:
    """What runs for the demonstration."""

    pacs: SmallPacs
    config: Path
    gateway: subprocess.Popen[bytes]


@dataclass
class Demonstration:
    """What the demonstration found: the entries of `summary.json` and the open gateway folder."""

    out: Path
    studies: list[dict[str, Any]]
    seconds: dict[str, float]
    web_url: str
    sources: dict[str, list[Path]] = field(default_factory=dict)


def send_order(folder: Path) -> dict[str, list[Path]]:
    """The DICOM files below a folder by Study Instance UID; what is not DICOM is left out.

    Raises:
        DemoFailed: when there is no DICOM study at all.
    """
    studies: dict[str, list[Path]] = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["StudyInstanceUID"])
        except InvalidDicomError:
            continue
        if "StudyInstanceUID" in header:
            studies.setdefault(str(header.StudyInstanceUID), []).append(file)
    if not studies:
        raise DemoFailed(f"{folder} holds no DICOM study")
    return studies


@contextmanager
def running_demo_site(out: Path) -> Iterator[DemoSite]:
    """PACS, FHIR endpoint and gateway, all on free loopback ports."""
    with running_small_pacs(out / "pacs", PACS_AE) as pacs, running_endpoint(out / "fhir") as fhir_url:
        config = out / "timepoint.toml"
        config.write_text(_configuration(out, pacs, fhir_url), encoding="utf-8")
        log = (out / "gateway.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "timepoint", "serve", "--config", str(config)], stdout=log, stderr=log
        )
        try:
            _await_receiver(config, process)
            yield DemoSite(pacs, config, process)
        finally:
            process.terminate()
            process.wait(60)
            log.close()


def run_demonstration(
    out: Path, studies: dict[str, list[Path]], truth: dict[str, Any], site: DemoSite, report: Report
) -> Demonstration:
    """Send the studies in order, wait until the gateway has settled each, and write what came back.

    Raises:
        DemoFailed: when the gateway refuses a study or does not settle in time.
    """
    settings = load_settings(site.config)
    seconds: dict[str, float] = {}
    gateway = open_gateway(settings)
    remote = RemoteAe(settings.dicom.ae_title, settings.dicom.host, settings.dicom.port)
    started = time.monotonic()
    total = sum(len(files) for files in studies.values())
    sent = 0
    for files in studies.values():
        _send(site.pacs.ae_title, remote, files)
        sent += len(files)
        report("sending over DICOM", sent, total)
    seconds["send"] = time.monotonic() - started
    started = time.monotonic()
    _await_settled(gateway, list(studies), site, report)
    seconds["settle"] = time.monotonic() - started
    started = time.monotonic()
    # Simulated patients need not hide; those of a folder of one's own do.
    export_histories(gateway, out / "export", rules=ReleaseRules(k=1) if truth else None)
    seconds["export"] = time.monotonic() - started
    entries, stages = _summaries(gateway, list(studies), truth)
    gateway.database.dispose()
    url = f"http://{settings.web.host}:{settings.web.port}/"
    return Demonstration(out, entries, seconds | stages, url, studies)


def _send(ae_title: str, remote: RemoteAe, files: Sequence[Path]) -> None:
    """Send a study as a PACS does: what could not be stored for a passing reason is sent again."""
    left = list(files)
    for _ in range(SEND_TRIES):
        outcomes = store(ae_title, remote, left)
        refused = [o for o in outcomes if not o.stored]
        left = [file for file, o in zip(left, outcomes, strict=True) if not o.stored]
        if not left:
            return
        if any(not o.retriable for o in refused):
            break
    raise DemoFailed(f"the gateway refused {len(left)} of {len(files)} images: {refused[0].detail}")


def write_summary(demo: Demonstration) -> Path:
    """Write `summary.json`; its keys are a promise."""
    file = demo.out / "summary.json"
    document = {
        "studies": demo.studies,
        "seconds": {k: round(v, 2) for k, v in demo.seconds.items()},
        "versions": {"timepoint": __version__, "python": sys.version.split()[0]},
    }
    file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return file


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _configuration(out: Path, pacs: SmallPacs, fhir_url: str) -> str:
    return f"""# Made by `timepoint demo`: a gateway on loopback between a small PACS and a FHIR endpoint.
data_dir = {json.dumps(str(out / "data"))}

[dicom]
port = {free_port()}

[study]
quiet_s = {QUIET_S}

[web]
port = {free_port()}

[fhir]
base_url = "{fhir_url}"
patients = "create"

[[destinations]]
name = "small-pacs"
host = "127.0.0.1"
port = {pacs.port}
ae_title = "{pacs.ae_title}"
"""


def _await_receiver(config: Path, process: subprocess.Popen[bytes]) -> None:
    dicom = load_settings(config).dicom
    remote = RemoteAe(dicom.ae_title, dicom.host, dicom.port)
    deadline = time.monotonic() + START_TIMEOUT_S
    while echo(PACS_AE, remote) is not None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise DemoFailed(f"the gateway did not start; see {config.parent / 'gateway.log'}")
        time.sleep(0.3)


def _await_settled(gateway: Gateway, uids: Sequence[str], site: DemoSite, report: Report) -> None:
    deadline = time.monotonic() + STUDY_TIMEOUT_S * len(uids)
    while True:
        with read_scope(gateway.database) as session:
            rows = session.exec(select(Study).where(col(Study.study_instance_uid).in_(uids))).all()
            settled = sum(is_settled(session, row) for row in rows)
        report("segmenting, recording, forecasting, delivering", settled, len(uids))
        if settled == len(uids):
            return
        if time.monotonic() > deadline or site.gateway.poll() is not None:
            raise DemoFailed(f"only {settled} of {len(uids)} studies settled; see {site.config.parent / 'gateway.log'}")
        time.sleep(0.5)


def _summaries(
    gateway: Gateway, uids: Sequence[str], truth: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    stages: dict[str, float] = {}
    entries = []
    with read_scope(gateway.database) as session:
        rows = session.exec(select(Study).where(col(Study.study_instance_uid).in_(uids))).all()
        for row in rows:
            entry = summarise_study(session, row)
            _add_truth(entry, truth.get(row.study_instance_uid))
            entries.append(entry)
            for stage, seconds in row.evidence.get("seconds", {}).items():
                stages[stage] = stages.get(stage, 0.0) + float(seconds)
    entries.sort(key=lambda e: (str(e["patient_key"]), str(e["acquired"])))
    return entries, stages


def _add_truth(entry: dict[str, Any], truth: dict[str, Any] | None) -> None:
    """Put the simulated volumes beside the measured ones: lesions are paired in order of their size."""
    if truth is None:
        return
    entry["truth_total_ml"] = {r.value: sum(t["volumes_ml"][r.value] for t in truth["lesions"]) for r in Region}
    ranked = sorted(truth["lesions"], key=lambda t: -t["volumes_ml"]["whole"])
    measured = sorted(entry["lesions"], key=lambda m: -m["volumes_ml"]["whole"])
    for lesion, known in zip(measured, ranked, strict=False):
        lesion["truth_ml"] = {region.value: known["volumes_ml"][region.value] for region in Region}

"""What is wrong with an input is answered and kept, and the service goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from peers.simulated import SimulatedStudies
from peers.site import Site, prepare_site
from peers.waiting import await_condition
from pydicom.uid import CTImageStorage, generate_uid
from sqlmodel import col, select

from gateway.dimse_client import RemoteAe, echo, store
from gateway.tables import Instance, Quarantine, Study
from longitudinal.types import Contrast
from timepoint.small_pacs import SmallPacs, running_small_pacs

pytestmark = [pytest.mark.peer, pytest.mark.timeout(1500)]

STORESCU = "/usr/bin/storescu"
JAPANESE_NAME = "Yamada^Tarou=山田^太郎=やまだ^たろう"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, SmallPacs]]:
    """A site with a short waiting time, so that an incomplete study comes to a person within the test."""
    folder = tmp_path_factory.mktemp("bad-input")
    with running_small_pacs(folder / "pacs") as pacs:
        made = prepare_site(folder / "site", destination=(pacs.ae_title, pacs.port), quiet_s=2.0)
        text = made.config.read_text().replace("quiet_s = 2.0", "quiet_s = 2.0\nforce_s = 8.0")
        made.config.write_text(text)
        made.start()
        try:
            yield made, pacs
        finally:
            made.kill()


@pytest.fixture
def source(two_patients: SimulatedStudies) -> list[Path]:
    return two_patients.files(two_patients.truths[0])


def _copies(files: list[Path], folder: Path, study: str, **changes: object) -> list[Path]:
    """Copies of a study under new UIDs, with attributes set, or deleted where the value is None."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number, file in enumerate(files):
        ds = pydicom.dcmread(file)
        ds.StudyInstanceUID = generate_uid(entropy_srcs=[study])
        ds.SeriesInstanceUID = generate_uid(entropy_srcs=[study, str(ds.SeriesInstanceUID)])
        ds.SOPInstanceUID = generate_uid(entropy_srcs=[study, str(ds.SOPInstanceUID)])
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        for keyword, value in changes.items():
            if value is None:
                del ds[keyword]
            else:
                setattr(ds, keyword, value)
        made.append(folder / f"{number}.dcm")
        ds.save_as(made[-1], enforce_file_format=True)
    return made


def _study(site: Site, uid: str) -> Study:
    return next(s for s in site.studies() if s.study_instance_uid == uid)


def _uid(files: list[Path]) -> str:
    return str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)


def _await_rows(site: Site, query: Any, count: int) -> list[Any]:
    """Rows follow the response; these must come, and no more of them."""
    await_condition(lambda: len(site.read(lambda s: s.exec(query).all())) >= count, 60, site.describe)
    rows = list(site.read(lambda s: s.exec(query).all()))
    assert len(rows) == count
    return rows


def _await_quarantine(site: Site, uid: str) -> Quarantine:
    await_condition(
        lambda: any(s.study_instance_uid == uid and s.state.value == "quarantined" for s in site.studies()),
        180,
        site.describe,
    )
    key = _study(site, uid).study_key
    row: Quarantine = site.read(lambda s: s.exec(select(Quarantine).where(col(Quarantine.study_key) == key)).one())
    return row


def test_one_series_only_waits_for_a_person(site: tuple[Site, SmallPacs], source: list[Path], tmp_path: Path) -> None:
    gateway, _ = site
    t1c = [f for f in source if f.parent.name == Contrast.T1C.value]
    files = _copies(t1c, tmp_path, "one-series", PatientID="ONE-SERIES")
    assert all(o.stored for o in gateway.send(files))
    item = _await_quarantine(gateway, _uid(files))
    assert item.kind.value == "incomplete"
    assert "t2f" in item.reason.lower() or "flair" in item.reason.lower()
    assert item.remedy


def test_missing_orientation_waits_for_a_person(
    site: tuple[Site, SmallPacs], source: list[Path], tmp_path: Path
) -> None:
    gateway, pacs = site
    files = _copies(source, tmp_path, "no-orientation", PatientID="NO-ORIENT", ImageOrientationPatient=None)
    assert all(o.stored for o in gateway.send(files))
    item = _await_quarantine(gateway, _uid(files))
    assert item.reason
    assert not [f for f in pacs.folder.glob("*.dcm") if pydicom.dcmread(f).StudyInstanceUID == _uid(files)]


def test_a_truncated_file_is_refused_and_kept(site: tuple[Site, SmallPacs], source: list[Path], tmp_path: Path) -> None:
    """The pixel data ends early: the data set says 100 % and brings half."""
    gateway, _ = site
    (file,) = _copies(source[:1], tmp_path, "truncated", PatientID="TRUNCATED")
    ds = pydicom.dcmread(file)
    ds.PixelData = ds.PixelData[: len(ds.PixelData) // 2]
    ds.save_as(file, enforce_file_format=True)
    (outcome,) = gateway.send([file])
    assert not outcome.stored
    (kept,) = _await_rows(gateway, select(Quarantine).where(Quarantine.kind == "truncated"), 1)
    gateway.gateway().received.read(kept.blob)


def test_an_image_without_pixels_is_refused_and_kept(
    site: tuple[Site, SmallPacs], source: list[Path], tmp_path: Path
) -> None:
    gateway, _ = site
    (file,) = _copies(source[:1], tmp_path, "no-pixels", PatientID="NO-PIXELS", PixelData=None)
    (outcome,) = gateway.send([file])
    assert not outcome.stored
    _await_rows(gateway, select(Quarantine).where(Quarantine.kind == "no-pixel-data"), 1)


def test_what_is_not_dicom_never_leaves_the_sender(site: tuple[Site, SmallPacs], tmp_path: Path) -> None:
    gateway, _ = site
    file = tmp_path / "letter.dcm"
    file.write_bytes(b"Dear colleague" * 100)
    done = subprocess.run(
        [STORESCU, "-aec", "TIMEPOINT", "127.0.0.1", str(gateway.dicom_port), str(file)],
        capture_output=True,
        env={**os.environ, "TCP_NODELAY": "1"},
        check=False,
    )
    assert done.returncode != 0
    assert echo("TESTER", gateway.remote) is None


def test_ct_and_a_wrong_called_ae_title_are_refused(
    site: tuple[Site, SmallPacs], source: list[Path], tmp_path: Path
) -> None:
    gateway, _ = site
    (ct,) = _copies(source[:1], tmp_path, "ct", PatientID="CT", SOPClassUID=CTImageStorage, Modality="CT")
    ds = pydicom.dcmread(ct)
    ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ds.save_as(ct, enforce_file_format=True)
    (outcome,) = gateway.send([ct])
    assert not outcome.stored and not outcome.retriable
    wrong = RemoteAe("SOMEBODYELSE", "127.0.0.1", gateway.dicom_port)
    (outcome,) = store("TESTER", wrong, source[:1])
    assert not outcome.stored and "rejected" in outcome.detail


def test_a_japanese_name_comes_back_as_it_was(site: tuple[Site, SmallPacs], source: list[Path], tmp_path: Path) -> None:
    gateway, pacs = site
    charset = ["", "ISO 2022 IR 87"]
    files = _copies(
        source, tmp_path, "japanese", PatientID="JP-1", SpecificCharacterSet=charset, PatientName=JAPANESE_NAME
    )
    assert all(o.stored for o in gateway.send(files))
    gateway.await_settled([_uid(files)])
    assert _study(gateway, _uid(files)).state.value == "published", gateway.describe()
    sent = pydicom.dcmread(files[0])
    original = sent.get_item("PatientName").value
    back = [pydicom.dcmread(f) for f in pacs.folder.glob("*.dcm")]
    results = [ds for ds in back if ds.StudyInstanceUID == sent.StudyInstanceUID]
    assert {ds.Modality for ds in results} >= {"SEG", "SR"}
    for ds in results:
        assert ds.get_item("PatientName").value == original
        assert ds.SpecificCharacterSet == sent.SpecificCharacterSet
        assert ds.IssuerOfPatientID == sent.IssuerOfPatientID


def test_the_service_is_alive_after_all_this(site: tuple[Site, SmallPacs], source: list[Path]) -> None:
    gateway, _ = site
    assert echo("TESTER", gateway.remote) is None
    assert all(o.stored for o in gateway.send(source[:3]))
    uids = [str(pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID) for f in source[:3]]
    _await_rows(gateway, select(Instance).where(col(Instance.sop_instance_uid).in_(uids)), len(uids))

"""Every kind of object that we send is taken by two archives of other makers: Orthanc and DCMTK's dcmqrscp."""

from __future__ import annotations

from pathlib import Path

import pytest
from encoding.source_series import CREATED, GEOMETRIES, SourceSeries, classic, masks, study_result
from peers.dcmqrscp import running_dcmqrscp
from peers.orthanc import running_orthanc
from pydicom import dcmread

from gateway.dimse_client import RemoteAe, accepts, store
from gateway.segmentation_kind import LABEL_MAP
from inference.encoding import encode_study
from inference.encoding.rejection_note import encode_rejection_note
from inference.encoding.report_document import DocumentContext
from inference.encoding.summary_object import encode_summary_image, encode_summary_pdf
from inference.summary.content import SummaryPage
from inference.summary.drawing import draw_image, draw_pdf
from inference.summary.words import Language
from longitudinal.types import Contrast

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One of each: SEG, three reports, summary page as image and PDF, rejection note."""
    folder = tmp_path_factory.mktemp("sent")
    geometry = GEOMETRIES["oblique"]
    labels, lesions = masks(geometry)
    result, images = study_result(labels, lesions), classic(SourceSeries(geometry))
    encoded = encode_study(result, labels, lesions, {Contrast.T1C: images}, Contrast.T1C, CREATED)
    context = DocumentContext(result, images, "digest", CREATED)
    page = SummaryPage(result, (), (), "Timepoint")
    objects = [
        *encoded.objects,
        encode_summary_image(context, draw_image(page, Language.ENGLISH)),
        encode_summary_pdf(context, draw_pdf(page, Language.ENGLISH)),
        encode_rejection_note(encoded.objects, 2, CREATED),
    ]
    files = []
    for number, ds in enumerate(objects):
        files.append(folder / f"{number}.dcm")
        ds.save_as(files[-1], enforce_file_format=True)
    return files


def test_orthanc_takes_everything_and_no_label_map(sent: list[Path]) -> None:
    with running_orthanc(1, route=False) as archive:
        remote = RemoteAe(archive.ae_title, "127.0.0.1", archive.dicom_port)
        outcomes = store("TIMEPOINT", remote, sent)
        assert [o.detail for o in outcomes] == ["0x0000"] * 7
        assert [o.detail for o in store("TIMEPOINT", remote, sent)] == ["0x0000"] * 7, "sent again, nothing is refused"
        assert len(archive.get("/instances")) == 7
        assert accepts("TIMEPOINT", remote, LABEL_MAP) is False


def test_dcmqrscp_takes_everything_and_no_label_map(sent: list[Path], tmp_path: Path) -> None:
    with running_dcmqrscp(tmp_path) as archive:
        remote = RemoteAe(archive.ae_title, "127.0.0.1", archive.port)
        outcomes = store("TIMEPOINT", remote, sent)
        assert [o.detail for o in outcomes] == ["0x0000"] * 7
        assert accepts("TIMEPOINT", remote, LABEL_MAP) is False
    stored = {str(dcmread(f, force=True).get("SOPInstanceUID", "")) for f in tmp_path.rglob("*") if f.is_file()}
    assert {str(dcmread(f).SOPInstanceUID) for f in sent} <= stored

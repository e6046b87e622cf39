"""Patient ID, issuer and accession number as the images encode them, letter for letter in the FHIR Bundle.

The name goes into SEG and SR only (`test_encoded_headers`): a Bundle refers to the patient by the identifier.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from gateway_receive.mr_images import encoded, mr_image
from gateway_receive.node import make_node
from pydicom.uid import ExplicitVRLittleEndian

from gateway.arrivals import ArrivalRules
from gateway.blobs import RESULTS, open_blobs
from gateway.context import Gateway
from gateway.database import read_scope
from gateway.part10 import EncodedInstance
from gateway.publication import Publisher, fhir_bundle
from gateway.published_identity import identity_to_publish
from gateway.receiver import Receiver
from gateway.settings import Fhir
from gateway.tables import Study
from longitudinal.types import AlgorithmIdentity, Region, Response, StudyResult, TimePointContext

TEXTS = {
    "ISO_IR 100": ("latin-1", "Müller-7"),
    "ISO_IR 101": ("iso8859-2", "Łódź-7"),
    "ISO_IR 144": ("iso8859-5", "Иванов-7"),
    "ISO_IR 192": ("utf-8", "山田-7"),
    "\\ISO 2022 IR 87": ("iso2022_jp", "山田-7"),
    "\\ISO 2022 IR 149": ("", "홍길동"),
    "GB18030": ("gb18030", "王小东-7"),
}


def bundle_of(gateway: Gateway, study: Study) -> dict[str, Any]:
    result = StudyResult(
        study_instance_uid=study.study_instance_uid,
        revision=1,
        timepoint=TimePointContext(1, dt.date(2026, 1, 10), 0, is_baseline=True, is_nadir=True),
        lesions=(),
        response=Response.BASELINE,
        target=Region.WHOLE,
        forecast=None,
        segmentation=AlgorithmIdentity("timepoint-segmentation", "1.0.0", "ab" * 32),
    )
    at = SimpleNamespace(study=study, point=SimpleNamespace(lesions=()))
    with read_scope(gateway.database) as session:
        who = Publisher(identity_to_publish(session, study), {study.study_instance_uid: ""})
    at.patient = SimpleNamespace(record=SimpleNamespace(time_points=()))
    moment = dt.datetime(2026, 1, 10, 12, tzinfo=dt.UTC)
    return fhir_bundle(gateway, cast(Any, at), result, who, {}, moment) or {}


@pytest.mark.parametrize("charset", TEXTS)
def test_identifiers_keep_their_letters(tmp_path: Path, charset: str) -> None:
    codec, text = TEXTS[charset]
    node = make_node(tmp_path / "data")
    image = mr_image(study="1.2.3", series="1.2.3.1", number=1, charset=charset, patient_id=text, issuer=f"{text}-A")
    image.AccessionNumber = text
    content = encoded(image)
    if codec:
        assert text.encode(codec) in content, "the image does not hold the letters in its own character set"
    receiver = Receiver(node.database, node.received, ArrivalRules.from_settings(node.settings))
    receiver.take(EncodedInstance(image.SOPClassUID, image.SOPInstanceUID, ExplicitVRLittleEndian, "PACS", content))
    settings = node.settings.model_copy(update={"fhir": Fhir(base_url="http://127.0.0.1:9/fhir", patients="create")})
    gateway = Gateway(settings, node.database, node.received, open_blobs(settings.storage.url, RESULTS))
    written = json.dumps(bundle_of(gateway, node.study()), ensure_ascii=False).encode()
    assert f'"value": "{text}"'.encode() in written
    assert f"urn:timepoint:issuer:{text}-A".encode() in written
    values = {i["value"] for i in _identifiers(json.loads(written))}
    assert {value for value in values if not value.startswith(("urn:", "2.25"))} >= {text}


def _identifiers(part: Any) -> list[dict[str, str]]:
    """Every identifier of a Bundle, at any depth."""
    if isinstance(part, list):
        return [found for item in part for found in _identifiers(item)]
    if not isinstance(part, dict):
        return []
    own = [part["identifier"]] if isinstance(part.get("identifier"), dict) else part.get("identifier", [])
    return [i for i in own if "value" in i] + [found for value in part.values() for found in _identifiers(value)]

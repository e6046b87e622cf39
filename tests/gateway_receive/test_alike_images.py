"""What is remembered of one image and used for the next changes no fact, no verdict and no row."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from gateway_receive.mr_images import encoded, mr_image, mr_study
from gateway_receive.node import Node, make_node
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage

from gateway.alike_images import AlikeImages
from gateway.alike_structure import AlikeStructures
from gateway.arrivals import ArrivalRules
from gateway.associations import Carrier
from gateway.encoded_structure import examined, outline
from gateway.inbox import Inbox
from gateway.instance_facts import read_facts
from gateway.part10 import EncodedInstance
from gateway.receiver import Receiver
from gateway.tables import Instance, Series, Study

STUDY = "1.2.826.0.1.3680043.10.61"
CARRIER = Carrier("n1", "PACS")
ODD: tuple[tuple[str, Any], ...] = (
    ("PatientName", "Doe^Other"), ("PatientID", "PAT-002"), ("IssuerOfPatientID", "ELSEWHERE"),
    ("AcquisitionDate", "20250102"), ("AcquisitionDateTime", "20250102101112"), ("StudyDate", ""), ("Modality", "OT"),
    ("ImageOrientationPatient", [0, 1, 0, 0, 0, 1]), ("ImagePositionPatient", []),
    ("ImagePositionPatient", [1, 2, 3e-5]),
    ("InstanceNumber", None), ("InstanceNumber", "-7"), ("SpecificCharacterSet", "ISO_IR 192"),
    ("SeriesInstanceUID", f"{STUDY}.77"), ("StudyInstanceUID", f"{STUDY}.78"),
)  # fmt: skip


def instance(image: Dataset, content: bytes | None = None, syntax: str = ExplicitVRLittleEndian) -> EncodedInstance:
    content = encoded(image) if content is None else content
    return EncodedInstance(MRImageStorage, str(image.SOPInstanceUID), str(syntax), "PACS", content)


def assert_same_facts(alike: AlikeImages, one: EncodedInstance) -> None:
    found, seen = examined([one.dataset], one.transfer_syntax_uid, one.sop_class_uid, one.sop_instance_uid, alike.look)
    assert found is None
    expected, _ = read_facts(one)
    facts = alike.facts(one, seen, lambda image: read_facts(image)[0])
    assert dict(facts.header) == dict(expected.header)
    assert dict(facts.geometry) == dict(expected.geometry)
    for name in ("sop_instance_uid", "study_instance_uid", "series_instance_uid", "modality", "identity", "acquired"):
        assert getattr(facts, name) == getattr(expected, name)


def test_an_image_that_differs_in_anything_has_its_own_facts() -> None:
    alike = AlikeImages()
    for number in range(1, 4):
        assert_same_facts(alike, instance(mr_image(study=STUDY, series=f"{STUDY}.1", number=number)))
    for keyword, value in ODD:
        image = mr_image(study=STUDY, series=f"{STUDY}.1", number=9)
        setattr(image, keyword, value)
        assert_same_facts(alike, instance(image))
        assert_same_facts(alike, instance(mr_image(study=STUDY, series=f"{STUDY}.1", number=8)))


def test_numbers_that_are_not_written_as_the_standard_asks() -> None:
    alike = AlikeImages()
    image = mr_image(study=STUDY, series=f"{STUDY}.1", number=1)
    image.ImagePositionPatient = ["1.00", "2.00", "3.00"]
    content = encoded(image)
    for written in (
        b"1.00\\2.00\\3.00",
        b"1.00\\2.00\\1E99",
        b"1.00\\2.00\\ NaN",
        b"1.00\\2.00\\3,00",
        b"1.00 2.00 3.00",
    ):
        assert_same_facts(alike, instance(image, content.replace(b"1.00\\2.00\\3.00", written)))


def test_the_header_is_read_for_the_first_image_and_not_for_the_others() -> None:
    alike, read = AlikeImages(), []

    def counting(one: EncodedInstance) -> Any:
        read.append(one.sop_instance_uid)
        return read_facts(one)[0]

    for number in range(1, 21):
        one = instance(mr_image(study=STUDY, series=f"{STUDY}.1", number=number))
        uids = one.transfer_syntax_uid, one.sop_class_uid, one.sop_instance_uid
        alike.facts(one, examined([one.dataset], *uids, alike.look)[1], counting)
    assert len(read) == 1


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_remembered_structure_finds_what_the_walk_finds(syntax: UID) -> None:
    """Damaged headers behind good ones: a structure is the same only if every element header is."""
    chance, alike, remembered = random.Random(7), AlikeStructures(), 0
    image = mr_image(study=STUDY, series=f"{STUDY}.1", number=1, size=16)
    image.file_meta.TransferSyntaxUID = syntax
    good = encoded(image)
    for _ in range(3000):
        content = bytearray(good)
        for _ in range(chance.choice((0, 0, 1, 2))):
            content[chance.randrange(len(good) - 16 * 16 * 2)] = chance.randrange(256)
        if chance.random() < 0.1:
            del content[chance.randrange(len(content)) :]
        seen = alike.outline(bytes(content), str(syntax), whole=True)
        walked = outline(bytes(content), str(syntax), whole=True)
        remembered += not seen.elements
        assert (seen.values, seen.pixels_at, seen.pixels_length, seen.judged, seen.short, seen.flaw) == (
            walked.values, walked.pixels_at, walked.pixels_length, walked.judged, walked.short, walked.flaw,
        )  # fmt: skip
    assert remembered > 1000


def rows(node: Node) -> list[Any]:
    def plain(row: Any, *left_out: str) -> dict[str, Any]:
        return {k: v for k, v in row.model_dump().items() if k not in left_out}

    studies = [plain(r, "study_key", "patient_key", "created_at", "updated_at", "first_arrival", "last_arrival", "due",
                     "force_due") for r in node.rows(Study)]  # fmt: skip
    series = [plain(r, "id", "study_key", "created_at", "updated_at") for r in node.rows(Series)]
    instances = [plain(r, "id", "study_key", "series_id", "received_at") for r in node.rows(Instance)]
    return [
        sorted(studies, key=lambda r: str(r["study_instance_uid"])),
        sorted(series, key=lambda r: str(r["series_instance_uid"])),
        sorted(instances, key=lambda r: str(r["sop_instance_uid"])),
    ]


def put_all(node: Node, images: Sequence[Dataset], at_once: int) -> None:
    node.received.folder.mkdir(parents=True, exist_ok=True)
    inbox = Inbox(node.received.folder, 0)
    receiver = Receiver(node.database, node.received, ArrivalRules.from_settings(node.settings))
    files = [inbox.put("n1", [instance(i).file_header(), encoded(i)], sync=False) for i in images]
    for first in range(0, len(files), at_once):
        receiver.take_files([(file, CARRIER) for file in files[first : first + at_once]])


def test_a_batch_leaves_the_rows_that_single_images_leave(node: Node, tmp_path: Path) -> None:
    """New studies, a late image, copies, and an image of another patient among them."""
    images = [*mr_study(STUDY), *mr_study(f"{STUDY}.5")]
    other = mr_image(study=STUDY, series=f"{STUDY}.1", number=99)
    other.PatientID = "PAT-OTHER"
    random.Random(5).shuffle(images)
    images = [*images[:30], images[3], other, *images[30:], images[1]]
    put_all(node, images, at_once=20)
    alone = make_node(tmp_path / "alone")
    put_all(alone, images, at_once=1)
    assert rows(node) == rows(alone)
    assert len(node.rows(Instance)) == 40

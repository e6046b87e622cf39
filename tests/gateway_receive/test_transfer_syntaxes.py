"""Every transfer syntax is stored bit for bit as it came, and its pixels come out equal afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from gateway_receive.mr_images import mr_image, write
from gateway_receive.node import Node, make_node
from gateway_receive.senders import send, storescu
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from gateway.instance_facts import NotIndexable, read_facts
from gateway.part10 import EncodedInstance, read_part10
from gateway.sop_classes import TRANSFER_SYNTAXES
from gateway.tables import Instance, Quarantine, QuarantineKind

SYNTAXES = [
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless,
    JPEGLSLossless, JPEG2000Lossless,
]  # fmt: skip
DCMTK_OPTION = {
    ImplicitVRLittleEndian: "-xi", ExplicitVRLittleEndian: "-xe", ExplicitVRBigEndian: "-xb",
    DeflatedExplicitVRLittleEndian: "-xd", RLELossless: "-xr", JPEGLSLossless: "-xt", JPEG2000Lossless: "-xv",
}  # fmt: skip


def recoded(syntax: str, size: int = 64) -> Dataset:
    ds = mr_image(study="1.2.3", series="1.2.3.1", number=1, size=size)
    if syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        ds.compress(syntax, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: s.keyword)
def test_stored_as_received(tmp_path: Path, syntax: str) -> None:
    node, image = make_node(tmp_path / "data"), recoded(syntax)
    with node.listening() as scp:
        assert send(scp.port, [image]) == [0]
    (row,) = node.rows(Instance)
    assert row.transfer_syntax_uid == syntax
    stored = pydicom.dcmread(node.received.path(row.blob))
    assert stored == image
    expected = mr_image(study="1.2.3", series="1.2.3.1", number=1, size=64).pixel_array
    assert np.array_equal(stored.pixel_array, expected)


@pytest.mark.peer
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: s.keyword)
def test_stored_as_dcmtk_sends_it(tmp_path: Path, syntax: str) -> None:
    node = make_node(tmp_path / "data")
    files = write(tmp_path / "out", [recoded(syntax)])
    with node.listening() as scp:
        code, output = storescu(scp.port, files, "-R", DCMTK_OPTION[pydicom.uid.UID(syntax)])
    assert code == 0, output
    (row,) = node.rows(Instance)
    assert row.transfer_syntax_uid == syntax
    sent = pydicom.dcmread(files[0]).pixel_array
    assert np.array_equal(pydicom.dcmread(node.received.path(row.blob)).pixel_array, sent)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: s.keyword)
def test_a_cut_is_noticed_in_every_syntax(tmp_path: Path, syntax: str) -> None:
    (file,) = write(tmp_path, [recoded(syntax)])
    whole = read_part10(file.read_bytes())
    read_facts(whole)
    for length in (len(whole.dataset) // 4, len(whole.dataset) // 2, len(whole.dataset) - 60):
        with pytest.raises(NotIndexable) as caught:
            read_facts(with_dataset(whole, whole.dataset[:length]))
        assert caught.value.kind in (QuarantineKind.TRUNCATED, QuarantineKind.NO_PIXEL_DATA)


def test_all_syntaxes_of_the_list_are_negotiated_in_the_order_of_the_sender(node: Node) -> None:
    from gateway_receive.senders import associate
    from pydicom.uid import MRImageStorage

    with node.listening() as scp:
        association = associate(scp.port, [(MRImageStorage, s) for s in TRANSFER_SYNTAXES])
        accepted = [str(c.transfer_syntax[0]) for c in association.accepted_contexts]
        association.release()
    assert sorted(accepted) == sorted(map(str, TRANSFER_SYNTAXES))


def test_a_bomb_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.instance_facts.MAX_INFLATED_BYTES", 10_000)
    (file,) = write(tmp_path, [recoded(DeflatedExplicitVRLittleEndian, 512)])
    with pytest.raises(NotIndexable, match="inflates to more than"):
        read_facts(read_part10(file.read_bytes()))


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 101", "Dvořák^Jiří"),
        ("ISO_IR 144", "Иванов^Пётр"),
        ("ISO_IR 192", "山田^太郎"),
        ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
    ],
)
def test_names_in_any_character_set(tmp_path: Path, charset: str, name: str) -> None:
    node = make_node(tmp_path / "data")
    image = mr_image(study="1.2.3", series="1.2.3.1", number=1, name=name, charset=charset)
    with node.listening() as scp:
        assert send(scp.port, [image]) == [0]
    assert node.study().identity["name"] == name
    assert node.rows(Quarantine) == []
    (row,) = node.rows(Instance)
    assert pydicom.dcmread(node.received.path(row.blob)).PatientName == name


def with_dataset(instance: EncodedInstance, dataset: bytes) -> EncodedInstance:
    return EncodedInstance(
        instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid, instance.source_ae, dataset
    )

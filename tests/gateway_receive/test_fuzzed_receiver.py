"""Whatever arrives, the receiver answers, aborts or sets aside: part of what `tools/fuzz_receive.py` tries at length.

`PYTHONPATH=. python tools/fuzz_receive.py --layer LAYER --seed SEED --only CASE` repeats a case that fails here.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from gateway_receive.mr_images import encoded, mr_image
from gateway_receive.node import Node, make_node, wait_until
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, RLELossless

from gateway.encoded_structure import examine
from gateway.errors import Unreadable
from gateway.instance_copies import same_content
from gateway.instance_facts import InstanceFacts, read_facts
from gateway.part10 import EncodedInstance, read_part10
from gateway.tables import Instance
from tools.fuzzing import connection_layer, data_set_layer, message_layer
from tools.fuzzing.pdus import (
    P_DATA,
    associate_rq,
    command_set,
    element,
    fragments,
    item,
    pdu,
    release_rq,
    store_elements,
)
from tools.fuzzing.receiver_under_test import Client

UID = "1.2.840.99.1.1"


def test_no_data_set_is_too_odd() -> None:
    ledger = data_set_layer.run(seed=3, numbers=range(3000))
    assert ledger.findings == [], ledger.report()
    assert ledger.outcomes["taken: facts"] > 300


def test_no_message_is_too_odd() -> None:
    ledger = message_layer.run(seed=3, numbers=range(3000))
    assert ledger.findings == [], ledger.report()
    assert ledger.outcomes["answered 0000, open"] > 200


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("layer", [data_set_layer, message_layer], ids=["data-sets", "messages"])
def test_no_case_of_many_is_too_odd(layer: object) -> None:
    ledger = layer.run(seed=4, numbers=range(100_000))  # type: ignore[attr-defined]
    assert ledger.findings == [], ledger.report()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_connection_stops_the_receiver_or_disturbs_another_sender() -> None:
    ledger = connection_layer.run(seed=3, numbers=range(3000))
    assert ledger.findings == [], ledger.report()


def image(**changed: object) -> EncodedInstance:
    dataset = mr_image(study="1.2.840.99.1", series="1.2.840.99.2", number=1, sop_instance_uid=UID)
    for keyword, value in changed.items():
        setattr(dataset, keyword, value)
    return EncodedInstance(MRImageStorage, UID, ExplicitVRLittleEndian, "PACS", encoded(dataset))


def with_bytes(instance: EncodedInstance, old: bytes, new: bytes) -> EncodedInstance:
    content = bytes(instance.dataset)
    assert content.count(old) == 1
    return EncodedInstance(instance.sop_class_uid, UID, instance.transfer_syntax_uid, "PACS", content.replace(old, new))


def facts_of(instance: EncodedInstance) -> InstanceFacts:
    facts, _ = read_facts(instance)
    json.dumps([facts.header, facts.geometry], allow_nan=False)
    return facts


def test_a_first_fragment_may_be_a_single_byte() -> None:
    whole = memoryview(bytes(image().dataset))
    for cut in range(1, 12):
        assert examine([whole[:cut], whole[cut:]], ExplicitVRLittleEndian, MRImageStorage, UID) is None


def test_damaged_frames_are_judged_the_same_however_they_are_cut() -> None:
    head = bytes(image().dataset).partition(b"\xe0\x7f\x10\0")[0] + b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff"
    whole = memoryview(head + b"no items " + b"\xfe\xff\xdd\xe0\0\0\0\0")
    found = examine([whole], RLELossless, MRImageStorage, UID)
    for cut in range(1, 12):
        assert examine([whole[:-cut], whole[-cut:]], RLELossless, MRImageStorage, UID) == found


def test_numbers_that_are_not_finite_count_as_not_stated() -> None:
    odd = with_bytes(image(), b"-8.0\\-8.0\\5.0 ", b"nan\\-inf\\1e999")
    assert facts_of(odd).geometry["positions"] == []
    assert facts_of(with_bytes(image(), b"500.0 ", b"1e9999")).header["repetition_time_ms"] is None


def test_a_number_of_frames_of_thousands_of_digits_is_no_error() -> None:
    long = image(NumberOfFrames="7" * 12)
    odd = with_bytes(long, b"IS\x0c\0" + b"7" * 12, b"IS\x88\x13" + b"7" * 5000)
    examine([odd.dataset], ExplicitVRLittleEndian, MRImageStorage, UID)
    assert facts_of(odd).geometry["frames"] == 1


def test_nul_within_a_patient_id_stays_visible_and_can_be_stored() -> None:
    odd = with_bytes(image(), b"PAT-001 ", b"PAT\x00001 ")
    assert facts_of(odd).identity.patient_id == "PAT\ufffd001"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"DS\x06\x00500.0 ", b"FD\x06\x00500.0 "),  # six bytes are no whole number of doubles
        (b"DS\x06\x00500.0 ", b"XX\x06\x00500.0 "),
        (b"SH\x00\x00", b"SQ\x00\x00"),
    ],
)
def test_an_element_that_cannot_be_read_counts_as_not_stated(old: bytes, new: bytes) -> None:
    try:
        facts = facts_of(with_bytes(image(), old, new))
    except Exception as error:  # noqa: BLE001
        assert type(error).__name__ == "NotIndexable"
    else:
        assert facts.header["echo_time_ms"] == 2.3
        assert facts.header["repetition_time_ms"] is None


def test_a_data_set_that_begins_with_file_meta_comes_back_as_it_was() -> None:
    meta = b"\2\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
    instance = EncodedInstance(MRImageStorage, UID, ExplicitVRLittleEndian, "PACS", meta + bytes(image().dataset))
    assert read_part10(instance.file_header() + bytes(instance.dataset)) == instance


def test_a_file_header_with_an_unknown_vr_is_told() -> None:
    header = image().file_header().replace(b"\x16\0AE", b"\x16\0XX")
    with pytest.raises(Unreadable):
        read_part10(header)


def test_peers_that_leave_without_a_word_do_not_keep_others_out(tmp_path: Path) -> None:
    node = make_node(tmp_path / "data", dicom={"max_associations": 3})
    with node.listening() as scp:
        for _ in range(9):
            with Client(scp.port) as client:
                client.send(b"no DICOM")
                client.socket.shutdown(socket.SHUT_WR)
                client.drain()
            wait_until(lambda: scp.open_associations == 0)
        with Client(scp.port) as client:
            client.associate()


def test_a_command_that_pynetdicom_cannot_read_ends_one_association(node: Node) -> None:
    with node.listening() as scp, Client(scp.port) as other:
        other.associate()
        for number, value in ((0x0100, b"\x34\x12"), (0x0100, b""), (0x0110, b"\1\2\3")):
            with Client(scp.port) as client:
                client.associate()
                odd = [element(0x0100, b"\x30\0"), element(number, value), element(0x0800, b"\1\1")]
                client.send(pdu(P_DATA, fragments(3, command_set(odd), 16000, command=True)[0]))
                assert client.pdu()[0] == 7
        assert other.store(1, UID, bytes(image().dataset)) == 0


def test_a_context_without_transfer_syntax_ends_one_association(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bare = item(0x20, b"\5\0\0\0" + item(0x30, MRImageStorage.encode()))
    request = associate_rq()
    at = request.index(item(0x51, b"\0\0\x40\0")) - 4
    odd = pdu(1, request[6:at] + bare + request[at:])
    with make_node(tmp_path / "data").listening() as scp:
        with Client(scp.port) as client:
            client.send(odd)
            client.socket.shutdown(socket.SHUT_WR)
            client.drain()
        wait_until(lambda: scp.open_associations == 0)
    told = "".join(capfd.readouterr())
    assert "its request cannot be read" in told
    assert "Traceback" not in told


def test_a_second_copy_with_an_element_that_cannot_be_read_is_another_image() -> None:
    odd = with_bytes(image(), b"DS\x06\x00500.0 ", b"FD\x06\x00500.0 ")
    assert not same_content(odd, with_bytes(odd, b"500.0 ", b"500.1 "))


def test_an_image_in_fragments_of_one_byte_is_stored(tmp_path: Path) -> None:
    node, content = make_node(tmp_path / "data"), bytes(image(PixelData=bytes(60_000), Rows=150, Columns=200).dataset)
    with node.listening() as scp, Client(scp.port) as client:
        client.associate(associate_rq())
        command = fragments(1, command_set(store_elements(1, MRImageStorage, UID)), 1, command=True)
        values = fragments(1, content, 1, command=False)
        client.send(pdu(P_DATA, b"".join(command)))
        for at in range(0, len(values), 2000):
            client.send(pdu(P_DATA, b"".join(values[at : at + 2000])))
        assert client.pdu()[0] == P_DATA
        client.send(release_rq())
        client.pdu()
    (row,) = node.rows(Instance)
    assert read_part10(node.received.read(row.blob)).dataset == content

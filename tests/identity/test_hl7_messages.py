"""What the parser takes out of a message, and what it says about one that it cannot act on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity.mllp import adt, merge

from gateway.hl7.answers import Answer, encode_answer
from gateway.hl7.messages import BadMessage, Header, Patient, StatedId, read_adt, read_header


def test_a_merge_with_several_ids_and_authorities() -> None:
    message = read_adt(merge("N1^^^HOSP&1.2.3&ISO^MR~X9^^^CITY", "O1^^^HOSP&1.2.3&ISO"))
    assert message.patients == (Patient((StatedId("N1", "HOSP"), StatedId("X9", "CITY")), (StatedId("O1", "HOSP"),)),)


@pytest.mark.parametrize(
    ("cx", "expected"),
    [
        ("7", StatedId("7", "")),
        ("7^^^&1.2.3&ISO", StatedId("7", "1.2.3")),
        ("7^^^North", StatedId("7", "North")),
        (" 7 ^^^ North ", StatedId("7", "North")),
        ("A\\T\\B\\F\\C^^^N\\S\\1", StatedId("A&B|C", "N^1")),
    ],
)
def test_ways_to_state_an_id(cx: str, expected: StatedId) -> None:
    (patient,) = read_adt(adt("A08", "1", f"PID|||{cx}")).patients
    assert patient.present == (expected,)


def test_other_separators_and_line_ends() -> None:
    text = "MSH#*!@%#ADT#H#T#T#1##ADT*A40#9#P#2.3\nPID###7***N%1\nMRG#8***N\n"
    message = read_adt(text.encode())
    assert message.header.control_id == "9"
    assert message.patients[0].prior == (StatedId("8", "N"),)


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [("8859/1", "latin-1"), ("UNICODE UTF-8", "utf-8"), ("", "utf-8"), ("GB 18030-2000", "gb18030")],
)
def test_character_sets(charset: str, encoding: str) -> None:
    issuer = "北京" if "GB" in charset else "Zürich"
    text = merge(f"7^^^{issuer}", f"8^^^{issuer}", charset=charset).decode()
    assert read_adt(text.encode(encoding)).patients[0].prior == (StatedId("8", issuer),)


@pytest.mark.parametrize(
    ("message", "answer", "words"),
    [
        (b"", "AE", "MSH-10"),
        (b"PID|||7", "AE", "MSH-10"),
        (b"MSH|^~\\&|A|H|T|T|1||ADT^A40||P|2.5\r", "AE", "MSH-10"),
        (b"MSH|^~\\&|A|H|T|T|1||ORU^R01|1|P|2.5\r", "AR", "only ADT"),
        (adt("A01", "1", "PID|||7"), "AR", "A40"),
        (adt("A40", "1"), "AE", "no PID"),
        (adt("A40", "1", "PID|||7"), "AE", "no MRG"),
        (adt("A40", "1", "MRG|7"), "AE", "no PID"),
        (adt("A40", "1", "PID|||", "MRG|8"), "AE", "PID-3"),
        (adt("A40", "1", "PID|||7", "MRG|"), "AE", "MRG-1"),
        (adt("A40", "1", "PID|||7", "PID|||8", "MRG|9"), "AE", "no MRG"),
        (merge("7", "8", charset="KLINGON"), "AE", "character set"),
        (merge("7^^^Zürich", "8", charset="ASCII"), "AE", "character set"),
    ],
)
def test_what_cannot_be_acted_on_is_told(message: bytes, answer: str, words: str) -> None:
    with pytest.raises(BadMessage, match=words) as caught:
        read_adt(message)
    assert caught.value.answer == answer


def test_the_digest_covers_all_but_the_time_of_the_message() -> None:
    first = read_adt(merge("7^^^N", "8^^^N"))
    assert read_adt(merge("7^^^N", "8^^^N", at="20270101")).digest != first.digest  # EVN-2 is content
    later = merge("7^^^N", "8^^^N").replace(b"|20260101120000||ADT", b"|20990101||ADT")
    assert read_adt(later).digest == first.digest


def test_an_answer_turns_the_names_round_and_escapes_its_text() -> None:
    header = read_header(merge("7", "8", control_id="id-1"))
    lines = encode_answer(header, Answer("AE", "a|b^c\r\n", "207")).decode().split("\r")
    fields = lines[0].split("|")
    assert fields[2:6] == ["TIMEPOINT", "TP", "ADT", "HOSP"]
    assert lines[1] == "MSA|AE|id-1|a\\F\\b\\S\\c  "
    assert lines[2].startswith("ERR|||207^^HL70357|E")


@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda tail: merge("7^^^N", "8^^^N")[:-30] + tail))
def test_whatever_comes_is_read_or_refused_in_words(block: bytes) -> None:
    assert isinstance(read_header(block), Header)
    try:
        read_adt(block)
    except BadMessage as problem:
        assert str(problem)
    assert encode_answer(read_header(block), Answer("AE", "no")).startswith(b"MSH|")

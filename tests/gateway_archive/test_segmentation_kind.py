"""LABELMAP goes out only where every archive says, in negotiation, that it takes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from highdicom.seg import SegmentationTypeValues
from pynetdicom import AE

from gateway.segmentation_kind import LABEL_MAP, segmentation_kind
from gateway.settings import Settings

BINARY_SEG = "1.2.840.10008.5.1.4.1.1.66.4"
VERIFICATION = "1.2.840.10008.1.1"


@contextmanager
def archive(*sop_classes: str, knows_us: bool = True) -> Iterator[int]:
    """An archive that takes these classes; its port."""
    ae = AE(ae_title="ARCHIVE")
    ae.require_calling_aet = [] if knows_us else ["SOMEONE"]
    for sop_class in (*sop_classes, VERIFICATION):
        ae.add_supported_context(sop_class)
    server = ae.start_server(("127.0.0.1", 0), block=False)
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()


def settings(folder: Path, ports: list[int], wanted: str = "labelmap", stow: bool = False) -> Settings:
    to = [{"name": f"pacs{n}", "host": "127.0.0.1", "port": port} for n, port in enumerate(ports)]
    more = [{"name": "web", "kind": "stow", "url": "http://127.0.0.1:9/dicom-web"}] if stow else []
    return Settings(data_dir=folder, destinations=[*to, *more], results={"segmentation": wanted})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("archives", "wanted", "stow", "expected"),
    [
        ([(BINARY_SEG, LABEL_MAP)], "labelmap", False, "LABELMAP"),
        ([(BINARY_SEG, LABEL_MAP)], "binary", False, "BINARY"),
        ([(BINARY_SEG, LABEL_MAP), (BINARY_SEG,)], "labelmap", False, "BINARY"),
        ([(BINARY_SEG, LABEL_MAP)], "labelmap", True, "BINARY"),
    ],
)
def test_the_least_able_archive_decides(
    archives: list[tuple[str, ...]], wanted: str, stow: bool, expected: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        ports = [stack.enter_context(archive(*classes)) for classes in archives]
        assert segmentation_kind(settings(tmp_path, ports, wanted, stow)) is SegmentationTypeValues[expected]


def test_an_archive_that_does_not_say_gets_what_every_archive_takes(tmp_path: Path) -> None:
    with archive(BINARY_SEG, LABEL_MAP, knows_us=False) as port:
        assert segmentation_kind(settings(tmp_path, [port])) is SegmentationTypeValues.BINARY

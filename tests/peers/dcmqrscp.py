"""DCMTK's archive: C-STORE, C-FIND, C-MOVE and C-GET over a folder.

with running_dcmqrscp(tmp_path) as archive:
    archive.store(files)
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from peers.ports import free_port
from peers.waiting import await_condition

_CONFIGURATION = """
NetworkTCPPort = {port}
MaxPDUSize = 131072
MaxAssociations = 16
HostTable BEGIN
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
{ae_title} {folder} RW (100, 1024mb) ANY
AETable END
"""


@dataclass(frozen=True)
class Dcmqrscp:
    """A running archive: its AE title and port on loopback."""

    ae_title: str
    port: int

    def store(self, files: Sequence[Path], *options: str) -> None:
        """Fill it over C-STORE; `options` are storescu's, such as `-xr` for RLE."""
        command = ["/usr/bin/storescu", *options, "-aec", self.ae_title, "127.0.0.1", str(self.port)]
        subprocess.run([*command, *map(str, files)], check=True, capture_output=True, timeout=60)


@contextmanager
def running_dcmqrscp(folder: Path, *options: str, ae_title: str = "ARCHIVE") -> Iterator[Dcmqrscp]:
    """An archive in a folder, ended by its process handle."""
    port, images = free_port(), folder / "images"
    images.mkdir(parents=True)
    configuration = folder / "dcmqrscp.cfg"
    configuration.write_text(_CONFIGURATION.format(port=port, folder=images, ae_title=ae_title), encoding="utf-8")
    command = ["/usr/bin/dcmqrscp", *options, "-c", str(configuration)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        await_condition(lambda: _listens(port), 20, "dcmqrscp did not start in time")
        yield Dcmqrscp(ae_title, port)
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

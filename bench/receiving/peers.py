"""The receivers that are compared, each as the program that is shipped, started and ended by its process id."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_START_TIMEOUT_S = 90.0

PYNETDICOM = """
import sys
from pathlib import Path
from pynetdicom import AE, evt, AllStoragePresentationContexts
def store(event):
    ds = event.dataset
    ds.file_meta = event.file_meta
    ds.save_as(Path(sys.argv[2]) / ds.SOPInstanceUID, enforce_file_format=True)
    return 0
entity = AE("TIMEPOINT")
entity.supported_contexts = AllStoragePresentationContexts
entity.maximum_associations = 100
entity.start_server(("127.0.0.1", int(sys.argv[1])), evt_handlers=[(evt.EVT_C_STORE, store)])
"""


@dataclass
class Peer:
    """A running receiver. What it stores stays until the end: ext4 makes new files slowly where others went away."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    folder: Path
    settled: Callable[[], bool] = lambda: True

    def cpu_s(self) -> float:
        """Processor seconds of the process, its living children, and those that it has waited for."""
        return sum(_ticks(pid) for pid in self.processes()) * _TICK_S

    def answering_cpu_s(self) -> float:
        """The same without the index: what a receiving process of ours, or the whole of another's, has used."""
        own = [pid for pid in self.processes() if b"gateway.receive_process" in _command(pid)]
        return sum(_ticks(pid) for pid in own or self.processes()) * _TICK_S

    def peak_rss_mb(self) -> float:
        """The largest resident size that any one of its processes ever had."""
        peaks = []
        for pid in self.processes():
            status = Path(f"/proc/{pid}/status").read_text()
            peaks.append(int(status.split("VmHWM:")[1].split()[0]) / 1024)
        return max(peaks)

    def rss_mb(self) -> float:
        """The resident size of all its processes now."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.processes())
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def processes(self) -> list[int]:
        found, parents = [self.process.pid], {self.process.pid}
        listed = [(int(p.name), _parent(int(p.name))) for p in Path("/proc").glob("[0-9]*")]
        while True:
            more = [pid for pid, parent in listed if parent in parents and pid not in found]
            if not more:
                return found
            found += more
            parents |= set(more)

    def settle(self, timeout_s: float = 300.0) -> None:
        """Wait until what follows the responses is done."""
        deadline = time.monotonic() + timeout_s
        while not self.settled():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not come to rest")
            time.sleep(0.05)


@contextmanager
def running(name: str, folder: Path) -> Iterator[Peer]:
    """One of `CONTENDERS` on a free port with its data in `folder`."""
    folder.mkdir(parents=True)
    port = _free_port()
    peer = CONTENDERS[name](name, port, folder)
    try:
        _await_port(peer)
        yield peer
    finally:
        peer.process.terminate()
        try:
            peer.process.wait(30)
        except subprocess.TimeoutExpired:
            peer.process.kill()
            peer.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _dcmtk(no_delay: bool, *options: str) -> Callable[[str, int, Path], Peer]:
    def start(name: str, port: int, folder: Path) -> Peer:
        command = ["/usr/bin/storescp", "--fork", "+xa", *options, "-aet", "TIMEPOINT", "-od", str(folder), str(port)]
        return Peer(name, port, _popen(command, folder, {"TCP_NODELAY": "1"} if no_delay else {}), folder)

    return start


def _orthanc(no_delay: bool) -> Callable[[str, int, Path], Peer]:
    def start(name: str, port: int, folder: Path) -> Peer:
        configuration = {
            "Name": "bench", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
            "DicomAet": "TIMEPOINT", "DicomPort": port, "HttpServerEnabled": False, "Plugins": [],
            "DicomThreadsCount": 16,
        }  # fmt: skip
        (folder / "orthanc.json").write_text(json.dumps(configuration))
        command = ["/usr/sbin/Orthanc", str(folder / "orthanc.json")]
        process = _popen(command, folder, {"TCP_NODELAY": "1"} if no_delay else {})
        return Peer(name, port, process, folder)

    return start


def _pynetdicom(name: str, port: int, folder: Path) -> Peer:
    command = [sys.executable, "-c", PYNETDICOM, str(port), str(folder)]
    return Peer(name, port, _popen(command, folder, {}), folder)


def _ours(durability: str, processes: int | None = None) -> Callable[[str, int, Path], Peer]:
    def start(name: str, port: int, folder: Path) -> Peer:
        config = folder / "timepoint.toml"
        own = "" if processes is None else f"processes = {processes}\n"
        dicom = f'host = "0.0.0.0"\nallow_unknown_peers = true\nport = {port}\ndurability = "{durability}"\n{own}'
        config.write_text(f'data_dir = "{folder}"\n[dicom]\n{dicom}[log]\nlevel = "WARNING"\n')
        command = [sys.executable, "-m", "timepoint", "receive", "--config", str(config)]
        inbox = folder / "objects" / "received" / "inbox"
        process = _popen(command, folder, {"PYTHONPATH": str(ROOT)})
        return Peer(name, port, process, folder, settled=lambda: not any(map(_holds_something, inbox.iterdir())))

    return start


def _holds_something(folder: Path) -> bool:
    """Looks at one entry: to list a long folder again and again would take the processor from who empties it."""
    with os.scandir(folder) as entries:
        return next(entries, None) is not None


CONTENDERS: dict[str, Callable[[str, int, Path], Peer]] = {
    "nd dcmtk +B 128k": _dcmtk(True, "+B", "-pdu", "131072"),
    "dcmtk stock": _dcmtk(False),
    "nd orthanc": _orthanc(True),
    "orthanc stock": _orthanc(False),
    "pynetdicom": _pynetdicom,
    "ours association": _ours("association"),
    "ours instance": _ours("instance"),
}
"""`nd`: with TCP_NODELAY=1 in its environment. Ours with each of the two durabilities."""


def _popen(command: list[str], folder: Path, more: dict[str, str]) -> subprocess.Popen[bytes]:
    log = (folder / "log.txt").open("wb")
    environment = {k: v for k, v in os.environ.items() if k != "TCP_NODELAY"} | {"OMP_NUM_THREADS": "1"} | more
    return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT)


def _await_port(peer: Peer) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", peer.port), timeout=1).close()
            return
        except OSError:
            if peer.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{peer.name} did not start: {_last_words(peer.folder)}") from None
            time.sleep(0.1)


def _last_words(folder: Path) -> str:
    lines = (folder / "log.txt").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it has said nothing"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _ticks(pid: int) -> int:
    return sum(int(v) for v in _stat(pid)[11:15])


def _parent(pid: int) -> int:
    stat = _stat(pid)
    return int(stat[1]) if stat else -1


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""

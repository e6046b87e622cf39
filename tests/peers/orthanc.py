"""Debian's Orthanc as the hospital's PACS: it routes MR series to the gateway, takes results, answers DICOMweb.

    with running_orthanc(gateway_port=scp.port) as pacs:
        pacs.upload(files)

It stores in a temporary folder and is ended by its pid. It listens on all interfaces (it cannot do otherwise), so its
ports are random and its HTTP server refuses remote clients.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.ports import free_port

PROGRAM = Path("/usr/sbin/Orthanc")
PLUGIN_FOLDERS = (Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc/plugins"))
START_TIMEOUT_S = 60.0

# Routes the MR series of a stable study once; what the gateway sent back is not routed again.
ROUTING = """
function OnStableStudy(studyId, tags, metadata)
  local study = ParseJson(RestApiGet('/studies/' .. studyId))
  local routed = {}
  for _, seriesId in pairs(study['Series']) do
    local series = ParseJson(RestApiGet('/series/' .. seriesId))
    local first = series['Instances'][1]
    local origin = RestApiGet('/instances/' .. first .. '/metadata/RemoteAET')
    if series['MainDicomTags']['Modality'] == 'MR' and origin ~= '%(gateway_ae)s' then
      table.insert(routed, seriesId)
    end
  end
  local jobs = %(one_by_one)s and routed or { routed }
  for _, resources in ipairs(jobs) do
    if type(resources) == 'string' then resources = { resources } end
    if #resources > 0 then
      RestApiPost('/modalities/gateway/store', DumpJson({ Resources = resources, Synchronous = false }, false))
    end
  end
end
"""


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc: its REST root, DICOM port and AE title."""

    base_url: str
    dicom_port: int
    ae_title: str
    pid: int

    @property
    def dicomweb_url(self) -> str:
        return f"{self.base_url}/dicom-web"

    def get(self, path: str) -> Any:
        """GET a JSON resource of the REST API, such as `/studies`."""
        return json.loads(self._call(path))

    def post(self, path: str, body: bytes) -> Any:
        return json.loads(self._call(path, body))

    def file(self, instance_id: str) -> bytes:
        """The Part 10 file of an instance, by Orthanc's identifier."""
        return self._call(f"/instances/{instance_id}/file")

    def upload(self, files: Iterable[Path]) -> None:
        """Store files over HTTP."""
        for file in files:
            self.post("/instances", file.read_bytes())

    def find(self, level: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Expanded resources of a level (`Study`, `Series`, `Instance`) that match DICOM keywords."""
        body = {"Level": level, "Query": dict(query), "Expand": True}
        found: list[dict[str, Any]] = self.post("/tools/find", json.dumps(body).encode())
        return found

    def jobs(self) -> list[dict[str, Any]]:
        """What the routing rule has started: `State`, `InstancesCount`, `FailedInstancesCount` in `Content`."""
        found: list[dict[str, Any]] = self.get("/jobs?expand")
        return found

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Return once `condition` holds.

        Raises:
            TimeoutError: when it does not in time.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("Orthanc did not come to the awaited state in time")
            time.sleep(0.05)

    def _call(self, path: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(f"{self.base_url}{path}", data=body, timeout=60) as response:
            answer: bytes = response.read()
            return answer


@contextmanager
def running_orthanc(
    gateway_port: int,
    *,
    gateway_ae: str = "TIMEPOINT",
    ae_title: str = "ORTHANC",
    dicom_port: int = 0,
    route: bool = True,
    one_association: bool = True,
    stable_age_s: int = 1,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Orthanc]:
    """Start an Orthanc that knows the gateway and stop it at the end of the block.

    Args:
        gateway_port: where the gateway listens on 127.0.0.1.
        dicom_port: its own DICOM port; 0 takes a free one.
        route: whether MR series of a stable study are sent to the gateway by themselves; `one_association` says
            whether all series of a study travel together or each in an association of its own.
        stable_age_s: quiet time after which Orthanc calls a study stable.
        settings: more of Orthanc's configuration.

    Raises:
        RuntimeError: when Orthanc is not installed or does not start.
    """
    if not PROGRAM.is_file():
        raise RuntimeError(f"Orthanc is not installed (no {PROGRAM}); `make peers` installs it")
    folder = Path(tempfile.mkdtemp(prefix="timepoint-orthanc-"))
    http_port, dicom_port = free_port(), dicom_port or free_port()
    configuration = {
        **_configuration(folder, http_port, dicom_port, ae_title, stable_age_s),
        "DicomModalities": {"gateway": _gateway(gateway_ae, gateway_port)},
        **(settings or {}),
    }
    if route:
        rule = ROUTING % {"gateway_ae": gateway_ae, "one_by_one": "false" if one_association else "true"}
        (folder / "route.lua").write_text(rule)
        configuration["LuaScripts"] = [str(folder / "route.lua")]
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    try:
        with _process(folder) as process:
            orthanc = Orthanc(f"http://127.0.0.1:{http_port}", dicom_port, ae_title, process.pid)
            _await_answer(orthanc, process, folder / "log")
            yield orthanc
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _configuration(folder: Path, http_port: int, dicom_port: int, ae_title: str, stable_age_s: int) -> dict[str, Any]:
    return {
        "Name": "Test PACS",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomPort": dicom_port,
        "DicomAet": ae_title,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowStore": False,
        "StableAge": stable_age_s,
        "OverwriteInstances": True,
        "SyncStorageArea": False,
        "SaveJobs": False,
        "Plugins": [str(_dicomweb_plugin())],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }


def _gateway(ae_title: str, port: int) -> dict[str, Any]:
    allowed = ("Echo", "Find", "Get", "Move", "Store", "NAction", "StorageCommitment")
    return {"AET": ae_title, "Host": "127.0.0.1", "Port": port, **{f"Allow{service}": True for service in allowed}}


def _dicomweb_plugin() -> Path:
    found = [f for folder in PLUGIN_FOLDERS for f in folder.glob("libOrthancDicomWeb.so*")]
    if not found:
        raise RuntimeError("Orthanc's DICOMweb plugin is not installed; `make peers` installs it")
    return found[0]


@contextmanager
def _process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("wb") as log:
        # DCMTK inside Orthanc leaves Nagle's algorithm on unless told otherwise: 40 ms for each instance.
        environment = {**os.environ, "TCP_NODELAY": "1"}
        process = subprocess.Popen(
            [PROGRAM, folder / "orthanc.json"], stdout=log, stderr=log, env=environment, cwd=folder
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_answer(orthanc: Orthanc, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            orthanc.get("/system")
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    raise RuntimeError(f"Orthanc did not start: {log.read_text(errors='replace')[-800:]}")

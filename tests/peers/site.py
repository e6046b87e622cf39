"""The whole gateway as a site runs it: `timepoint serve` in processes of its own, on free loopback ports.

    with running_site(folder, destination=..., fhir_url=...) as site:
        site.send(files)
        site.await_settled(uids)

`site.kill()` and `site.start()` end it like a power cut and start it again. The whole process group is ended with the
block.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peers.ports import free_port
from peers.waiting import await_condition
from sqlmodel import Session, col, select

from gateway.context import Gateway, open_gateway
from gateway.database import read_scope
from gateway.dimse_client import RemoteAe, StoreOutcome, echo, store
from gateway.overview import is_settled, summarise_study
from gateway.settings import load_settings
from gateway.tables import Study

START_TIMEOUT_S = 180.0


@dataclass
class Site:
    """A gateway that runs, or can be started: its configuration, ports and processes."""

    folder: Path
    config: Path
    dicom_port: int
    web_port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None
    acknowledged: set[str] = field(default_factory=set)

    @property
    def remote(self) -> RemoteAe:
        return RemoteAe("TIMEPOINT", "127.0.0.1", self.dicom_port)

    def start(self, wait: bool = True) -> None:
        """Start all roles; with `wait` return when the receiver answers C-ECHO."""
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "timepoint", "serve", "--config", str(self.config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        if wait:
            self.await_receiver()

    def await_receiver(self) -> None:
        process = self.process
        await_condition(
            lambda: self._answers() or (process is not None and process.poll() is not None),
            START_TIMEOUT_S,
            "the receiver does not answer",
        )
        if process is None or process.poll() is not None:
            raise RuntimeError(f"timepoint serve ended: {self.log.read_text()[-2000:]}")

    def _answers(self) -> bool:
        # Looked at first with a plain socket, because pynetdicom leaves its own unclosed when nobody listens.
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.dicom_port)) != 0:
                return False
        return echo("TESTER", self.remote) is None

    def kill(self) -> None:
        """End every process of the service at once, as a power cut would (SIGKILL)."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """Stop in order (SIGTERM)."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(90)
            self.process = None

    def send(self, files: Sequence[Path]) -> list[StoreOutcome]:
        """Send files over one association; what was answered with success is remembered."""
        return store("TESTER", self.remote, files, on_stored=self.acknowledged.add, timeout_s=30.0)

    def gateway(self) -> Gateway:
        return open_gateway(load_settings(self.config))

    def read(self, look: Callable[[Session], Any]) -> Any:
        """Read from the site's database."""
        gateway = self.gateway()
        try:
            with read_scope(gateway.database) as session:
                return look(session)
        finally:
            gateway.database.dispose()

    def studies(self) -> list[Study]:
        return list(self.read(lambda session: session.exec(select(Study).order_by(col(Study.acquired))).all()))

    def summaries(self) -> dict[str, dict[str, Any]]:
        """What `summary.json` says of each study, by Study Instance UID."""

        def look(session: Session) -> dict[str, dict[str, Any]]:
            return {s.study_instance_uid: summarise_study(session, s) for s in session.exec(select(Study)).all()}

        return dict(self.read(look))

    def await_settled(self, uids: Sequence[str], timeout_s: float = 600.0) -> None:
        """Return when nothing more will happen to the studies by itself."""

        def settled(session: Session) -> bool:
            rows = session.exec(select(Study).where(col(Study.study_instance_uid).in_(list(uids)))).all()
            return len(rows) == len(set(uids)) and all(is_settled(session, row) for row in rows)

        gateway = self.gateway()

        def look() -> bool:
            with read_scope(gateway.database) as session:
                return settled(session)

        try:
            await_condition(look, timeout_s, lambda: f"studies do not settle: {self.describe()}")
        finally:
            gateway.database.dispose()

    def describe(self) -> str:
        states = [(s.study_key, s.state.value, s.reason) for s in self.studies()]
        return f"{states}\n{self.log.read_text()[-1500:]}"

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `timepoint` command against this site."""
        command = [sys.executable, "-m", "timepoint", *arguments, "--config", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=180)


def prepare_site(
    folder: Path,
    *,
    destination: tuple[str, int] | None = None,
    fhir_url: str = "",
    quiet_s: float = 4.0,
    more: str = "",
) -> Site:
    """Write the configuration of a site; `destination` is (AE title, port) of a PACS on this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    dicom_port, web_port = free_port(), free_port()
    lines = [
        f"data_dir = {json.dumps(str(folder / 'data'))}",
        f"[dicom]\nport = {dicom_port}",
        f"[study]\nquiet_s = {quiet_s}",
        f"[web]\nport = {web_port}",
    ]
    if fhir_url:
        lines.append(f'[fhir]\nbase_url = "{fhir_url}"\npatients = "create"\nwrite = "by-id"')
    if destination:
        title, port = destination
        lines.append(f'[[destinations]]\nname = "pacs"\nhost = "127.0.0.1"\nport = {port}\nae_title = "{title}"')
    config = folder / "timepoint.toml"
    config.write_text("\n".join([*lines, more]) + "\n", encoding="utf-8")
    return Site(folder, config, dicom_port, web_port, folder / "gateway.log")


@contextmanager
def running_site(folder: Path, **options: Any) -> Iterator[Site]:
    """Prepare and start a site; it is killed at the end of the block."""
    site = prepare_site(folder, **options)
    site.start()
    try:
        yield site
    finally:
        site.kill()

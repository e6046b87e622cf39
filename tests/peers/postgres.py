"""A private PostgreSQL cluster on a free loopback port, for tests; nothing of the machine's own is touched."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from peers.ports import free_port
from psycopg import sql

_BINARIES = Path("/usr/lib/postgresql")
_USER = "timepoint"
_START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class PostgresCluster:
    """A running cluster; `new_database` makes an empty database and returns its URL."""

    port: int
    server: _Server

    def stop(self) -> None:
        """End the server as a crash of it would: every connection breaks at once."""
        self.server.stop(signal.SIGQUIT)

    def start(self) -> None:
        """Start it again on the same port; returns when it answers."""
        self.server.start()

    def new_database(self) -> str:
        name = f"t{secrets.token_hex(6)}"
        with psycopg.connect(_dsn(self.port, "postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return f"postgresql+psycopg://{_USER}@127.0.0.1:{self.port}/{name}"


@contextmanager
def running_postgres() -> Iterator[PostgresCluster]:
    """Start a cluster in a temporary folder and stop it, by its pid, at the end.

    PostgreSQL refuses to run as root, so root runs it as the user `postgres` that the Debian package makes.

    Raises:
        RuntimeError: when PostgreSQL is not installed or does not start.
    """
    binaries = _newest_binaries()
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="timepoint-postgres-"))
    try:
        if user is not None:
            account = pwd.getpwnam(user)
            os.chown(folder, account.pw_uid, account.pw_gid)
        _initialise(binaries, folder, user)
        with _server(binaries, folder, user) as cluster:
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _newest_binaries() -> Path:
    found = sorted(_BINARIES.glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if not found:
        raise RuntimeError(f"PostgreSQL is not installed (no initdb below {_BINARIES}); `make peers` installs it")
    return found[-1].parent


def _initialise(binaries: Path, folder: Path, user: str | None) -> None:
    command: list[str | Path] = [
        binaries / "initdb",
        "-D",
        folder / "data",
        "-A",
        "trust",
        "-U",
        _USER,
        "-E",
        "UTF8",
        "--no-sync",
    ]
    done = subprocess.run(command, cwd="/", user=user, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"initdb failed: {done.stderr[-500:]}")


@contextmanager
def _server(binaries: Path, folder: Path, user: str | None) -> Iterator[PostgresCluster]:
    server = _Server(binaries, folder, user, free_port())
    server.start()
    try:
        yield PostgresCluster(server.port, server)
    finally:
        server.stop(signal.SIGINT)  # fast shutdown


@dataclass
class _Server:
    binaries: Path
    folder: Path
    user: str | None
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        settings = [f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}"]
        options = [part for setting in [*settings, "fsync=off"] for part in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            command = [self.binaries / "postgres", "-D", self.folder / "data", *options]
            self.process = subprocess.Popen(command, cwd="/", user=self.user, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                psycopg.connect(_dsn(self.port, "postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.05)
        raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-500:]}")

    def stop(self, how: int) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=30)
            self.process = None


def _dsn(port: int, database: str) -> str:
    return f"host=127.0.0.1 port={port} user={_USER} dbname={database}"

"""A real FHIR R4 server for tests: Medplum's router in Node, on a free loopback port, ended with its test.

    with running_fhir_server() as base_url: ...

`r4_errors` validates resources without a server. Packages are installed once (`npm ci` from the lock file) beside the
server's code.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

SERVER = Path(__file__).resolve().parent / "fhir_server"


@contextmanager
def running_fhir_server(
    token: str | None = None, transactions: Literal["atomic", "strict", "batch"] = "atomic"
) -> Iterator[str]:
    """Start the server and give its base URL; it is empty, in memory, and gone at the end of the block.

    `token`: the bearer token it asks for. `transactions`: see `fhir_server/server.mjs`.
    Raises RuntimeError when Node or npm is missing or the server does not start.
    """
    _install()
    # NODE_* settings of the developer's shell are none of the server's business.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NODE_")}
    environment |= {"TRANSACTIONS": transactions} | ({"TOKEN": token} if token else {})
    with subprocess.Popen(
        ["node", str(SERVER / "server.mjs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            if not port.isdigit():
                raise RuntimeError("the FHIR test server did not start; its message is on stderr above")
            yield f"http://127.0.0.1:{port}/fhir"
        finally:
            process.kill()


def _install() -> None:
    """Install the server's packages where they are missing; two test processes wait for one another."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise RuntimeError(f"{program} is not installed; the FHIR test server needs Node 20 or newer with npm")
    with (SERVER / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = SERVER / "node_modules" / ".package-lock.json"
        if installed.exists() and installed.stat().st_mtime >= (SERVER / "package-lock.json").stat().st_mtime:
            return
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund"], cwd=SERVER, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"npm ci failed in {SERVER}:\n{done.stderr}")


def r4_errors(resources: list[dict[str, Any]]) -> list[list[str]]:
    """What two R4 validators (npm `fhir` and Medplum) find wrong with each resource; empty lists when nothing."""
    _install()
    done = subprocess.run(
        ["node", str(SERVER / "validate.mjs")],
        input=json.dumps(resources),
        capture_output=True,
        text=True,
        check=True,
    )
    errors: list[list[str]] = json.loads(done.stdout)
    return errors

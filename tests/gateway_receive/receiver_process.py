"""A receiver as a process, for tests that kill it. Arguments: data folder, database URL, quiet time, processes.

Prints its port and serves until it is killed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import structlog

from gateway.blobs import RECEIVED, open_blobs
from gateway.database import open_database, upgrade
from gateway.settings import Settings
from gateway.storage_scp import StorageScp


def main() -> None:
    folder, database_url, quiet_s, processes = sys.argv[1:5]
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output tells the port
    settings = Settings(
        data_dir=Path(folder),
        dicom={"port": 0, "processes": int(processes)},
        database={"url": database_url},
        study={"quiet_s": float(quiet_s)},
    )
    database = open_database(settings.database.url)
    upgrade(database)
    scp = StorageScp(settings, database, open_blobs(settings.storage.url, RECEIVED, settings.storage.min_free_mb))
    scp.start()
    sys.stdout.write(f"{scp.port}\n")
    sys.stdout.flush()
    while True:
        time.sleep(60)


main()

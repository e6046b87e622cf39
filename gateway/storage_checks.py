"""The doctor's look at what is stored: files that no row knows, rows whose file is gone."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.blobs import RECEIVED, RESULTS, open_blobs
from gateway.context import Gateway
from gateway.database import open_database, require_current
from gateway.errors import TimepointError
from gateway.findings import Finding, Health
from gateway.orphans import find_orphans
from gateway.settings import Settings


def stored_files(settings: Settings) -> Iterator[Finding]:
    """Orphans older than the grace time, and losses; nothing where the database does not answer."""
    try:
        engine = open_database(settings.database.url, settings.database.password_file)
        require_current(engine)
        url = settings.storage.url
        gateway = Gateway(settings, engine, received=open_blobs(url, RECEIVED), results=open_blobs(url, RESULTS))
        found = find_orphans(gateway)
        engine.dispose()
    except TimepointError:
        return  # said by the check of the database
    old = [s for s in found.stray if s.age_hours >= settings.retention.orphan_grace_hours]
    if found.lost:
        detail = f"{len(found.lost)} files that rows refer to are gone"
        yield Finding("storage", Health.FAILURE, detail, "See `timepoint storage orphans`; restore from the backup.")
    elif old:
        detail = f"{len(old)} files that no row knows, {sum(s.size_bytes for s in old) / 2**20:.1f} MB"
        yield Finding("storage", Health.WARNING, detail, "See `timepoint storage orphans`, then `--delete`.")
    else:
        yield Finding("storage", Health.OK, "files and rows agree")

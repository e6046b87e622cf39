# ruff: noqa: E501 (prose of the page is wrapped as the page is)
"""Write `docs/conformance.md` (DICOM conformance statement, PS3.2) and `docs/fhir-capability.json` from the code."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydicom.uid import UID
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from gateway.dimse_client import UNCOMPRESSED
from gateway.settings import Settings
from gateway.sop_classes import ACCEPTED, LABELMAP_SEGMENTATION, TRANSFER_SYNTAXES
from gateway.store_status import STATUS_OF
from gateway.tables import InstanceRole
from inference.encoding import codes, identity
from inference.encoding.report_document import DIAMETERS, FORECAST, MEASUREMENTS
from inference.encoding.segment_plan import APPEARANCE, FRAME_BUDGET
from timepoint_fhir import codes as fhir_codes
from timepoint_fhir.capability import WRITTEN_TYPES

DOCS = Path(__file__).resolve().parents[1] / "docs"
STATEMENT, CAPABILITY = DOCS / "conformance.md", DOCS / "fhir-capability.json"
REPORT = "1.2.840.10008.5.1.4.1.1.88.34"
SENT = (
    ("1.2.840.10008.5.1.4.1.1.66.4", "segmentation"),
    (str(LABELMAP_SEGMENTATION), "segmentation, where `results.segmentation = \"labelmap\"` and every destination takes it"),
    (REPORT, "measurement, diameter and forecast reports"),
    ("1.2.840.10008.5.1.4.1.1.7", "summary page"),
    ("1.2.840.10008.5.1.4.1.1.104.1", "summary page, where `results.summary` asks for it"),
    ("1.2.840.10008.5.1.4.1.1.88.59", "rejection note"),
)  # fmt: skip


def name_of(uid: str) -> str:
    """The standard's name of a UID."""
    return "Label Map Segmentation Storage" if uid == LABELMAP_SEGMENTATION else UID(uid).name


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def statement() -> str:
    """The conformance statement as Markdown."""
    parts = (_overview(), _networking(), _media(), _character_sets(), _security(), _annexes())
    return "\n\n".join(("# DICOM conformance statement", *parts)) + "\n"


def _overview() -> str:
    rows = [
        *((name_of(uid), f"`{uid}`", "-", "yes") for uid in ACCEPTED),
        *(
            (name_of(uid), f"`{uid}`", "yes", "yes" if uid in ACCEPTED else "-")
            for uid, _ in SENT
            if uid not in ACCEPTED
        ),
    ]
    sent = {uid for uid, _ in SENT}
    rows = [(name, uid, "yes" if uid.strip("`") in sent else user, provider) for name, uid, user, provider in rows]
    others = [
        ("Verification", Verification, "yes", "yes"),
        ("Storage Commitment Push Model", StorageCommitmentPushModel, "yes", "-"),
        ("Study Root Query/Retrieve - FIND", StudyRootQueryRetrieveInformationModelFind, "yes", "-"),
        ("Study Root Query/Retrieve - MOVE", StudyRootQueryRetrieveInformationModelMove, "yes", "-"),
        ("Study Root Query/Retrieve - GET", StudyRootQueryRetrieveInformationModelGet, "yes", "-"),
    ]
    services = table(
        ("SOP class", "UID", "user (SCU)", "provider (SCP)"),
        [*rows, *((name, f"`{uid}`", user, provider) for name, uid, user, provider in others)],
    )
    return f"""Written by `make conformance` from the code ({identity.MODEL_NAME}); a test holds it current. Layout: PS3.2 Annex N.

## 1 Conformance statement overview
Timepoint receives MR studies of the brain, measures tumours, and stores segmentations, structured reports and a summary page in the
original study. It encodes after the primitives of IHE AI Results (AIR); conformance to that profile is not claimed.

{services}

DICOMweb: STOW-RS as origin server and user agent, QIDO-RS and WADO-RS as user agent ([archives.md](archives.md)).

## 2 Table of contents
3 Introduction, 4 Networking, 5 Media interchange, 6 Character sets, 7 Security, 8 Annexes

## 3 Introduction
For integrators and administrators of archives. Terms are those of PS3. A statement like this one does not replace a test of both sides:
`timepoint doctor` checks a configured connection."""


def _networking() -> str:
    dicom = Settings().dicom
    limits = table(
        ("item", "value", "key"),
        [
            ("AE title", f"`{dicom.ae_title}`", "`dicom.ae_title`"),
            ("port", str(dicom.port), "`dicom.port`"),
            ("maximum PDU received", str(dicom.max_pdu), "`dicom.max_pdu`"),
            ("associations at a time", str(dicom.max_associations), "`dicom.max_associations`"),
            ("idle association aborted after", f"{dicom.idle_timeout_s:g} s", "`dicom.idle_timeout_s`"),
            ("asynchronous operations", "none (window 1/1)", "-"),
            ("implementation", "pynetdicom's class UID and version name", "-"),
        ],
    )
    images = sum(1 for role in ACCEPTED.values() if role is InstanceRole.IMAGE)
    receiver = table(("transfer syntax", "UID"), ((UID(s).name, f"`{s}`") for s in TRANSFER_SYNTAXES))
    sender = table(("SOP class", "UID", "object"), ((name_of(uid), f"`{uid}`", what) for uid, what in SENT))
    syntaxes = ", ".join(UID(s).name for s in UNCOMPRESSED)
    refused = ", ".join(f"{status:04X}" for status in sorted(set(STATUS_OF.values())))
    return f"""## 4 Networking
### 4.1 Implementation model
One application entity. *Receiver* (SCP): Verification and Storage, and N-EVENT-REPORT of commitments it asked for. *Sender* (SCU):
Verification, Storage, Storage Commitment. *Asker* (SCU): C-FIND for instance counts and priors, C-MOVE or C-GET for priors.

### 4.2 AE specification
{limits}

#### 4.2.1 Receiver
All {len(ACCEPTED)} classes of the overview marked as provider, {images} of them analysed; rules of association, conflicts and all
C-STORE statuses (0000, A700, {refused}, 0110): [conformance-receive.md](conformance-receive.md). Transfer syntaxes, each for every class:

{receiver}

#### 4.2.2 Sender
Activities: after a study was analysed; after a revision; on retraction. One association for the objects of a study. SOP classes offered
are those to be sent, in {syntaxes}. No object is sent compressed.

{sender}

A status of B000, B006 or B007 counts as stored. A7xx, 0122 and a lost connection are tried again, with waits that double up to a quarter
of an hour, for 72 hours; other failures wait as dead letters for `timepoint jobs retry` or a replay. Storage commitment is asked for where
`commitment = "required"`; the report is taken on an association of the archive (role selection) or on ours.

#### 4.2.3 Asker
C-FIND at study level by Patient ID and Study Instance UID with Number of Study Related Instances; C-MOVE to our own AE title, or C-GET,
of chosen series. See [archives.md](archives.md).

### 4.3 Network interfaces
TCP/IP, IPv4 and IPv6, TCP_NODELAY on every socket.

### 4.4 Configuration
`timepoint.toml`; local AE title, port, peers (AE title, host, port, TLS) and destinations. `timepoint serve --print-config` shows the
effective values."""


def _media() -> str:
    return "## 5 Media interchange\nNone."


def _character_sets() -> str:
    return """## 6 Support of character sets
Received: every set that pydicom decodes (ISO 8859 parts, ISO 2022 with code extensions, GB 18030, GBK, UTF-8). Objects that are sent carry the
Specific Character Set of their source and its names byte for byte; text of our own is ASCII."""


def _security() -> str:
    return """## 7 Security
DICOM TLS after the BCP 195 profile (TLS 1.2 or newer, certificates on both sides) for the receiver (`dicom.tls`) and each peer and destination.
Audit trail with hash chain; see [security.md](security.md). De-identification for the research zone: PS3.15 Annex E."""


def _annexes() -> str:
    reports = table(
        ("document", "title", "series number", "series description", "series code"),
        (
            (kind.purpose.value, f"({kind.title.value}, {kind.title.scheme_designator}, {kind.title.meaning})",
             str(kind.series_number), kind.series_description, kind.series_code.value)
            for kind in (MEASUREMENTS, DIAMETERS, FORECAST)
        ),
    )  # fmt: skip
    segments = table(
        ("segment", "property type"),
        (
            (look.label, f"({look.property_type.value}, {look.property_type.scheme_designator}, {look.property_type.meaning})")
            for look in APPEARANCE.values()
        ),
    )  # fmt: skip
    private = table(("code", "meaning"), sorted({**fhir_codes.own_codes(), **codes.PRIVATE_CODES}.items()))
    return f"""## 8 Annexes
### 8.1 IOD contents
Patient and Study modules, character set and time-zone are those of the source. Manufacturer `{identity.MANUFACTURER}`, model
`{identity.MODEL_NAME}`; our item of the Contributing Equipment Sequence has the serial number `{identity.DEVICE_UID}`. UIDs are `2.25.` and
derived from what the object says, so the same result makes the same instance.

Segmentation: BINARY (LABELMAP by choice), on the frames of one reference series, at most {FRAME_BUDGET} frames as long as unions can be left out,
algorithm type AUTOMATIC, tracking ID and UID in every segment.

{segments}

Reports: Comprehensive 3D SR, TID 1500, UNVERIFIED, PRELIMINARY until the study was complete; revisions name their predecessors.

{reports}

### 8.2 Data dictionary of private attributes
None are written.

### 8.3 Coded terminology
Standard schemes SCT, DCM, NCIt, UMLS, LN, IBSI, UCUM; private scheme `{codes.PRIVATE_SCHEME}`, version {codes.PRIVATE_SCHEME_VERSION}, UID
`{codes.PRIVATE_SCHEME_UID}`, declared in every object. What each is used for: [codes.md](codes.md), [fhir.md](fhir.md).

{private}

### 8.4 Standard extended, specialised and private SOP classes
None.

### 8.5 FHIR
What is asked of a server, as a CapabilityStatement of kind `requirements`: [fhir-capability.json](fhir-capability.json)."""


def capability() -> dict[str, Any]:
    """The FHIR CapabilityStatement of what we ask of a server."""

    def resource(kind: str) -> dict[str, Any]:
        by_identifier = {"name": "identifier", "type": "token"}
        by_tag = {"name": "_tag", "type": "token"}
        return {
            "type": kind,
            "interaction": [{"code": code} for code in ("read", "create", "update", "search-type")],
            "conditionalCreate": kind == "Patient",
            "conditionalUpdate": kind != "Patient",
            "updateCreate": kind != "Patient",
            "searchParam": [by_tag if kind == "Provenance" else by_identifier],
        }

    return {
        "resourceType": "CapabilityStatement",
        "name": "TimepointPublisher",
        "title": "What Timepoint asks of a FHIR server",
        "status": "active",
        "date": "2026-11-24",
        "kind": "requirements",
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "description": (
            "Results are posted as one transaction Bundle for each study revision, by chosen ids (updateCreate) or by "
            "conditional update, as fhir.write says. Patients are matched, and created only where fhir.patients says so."
        ),
        "rest": [
            {
                "mode": "server",
                "security": {"description": "Bearer token (RFC 6750), or SMART backend services."},
                "interaction": [{"code": "transaction"}],
                "resource": [resource(kind) for kind in sorted({*WRITTEN_TYPES, "Patient"})],
            }
        ],
    }


def main() -> None:
    STATEMENT.write_text(statement(), encoding="utf-8")
    CAPABILITY.write_text(json.dumps(capability(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Configuration of who is who: issuers of patient IDs, HL7 messages about patients, an identity server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from gateway.archive_settings import WebAddress
from gateway.settings_section import Port, Seconds, Section


class IdentityRules(Section):
    """What is done where images do not say clearly whose they are.

    `missing_issuer`: a patient ID without issuer, whose sender (`dicom.peers[].issuer`) and site
    (`dicom.default_issuer`) have none either, is taken as it is (`accept`), waits for a person (`quarantine`), or gets
    an issuer derived from name and birth date, so that the same number of two people stays apart (`derive`).
    `trusted_issuers`: with patterns listed, an issuer that matches none of them is as good as none (`ignore`) or puts
    the study aside (`quarantine`), as `untrusted_issuer` says. `issuer_aliases` are other names of an issuer, say its
    OID in HL7 messages. `conflicting_ids`: images of one study under two IDs go to quarantine; with `merged` they are
    accepted where both IDs are one person after a merge.
    """

    missing_issuer: Literal["accept", "quarantine", "derive"] = "accept"
    trusted_issuers: tuple[str, ...] = ()
    untrusted_issuer: Literal["ignore", "quarantine"] = "quarantine"
    issuer_aliases: Mapping[str, str] = Field(default_factory=dict)
    conflicting_ids: Literal["quarantine", "merged"] = "merged"


class Hl7Tls(Section):
    """TLS of the HL7 listener; with `ca_file` senders must show a certificate of that authority."""

    certificate_file: Path
    key_file: Path
    ca_file: Path | None = None


class Hl7(Section):
    """The listener for HL7 v2 messages about patients (ADT over MLLP); off until `enabled`.

    With no `allowed_hosts` only this machine may send. A merge acts at once where both patient IDs are of a listed
    `merge_issuers`; any other waits for a person's decision.
    """

    enabled: bool = False
    host: str = "127.0.0.1"
    port: Port = 2575
    allowed_hosts: tuple[str, ...] = ()
    merge_issuers: tuple[str, ...] = ()
    tls: Hl7Tls | None = None
    max_message_kb: int = Field(default=256, ge=1, le=16384)
    max_connections: int = Field(default=16, ge=1, le=1000)
    idle_timeout_s: Seconds = 300.0


class IdentityLookup(Section):
    """An identity server (IHE PIXm ITI-83, PDQm ITI-78) that is asked about patient IDs after receipt; off without
    `base_url`.

    `systems` maps issuers to the identifier systems of the server (`urn:oid:...` or URL). It fills in the issuer of an
    ID that came without one. Records that it says are one person wait for a decision, or are merged at once with
    `merge = true`.
    """

    base_url: WebAddress = ""
    token_file: Path | None = None
    systems: Mapping[str, str] = Field(default_factory=dict)
    timeout_s: float = Field(default=3.0, gt=0, le=30)
    merge: bool = False

    @model_validator(mode="after")
    def _systems_are_known(self) -> IdentityLookup:
        if self.base_url and not self.systems:
            raise ValueError("lookup.base_url needs lookup.systems: which issuer is which identifier system")
        return self

"""Configuration of the archives around us: where results go, who is asked about studies."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from gateway.client_tls import ClientTls
from gateway.object_names import FHIR_DESTINATION
from gateway.settings_section import AeTitle, Port, Seconds, Section


def _web_address(url: str) -> str:
    """The base URL of a DICOMweb service, without the slash at its end; empty stays empty."""
    if not url:
        return url
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be a base URL such as https://pacs.example.org/dicom-web")
    if parts.username or parts.password:
        raise ValueError("must hold no credentials: put the token into token_file")
    return url.rstrip("/")


WebAddress = Annotated[str, AfterValidator(_web_address)]


class DestinationKind(StrEnum):
    """How results travel to a destination."""

    DICOM = "dicom"
    STOW = "stow"


class AskedArchive(Section):
    """How a node is asked about the studies it holds: by C-FIND under its AE title, or by QIDO-RS under `url` with the
    bearer token of `token_file`; not at all where `query` is empty."""

    query: Literal["", "c-find", "qido"] = ""
    url: WebAddress = ""
    token_file: Path | None = None

    @model_validator(mode="after")
    def _askable(self) -> Self:
        if self.query == "qido" and not self.url:
            raise ValueError("query by qido needs a url, the DICOMweb base of the archive")
        return self


class Destination(Section):
    """An archive that results go to: host, port and AE title for `dicom`, DICOMweb base URL for `stow`.

    With `commitment = "required"` a delivery counts when the archive has promised to keep the instance (storage
    commitment, `dicom` only); a report that has not come after `commitment_wait_s` is asked for again. `token_file`
    holds the bearer token for `stow`, read at each use.
    """

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    kind: DestinationKind = DestinationKind.DICOM
    host: str = ""
    port: Port = 104
    ae_title: AeTitle = "ANY-SCP"
    tls: ClientTls | None = None
    url: WebAddress = ""
    token_file: Path | None = None
    commitment: Literal["required", "waived"] = "waived"
    commitment_wait_s: Seconds = 900.0

    @model_validator(mode="after")
    def _reachable(self) -> Destination:
        if self.name == FHIR_DESTINATION:
            raise ValueError(f"the name {self.name} is taken by the FHIR server of [fhir]")
        if self.kind is DestinationKind.DICOM:
            if not self.host:
                raise ValueError(f"destination {self.name} of kind dicom needs a host")
            if self.url or self.token_file:
                raise ValueError(f"destination {self.name} of kind dicom takes no url and no token_file")
            return self
        if not self.url:
            raise ValueError(f"destination {self.name} of kind {self.kind} needs a url")
        if self.commitment == "required":
            raise ValueError(f"destination {self.name}: storage commitment goes over DICOM; a stow one has it waived")
        return self


class Priors(Section):
    """Earlier MR studies of the brain that are fetched once for a patient who is new here; never while `archive` (AE
    title or name of a peer that can be queried) is empty.

    At most `max_studies`, the newest first, and none older than `max_age_days` before the study that brought the
    patient. A study is one of the brain when BodyPartExamined or a description holds one of `words`. What has not
    arrived `wait_s` after it was asked for is asked for again, three times in all.
    """

    archive: str = ""
    retrieve: Literal["c-move", "c-get", "wado-rs"] = "c-move"
    max_studies: int = Field(default=4, ge=1, le=50)
    max_age_days: int = Field(default=1825, ge=1)
    words: tuple[str, ...] = ("brain", "head", "skull", "neuro", "cerebr", "crani", "hirn", "kopf", "schädel")
    wait_s: Seconds = 1800.0

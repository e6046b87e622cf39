"""What every DICOMweb request of ours shares: address, bearer token, and what a refusal means (PS3.18)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx2

DICOM_JSON = "application/dicom+json"
TIMEOUT_S = 30.0
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_PASSING = frozenset({401, 403, 408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be gone by the next try; 401 and 403 because tokens are renewed."""


class DicomwebError(Exception):
    """A DICOMweb service did not do what was asked. `retriable` says that it may do so later."""

    def __init__(self, sentence: str, retriable: bool) -> None:
        super().__init__(sentence)
        self.retriable = retriable


@contextmanager
def dicomweb(token_file: Path | None, timeout_s: float = TIMEOUT_S) -> Iterator[httpx2.Client]:
    """An HTTP client that signs in with the token of a file, read now. `timeout_s` bounds each wait.

    Raises:
        DicomwebError: when the token cannot be read or is none, and, inside the block, for each connection that fails.
    """
    import httpx2  # 0.15 s, and most who import this module never talk to a server

    headers = {"Authorization": f"Bearer {_token(token_file)}"} if token_file else {}
    with httpx2.Client(headers=headers, timeout=timeout_s) as client:
        try:
            yield client
        except httpx2.TimeoutException as error:
            raise DicomwebError(f"the archive did not answer in time ({type(error).__name__})", True) from error
        except httpx2.RequestError as error:
            raise DicomwebError(f"the archive cannot be reached ({type(error).__name__})", True) from error


def refusal(answer: httpx2.Response) -> DicomwebError:
    """What an HTTP status that is no success means for the request."""
    return DicomwebError(f"the archive answered with HTTP status {answer.status_code}", answer.status_code in _PASSING)


def values(attributes: dict[str, Any], tag: str) -> list[Any]:
    """The values of an attribute in the DICOM JSON model (PS3.18 F.2); empty where there is none."""
    found = attributes.get(tag)
    return list(found.get("Value") or []) if isinstance(found, dict) else []


def first_text(attributes: dict[str, Any], tag: str) -> str:
    """The first value of an attribute as text; empty where there is none."""
    found = values(attributes, tag)
    return str(found[0]) if found and found[0] is not None else ""


def _token(file: Path) -> str:
    try:
        token = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise DicomwebError(f"the token file cannot be read ({type(error).__name__})", True) from error
    if not _TOKEN.fullmatch(token):
        raise DicomwebError("the token file holds no bearer token", True)
    return token

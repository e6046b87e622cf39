"""What can go wrong between us and a FHIR server. No message holds patient data."""

from __future__ import annotations


class FhirError(Exception):
    """The result could not be published to the FHIR server."""


class FhirRejected(FhirError):
    """The FHIR server refuses this request; trying again will not help, something has to be changed first.

    `status` is the HTTP status (of the request or of the refused Bundle entry).
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class FhirUnavailable(FhirError):
    """The FHIR server does not answer, or not now; the same request may be sent again later.

    `retry_after_s` is what the server asked for, None where it did not.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BundleInvalid(FhirError):
    """A Bundle that was built here breaks a rule of FHIR or of ours; this is a fault of the program, not of the data.

    `findings` are the broken rules, each with the place in the Bundle.
    """

    def __init__(self, findings: tuple[str, ...]) -> None:
        super().__init__("; ".join(findings))
        self.findings = findings

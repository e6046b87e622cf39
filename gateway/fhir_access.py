"""How the gateway signs in at the FHIR server."""

from __future__ import annotations

from gateway.settings import Fhir
from timepoint_fhir.backend_services import BackendClient, access_token


def fhir_token(options: Fhir) -> str | None:
    """The token for the FHIR server, None where none is configured.

    Raises:
        FhirError: when the authorisation server gives none.
        ValueError: when the key file is unfit.
    """
    auth = options.auth
    if auth.client_id and auth.key_file:
        client = BackendClient(auth.client_id, auth.key_file, auth.token_url, auth.scope)
        return access_token(options.base_url, client)
    return auth.token_file.read_text(encoding="utf-8").strip() if auth.token_file else None

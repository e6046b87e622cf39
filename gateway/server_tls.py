"""TLS of our listeners: our certificate shown, and that of the caller checked where an authority is given."""

from __future__ import annotations

import ssl
from pathlib import Path

from gateway.errors import SettingsError


def server_context(
    section: str, certificate_file: Path, key_file: Path, callers_ca_file: Path | None
) -> ssl.SSLContext:
    """TLS 1.2 or newer (BCP 195, PS3.15 B.12); callers must show a certificate of `callers_ca_file` unless it is None.

    Raises:
        SettingsError: names `section` of the configuration when a file cannot be read or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate_file, key_file)
        if callers_ca_file is not None:
            context.load_verify_locations(callers_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"{section} cannot be used: {error}.") from None
    return context

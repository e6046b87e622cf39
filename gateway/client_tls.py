"""DICOM TLS towards another node: what the configuration says of it, and the context that follows."""

from __future__ import annotations

import ssl

from pydantic import FilePath

from gateway.settings_section import Section


class ClientTls(Section):
    """The certificate we show, its key, and the authority that the node must show.

    With `check_host` the node's certificate must be issued for its `host`, or for `server_name` where that is given.
    """

    certificate_file: FilePath
    key_file: FilePath
    ca_file: FilePath
    server_name: str = ""
    check_host: bool = True


def client_context(tls: ClientTls) -> ssl.SSLContext:
    """TLS 1.2 or newer, our certificate shown, the peer's checked (BCP 195, PS3.15 B.12)."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(tls.ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls.check_host
    context.load_cert_chain(tls.certificate_file, tls.key_file)
    return context

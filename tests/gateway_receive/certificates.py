"""A certificate authority for one test, and certificates of it."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.client_tls import ClientTls


@dataclass(frozen=True)
class Certificate:
    """PEM files of a certificate and its key."""

    certificate_file: Path
    key_file: Path


class Authority:
    """Issues certificates for 127.0.0.1; `certificate.certificate_file` is what peers trust."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._name = folder, _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        unsigned = _builder(self._name, self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.certificate = self._write("ca", unsigned, self._key)

    def issue(self, name: str) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        unsigned = _builder(_name(name), self._name, key.public_key()).add_extension(address, critical=False)
        return self._write(name, unsigned, key)

    def _write(self, name: str, unsigned: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> Certificate:
        signed = unsigned.sign(self._key, hashes.SHA256())
        files = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        files.certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        files.key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files


def listener_tls(shown: Certificate, trusted: Authority) -> dict[str, Path]:
    """The section `dicom.tls` of a node that shows one certificate and trusts an authority."""
    return {
        "certificate_file": shown.certificate_file,
        "key_file": shown.key_file,
        "ca_file": trusted.certificate.certificate_file,
    }


def client_tls(by: Authority, trusted: Authority, **options: object) -> ClientTls:
    """What we show when we call, issued by one authority, and whom we trust."""
    return ClientTls.model_validate({**listener_tls(by.issue("gateway"), trusted), **options})


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )

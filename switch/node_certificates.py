"""The certificate that a node shows to phones over SIP-TLS: given by the operator, or self-made for development.

mod_sofia takes a directory with `agent.pem` (certificate chain and private key in one file) and `cafile.pem`.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.kit import clock

CERTIFICATE_FILE = "agent.pem"
AUTHORITY_FILE = "cafile.pem"
DEVELOPMENT_VALIDITY = timedelta(days=365)
CLOCK_TOLERANCE = timedelta(hours=1)
MAX_FILE_BYTES = 1024 * 1024


class CertificateRefused(ValueError):
    """A certificate or key cannot be used; the message says which file, what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where a node's certificate (with its key) and the authority that vouches for it lie."""

    certificate: Path
    authority: Path


@dataclass(frozen=True, slots=True)
class SipTls:
    """Where phones register over TLS, and with which files (PEM); without any, a self-made certificate is used."""

    port: int
    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_self_made(self) -> bool:
        """Whether no certificate was given."""
        return self.certificate is None


def provide(directory: Path, tls: SipTls, *, host: str) -> CertificateFiles:
    """Put the certificate into a node's directory. Raises `CertificateRefused`."""
    if tls.certificate is None:
        return make_for_development(directory, host=host)
    return install(directory, certificate=tls.certificate, key=tls.key or tls.certificate)


def make_for_development(
    directory: Path, *, host: str, valid_for: timedelta = DEVELOPMENT_VALIDITY
) -> CertificateFiles:
    """A self-signed certificate for an IP address, made once: one that is there and still good is kept.

    Phones must be told to trust `authority`. Not for production, where phones trust public authorities.
    """
    files = CertificateFiles(directory / CERTIFICATE_FILE, directory / AUTHORITY_FILE)
    now = clock.now() - timedelta(seconds=clock.offset_seconds())
    if _is_good(files, host, now):
        return files
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Seatline development {host}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_TOLERANCE)
        .not_valid_after(now + valid_for)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    shown = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _store(files.certificate, shown + secret)
    _store(files.authority, shown)
    return files


def install(directory: Path, *, certificate: Path, key: Path, authority: Path | None = None) -> CertificateFiles:
    """Put an operator's certificate (chain, PEM) and key where a node finds them.

    `authority`: who vouches for phones that show certificates; by default the chain itself. Raises
    `CertificateRefused` when the files cannot be read or do not belong together.
    """
    chain, secret = _read(certificate), _read(key)
    trusted = chain if authority is None else _read(authority)
    files = CertificateFiles(directory / CERTIFICATE_FILE, directory / AUTHORITY_FILE)
    try:
        x509.load_pem_x509_certificates(chain)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except (ValueError, OSError) as error:
        raise CertificateRefused(
            f"{certificate} and {key}: expected a PEM certificate chain and its unencrypted private key; "
            "correct them and write the configuration again"
        ) from error
    _store(files.certificate, chain.rstrip() + b"\n" + secret)
    _store(files.authority, trusted)
    return files


def _no_password() -> str:
    """Never ask at the terminal: an encrypted key is refused instead."""
    return ""


def _is_good(files: CertificateFiles, host: str, now: datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    is_for_host = ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    return is_for_host and files.authority.is_file() and certificate.not_valid_after_utc > now + timedelta(days=30)


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CertificateRefused(f"{path} cannot be read: {error.strerror}; name a readable PEM file") from error
    if len(content) > MAX_FILE_BYTES:
        raise CertificateRefused(f"{path} is longer than {MAX_FILE_BYTES} bytes; name a PEM file")
    return content


def _store(path: Path, content: bytes) -> None:
    """Readable by the owner alone, replaced in one step."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)

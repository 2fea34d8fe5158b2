"""A certificate authority of our own: what a private CA would hand out, and what an attacker would."""

from __future__ import annotations

import ipaddress
import itertools
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_NUMBERS = itertools.count(1)
_EVERY_USE_OFF = {
    "digital_signature": False,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "encipher_only": False,
    "decipher_only": False,
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate and its key, both as PEM files."""

    certificate: Path
    key: Path

    @property
    def pair(self) -> tuple[str, str]:
        """The two paths, as botocore's `client_cert` takes them."""
        return str(self.certificate), str(self.key)


class Authority:
    """A CA whose certificate is at `bundle`, and which signs whatever it is asked to."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _common_name(name)
        certificate = _sign(
            subject=self._subject,
            issuer=self._subject,
            key=self._key,
            signer=self._key,
            names=(),
            is_authority=True,
        )
        self.bundle = directory / f"{name}.authority.pem"
        self.bundle.write_bytes(_pem(certificate))

    def leaf(self, *names: str, expired: bool = False) -> Leaf:
        """A server's certificate for these host names or IP addresses, valid now or no longer."""
        return self._issue(names, ExtendedKeyUsageOID.SERVER_AUTH, expired=expired)

    def client(self, name: str) -> Leaf:
        """A client's certificate, for a server that asks who is calling."""
        return self._issue((name,), ExtendedKeyUsageOID.CLIENT_AUTH, expired=False)

    def _issue(self, names: tuple[str, ...], usage: x509.ObjectIdentifier, *, expired: bool) -> Leaf:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(
            subject=_common_name(names[0]),
            issuer=self._subject,
            key=key,
            signer=self._key,
            names=names,
            usage=usage,
            expired=expired,
        )
        return _write(self._directory, names[0], key, _pem(certificate))


def self_signed(directory: Path, *names: str) -> Leaf:
    """A server's certificate that nobody but itself vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _common_name(names[0])
    certificate = _sign(
        subject=subject,
        issuer=subject,
        key=key,
        signer=key,
        names=names,
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
    )
    return _write(directory, names[0], key, _pem(certificate))


def server_context(leaf: Leaf, *, clients_of: Authority | None = None) -> ssl.SSLContext:
    """What a server shows; with `clients_of` it also demands a client certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.certificate, leaf.key)
    if clients_of is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients_of.bundle)
    return context


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _sign(
    *,
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    names: tuple[str, ...],
    usage: x509.ObjectIdentifier | None = None,
    expired: bool = False,
    is_authority: bool = False,
) -> x509.Certificate:
    # The extensions are those that OpenSSL's strict mode, the default from Python 3.13, insists on.
    now = datetime.now(UTC)
    not_before, not_after = (now - 2 * _DAY, now - _DAY) if expired else (now - _HOUR, now + _DAY)
    use = {"key_cert_sign": True, "crl_sign": True} if is_authority else {"digital_signature": True}
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**(_EVERY_USE_OFF | use)), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(directory: Path, name: str, key: ec.EllipticCurvePrivateKey, chain: bytes) -> Leaf:
    stem = f"{name.replace(':', '_').replace('*', '_')}.{next(_NUMBERS)}"
    leaf = Leaf(certificate=directory / f"{stem}.crt.pem", key=directory / f"{stem}.key.pem")
    leaf.certificate.write_bytes(chain)
    leaf.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return leaf


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)

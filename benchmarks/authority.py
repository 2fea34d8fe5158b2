"""A certificate authority for one run: it signs the stub's certificate, and all sides trust it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import botocore
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)
PEM = serialization.Encoding.PEM

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Certificates:
    """The files of the stub, and the bundle that the clients load."""

    certificate: Path
    key: Path
    bundle: Path


def named(text: str) -> x509.Name:
    """Return a common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


CA_NAME = named("The benchmark's CA")

# From 3.14 on, Python refuses a CA that doesn't say that it signs certificates.
SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def signed(subject: x509.Name, key: Key, ca_key: Key, *extensions: x509.ExtensionType) -> bytes:
    """Return a certificate of our CA, valid for a day: the first extension is a critical one."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(CA_NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=extension is extensions[0])
    return builder.sign(ca_key, hashes.SHA256()).public_bytes(PEM)


def make_certificates(folder: Path) -> Certificates:
    """Make a CA and a certificate for 127.0.0.1.

    The bundle is botocore's own with our CA at its end, because a service loads the public CAs,
    and loading one alone would be quicker.
    """
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_certificate = signed(
        CA_NAME,
        ca_key,
        ca_key,
        x509.BasicConstraints(ca=True, path_length=None),
        SIGNS_CERTIFICATES,
        x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()),
    )

    key = ec.generate_private_key(ec.SECP256R1())
    address = ipaddress.ip_address("127.0.0.1")
    certificate = signed(
        named("127.0.0.1"),
        key,
        ca_key,
        x509.SubjectAlternativeName([x509.IPAddress(address)]),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
    )
    key_text = key.private_bytes(
        PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )

    made = Certificates(folder / "stub.pem", folder / "stub.key", folder / "bundle.pem")
    made.certificate.write_bytes(certificate)
    made.key.write_bytes(key_text)
    public_cas = Path(botocore.__file__).with_name("cacert.pem").read_bytes()
    made.bundle.write_bytes(public_cas + ca_certificate)
    return made

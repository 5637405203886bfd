"""What `serve` needs for other devices: this machine's addresses, a certificate of its own, a QR code."""

from __future__ import annotations

import datetime
import io
import ipaddress
import socket
import ssl
import tempfile
from collections.abc import Sequence
from pathlib import Path

EVERY = "0.0.0.0"
ELSEWHERE = "192.0.2.1"  # of a network that is kept for documents: asked for a way there, nothing is sent
DAYS = 30  # that a certificate holds; another is made at each start


def check_host(host: str) -> str:
    """An IPv4 address of this machine to serve at; ``localhost`` is one, too.

    Raises:
        ValueError: it is no such address.
    """
    if host.lower() == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise ValueError(
            f"--host {host} is no IPv4 address; give 127.0.0.1 for this machine, 0.0.0.0 for others, too"
        ) from None


def is_loopback(host: str) -> bool:
    """Whether no other machine reaches an address."""
    return ipaddress.IPv4Address(host).is_loopback


def addresses(host: str) -> list[str]:
    """The addresses by which other devices reach what is served at one, the likeliest first."""
    if host != EVERY:
        return [host]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        try:
            line.connect((ELSEWHERE, 9))
            outward = [str(line.getsockname()[0])]
        except OSError:  # no network
            outward = []
    try:
        named = [str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    except OSError:
        named = []
    reached = [address for address in dict.fromkeys([*outward, *named]) if not is_loopback(address)]
    return reached or ["127.0.0.1"]


def self_signed(names: Sequence[str]) -> tuple[ssl.SSLContext, str]:
    """A context with a new key and a certificate of its own for addresses, and the certificate's SHA-256.

    The key is on the disk only while it is read, in a folder of this user alone.

    Raises:
        ImportError: ``cryptography`` is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError as err:
        raise ImportError("--https-self-signed needs cryptography: pip install cryptography") from err
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mobilenet-apps, made by this machine")])
    others: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(item)) for item in names]
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *others]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pair.pem"
        path.touch(mode=0o600)
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ))
        context.load_cert_chain(path)
    return context, certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def qr_code(url: str) -> str | None:
    """A QR code of an address as lines for a terminal; None where ``segno`` is not installed."""
    try:
        import segno
    except ImportError:
        return None
    lines = io.StringIO()
    segno.make(url, micro=False).terminal(out=lines, border=2, compact=True)
    return lines.getvalue().rstrip("\n")

"""Certificates that prove nothing: each ends with the handshake, and says nothing about who is let in.

In TLS 1.3 a client learns of it with its first read; whichever way the connection ends, no answer comes.
"""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.pki import Certificate, Pki
from tests.support.raw_client import RawClient, request_bytes
from tests.wire.conftest import ROOT, Wire

DAY = timedelta(days=1)
CHAIN_LENGTHS = (9, 500)  # within what a peer may send (100 KiB), and past it


def answer_to(wire: Wire, certificate: Certificate | None, **changes: ssl.TLSVersion) -> bytes:
    """All that comes back on a connection with this certificate; a failed handshake is nothing."""
    context = wire.cluster.pki.client_context(certificate)
    for name, value in changes.items():
        setattr(context, name, value)
    try:
        with RawClient(wire.proxy.port, context) as client:
            client.send(request_bytes("/version", headers={"Connection": "close"}))
            return client.read_until_closed()
    except (ssl.SSLError, ConnectionError):
        return b""


@pytest.fixture(autouse=True)
def still_serves(wire: Wire) -> None:
    """Whatever the test before did, the proxy serves on."""
    with wire.connect(ROOT) as client:
        assert client.request("/version").status == 200


def test_a_certificate_of_the_right_ca_is_let_in(wire: Wire) -> None:
    """What the refusals below are compared with."""
    assert answer_to(wire, wire.cluster.pki.client("root")).startswith(b"HTTP/1.1 200 ")


def test_without_a_certificate_a_client_is_asked_for_a_token(wire: Wire) -> None:
    assert answer_to(wire, None).startswith(b"HTTP/1.1 401 ")


def test_a_ca_of_the_same_name_is_another_ca(wire: Wire, tmp_path: Path) -> None:
    assert answer_to(wire, Pki(tmp_path / "impostor").client("root")) == b""
    assert "does not verify against --client-ca-file" in wire.proxy.log.read_text(), "the client sees no reason"


def test_an_expired_certificate_is_none(wire: Wire) -> None:
    now = datetime.now(UTC)
    certificate = wire.cluster.pki.client("root", not_before=now - 2 * DAY, not_after=now - DAY)
    assert answer_to(wire, certificate) == b""


def test_a_certificate_of_tomorrow_is_none_yet(wire: Wire) -> None:
    now = datetime.now(UTC)
    certificate = wire.cluster.pki.client("root", not_before=now + DAY, not_after=now + 2 * DAY)
    assert answer_to(wire, certificate) == b""


def test_a_servers_certificate_makes_no_client(wire: Wire) -> None:
    assert answer_to(wire, wire.cluster.pki.client("root", usages=[ExtendedKeyUsageOID.SERVER_AUTH])) == b""


def test_a_client_cannot_issue_certificates(wire: Wire, tmp_path: Path) -> None:
    """alice signs a certificate for root with her own key, and sends hers along as the intermediate."""
    issuer = wire.cluster.pki.client("alice")
    chain = _chain_below(issuer, "root", 1, tmp_path)
    assert answer_to(wire, chain) == b""


@pytest.mark.parametrize("length", CHAIN_LENGTHS)
def test_a_long_chain_is_refused(wire: Wire, tmp_path: Path, length: int) -> None:
    assert answer_to(wire, _chain_below(wire.cluster.pki.client("alice"), "root", length, tmp_path)) == b""


def test_tls_1_2_is_not_spoken_where_clients_have_certificates(wire: Wire) -> None:
    """There a session could be resumed after its CA has gone."""
    certificate = wire.cluster.pki.client("root")
    assert answer_to(wire, certificate, maximum_version=ssl.TLSVersion.TLSv1_2) == b""


def test_no_session_is_handed_out_to_be_resumed(wire: Wire) -> None:
    with wire.connect(ROOT) as client:
        assert client.request("/version").status == 200
        assert isinstance(client.socket, ssl.SSLSocket)
        assert client.socket.session is None or not client.socket.session.has_ticket


def test_plain_http_on_the_secure_port_gets_no_answer(wire: Wire) -> None:
    with RawClient(wire.proxy.port, None) as client:
        client.send(request_bytes("/version"))
        assert b"HTTP" not in client.read_until_closed()


def _chain_below(issuer: Certificate, common_name: str, length: int, directory: Path) -> Certificate:
    """A certificate for `common_name` at the end of a chain of `length` that begins with a client's own certificate."""
    parent = x509.load_pem_x509_certificate(issuer.cert_file.read_bytes())
    parent_key = serialization.load_pem_private_key(issuer.key_file.read_bytes(), None)
    assert isinstance(parent_key, ec.EllipticCurvePrivateKey)
    chain = [parent]
    for number in range(length):
        is_leaf = number == length - 1
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name if is_leaf else f"ca-{number}")])
        parent = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(parent.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(parent.not_valid_before_utc)
            .not_valid_after(parent.not_valid_after_utc)
            .add_extension(x509.BasicConstraints(ca=not is_leaf, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(parent_key, hashes.SHA256())
        )
        parent_key = key
        chain.insert(0, parent)
    made = Certificate(directory / "chain.crt", directory / "chain.key")
    made.cert_file.write_bytes(b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain))
    made.key_file.write_bytes(
        parent_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return made

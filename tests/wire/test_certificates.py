"""Certificates that the right CA signed, with odd names and purposes: exactly the plain ones make a caller.

What is not a certificate of a client ends with the handshake; what is one, but names nobody plainly, is answered 401.
"""

import socket
import ssl
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from tests.support.credentials import name, user_name
from tests.support.pki import Certificate
from tests.support.raw_client import RawClient, RawResponse, request_bytes
from tests.wire.conftest import ALICE, ROOT, Wire

CN, ORG, EMAIL = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.EMAIL_ADDRESS
OF_TEAM_A = "/api/v1/namespaces/team-a/pods"


def ask(wire: Wire, certificate: Certificate, headers: Sequence[tuple[str, str]] = ()) -> RawResponse:
    """What a caller with this certificate is told of team-a's pods, which `root` and `alice` may list."""
    with RawClient(wire.proxy.port, wire.cluster.pki.client_context(certificate)) as client:
        return client.request(OF_TEAM_A, headers=headers)


def typed(text: str, kind: _ASN1Type, oid: x509.ObjectIdentifier = CN) -> x509.NameAttribute[str]:
    """An attribute whose value has this ASN.1 type."""
    return x509.NameAttribute(oid, text, _type=kind, _validate=False)


@pytest.mark.parametrize(
    "subject",
    [
        user_name("alice"),
        user_name("alice", "team-a", "system:authenticated"),
        name((CN, "alice"), (EMAIL, "root@example"), (NameOID.ORGANIZATIONAL_UNIT_NAME, "root")),
        user_name("alice", *(f"group-{number}" for number in range(100))),
        x509.Name([typed("alice", _ASN1Type.PrintableString)]),
        x509.Name([typed("alice", _ASN1Type.IA5String)]),
    ],
)
def test_a_plain_name_is_the_caller(wire: Wire, subject: x509.Name) -> None:
    """What the refusals below are compared with."""
    assert ask(wire, wire.cluster.pki.client_of(subject)).status == 200


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(x509.Name([]), id="no subject"),
        pytest.param(user_name(""), id="empty CN"),
        pytest.param(name((ORG, "root")), id="no CN"),
        pytest.param(name((EMAIL, "root")), id="e-mail only"),
        pytest.param(name((CN, "root"), (CN, "alice")), id="two CNs"),
        pytest.param(user_name("root\x00.example"), id="NUL"),
        pytest.param(user_name("root "), id="trailing space"),
        pytest.param(user_name("root\r\nX-Remote-User: root"), id="line break"),
        pytest.param(user_name("ro\u200bot"), id="zero width space"),
        pytest.param(user_name("\u202eroot"), id="right to left"),
        pytest.param(user_name("r" * 1025), id="long name"),
        pytest.param(user_name("root", ""), id="empty O"),
        pytest.param(user_name("root", "system:masters\x00"), id="NUL in O"),
        pytest.param(x509.Name([typed("root", _ASN1Type.BMPString)]), id="BMPString"),
        pytest.param(x509.Name([typed("root", _ASN1Type.UniversalString)]), id="UniversalString"),
        pytest.param(x509.Name([typed("root", _ASN1Type.T61String)]), id="T61String"),
        pytest.param(
            x509.Name([typed("x", _ASN1Type.BMPString, ORG), typed("root", _ASN1Type.UTF8String)]), id="BMP O"
        ),
    ],
)
def test_a_name_that_others_could_read_differently_is_nobodys(wire: Wire, subject: x509.Name) -> None:
    assert ask(wire, wire.cluster.pki.client_of(subject)).status == 401


@pytest.mark.parametrize("spelled", ["Alice", "ALICE", "alice.", "\u0430lice", "ａｌｉｃｅ", "alice@", "User:alice"])
def test_a_name_that_looks_like_anothers_is_another(wire: Wire, spelled: str) -> None:
    """Names are compared byte by byte: no case, no width, no script is folded."""
    response = ask(wire, wire.cluster.pki.client_of(user_name(spelled)))
    assert (response.status, f'User "{spelled}"' in response.json["message"]) == (403, True)


def test_names_beside_the_subject_are_nobodys(wire: Wire) -> None:
    """A subjectAltName says for which hosts a server speaks, not who a caller is."""
    names = x509.SubjectAlternativeName([x509.DNSName("root"), x509.RFC822Name("root@example"), x509.DNSName("alice")])
    assert ask(wire, wire.cluster.pki.client_of(x509.Name([]), names=names)).status == 401
    response = ask(wire, wire.cluster.pki.client_of(user_name("nobody"), names=names))
    assert (response.status, 'User "nobody"' in response.json["message"]) == (403, True)


def test_the_group_of_kubernetes_own_masters_is_a_group_like_others(wire: Wire) -> None:
    """kube-apiserver lets it do everything whatever its RBAC says; here the policy says who may do what."""
    assert ask(wire, wire.cluster.pki.client_of(user_name("nobody", "system:masters"))).status == 403


def test_a_certificate_in_the_name_of_a_service_account_is_that_name_and_no_group_of_it(wire: Wire) -> None:
    response = ask(wire, wire.cluster.pki.client_of(user_name("system:serviceaccount:team-a:alice")))
    assert response.status == 403


def test_a_certificate_with_more_groups_than_anybody_has_is_refused(wire: Wire) -> None:
    """Each group is looked up for each request; what passes 16 KiB is not read."""
    response = ask(wire, wire.cluster.pki.client_of(user_name("alice", *(f"group-{each:05}" for each in range(1500)))))
    assert response.status == 401


def test_the_ca_itself_is_no_client(wire: Wire) -> None:
    assert _nothing_is_served(wire, wire.cluster.pki.authority())


def test_an_intermediate_that_is_not_in_the_bundle_issues_nothing(wire: Wire) -> None:
    """Sent along or not: the bundle is the list of those who may say who somebody is."""
    assert _nothing_is_served(wire, wire.cluster.pki.client_below_intermediate("root", send_intermediate=False))
    assert _nothing_is_served(wire, wire.cluster.pki.client_below_intermediate("root", send_intermediate=True))


@pytest.mark.parametrize("token", ["root-token", "wrong", ""])
def test_a_certificate_without_a_plain_name_leaves_the_word_to_the_token(wire: Wire, token: str) -> None:
    """As upstream: a certificate that does not authenticate does not stop a good token."""
    odd = wire.cluster.pki.client_of(user_name(""))
    response = ask(wire, odd, [("Authorization", f"Bearer {token}")])
    assert response.status == (200 if token == "root-token" else 401)


def test_early_data_is_not_taken(wire: Wire) -> None:
    """It could be replayed. Without tickets there is none to send it with."""
    with wire.connect(ROOT) as client:
        assert client.request("/version").status == 200
        assert isinstance(client.socket, ssl.SSLSocket)
        session = client.socket.session
        assert session is None or not session.has_ticket


def test_a_session_of_one_caller_is_not_gone_on_with_by_another(wire: Wire) -> None:
    """alice offers the session of root's connection: she is alice, by a whole handshake."""
    with wire.connect(ROOT) as client:
        assert client.request("/version").status == 200
        assert isinstance(client.socket, ssl.SSLSocket)
        session = client.socket.session
    context = wire.contexts[ROOT]
    context.load_cert_chain(*_files(wire, ALICE))
    try:
        plain = socket.create_connection(("127.0.0.1", wire.proxy.port), timeout=30)
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as resumed:
            resumed.sendall(request_bytes("/api/v1/secrets", headers={"Connection": "close"}))
            assert not resumed.session_reused
            assert b'User \\"alice\\"' in b"".join(iter(lambda: resumed.recv(4096), b""))
    finally:
        del wire.contexts[ROOT]


def _files(wire: Wire, identity: object) -> tuple[str, str]:
    certificate = wire.cluster.certificate(identity)  # type: ignore[arg-type]
    return str(certificate.cert_file), str(certificate.key_file)


def _nothing_is_served(wire: Wire, certificate: Certificate) -> bool:
    """True when the handshake fails or the request is unauthorized."""
    try:
        with RawClient(wire.proxy.port, wire.cluster.pki.client_context(certificate)) as client:
            client.send(request_bytes("/version", headers={"Connection": "close"}))
            answer = client.read_until_closed()
    except (ssl.SSLError, ConnectionError):
        return True
    return answer == b"" or answer.startswith(b"HTTP/1.1 401 ")

"""A certificate authority for tests: server certificates for loopback, client certificates as kubeadm makes them.

CN is the user, each O is a group; a client certificate has no subjectAltName. Keys are ECDSA P-256. Every flaw a test
may want in a client certificate (expired, wrong usage, another CA) is an argument or a second `Pki`.
"""

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tests.support.ports import LOOPBACK

UID_OID = ObjectIdentifier("1.3.6.1.4.1.57683.2")  # Source: k8s.io/apiserver/pkg/authentication/request/x509
LOOPBACK_HOSTS = ("localhost", LOOPBACK, "::1")

_LIFETIME = timedelta(days=1)
_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Paths of a PEM certificate and of its unencrypted PEM key."""

    cert_file: Path
    key_file: Path


class Pki:
    """One CA, its files in a folder of their own."""

    def __init__(self, directory: Path, *, name: str = "watchkeeper test CA") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.ca_file = directory / "ca.crt"
        self._serial = 0
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(_key_usage(certificate_signing=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, hosts: Sequence[str] = LOOPBACK_HOSTS) -> Certificate:
        """A server certificate whose subjectAltName names these hosts and addresses."""
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        return self._issue("server", subject, [ExtendedKeyUsageOID.SERVER_AUTH], names=names)

    def client(
        self,
        common_name: str,
        groups: Sequence[str] = (),
        *,
        uid: str | None = None,
        usages: Sequence[ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Certificate:
        """A new client certificate; None dates are a few minutes ago and a day from now."""
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
        if uid is not None:
            attributes.append(x509.NameAttribute(UID_OID, uid))
        return self._issue("client", x509.Name(attributes), usages, not_before=not_before, not_after=not_after)

    def client_of(self, subject: x509.Name, *, names: x509.SubjectAlternativeName | None = None) -> Certificate:
        """A client certificate of any subject, well formed or not."""
        return self._issue("client", subject, [ExtendedKeyUsageOID.CLIENT_AUTH], names=names)

    def authority(self) -> Certificate:
        """The CA's own certificate and key, as somebody would use them who has stolen them."""
        return Certificate(self.ca_file, self._write_key(self.directory / "ca.key", self._key))

    def client_below_intermediate(self, common_name: str, *, send_intermediate: bool) -> Certificate:
        """A client certificate of another CA, whose own certificate this CA signed; sent along or not."""
        middle = Pki(self.directory / f"middle-{self._serial}", name="an intermediate CA")
        issued = middle.client(common_name)
        certificate = (
            self._builder(middle._name, middle._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(certificate_signing=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        if send_intermediate:
            with issued.cert_file.open("ab") as chain:
                chain.write(certificate.public_bytes(serialization.Encoding.PEM))
        return issued

    def signing_key(self, name: str) -> Path:
        """A private key without a certificate, such as the one service account tokens are signed with."""
        return self._write_key(self.directory / f"{name}.key", ec.generate_private_key(ec.SECP256R1()))

    def client_context(self, certificate: Certificate | None) -> ssl.SSLContext:
        """What a client of this CA's servers connects with; None is a client without a certificate."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if certificate is not None:
            context.load_cert_chain(certificate.cert_file, certificate.key_file)
        return context

    def _issue(
        self,
        kind: str,
        subject: x509.Name,
        usages: Sequence[ObjectIdentifier],
        *,
        names: x509.SubjectAlternativeName | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._builder(subject, key.public_key(), not_before=not_before, not_after=not_after)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(certificate_signing=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return self._write(kind, builder.sign(self._key, hashes.SHA256()), key)

    def _builder(
        self,
        subject: x509.Name,
        public_key: ec.EllipticCurvePublicKey,
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before or now - _CLOCK_SKEW)
            .not_valid_after(not_after or now + _LIFETIME)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )

    def _write(self, kind: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Certificate:
        self._serial += 1
        stem = f"{kind}-{self._serial}"  # a user name such as `system:node:a/b` is no file name
        issued = Certificate(self.directory / f"{stem}.crt", self.directory / f"{stem}.key")
        issued.cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._write_key(issued.key_file, key)
        return issued

    @staticmethod
    def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> Path:
        path.touch(mode=0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,  # of EC keys, kube-apiserver signs with no other
                serialization.NoEncryption(),
            )
        )
        return path


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, certificate_signing: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=certificate_signing,
        crl_sign=certificate_signing,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )

"""`watchkeeper certs dev`: what it makes works, stays while it is good, is private, and is all in one folder."""

import base64
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from proxy.authn.client_certificate import ClientCertificateVerifier
from proxy.authn.outcome import Authenticated, Refused
from proxy.devserver.pki import PROFILES, Profile, ensure_pki, issue

STEMS = ["ca", *(profile.stem for profile in PROFILES)]
IDENTITIES = {
    "admin": ("admin", ("watchkeeper:admins",)),
    "alice": ("alice", ()),
    "bob": ("bob", ()),
    "node1": ("system:node:node1", ("system:nodes",)),
    "kube-proxy": ("system:kube-proxy", ()),
    "watchkeeper": ("watchkeeper", ()),
}
NOW = datetime.now(UTC)


def certs_dev(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from proxy.cli.certs import certs; certs()", "dev", "--out", str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True, umask=0, timeout=60)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def der(directory: Path, stem: str) -> bytes:
    certificate = x509.load_pem_x509_certificate((directory / f"{stem}.crt").read_bytes())
    return certificate.public_bytes(serialization.Encoding.DER)


def identity(directory: Path, stem: str) -> Authenticated | Refused:
    verifier = ClientCertificateVerifier((directory / "ca.crt").read_bytes())
    return verifier.verify(der(directory, stem), datetime.now(UTC).timestamp())


def renewed(directory: Path, now: datetime) -> set[str]:
    return set(ensure_pki(directory, now=now, force=False).renewed)


def test_keys_and_kubeconfigs_are_private_whatever_the_umask(tmp_path: Path) -> None:
    out = tmp_path / "certs" / "dev"
    assert certs_dev(out).returncode == 0
    assert out.stat().st_mode & 0o777 == 0o700
    for path in out.iterdir():
        assert path.stat().st_mode & 0o777 == (0o644 if path.suffix == ".crt" else 0o600), path
    expected = {f"{stem}{suffix}" for stem in STEMS for suffix in (".crt", ".key")}
    assert set(contents(out)) == expected | {f"{stem}.kubeconfig" for stem in IDENTITIES}


def test_each_certificate_is_its_identity_to_the_proxy(tmp_path: Path) -> None:
    ensure_pki(tmp_path, now=NOW, force=False)
    for stem, (name, groups) in IDENTITIES.items():
        outcome = identity(tmp_path, stem)
        assert isinstance(outcome, Authenticated)
        assert (outcome.user.name, outcome.user.groups) == (name, groups)
    assert isinstance(identity(tmp_path, "server"), Refused)
    assert isinstance(identity(tmp_path, "ca"), Refused)


def test_second_run_changes_nothing_and_force_changes_everything(tmp_path: Path) -> None:
    assert "issued" in certs_dev(tmp_path).stdout
    before = contents(tmp_path)
    again = certs_dev(tmp_path)
    assert (again.returncode, "issued" in again.stdout) == (0, False)
    assert contents(tmp_path) == before
    certs_dev(tmp_path, "--force")
    after = contents(tmp_path)
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)


def test_certificates_are_renewed_a_week_before_their_end(tmp_path: Path) -> None:
    ensure_pki(tmp_path, now=NOW, force=False)
    assert renewed(tmp_path, NOW + timedelta(days=22, hours=23)) == set()
    assert renewed(tmp_path, NOW + timedelta(days=23, minutes=1)) == set(STEMS)


def test_certificates_of_the_future_are_renewed(tmp_path: Path) -> None:
    ensure_pki(tmp_path, now=NOW + timedelta(days=400), force=False)
    assert renewed(tmp_path, NOW) == set(STEMS)


@pytest.mark.parametrize("file", ["ca.crt", "ca.key"])
def test_everything_is_renewed_when_the_authority_is_gone(tmp_path: Path, file: str) -> None:
    ensure_pki(tmp_path, now=NOW, force=False)
    (tmp_path / file).unlink()
    assert renewed(tmp_path, NOW) == set(STEMS)
    assert all(isinstance(identity(tmp_path, stem), Authenticated) for stem in IDENTITIES)


def test_only_a_broken_pair_is_renewed(tmp_path: Path) -> None:
    ensure_pki(tmp_path, now=NOW, force=False)
    (tmp_path / "alice.key").unlink()
    (tmp_path / "bob.crt").write_text("torn")
    (tmp_path / "admin.key").write_bytes((tmp_path / "node1.key").read_bytes())
    (tmp_path / "kube-proxy.key").chmod(0o640)
    (tmp_path / "node1.crt").write_bytes((tmp_path / "server.crt").read_bytes())
    (tmp_path / "node1.key").write_bytes((tmp_path / "server.key").read_bytes())
    broken = {"alice", "bob", "admin", "kube-proxy", "node1"}
    assert renewed(tmp_path, NOW) == broken
    assert renewed(tmp_path, NOW) == set()
    assert all(isinstance(identity(tmp_path, stem), Authenticated) for stem in IDENTITIES)


def test_good_pair_of_another_identity_is_renewed(tmp_path: Path) -> None:
    """A file that says it is bob's and is admin's: same CA, same lifetime, its own key."""
    ensure_pki(tmp_path, now=NOW, force=False)
    for suffix in (".crt", ".key"):
        (tmp_path / f"bob{suffix}").write_bytes((tmp_path / f"admin{suffix}").read_bytes())
    assert renewed(tmp_path, NOW) == {"bob"}


def test_server_certificate_without_its_names_is_renewed(tmp_path: Path) -> None:
    pki = ensure_pki(tmp_path, now=NOW, force=False)
    unnamed = issue(Profile(stem="server", common_name="localhost"), pki.authority, NOW)
    (tmp_path / "server.crt").write_bytes(unnamed.certificate_pem())
    (tmp_path / "server.key").write_bytes(unnamed.key_pem())
    assert renewed(tmp_path, NOW) == {"server"}


def test_links_in_the_folder_are_replaced_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    out = tmp_path / "out"
    out.mkdir()
    for name in ("alice.key", "ca.key", "alice.kubeconfig", "server.crt"):
        (out / name).symlink_to(outside)
    assert certs_dev(out).returncode == 0
    assert outside.read_text() == "precious"
    assert not any(path.is_symlink() for path in out.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"outside", "out"}


def test_kubeconfig_needs_no_other_file_and_names_its_server(tmp_path: Path) -> None:
    certs_dev(tmp_path, "--server", "https://proxy.example:1", "--upstream", "https://127.0.0.1:2")
    for stem in IDENTITIES:
        config = yaml.safe_load((tmp_path / f"{stem}.kubeconfig").read_text())
        (cluster,), (user,) = config["clusters"], config["users"]
        assert cluster["cluster"]["server"] == (
            "https://127.0.0.1:2" if stem == "watchkeeper" else "https://proxy.example:1"
        )
        for value, file in (
            (cluster["cluster"]["certificate-authority-data"], "ca.crt"),
            (user["user"]["client-certificate-data"], f"{stem}.crt"),
            (user["user"]["client-key-data"], f"{stem}.key"),
        ):
            assert base64.b64decode(value) == (tmp_path / file).read_bytes()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_server_and_client_shake_hands_on_loopback(tmp_path: Path, host: str) -> None:
    ensure_pki(tmp_path, now=NOW, force=False)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca.crt")
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    client = ssl.create_default_context(cafile=tmp_path / "ca.crt")
    client.load_cert_chain(tmp_path / "alice.crt", tmp_path / "alice.key")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ends[1].getpeercert(binary_form=True) == der(tmp_path, "alice")


def test_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = certs_dev(tmp_path / "file" / "dev")
    assert result.returncode == 1
    assert result.stderr == f"Error: {tmp_path / 'file' / 'dev'}: Not a directory\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

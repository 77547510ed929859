"""Handshakes that fail by the client's certificate are counted, each, and told, not too often."""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.authn.outcome import RefusalKind
from proxy.server.handshakes import QUIET_SECONDS, RefusedHandshakes
from proxy.server.listener import serving_context
from tests.support.pki import Certificate, Pki

DAY = timedelta(days=1)


class Stage:
    """A server's context whose handshakes are looked at."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.counted: list[RefusalKind] = []
        self.pki = Pki(folder / "ours")
        own = self.pki.server()
        self._context = serving_context(own.cert_file, own.key_file, self.pki.ca_file.read_bytes())
        RefusedHandshakes(self.counted.append, lambda: self.now).watch(self._context)

    def shake_hands(self, certificate: Certificate | None) -> None:
        """Raises what the server's side raises."""
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self.pki.client_context(certificate).wrap_bio(to_client, to_server, server_hostname="localhost")
        server = self._context.wrap_bio(to_server, to_client, server_side=True)
        for side in (client, server, client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_certificate_of_another_ca_is_counted_and_told(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        stage.shake_hands(Pki(tmp_path / "theirs").client("alice"))
    assert stage.counted == [RefusalKind.CERTIFICATE_UNTRUSTED]
    assert "does not verify against --client-ca-file" in caplog.text


def test_an_expired_certificate_is_another_kind(stage: Stage) -> None:
    now = datetime.now(UTC)
    with pytest.raises(ssl.SSLCertVerificationError):
        stage.shake_hands(stage.pki.client("alice", not_before=now - 2 * DAY, not_after=now - DAY))
    assert stage.counted == [RefusalKind.CERTIFICATE_OUTSIDE_VALIDITY]


@pytest.mark.parametrize("name", ["alice", None])
def test_handshakes_that_succeed_are_neither(stage: Stage, name: str | None, caplog: pytest.LogCaptureFixture) -> None:
    stage.shake_hands(stage.pki.client(name) if name else None)
    assert (stage.counted, caplog.text) == ([], "")


def test_a_client_that_tries_again_and_again_does_not_fill_the_log(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    certificate = Pki(tmp_path / "theirs").client("alice")
    for _ in range(5):
        with pytest.raises(ssl.SSLCertVerificationError):
            stage.shake_hands(certificate)
    assert (len(stage.counted), len(caplog.records)) == (5, 1)
    stage.now += QUIET_SECONDS
    with pytest.raises(ssl.SSLCertVerificationError):
        stage.shake_hands(certificate)
    assert "(and 4 more since" in caplog.records[-1].getMessage()

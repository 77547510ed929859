"""Which way a credential goes: what is known here is decided here, and only what nobody here knows is asked about."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from proxy.authn.outcome import Authenticated, RefusalKind, Refused
from proxy.authn.service_account_tokens import LEGACY_ISSUER
from proxy.authn.signing_keys import SigningKeys, parse_signing_keys
from proxy.authn.static_tokens import parse_token_file
from proxy.server.authentication import AuthenticationService, Caller, ServiceAccounts
from proxy.server.issuer_client import IssuerUnavailable
from proxy.server.jwks import COOLDOWN_SECONDS, KeySource
from proxy.server.token_reviewer import TokenReviewer
from proxy.server.upstream_keys import PATH, UpstreamKeys
from tests.support.credentials import NOW, Authority, TokenSigner, encode, jwk_set, user_name
from tests.support.fake_api_server import Call, FakeApiServer
from tests.support.simulated_clock import SimulatedClock
from tests.support.simulated_time import let_others_run, run_simulated

ISSUER = "https://kubernetes.default.svc"
OLD, NEW = TokenSigner("old"), TokenSigner("new")
AUTHORITY = Authority()
ACCOUNT = {"namespace": "a", "serviceaccount": {"name": "b", "uid": "u"}}
NAME = "system:serviceaccount:a:b"
CLAIMS = {"iss": ISSUER, "sub": NAME, "aud": [ISSUER], "exp": int(NOW) + 600, "kubernetes.io": ACCOUNT}
LEGACY = {
    "iss": LEGACY_ISSUER,
    "sub": NAME,
    "kubernetes.io/serviceaccount/namespace": "a",
    "kubernetes.io/serviceaccount/secret.name": "s",
    "kubernetes.io/serviceaccount/service-account.name": "b",
    "kubernetes.io/serviceaccount/service-account.uid": "u",
}


def keys_of(*signers: TokenSigner) -> SigningKeys:
    return parse_signing_keys(jwk_set(*(signer.jwk() for signer in signers)))


@dataclass
class Keys:
    """A KeySource that a test fills; `fetched` counts."""

    keys: SigningKeys | None = None
    fetched: int = field(default=0)

    async def fetch(self) -> SigningKeys:
        self.fetched += 1
        if self.keys is None:
            raise IssuerUnavailable("not yet")
        return self.keys


def service(keys: SigningKeys | KeySource | None, reviewing: FakeApiServer | None = None) -> AuthenticationService:
    clock = SimulatedClock()
    return AuthenticationService(
        client_ca=AUTHORITY.pem,
        tokens=parse_token_file(b"static,bob,1\n", "tokens.csv"),
        config=None,
        service_accounts=ServiceAccounts(issuers=(ISSUER,), keys=keys) if keys is not None else None,
        api_audiences=(ISSUER,),
        reviewer=TokenReviewer(reviewing.client, clock, ttl_seconds=10) if reviewing is not None else None,
        clock=clock,
    )


async def who(asked: AuthenticationService, token: bytes, certificate: bytes | None = None) -> str | RefusalKind:
    match await asked.authenticate(certificate, [b"Bearer " + token], "/api", NOW):
        case Caller(user):
            return user.name
        case Refused(kind):
            return kind


def say_yes(call: Call, *audiences: str) -> None:
    status = {"authenticated": True, "user": {"username": "alice"}, "audiences": list(audiences)}
    call.answer({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status}, status=201)


# ---- keys of service account tokens


def test_keys_of_a_file_are_replaced_while_running() -> None:
    async def scene() -> None:
        asked = service(keys_of(OLD))
        assert await who(asked, OLD.token(CLAIMS)) == await who(asked, OLD.token(LEGACY)) == NAME
        assert await who(asked, NEW.token(CLAIMS)) is RefusalKind.BEARER_KEY_UNKNOWN
        asked.use_service_account_keys(keys_of(NEW))
        assert await who(asked, NEW.token(CLAIMS)) == await who(asked, NEW.token(LEGACY)) == NAME
        assert await who(asked, OLD.token(CLAIMS)) is RefusalKind.BEARER_KEY_UNKNOWN

    run_simulated(scene())


def test_keys_of_the_api_server_are_fetched_once_for_all_issuers_and_again_for_a_new_kid() -> None:
    async def scene() -> None:
        source = Keys(keys_of(OLD))
        asked = service(source)
        assert await who(asked, OLD.token(CLAIMS)) is RefusalKind.BEARER_ISSUER_NOT_READY
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(asked.run())
            await let_others_run()
            assert await who(asked, OLD.token(CLAIMS)) == await who(asked, OLD.token(LEGACY)) == NAME
            for number in range(100):
                assert await who(asked, NEW.token(CLAIMS, kid=f"{number}")) is RefusalKind.BEARER_KEY_UNKNOWN
            assert source.fetched == 1
            source.keys = keys_of(OLD, NEW)
            await asyncio.sleep(COOLDOWN_SECONDS)
            assert await who(asked, NEW.token(CLAIMS)) == NAME
            assert source.fetched == 2
            running.cancel()

    run_simulated(scene())


@pytest.mark.parametrize(("status", "body"), [(403, {}), (404, {}), (500, {}), (200, {}), (200, b"x"), (200, b"")])
def test_keys_that_the_api_server_does_not_tell_are_not_there(status: int, body: Mapping[str, object] | bytes) -> None:
    async def scene() -> None:
        server = FakeApiServer()
        keys = UpstreamKeys(server.client)
        async with asyncio.TaskGroup() as tasks:
            fetching = tasks.create_task(keys.fetch())
            call = await server.next_call()
            assert (call.method, call.path) == ("GET", PATH)
            call.answer(jwk_set(OLD.jwk()))
            first = await fetching
            again = tasks.create_task(keys.fetch())
            (await server.next_call()).answer(jwk_set(OLD.jwk()))
            assert await again is first
            failing = tasks.create_task(_failure(keys))
            (await server.next_call()).answer(body, status=status)
            assert isinstance(await failing, IssuerUnavailable)

    run_simulated(scene())


async def _failure(keys: UpstreamKeys) -> Exception | None:
    try:
        await keys.fetch()
    except IssuerUnavailable as error:
        return error
    return None


# ---- what is reviewed


def test_a_token_that_nothing_here_knows_is_reviewed_for_our_audiences() -> None:
    async def scene() -> None:
        server = FakeApiServer()
        asked = service(keys_of(OLD), server)
        unknown = (b"opaque", b"a.b", NEW.token(CLAIMS | {"iss": "https://other"}), OLD.token(LEGACY))
        for token in unknown:
            async with asyncio.TaskGroup() as tasks:
                asking = tasks.create_task(who(asked, token))
                call = await server.next_call()
                assert b'"audiences":["https://kubernetes.default.svc"]' in call.body
                say_yes(call, ISSUER)
                assert await asking == "alice"

    run_simulated(scene())


def test_what_is_known_here_is_decided_here() -> None:
    async def scene() -> None:
        server = FakeApiServer()
        asked = service(keys_of(OLD), server)
        certificate = AUTHORITY.issue(user_name("carol"))
        assert await who(asked, b"opaque", certificate) == "carol"
        assert await who(asked, b"static") == "bob"
        assert await who(asked, OLD.token(CLAIMS)) == NAME
        for token, kind in (
            (NEW.token(CLAIMS, kid="old"), RefusalKind.BEARER_SIGNATURE),
            (NEW.token(CLAIMS), RefusalKind.BEARER_KEY_UNKNOWN),
            (OLD.token(CLAIMS | {"exp": 1}), RefusalKind.BEARER_EXPIRED),
            (OLD.token(CLAIMS | {"aud": ["vault"]}), RefusalKind.BEARER_AUDIENCE),
            (OLD.token(CLAIMS, alg="none"), RefusalKind.BEARER_ALGORITHM),
            (encode(b"x") + b".e30.e30", RefusalKind.BEARER_MALFORMED),
            (b"x" * 9000, RefusalKind.BEARER_UNKNOWN),
        ):
            assert await who(asked, token) is kind
        assert server.waiting == 0

    run_simulated(scene())


def test_a_reviewed_caller_is_known_to_be_reviewed() -> None:
    async def scene() -> None:
        server = FakeApiServer()
        asked = service(None, server)
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(asked.authenticate(None, [b"Bearer opaque"], "/api", NOW))
            say_yes(await server.next_call(), ISSUER)
            caller = await asking
        assert isinstance(caller, Caller)
        reviewed = caller.credential.reviewed
        assert reviewed is not None
        assert (reviewed.token, reviewed.user) == (b"opaque", caller.user)
        assert caller.user.groups == ("system:authenticated",)
        local = await asked.authenticate(None, [b"Bearer static"], "/api", NOW)
        assert isinstance(local, Caller)
        assert local.credential.reviewed is None

    run_simulated(scene())


def test_a_failed_review_is_a_refusal() -> None:
    async def scene() -> None:
        server = FakeApiServer()
        asked = service(None, server)
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(who(asked, b"opaque"))
            (await server.next_call()).refuse(403, "Forbidden")
            assert await asking is RefusalKind.BEARER_REVIEW_FAILED

    run_simulated(scene())


def test_a_token_review_by_a_client_asks_on_with_its_audiences() -> None:
    async def scene() -> None:
        server = FakeApiServer()
        asked = service(keys_of(OLD), server)
        known = await asked.authenticate_token(OLD.token(CLAIMS), (), NOW)
        assert isinstance(known, Authenticated)
        assert known.audiences == (ISSUER,)
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(asked.authenticate_token(b"opaque", ("vault",), NOW))
            call = await server.next_call()
            assert b'"audiences":["vault"]' in call.body
            say_yes(call, "vault")
            outcome = await asking
        assert isinstance(outcome, Authenticated)
        assert (outcome.user.name, outcome.audiences) == ("alice", ("vault",))

    run_simulated(scene())

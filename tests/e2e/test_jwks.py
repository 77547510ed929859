"""The issuers' keys over real HTTPS: what is fetched, what is refused, and when; time is the test's."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.authn.authentication_config import AuthenticationConfiguration, JwtAuthenticator, PrefixedClaim
from proxy.authn.outcome import RefusalKind, Refused
from proxy.authn.signing_keys import SigningKeys, parse_signing_keys
from proxy.server.authentication import AuthenticationService, Caller
from proxy.server.issuer_client import MAX_BODY_BYTES, IssuerClient, IssuerUnavailable
from proxy.server.jwks import COOLDOWN_SECONDS, REFRESH_SECONDS, RETRY_SECONDS, JwksCache
from tests.support.credentials import NOW, TokenSigner, encode, jwk_set
from tests.support.issuer import DISCOVERY, JWKS, LocalIssuer, local_issuer, page
from tests.support.pki import Pki

OLD, NEW = TokenSigner("old"), TokenSigner("new", kind="RSA")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_environment_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class TestClock:
    """Time that goes on when the test says so."""

    __test__ = False

    def __init__(self) -> None:
        self._now = 1000.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._sleepers.append((self._now + seconds, woken))
        await woken.wait()

    def advance(self, seconds: float) -> None:
        self._now += seconds
        for until, woken in self._sleepers:
            if until <= self._now:
                woken.set()
        self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[1].is_set()]


async def until(condition: Callable[[], bool]) -> None:
    """Lets everything else run until the condition holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (what other tasks bring about has no event)
            await asyncio.sleep(0)


async def advance_until(clock: TestClock, step_seconds: float, condition: Callable[[], bool]) -> None:
    """Lets time go on, a step each time everything else ran, until the condition holds."""

    def step() -> bool:
        clock.advance(step_seconds)
        return condition()

    await until(step)


@asynccontextmanager
async def running(cache: JwksCache | AuthenticationService) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(cache.run())
        yield
        task.cancel()


@asynccontextmanager
async def fetched(directory: Path) -> AsyncIterator[tuple[LocalIssuer, JwksCache, TestClock]]:
    """A running cache that holds the old key."""
    async with local_issuer(directory) as issuer:
        issuer.publish(OLD)
        clock = TestClock()
        cache = JwksCache(issuer.url, IssuerClient(issuer.issuer()), clock)
        async with running(cache):
            await until(lambda: cache.keys is not None)
            issuer.asked.clear()
            yield issuer, cache, clock


def has(keys: SigningKeys | None, signer: TokenSigner) -> bool:
    return keys is not None and keys.has_key_id(signer.key_id)


# ---- one fetch


async def refusal(issuer: LocalIssuer) -> str:
    with pytest.raises(IssuerUnavailable) as caught:
        await IssuerClient(issuer.issuer()).fetch()
    return str(caught.value)


@pytest.mark.anyio
async def test_keys_are_those_the_discovery_document_leads_to(tmp_path: Path) -> None:
    async with local_issuer(tmp_path) as issuer:
        issuer.publish(OLD)
        keys = await IssuerClient(issuer.issuer()).fetch()
        assert has(keys, OLD)
        assert issuer.asked == [DISCOVERY, JWKS]


@pytest.mark.anyio
async def test_unchanged_keys_are_the_same_object_and_changed_ones_another(tmp_path: Path) -> None:
    """Verified tokens are remembered per key set: a refresh must not forget them, a rotation must."""
    async with local_issuer(tmp_path) as issuer:
        issuer.publish(OLD)
        client = IssuerClient(issuer.issuer())
        keys = await client.fetch()
        assert await client.fetch() is keys
        issuer.publish(NEW)
        assert await client.fetch() is not keys


@pytest.mark.anyio
async def test_discovery_url_is_asked_instead_and_must_still_name_the_issuer(tmp_path: Path) -> None:
    async with local_issuer(tmp_path) as issuer:
        issuer.publish(OLD)
        issuer.pages["/inside"] = issuer.pages.pop(DISCOVERY)
        client = IssuerClient(issuer.issuer(discovery_url=issuer.url + "/inside"))
        assert has(await client.fetch(), OLD)
        stranger = IssuerClient(issuer.issuer(url="https://other.example", discovery_url=issuer.url + "/inside"))
        with pytest.raises(IssuerUnavailable, match="another issuer"):
            await stranger.fetch()


@pytest.mark.anyio
async def test_issuer_with_a_path_keeps_it(tmp_path: Path) -> None:
    async with local_issuer(tmp_path) as issuer:
        url = issuer.url + "/tenant/"
        issuer.publish(OLD)
        document = {"issuer": url, "jwks_uri": issuer.url + JWKS}
        issuer.pages["/tenant" + DISCOVERY] = page(json.dumps(document).encode())
        assert has(await IssuerClient(issuer.issuer(url=url)).fetch(), OLD)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"issuer": "https://evil.example", "jwks_uri": "URL/keys"}, "another issuer"),
        ({"issuer": "URL/", "jwks_uri": "URL/keys"}, "another issuer"),
        ({"jwks_uri": "URL/keys"}, "another issuer"),
        ({"issuer": "URL"}, "no https URL"),
        ({"issuer": "URL", "jwks_uri": "http://127.0.0.1/keys"}, "no https URL"),
        ({"issuer": "URL", "jwks_uri": "file:///etc/passwd"}, "no https URL"),
        ({"issuer": "URL", "jwks_uri": ["URL/keys"]}, "no https URL"),
        ({"issuer": "URL", "jwks_uri": "https://[::1"}, "InvalidURL"),
        ([], "discovery document: not an object"),
    ],
)
async def test_discovery_document_that_leads_elsewhere_is_refused(
    tmp_path: Path, document: object, expected: str
) -> None:
    async with local_issuer(tmp_path) as issuer:
        issuer.publish(OLD)
        issuer.pages[DISCOVERY] = page(json.dumps(document).replace("URL", issuer.url).encode())
        assert expected in await refusal(issuer)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (page(b"", status="302 Found", headers="Location: /elsewhere\r\n"), "status 302"),
        (page(b"{}", status="500 Oops"), "status 500"),
        (page(b"{}", headers="Content-Encoding: gzip\r\n"), "compressed"),
        (page(b" " * (MAX_BODY_BYTES + 1)), "longer than"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (MAX_BODY_BYTES + 1), "longer than"),
        (page(b"not JSON"), "JWK Set"),
        (page(b'{"keys": []}'), "no usable signing key"),
        (b"", "RemoteProtocolError"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "RemoteProtocolError"),
    ],
)
async def test_answer_without_keys_is_refused(tmp_path: Path, answer: bytes, expected: str) -> None:
    async with local_issuer(tmp_path) as issuer:
        issuer.publish(OLD)
        issuer.pages[JWKS] = answer
        issuer.pages["/elsewhere"] = page(json.dumps({"keys": [OLD.jwk()]}).encode())
        assert expected in await refusal(issuer)
        assert "/elsewhere" not in issuer.asked


@pytest.mark.anyio
async def test_server_of_another_authority_or_of_the_system_is_not_believed(tmp_path: Path) -> None:
    other = Pki(tmp_path / "other", name="other CA").ca_file.read_text()
    async with local_issuer(tmp_path / "issuer") as issuer:
        issuer.publish(OLD)
        for authority in (other, ""):
            with pytest.raises(IssuerUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
                await IssuerClient(issuer.issuer(certificate_authority=authority)).fetch()
        assert issuer.asked == []


# ---- the cache


@pytest.mark.anyio
async def test_first_fetch_is_tried_again_until_it_succeeds(tmp_path: Path) -> None:
    async with local_issuer(tmp_path) as issuer:
        clock = TestClock()
        cache = JwksCache(issuer.url, IssuerClient(issuer.issuer()), clock)
        async with running(cache):
            await until(lambda: issuer.asked == [DISCOVERY])
            assert cache.keys is None
            issuer.publish(OLD)
            await advance_until(clock, RETRY_SECONDS, lambda: has(cache.keys, OLD))


@pytest.mark.anyio
async def test_keys_are_refreshed_in_the_background(tmp_path: Path) -> None:
    async with fetched(tmp_path) as (issuer, cache, clock):
        issuer.publish(NEW)
        clock.advance(REFRESH_SECONDS)
        await until(lambda: has(cache.keys, NEW))
        assert not has(cache.keys, OLD)


@pytest.mark.anyio
async def test_known_keys_go_on_while_the_issuer_is_away_and_are_replaced_when_it_is_back(tmp_path: Path) -> None:
    async with fetched(tmp_path) as (issuer, cache, clock):
        issuer.pages.clear()
        clock.advance(REFRESH_SECONDS)
        await until(lambda: issuer.asked == [DISCOVERY])
        assert has(cache.keys, OLD)
        issuer.publish(NEW)
        await advance_until(clock, RETRY_SECONDS, lambda: has(cache.keys, NEW))


@pytest.mark.anyio
async def test_unknown_key_is_looked_for_once_for_all_who_ask(tmp_path: Path) -> None:
    async with fetched(tmp_path) as (issuer, cache, clock):
        issuer.publish(OLD, NEW)
        issuer.may_answer.clear()
        clock.advance(COOLDOWN_SECONDS)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(cache.look_for("new"))
            await until(lambda: issuer.asked == [DISCOVERY])
            issuer.may_answer.set()
        assert has(cache.keys, NEW)
        assert issuer.asked == [DISCOVERY, JWKS]


@pytest.mark.anyio
async def test_unknown_keys_do_not_make_the_proxy_ask_more_often_than_the_cooldown(tmp_path: Path) -> None:
    async with fetched(tmp_path) as (issuer, cache, clock):
        clock.advance(COOLDOWN_SECONDS - 1)
        for number in range(100):
            await cache.look_for(f"forged-{number}")
        assert issuer.asked == []
        clock.advance(1)
        for number in range(100):
            await cache.look_for(f"forged-{number}")
        assert issuer.asked == [DISCOVERY, JWKS]


@pytest.mark.anyio
async def test_key_looked_for_in_vain_is_not_looked_for_again(tmp_path: Path) -> None:
    async with fetched(tmp_path) as (issuer, cache, clock):
        for _ in range(3):
            clock.advance(COOLDOWN_SECONDS)
            await cache.look_for("\ud800 forged")
        assert issuer.asked == [DISCOVERY, JWKS]


@pytest.mark.anyio
async def test_key_looked_for_while_the_issuer_was_away_is_looked_for_again(tmp_path: Path) -> None:
    async with fetched(tmp_path) as (issuer, cache, clock):
        issuer.pages.clear()
        clock.advance(COOLDOWN_SECONDS)
        await cache.look_for("new")
        issuer.publish(OLD, NEW)
        clock.advance(COOLDOWN_SECONDS)
        await cache.look_for("new")
        assert has(cache.keys, NEW)


@pytest.mark.anyio
async def test_caller_that_goes_away_does_not_end_the_fetch(tmp_path: Path) -> None:
    """Otherwise a client could keep a new key unknown, by asking and leaving each time the cooldown is over."""
    async with fetched(tmp_path) as (issuer, cache, clock):
        issuer.publish(OLD, NEW)
        issuer.may_answer.clear()
        clock.advance(COOLDOWN_SECONDS)
        async with asyncio.TaskGroup() as tasks:
            caller = tasks.create_task(cache.look_for("new"))
            await until(lambda: issuer.asked == [DISCOVERY])
            caller.cancel()
        issuer.may_answer.set()
        await until(lambda: has(cache.keys, NEW))


@pytest.mark.anyio
async def test_nobody_waits_for_a_cache_that_stopped(tmp_path: Path) -> None:
    async with local_issuer(tmp_path) as issuer:
        issuer.publish(OLD)
        issuer.may_answer.clear()
        clock = TestClock()
        cache = JwksCache(issuer.url, IssuerClient(issuer.issuer()), clock)
        async with asyncio.timeout(20):
            async with asyncio.TaskGroup() as tasks, running(cache):
                await until(lambda: issuer.asked == [DISCOVERY])
                tasks.create_task(cache.look_for("new"))
                await asyncio.sleep(0)
            clock.advance(COOLDOWN_SECONDS)
            await cache.look_for("new")
        issuer.may_answer.set()


class OnceBroken:
    """A source whose first fetch hits a bug."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys
        self._is_broken = True

    async def fetch(self) -> SigningKeys:
        if self._is_broken:
            self._is_broken = False
            raise RuntimeError("a bug")
        return self._keys


@pytest.mark.anyio
async def test_cache_begun_again_after_a_bug_goes_on_fetching() -> None:
    clock = TestClock()
    cache = JwksCache("https://issuer.example", OnceBroken(parse_signing_keys(jwk_set(OLD.jwk()))), clock)
    with pytest.raises(ExceptionGroup):
        await cache.run()
    async with running(cache):
        await advance_until(clock, RETRY_SECONDS, lambda: has(cache.keys, OLD))


# ---- the service


def configuration(issuer: LocalIssuer) -> AuthenticationConfiguration:
    entry = JwtAuthenticator(
        issuer=issuer.issuer(),
        username=PrefixedClaim("sub", "oidc:"),
        groups=None,
        uid_claim=None,
        required_claims=(),
    )
    unreachable = replace(entry.issuer, url="https://127.0.0.1:1")
    return AuthenticationConfiguration((entry, replace(entry, issuer=unreachable)), None)


def bearer(issuer: LocalIssuer, signer: TokenSigner, **header: object) -> list[bytes]:
    claims = {"iss": issuer.url, "sub": "alice", "aud": "us", "exp": NOW + 60}
    return [b"Bearer " + signer.token(claims, **header)]


async def name_of(service: AuthenticationService, authorization: list[bytes]) -> str | RefusalKind:
    match await service.authenticate(None, authorization, "/api", NOW):
        case Caller(user):
            return user.name
        case Refused(kind):
            return kind


def new_service(config: AuthenticationConfiguration | None, clock: TestClock) -> AuthenticationService:
    return AuthenticationService(
        client_ca=None,
        tokens=None,
        config=config,
        service_accounts=None,
        api_audiences=(),
        reviewer=None,
        clock=clock,
    )


@pytest.mark.anyio
async def test_tokens_are_judged_as_keys_come_and_go(tmp_path: Path) -> None:
    async with local_issuer(tmp_path) as issuer:
        issuer.publish(OLD)
        clock = TestClock()
        service = new_service(configuration(issuer), clock)
        old, new = bearer(issuer, OLD), bearer(issuer, NEW)
        assert await name_of(service, old) == RefusalKind.BEARER_ISSUER_NOT_READY
        async with running(service):
            await until(lambda: issuer.asked == [DISCOVERY, JWKS])
            async with asyncio.timeout(20):
                while await name_of(service, old) != "oidc:alice":  # noqa: ASYNC110 (as in `until`)
                    await asyncio.sleep(0)
            assert await name_of(service, new) == RefusalKind.BEARER_KEY_UNKNOWN
            issuer.publish(NEW)
            clock.advance(COOLDOWN_SECONDS)
            assert await name_of(service, new) == "oidc:alice"
            assert await name_of(service, old) == RefusalKind.BEARER_KEY_UNKNOWN


@pytest.mark.anyio
async def test_service_without_issuers_has_nothing_to_run(tmp_path: Path) -> None:
    service = new_service(None, TestClock())
    await service.run()
    assert await name_of(service, [b"Bearer " + encode(b"x")]) == RefusalKind.BEARER_UNKNOWN
    assert await name_of(service, []) == RefusalKind.NO_CREDENTIALS

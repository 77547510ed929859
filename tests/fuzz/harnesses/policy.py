"""Files and tokens an operator or the proxy itself wrote, after somebody tampered with them."""

from __future__ import annotations

from typing import Any

import yaml

from proxy.api.status import BadRequest, Expired
from proxy.authn.authentication_config_load import (
    InvalidAuthenticationConfiguration,
    load_authentication_configuration,
)
from proxy.authn.signing_keys import ALLOWED_ALGORITHMS, MAX_KEYS, parse_signing_keys
from proxy.authn.static_tokens import InvalidTokenFile, parse_token_file
from proxy.authz.scope import Scope
from proxy.policy.compile import compile_policy
from proxy.policy.load import NO_POLICY, load_policies
from proxy.server.continue_token import KEY_BYTES, ContinueTokens, Position, scope_digest

FILE = "file"
_TOKENS = ContinueTokens(bytes(range(KEY_BYTES)))
_OTHER_TOKENS = ContinueTokens(bytes(KEY_BYTES))
_SCOPE = Scope(everything=True)
_BOUND_TO = b"caller and request"
_NONCE = bytes(12)


def policy(data: bytes) -> None:
    """A policy that another YAML reader finds in the file too, or findings with their positions; never both."""
    loaded = load_policies({FILE: data})
    for finding in loaded.findings:
        assert finding.position.line >= 1 and finding.position.column >= 1
        assert str(finding).isprintable()
    if loaded.has_errors:
        assert loaded.policy == NO_POLICY
        return
    compile_policy(loaded.policy)
    names = _scalars(data)
    for each in (*loaded.policy.roles, *loaded.policy.bindings):
        assert each.name in names
    again = load_policies({FILE: b"# a comment\n" + data})
    assert again.has_errors or len(again.policy.roles) == len(loaded.policy.roles)


def _scalars(data: bytes) -> set[str]:
    """Every scalar of the file, as PyYAML composes it."""
    found: set[str] = set()
    waiting: list[Any] = list(yaml.compose_all(data.decode(), Loader=yaml.CSafeLoader))
    while waiting:
        match waiting.pop():
            case yaml.ScalarNode() as node:
                found.add(node.value)
            case yaml.SequenceNode() as node:
                waiting.extend(node.value)
            case yaml.MappingNode() as node:
                waiting.extend(part for pair in node.value for part in pair)
    return found


def authentication_config(data: bytes) -> None:
    """A configuration whose every issuer can be told apart, or findings."""
    try:
        config = load_authentication_configuration(data, FILE, service_account_issuers=())
    except InvalidAuthenticationConfiguration as error:
        assert error.findings and all(finding.isprintable() for finding in error.findings)
        return
    urls = [each.issuer.url for each in config.jwt]
    assert len(set(urls)) == len(urls)
    assert all(url.lower().startswith("https://") and set(url).isdisjoint("?#@ ") for url in urls)
    assert all(each.issuer.audiences and each.username.claim for each in config.jwt)


def token_file(data: bytes) -> None:
    """Users who are found by their own token only, or mistakes that quote none."""
    try:
        tokens = parse_token_file(data, FILE)
    except InvalidTokenFile as error:
        assert all(line.startswith(f"{FILE}:") for line in str(error).split("\n"))
        return
    assert tokens.find(b"") is None
    for line in data.decode().splitlines():
        token = line.split(",")[0]
        user = tokens.find(token.encode())
        assert user is None or user.name
        assert tokens.find(token.encode() + b" ") is None


def signing_keys(data: bytes) -> None:
    """Asymmetric keys of the allow list, or a ValueError."""
    try:
        keys = parse_signing_keys(data)
    except ValueError:
        return
    found = [key for algorithm in ALLOWED_ALGORITHMS for key in keys.candidates(None, algorithm)]
    assert 0 < len(found) <= MAX_KEYS * 6
    assert not list(keys.candidates(None, "HS256")) and not list(keys.candidates(None, "none"))


def continue_token(data: bytes) -> None:
    """No text is a token but one that was sealed, and that one only for its caller and request."""
    text = data.decode("latin-1")
    fields = (*text.split("\n", 4), "", "", "", "", "")[:5]
    position = Position(
        rv=fields[0],
        part=fields[1],
        upstream_token=fields[2],
        last_namespace=fields[3],
        last_name=fields[4],
        scope=scope_digest(_SCOPE),
    )
    token = _TOKENS.seal(position, _BOUND_TO, _NONCE)
    if len(token) <= 4096:
        assert _TOKENS.open(token, _BOUND_TO, _SCOPE) == position
        assert _opened(token, b"another caller") is None
    at = sum(data) % len(token)
    changed = token[:at] + ("B" if token[at] == "A" else "A") + token[at + 1 :]
    for each in (changed, token + text, text + token):
        assert _opened(each, _BOUND_TO) in (None, position)  # the last character has idle bits
    assert _opened(text, _BOUND_TO, _OTHER_TOKENS) is None


def _opened(token: str, bound_to: bytes, tokens: ContinueTokens = _TOKENS) -> Position | None:
    try:
        return tokens.open(token, bound_to, _SCOPE)
    except (BadRequest, Expired):
        return None

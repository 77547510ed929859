"""Kubernetes' AuthenticationConfiguration as values: whose JWTs are accepted, how claims become a User, and what may be
asked without a credential.

What this proxy does not serve yet (CEL expressions, egress selectors) has no field here.

Source: https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """An OpenID Connect issuer. `url` is compared with `iss` as it is. A token for any of `audiences` is for us.

    `discovery_url` is empty where it follows from `url`; `certificate_authority` is PEM, empty for the system's CAs.
    """

    url: str
    discovery_url: str
    certificate_authority: str
    audiences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PrefixedClaim:
    """A claim whose values get a prefix, which may be empty."""

    claim: str
    prefix: str


@dataclass(frozen=True, slots=True)
class RequiredClaim:
    """A claim that must be this very string."""

    claim: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtAuthenticator:
    """One entry of `jwt`. None: that part of a User stays empty."""

    issuer: Issuer
    username: PrefixedClaim
    groups: PrefixedClaim | None
    uid_claim: str | None
    required_claims: tuple[RequiredClaim, ...]


@dataclass(frozen=True, slots=True)
class AnonymousAccess:
    """Anonymous requests are served: those for one of `paths`, letter by letter; all, where there are none."""

    paths: frozenset[str]


@dataclass(frozen=True, slots=True)
class AuthenticationConfiguration:
    """The issuers, each url once, in the file's order. `anonymous` None: there are no anonymous requests."""

    jwt: tuple[JwtAuthenticator, ...]
    anonymous: AnonymousAccess | None

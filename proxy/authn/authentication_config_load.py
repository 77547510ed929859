"""Reads an AuthenticationConfiguration file: every mistake at once, with file, line, column and field path.

What upstream accepts and this proxy does not serve (CEL expressions, egress selectors) is an error:
leaving a rule out would authenticate somebody whom the file does not.

Source: k8s.io/apiserver/pkg/apis/apiserver/validation (ValidateAuthenticationConfiguration)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509

from proxy.authn.authentication_config import (
    AnonymousAccess,
    AuthenticationConfiguration,
    Issuer,
    JwtAuthenticator,
    PrefixedClaim,
    RequiredClaim,
)
from proxy.authn.yaml_fields import Field, FieldReader

KIND: Final = "AuthenticationConfiguration"
API_VERSIONS: Final = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
MAX_AUTHENTICATORS: Final = 64
NO_CEL: Final = "CEL expressions are not supported yet"


class InvalidAuthenticationConfiguration(ValueError):
    """The file cannot be used; `findings` holds one line for each mistake."""

    def __init__(self, findings: tuple[str, ...]) -> None:
        super().__init__("\n".join(findings))
        self.findings = findings


def load_authentication_configuration(
    content: bytes, file: str, *, service_account_issuers: Collection[str]
) -> AuthenticationConfiguration:
    """Parses YAML; `file` is its name in messages. `service_account_issuers` may not be issuers in the file, too.

    Raises InvalidAuthenticationConfiguration.
    """
    loader = _Loader(file, service_account_issuers)
    configuration = loader.configuration(content)
    if loader.findings:
        raise InvalidAuthenticationConfiguration(loader.findings)
    return configuration


class _Loader:
    """One reading. Its values are complete only when there are no findings."""

    def __init__(self, file: str, service_account_issuers: Collection[str]) -> None:
        self._read = FieldReader(file)
        self._disallowed_issuers = service_account_issuers

    @property
    def findings(self) -> tuple[str, ...]:
        return self._read.findings

    def configuration(self, content: bytes) -> AuthenticationConfiguration:
        root = self._read.root(content)
        if root is None:
            return AuthenticationConfiguration((), None)
        fields = self._read.mapping(root, ("apiVersion", "kind", "jwt", "anonymous"))
        self._check_value(self._required(root, fields, "apiVersion"), API_VERSIONS)
        self._check_value(self._required(root, fields, "kind"), (KIND,))
        anonymous = self._anonymous(fields.get("anonymous"))
        entries = self._read.sequence(fields.get("jwt"))
        if len(entries) > MAX_AUTHENTICATORS:
            self._read.add(fields["jwt"], f"must have at most {MAX_AUTHENTICATORS} items, found {len(entries)}")
        urls: set[str] = set()
        discovery_urls: set[str] = set()
        return AuthenticationConfiguration(
            tuple(self._authenticator(entry, urls, discovery_urls) for entry in entries), anonymous
        )

    def _authenticator(self, field: Field, urls: set[str], discovery_urls: set[str]) -> JwtAuthenticator:
        known = ("issuer", "claimValidationRules", "claimMappings", "userValidationRules")
        fields = self._read.mapping(field, known)
        self._refuse_expressions(fields.get("userValidationRules"), ("expression", "message"))
        mappings = self._required(field, fields, "claimMappings")
        parts = self._read.mapping(mappings, ("username", "groups", "uid", "extra"))
        self._refuse_expressions(parts.get("extra"), ("key", "valueExpression"))
        username = self._prefixed_claim(self._required(mappings, parts, "username"))
        return JwtAuthenticator(
            issuer=self._issuer(self._required(field, fields, "issuer"), urls, discovery_urls),
            username=username or PrefixedClaim("", ""),
            groups=self._prefixed_claim(parts.get("groups")),
            uid_claim=self._uid_claim(parts.get("uid")),
            required_claims=self._required_claims(fields.get("claimValidationRules")),
        )

    def _refuse_expressions(self, field: Field | None, known: tuple[str, ...]) -> None:
        for item in self._read.sequence(field):
            self._read.mapping(item, known)
            self._read.add(item, NO_CEL)

    def _issuer(self, field: Field | None, urls: set[str], discovery_urls: set[str]) -> Issuer:
        known = (
            "url",
            "discoveryURL",
            "certificateAuthority",
            "audiences",
            "audienceMatchPolicy",
            "egressSelectorType",
        )
        fields = self._read.mapping(field, known)
        url = self._url(self._required(field, fields, "url"), urls)
        if url in self._disallowed_issuers:
            self._read.add(
                fields["url"], f"must not overlap with disallowed issuers: `{url}` is a service account issuer"
            )
        discovery = fields.get("discoveryURL")
        discovery_url = self._url(discovery, discovery_urls)
        if discovery is not None and url and url.rstrip("/") == discovery_url.rstrip("/"):
            self._read.add(discovery, "must be different from url")
        if "egressSelectorType" in fields:
            self._read.add(fields["egressSelectorType"], "egress selectors are not supported")
        return Issuer(
            url=url,
            discovery_url=discovery_url,
            certificate_authority=self._certificate_authority(fields.get("certificateAuthority")),
            audiences=self._audiences(self._required(field, fields, "audiences"), fields.get("audienceMatchPolicy")),
        )

    def _audiences(self, field: Field | None, policy: Field | None) -> tuple[str, ...]:
        audiences: list[str] = []
        for item in self._read.sequence(field):
            audience = self._read.string(item)
            if audience == "":
                self._read.add(item, "required")
            elif audience in audiences:
                self._read.add(item, f"duplicate value `{audience}`")
            audiences.append(audience or "")
        if field is not None and field.is_empty:
            self._read.add(field, "at least one is required")
        self._check_value(policy, ("MatchAny",))
        if field is not None and len(audiences) > 1 and policy is None:
            self._read.add(field, "more than one audience needs audienceMatchPolicy: MatchAny")
        return tuple(audiences)

    def _certificate_authority(self, field: Field | None) -> str:
        pem = self._read.string(field) or ""
        if field is not None and pem:
            try:
                x509.load_pem_x509_certificates(pem.encode())
            except ValueError:
                self._read.add(field, "not a PEM bundle of certificates")
        return pem

    def _url(self, field: Field | None, seen: set[str]) -> str:
        url = self._read.string(field)
        if field is not None and url is not None:
            for problem in _url_problems(url):
                self._read.add(field, problem)
            if url in seen:
                self._read.add(field, f"duplicate value `{url}`")
            seen.add(url)
        return url or ""

    def _prefixed_claim(self, field: Field | None) -> PrefixedClaim | None:
        if field is None:
            return None
        fields = self._read.mapping(field, ("claim", "prefix", "expression"))
        claim = self._claim(field, fields)
        if claim and "prefix" not in fields:
            self._read.add(field, 'required with a claim, "" for none', "prefix")
        return PrefixedClaim(claim, self._read.string(fields.get("prefix")) or "")

    def _uid_claim(self, field: Field | None) -> str | None:
        return None if field is None else self._claim(field, self._read.mapping(field, ("claim", "expression")))

    def _required_claims(self, field: Field | None) -> tuple[RequiredClaim, ...]:
        rules: list[RequiredClaim] = []
        for item in self._read.sequence(field):
            fields = self._read.mapping(item, ("claim", "requiredValue", "expression", "message"))
            rule = RequiredClaim(self._claim(item, fields), self._read.string(fields.get("requiredValue")) or "")
            if rule.claim and "message" in fields:
                self._read.add(fields["message"], "may not stand beside claim")
            if rule.claim and rule.claim in [earlier.claim for earlier in rules]:
                self._read.add(fields["claim"], f"duplicate value `{rule.claim}`")
            rules.append(rule)
        return tuple(rules)

    def _claim(self, field: Field, fields: Mapping[str, Field]) -> str:
        """The `claim` among the fields of `field`; an `expression` in its place is refused."""
        if "expression" in fields:
            self._read.add(fields["expression"], NO_CEL)
            return ""
        claim = self._required(field, fields, "claim")
        if claim is not None and claim.is_empty:
            self._read.add(claim, "required")
        return self._read.string(claim) or ""

    def _anonymous(self, field: Field | None) -> AnonymousAccess | None:
        fields = self._read.mapping(field, ("enabled", "conditions"))
        is_enabled, paths = self._read.boolean(fields.get("enabled")), []
        for condition in self._read.sequence(fields.get("conditions")):
            parts = self._read.mapping(condition, ("path",))
            paths.append(self._read.string(parts.get("path")) or "")
        if paths and not is_enabled:
            self._read.add(fields["conditions"], "enabled should be set to true when conditions are defined")
        return AnonymousAccess(frozenset(paths)) if is_enabled else None

    def _required(self, parent: Field | None, fields: Mapping[str, Field], name: str) -> Field | None:
        if parent is not None and parent.is_mapping and name not in fields:
            self._read.add(parent, "required", name)
        return fields.get(name)

    def _check_value(self, field: Field | None, accepted: tuple[str, ...]) -> None:
        value = self._read.string(field)
        if field is not None and value is not None and value not in accepted:
            self._read.add(field, f"unsupported value `{value}`, expected {' or '.join(accepted)}")


def _url_problems(url: str) -> list[str]:
    """What keeps a url from being that of an issuer."""
    if not url.isprintable() or " " in url or not url.isascii():
        return ["not a URL"]
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return ["not a URL"]
    problems = []
    if parts.scheme != "https":
        problems.append("URL scheme must be https")
    if not host:
        problems.append("URL must have a host")
    if "@" in parts.netloc:
        problems.append("URL must not contain a username or password")
    if "?" in url:
        problems.append("URL must not contain a query")
    if "#" in url:
        problems.append("URL must not contain a fragment")
    return problems

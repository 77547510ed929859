"""An AuthenticationConfiguration is read whole or not at all, and all its mistakes are told at once, where they are."""

import json

import pytest

from proxy.authn.authentication_config import (
    AnonymousAccess,
    AuthenticationConfiguration,
    Issuer,
    JwtAuthenticator,
    PrefixedClaim,
    RequiredClaim,
)
from proxy.authn.authentication_config_load import (
    InvalidAuthenticationConfiguration,
    load_authentication_configuration,
)
from tests.support.credentials import Authority

HEAD = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
PEM = Authority().pem.decode()

FULL = f"""{HEAD}jwt:
- issuer:
    url: https://issuer.example/tenant
    discoveryURL: https://inside.example/discovery
    certificateAuthority: {json.dumps(PEM)}
    audiences: [us, them]
    audienceMatchPolicy: MatchAny
  claimValidationRules:
  - claim: tenant
    requiredValue: "1"
  - claim: nothing
  claimMappings:
    username: {{claim: sub, prefix: ""}}
    groups: {{claim: roles, prefix: "oidc:"}}
    uid: {{claim: oid}}
anonymous: {{enabled: false}}
"""

MINIMAL = """- issuer: {url: https://issuer.example, audiences: [us]}
  claimMappings: {username: {claim: sub, prefix: "oidc:"}}
"""


def load(text: str, *, service_account_issuers: tuple[str, ...] = ()) -> AuthenticationConfiguration:
    return load_authentication_configuration(
        text.encode(), "auth.yaml", service_account_issuers=service_account_issuers
    )


def findings(text: str) -> list[str]:
    """The findings without the file's name, each `line:column: path: problem`."""
    with pytest.raises(InvalidAuthenticationConfiguration) as caught:
        load(text)
    assert str(caught.value) == "\n".join(caught.value.findings)
    assert all(finding.startswith("auth.yaml:") for finding in caught.value.findings)
    return [finding.removeprefix("auth.yaml:") for finding in caught.value.findings]


def problems(entry: str) -> list[str]:
    """The findings about one entry of `jwt`, without positions."""
    return [finding.split(": ", 1)[1] for finding in findings(f"{HEAD}jwt:\n{entry}")]


def test_every_field_is_read() -> None:
    assert load(FULL) == AuthenticationConfiguration(
        (
            JwtAuthenticator(
                issuer=Issuer(
                    url="https://issuer.example/tenant",
                    discovery_url="https://inside.example/discovery",
                    certificate_authority=PEM,
                    audiences=("us", "them"),
                ),
                username=PrefixedClaim("sub", ""),
                groups=PrefixedClaim("roles", "oidc:"),
                uid_claim="oid",
                required_claims=(RequiredClaim("tenant", "1"), RequiredClaim("nothing", "")),
            ),
        ),
        None,
    )


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
def test_every_version_is_accepted_and_optional_fields_may_be_absent(version: str) -> None:
    text = f"{HEAD.replace('/v1', f'/{version}')}jwt:\n{MINIMAL}"
    (entry,) = load(text).jwt
    assert (entry.groups, entry.uid_claim, entry.required_claims, entry.issuer.discovery_url) == (None, None, (), "")


def test_configuration_without_issuers_is_valid() -> None:
    assert load(HEAD).jwt == ()


@pytest.mark.parametrize(
    ("text", "anonymous"),
    [
        ("", None),
        ("anonymous: {}\n", None),
        ("anonymous: {enabled: false}\n", None),
        ("anonymous: {enabled: false, conditions: []}\n", None),
        ("anonymous: {enabled: true}\n", AnonymousAccess(frozenset())),
        ("anonymous: {enabled: true, conditions: []}\n", AnonymousAccess(frozenset())),
        (
            "anonymous: {enabled: true, conditions: [{path: /livez}, {path: /readyz}]}\n",
            AnonymousAccess(frozenset({"/livez", "/readyz"})),
        ),
        ("anonymous: {enabled: true, conditions: [{}]}\n", AnonymousAccess(frozenset({""}))),
    ],
)
def test_anonymous_access_is_off_unless_enabled(text: str, anonymous: AnonymousAccess | None) -> None:
    assert load(HEAD + text).anonymous == anonymous


def test_an_issuer_of_service_accounts_is_no_issuer_of_others() -> None:
    with pytest.raises(InvalidAuthenticationConfiguration) as raised:
        load(f"{HEAD}jwt:\n{MINIMAL}", service_account_issuers=("https://issuer.example",))
    assert "jwt[0].issuer.url: must not overlap with disallowed issuers" in str(raised.value)


def test_all_mistakes_are_told_with_their_positions() -> None:
    text = """apiVersion: apiserver.config.k8s.io/v2
kind: Config
jwts: []
jwt:
- issuer:
    url: http://user@issuer.example/?x#y
    audiences: [us, us]
    audiences: []
  claimMappings:
    username: {claim: sub}
    groups: {claim: 7, prefix: ""}
    extra:
    - key: example.org/team
      valueExpression: claims.team
  userValidationRules:
  - expression: "true"
anonymous: {enabled: false, conditions: [{path: /livez}], paths: []}
"""
    assert findings(text) == [
        "1:13: apiVersion: unsupported value `apiserver.config.k8s.io/v2`, expected apiserver.config.k8s.io/v1 "
        "or apiserver.config.k8s.io/v1beta1 or apiserver.config.k8s.io/v1alpha1",
        "2:7: kind: unsupported value `Config`, expected AuthenticationConfiguration",
        "3:1: jwts: unknown field",
        "6:10: jwt[0].issuer.url: URL scheme must be https",
        "6:10: jwt[0].issuer.url: URL must not contain a username or password",
        "6:10: jwt[0].issuer.url: URL must not contain a query",
        "6:10: jwt[0].issuer.url: URL must not contain a fragment",
        "7:16: jwt[0].issuer.audiences: more than one audience needs audienceMatchPolicy: MatchAny",
        "7:21: jwt[0].issuer.audiences[1]: duplicate value `us`",
        "8:5: jwt[0].issuer.audiences: duplicate field",
        '10:15: jwt[0].claimMappings.username.prefix: required with a claim, "" for none',
        "11:21: jwt[0].claimMappings.groups.claim: expected a string",
        "13:7: jwt[0].claimMappings.extra[0]: CEL expressions are not supported yet",
        "16:5: jwt[0].userValidationRules[0]: CEL expressions are not supported yet",
        "17:41: anonymous.conditions: enabled should be set to true when conditions are defined",
        "17:59: anonymous.paths: unknown field",
    ]


@pytest.mark.parametrize(
    ("expected", "entry"),
    [
        ("jwt[0].issuer: required", '- claimMappings: {username: {claim: sub, prefix: ""}}'),
        ("jwt[0].claimMappings: required", "- issuer: {url: https://a.example, audiences: [us]}"),
        ("jwt[0].claimMappings.username: required", MINIMAL.replace("username", "groups")),
        ("jwt[0].issuer.url: required", MINIMAL.replace("url: https://issuer.example, ", "")),
        ("jwt[0].issuer.audiences: at least one is required", MINIMAL.replace("[us]", "[]")),
        ("jwt[0].issuer.audiences: required", MINIMAL.replace(", audiences: [us]", "")),
        ("jwt[0].issuer.audiences[0]: required", MINIMAL.replace("[us]", '[""]')),
        ("jwt[0].issuer.audiences[0]: expected a string", MINIMAL.replace("[us]", "[7]")),
        ("jwt[0].issuer.audiences: expected a list", MINIMAL.replace("[us]", "us")),
        (
            "jwt[0].issuer.audienceMatchPolicy: unsupported value `MatchAll`, expected MatchAny",
            MINIMAL.replace("[us]", "[us], audienceMatchPolicy: MatchAll"),
        ),
        (
            "jwt[0].issuer.egressSelectorType: egress selectors are not supported",
            MINIMAL.replace("[us]", "[us], egressSelectorType: cluster"),
        ),
        (
            "jwt[0].issuer.certificateAuthority: not a PEM bundle of certificates",
            MINIMAL.replace("[us]", "[us], certificateAuthority: /etc/ca.crt"),
        ),
        (
            "jwt[0].issuer.discoveryURL: must be different from url",
            MINIMAL.replace("[us]", "[us], discoveryURL: https://issuer.example/"),
        ),
        ("jwt[0].issuer.url: URL must have a host", MINIMAL.replace("https://issuer.example", "'https:///x'")),
        ("jwt[0].issuer.url: not a URL", MINIMAL.replace("https://issuer.example", "'https://[x'")),
        ("jwt[0].issuer.url: not a URL", MINIMAL.replace("https://issuer.example", "'https://a b'")),
        ("jwt[0].issuer.url: not a URL", MINIMAL.replace("https://issuer.example", "'https://a:99999'")),
        ("jwt[0].claimMappings.username.expression: CEL expressions are not supported yet",
         MINIMAL.replace('claim: sub, prefix: "oidc:"', "expression: claims.sub")),
        ("jwt[0].claimMappings.username.claim: required", MINIMAL.replace("claim: sub, ", "")),
        ("jwt[0].claimMappings.username.prefix: expected a string", MINIMAL.replace('"oidc:"', "true")),
        ("jwt[0].claimMappings.username: expected a mapping", MINIMAL.replace('{claim: sub, prefix: "oidc:"}', "sub")),
        ("jwt[0].claimMappings.uid.expression: CEL expressions are not supported yet",
         MINIMAL.replace("{username", "{uid: {expression: x}, username")),
        ("jwt[0].claimValidationRules[0].expression: CEL expressions are not supported yet",
         MINIMAL + "  claimValidationRules: [{expression: x}]"),
        ("jwt[0].claimValidationRules[0].claim: required", MINIMAL + "  claimValidationRules: [{}]"),
        ("jwt[0].claimValidationRules[0].message: may not stand beside claim",
         MINIMAL + "  claimValidationRules: [{claim: a, message: b}]"),
        ("jwt[0].claimValidationRules[1].claim: duplicate value `a`",
         MINIMAL + "  claimValidationRules: [{claim: a}, {claim: a}]"),
        ("jwt[0].claimValidationRules[0].requiredValue: expected a string",
         MINIMAL + "  claimValidationRules: [{claim: a, requiredValue: 1}]"),
        ("jwt[1].issuer.url: duplicate value `https://issuer.example`", MINIMAL + MINIMAL),
        ("jwt[0].issuer.Url: unknown field", MINIMAL.replace("[us]", "[us], Url: x")),
        ("jwt[0].<<: unknown field", MINIMAL + "  <<: {}"),
        ("jwt[0].issuer.a\\x1b[2J: unknown field", MINIMAL.replace("[us]", '[us], "a\\e[2J": x')),
    ],
)  # fmt: skip
def test_mistake_is_told_with_its_path(expected: str, entry: str) -> None:
    assert problems(entry) == [expected]


def test_discovery_url_is_used_once() -> None:
    first = MINIMAL.replace("[us]", "[us], discoveryURL: https://inside.example")
    second = first.replace("https://issuer.example", "https://other.example")
    assert problems(first + second) == ["jwt[1].issuer.discoveryURL: duplicate value `https://inside.example`"]


def test_at_most_64_issuers() -> None:
    entries = [MINIMAL.replace("issuer.example", f"issuer{number}.example") for number in range(65)]
    assert len(load(f"{HEAD}jwt:\n{''.join(entries[:64])}").jwt) == 64
    assert problems("".join(entries)) == ["jwt: must have at most 64 items, found 65"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: expected one document, found 0"),
        (f"{HEAD}---\n{HEAD}", "1:1: expected one document, found 2"),
        ("- a\n", "1:1: expected a mapping"),
        ("a: [\n", "2:1: "),
        (f"{HEAD}jwt: {{}}\n", "3:6: jwt: expected a list"),
        (f"{HEAD}anonymous: {{enabled: 'false'}}\n", "3:22: anonymous.enabled: expected true or false"),
        (f"{HEAD}anonymous: {{enabled: yes}}\n", "3:22: anonymous.enabled: expected true or false"),
        (
            f"{HEAD}anonymous: {{enabled: true, conditions: [/livez]}}\n",
            "3:41: anonymous.conditions[0]: expected a map",
        ),
        (f"{HEAD}anonymous: {{enabled: true, conditions: [{{path: 7}}]}}\n", "3:48: anonymous.conditions[0].path: exp"),
        (f"{HEAD}jwt: &a\n- *a\n", "3:6: jwt[0]: aliases are not allowed"),
        ("\x00", "1:1: "),
    ],
)
def test_document_of_another_shape_is_an_error(text: str, expected: str) -> None:
    assert findings(text)[0].startswith(expected)


def test_alias_would_give_one_issuer_the_rules_of_another() -> None:
    text = f"{HEAD}jwt:\n- issuer: {{url: https://a.example, audiences: [us]}}\n  claimMappings: &m\n"
    text += '    username: {claim: sub, prefix: "a:"}\n- issuer: {url: https://b.example, audiences: [us]}\n'
    assert "jwt[1].claimMappings: aliases are not allowed" in findings(text + "  claimMappings: *m\n")[0]

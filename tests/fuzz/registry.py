"""Every harness by its name, which is also the name of its folder in the corpus.

A harness takes any bytes and returns, or fails an assertion: it states what holds for whatever comes, so that finding
nothing means something. It raises nothing that the parser under test does not document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.fuzz.harnesses import bodies, credentials, policy, requests, selectors, upstream

Harness = Callable[[bytes], None]

CORPUS = Path(__file__).parent / "corpus"

HARNESSES: Mapping[str, Harness] = {
    harness.__name__: harness
    for harness in (
        requests.http_requests,
        requests.request_target,
        requests.list_options,
        requests.accept,
        requests.impersonation,
        selectors.label_selector,
        selectors.field_selector,
        upstream.http_response,
        upstream.watch_events,
        upstream.list_body,
        bodies.protobuf,
        bodies.review,
        credentials.bearer_token,
        credentials.certificate_subject,
        policy.policy,
        policy.authentication_config,
        policy.token_file,
        policy.signing_keys,
        policy.continue_token,
    )
}


def kept_inputs(name: str) -> list[Path]:
    """The files of a harness's corpus."""
    return sorted(path for path in (CORPUS / name).iterdir() if path.is_file())

"""The bearer token of a request's Authorization header.

Source: k8s.io/apiserver/pkg/authentication/request/bearertoken
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# Service account tokens are about 1 KiB, large identity providers' 4 KiB. Longer tokens are refused unread.
MAX_TOKEN_BYTES: Final = 8 * 1024


def parse_authorization(values: Sequence[bytes]) -> bytes | None:
    """The token in the raw values of a request's Authorization fields; None where upstream sees no credential.

    Only the first value counts. The scheme is read without case, a third word is ignored, two spaces after the scheme
    make it no credential.
    """
    if not values:
        return None
    words = values[0].strip().split(b" ", 2)
    if len(words) < 2 or words[0].lower() != b"bearer" or not words[1]:
        return None
    return words[1]

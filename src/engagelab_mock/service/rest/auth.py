"""HTTP Basic: who may call."""

from __future__ import annotations

import binascii
import hmac

from engagelab_mock.service.rest.exchange import ApiError
from engagelab_mock.service.rest.settings import ApiSettings

_CHALLENGE = (("WWW-Authenticate", 'Basic realm="EngageLab OTP"'),)


def authenticate(authorization: str | None, settings: ApiSettings) -> None:
    """Raise `ApiError` unless the header holds a pair that is let in: the one in the settings, or else any.

    >>> authenticate("Basic a2V5OnNlY3JldA==", ApiSettings())
    >>> authenticate("Bearer a2V5", ApiSettings())
    Traceback (most recent call last):
    ...
    engagelab_mock.service.rest.exchange.ApiError: 2001, the Authorization header is not HTTP Basic
    """
    if not authorization:
        raise _refused("there is no Authorization header")
    key, secret = _pair(authorization)
    if not key or not secret:
        raise _refused("dev_key or dev_secret is empty")
    if settings.pinned:
        # Both are compared whatever comes of the first, and neither in a time that tells how much of it was right.
        right = hmac.compare_digest(key.encode(), settings.dev_key.encode())
        if not hmac.compare_digest(secret.encode(), settings.dev_secret.encode()) or not right:
            raise _refused("dev_key or dev_secret is wrong")


def _pair(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        raise _refused("the Authorization header is not HTTP Basic")
    try:
        decoded = binascii.a2b_base64(encoded.strip().encode("ascii"), strict_mode=True).decode("utf-8")
    except (ValueError, UnicodeError):
        raise _refused("the Authorization header is not base64 of dev_key:dev_secret") from None
    key, colon, secret = decoded.partition(":")
    if not colon:
        raise _refused("the Authorization header is not base64 of dev_key:dev_secret")
    return key, secret


def _refused(why: str) -> ApiError:
    return ApiError(2001, why, headers=_CHALLENGE)

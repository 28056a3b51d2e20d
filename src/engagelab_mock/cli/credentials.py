"""Username and secret for the commands that cannot do without."""

from __future__ import annotations

from engagelab_mock.config import SETTINGS
from engagelab_mock.errors import InvalidSettings
from engagelab_mock.protocol.settings import CallbackSettings


def required(username: str, secret: str) -> CallbackSettings:
    """Return settings that sign, or raise `InvalidSettings` saying what is missing.

    >>> required("acme", "s3cret").signs
    True
    """
    settings = CallbackSettings(username=username, secret=secret)
    if not settings.signs:
        raise InvalidSettings(
            "a username and a secret are needed",
            where="--username",
            hint="give --username and --secret, or set"
            f" {SETTINGS['username'].environment} and {SETTINGS['secret'].environment}",
        )
    return settings

"""What a command builds an `EngageLab` from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from engagelab_mock.clock import SystemClock, VirtualClock
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.errors import EngageLabMockError, UsageError


@contextmanager
def refusals(journal: Journal) -> Iterator[None]:
    """Enter in the journal what cannot be used before there is an engine that would."""
    try:
        yield
    except EngageLabMockError as error:
        journal.refuse(error, at=time.time())
        raise


def clock_for(speed: float) -> VirtualClock | SystemClock:
    """Return a clock that lets delays pass at once, or one that is `speed` times as fast as the machine's.

    >>> type(clock_for(0)).__name__
    'VirtualClock'
    """
    return VirtualClock() if speed == 0 else SystemClock(speed)


def course(chosen: str) -> str | list[str]:
    """Read a SCENARIO argument: one word is a scenario's name, several are statuses.

    >>> course("verified"), course("plan,sent")
    ('verified', ['plan', 'sent'])
    """
    return [status.strip() for status in chosen.split(",")] if "," in chosen else chosen


def custom_args(pairs: tuple[str, ...]) -> dict[str, str] | None:
    """Read the --custom-arg options, or raise `UsageError` for one without `=`.

    >>> custom_args(("order=42", "note=a=b"))
    {'order': '42', 'note': 'a=b'}
    """
    args: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{pair!r} is not KEY=VALUE", where="--custom-arg", hint="such as --custom-arg order=42")
        args[key] = value
    return args or None


def tls_verify(insecure: bool, ca: str | None) -> bool | str:
    """Say which certificates to trust, or raise `UsageError` when told two things.

    >>> tls_verify(False, None)
    True
    """
    if insecure and ca:
        raise UsageError(
            "--insecure trusts any certificate, and --ca only those in a file",
            where="--insecure",
            hint="give one of the two, and look for the other in the environment and in pyproject.toml",
        )
    return ca or not insecure

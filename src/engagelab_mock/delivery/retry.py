"""Retry policies: when a callback that was not acknowledged is sent again."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engagelab_mock.clock import check_delay
from engagelab_mock.errors import UsageError

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


class RetryPolicy(msgspec.Struct, frozen=True):
    """Hold the waits, in seconds, before the second attempt, the third, and so on; then the delivery is given up.

    >>> RetryPolicy((1, 10)).wait_after(2)
    10

    Without waits, there are no retries. The document does not mention retries. Each retry is a new request, with the
    same body and a new timestamp, nonce and signature [?].
    """

    waits: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        waits: object = self.waits
        if isinstance(waits, str) or not isinstance(waits, Sequence):
            raise UsageError(f"waits are a list of seconds, not {self.waits!r}", where="RetryPolicy", hint="(60, 600)")
        for number, wait in enumerate(self.waits, 1):
            check_delay(wait, where=f"RetryPolicy, wait {number}")

    @classmethod
    def vendor(cls) -> RetryPolicy:
        """Return the policy of the vendor's guides: 1 min, 10 min, 1 h, 2 h, 5 h, 10 h, then daily, 24 retries [X].

        >>> len(RetryPolicy.vendor().waits)
        24
        """
        climb = (_MINUTE, 10 * _MINUTE, _HOUR, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR)
        return cls(climb + (_DAY,) * (24 - len(climb)))

    @classmethod
    def every(cls, seconds: float, *, times: int) -> RetryPolicy:
        """Retry that many times, the same number of seconds apart.

        >>> RetryPolicy.every(5, times=2).waits
        (5, 5)
        """
        number: object = times
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise UsageError(f"times is a number from 0, not {times!r}", where="RetryPolicy.every")
        return cls((seconds,) * times)

    def wait_after(self, attempts: int) -> float | None:
        """Return the seconds to wait after that many attempts, or None after the last attempt."""
        return self.waits[attempts - 1] if attempts <= len(self.waits) else None


#: No retry: the default in tests, so that they show the first failure.
NO_RETRY = RetryPolicy()


def retry_policy(chosen: object, *, where: str = "retry") -> RetryPolicy:
    """Return a given policy, or one made from a list of waits in seconds; None means no retry.

    >>> retry_policy([1, 2]).waits
    (1, 2)
    """
    if chosen is None:
        return NO_RETRY
    if isinstance(chosen, RetryPolicy):
        return chosen
    if isinstance(chosen, str) or not isinstance(chosen, Sequence):
        raise UsageError(
            f"retry is a RetryPolicy or a list of seconds, not {chosen!r}",
            where=where,
            hint="the vendor's policy is RetryPolicy.vendor()",
        )
    return RetryPolicy(tuple(chosen))

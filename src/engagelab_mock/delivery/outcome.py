"""What can come of one attempt."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engagelab_mock.delivery.model import Response


class Outcome(StrEnum):
    """Name what came of an attempt; only `ACKNOWLEDGED` counts as delivered.

    >>> Outcome.REFUSED.unreachable, Outcome.NOT_200.unreachable
    (True, False)
    """

    #: Opened in the journal and not completed: the process ended, or the attempt is under way.
    PENDING = "pending"
    #: HTTP 200 in time.
    ACKNOWLEDGED = "acknowledged"
    #: A redirect, which is not followed.
    REDIRECT = "redirect"
    #: A complete answer with any other status.
    NOT_200 = "not_200"
    #: No complete answer in time.
    TIMEOUT = "timeout"
    #: Nothing listens at the address.
    REFUSED = "refused"
    #: The host name does not resolve.
    DNS_FAILURE = "dns_failure"
    #: No connection in time.
    CONNECT_TIMEOUT = "connect_timeout"
    #: The network, or the system, does not let us there.
    UNREACHABLE = "unreachable"
    #: No TLS session: certificate, host name, protocol.
    TLS_FAILURE = "tls_failure"
    #: The connection was reset.
    RESET = "reset"
    #: The connection was closed without an answer.
    CLOSED = "closed"
    #: The connection was closed in the middle of the answer.
    INCOMPLETE = "incomplete"
    #: The answer is not HTTP (or, in process, breaks WSGI or ASGI).
    MALFORMED = "malformed"
    #: A fault had the sender break the exchange off, or lose the answer.
    ABANDONED = "abandoned"
    #: In process: the app raised and answered nothing.
    APP_RAISED = "app_raised"

    @property
    def unreachable(self) -> bool:
        """Tell whether the receiver never saw a request; the command line exits 3 on it."""
        return self in _UNREACHABLE


_UNREACHABLE = frozenset(
    {Outcome.REFUSED, Outcome.DNS_FAILURE, Outcome.CONNECT_TIMEOUT, Outcome.UNREACHABLE, Outcome.TLS_FAILURE}
)


class TransportFailure(Exception):
    """Carry from a transport to the sender that no complete answer came, and why.

    >>> TransportFailure(Outcome.RESET, "connection reset").outcome
    <Outcome.RESET: 'reset'>
    """

    def __init__(self, outcome: Outcome, reason: str, *, response: Response | None = None) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason
        #: What had arrived of an answer, if anything had.
        self.response = response

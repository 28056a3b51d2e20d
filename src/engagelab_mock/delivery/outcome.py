"""The outcome of an attempt, and a hint for each way to fail."""

from __future__ import annotations

import sys
import threading
from enum import StrEnum
from typing import TYPE_CHECKING

from engagelab_mock.errors import reduce_error

if TYPE_CHECKING:
    from engagelab_mock.delivery.model import Attempt, Delivery, Response


class Outcome(StrEnum):
    """Name the outcome of an attempt; only `ACKNOWLEDGED` counts as delivered.

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
    #: The network or the operating system refuses the connection.
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
    #: The sender stopped the exchange or lost the answer: a fault made it, or its task was cancelled.
    ABANDONED = "abandoned"
    #: In process: the app raised an exception instead of answering.
    APP_RAISED = "app_raised"

    @property
    def unreachable(self) -> bool:
        """Tell whether the receiver never saw a request; the command line exits 3 on it."""
        return self in _UNREACHABLE


_UNREACHABLE = frozenset(
    {Outcome.REFUSED, Outcome.DNS_FAILURE, Outcome.CONNECT_TIMEOUT, Outcome.UNREACHABLE, Outcome.TLS_FAILURE}
)


class TransportFailure(Exception):
    """Tell the sender that the transport got no complete answer, and why.

    >>> TransportFailure(Outcome.RESET, "connection reset").outcome
    <Outcome.RESET: 'reset'>
    """

    def __init__(self, outcome: Outcome, reason: str, *, response: Response | None = None) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason
        #: The answer, if one arrived all the same.
        self.response = response

    __reduce__ = reduce_error


def app_raised(error: BaseException) -> TransportFailure:
    """Return the failure of an app that raised an exception of any kind instead of answering.

    >>> app_raised(SystemExit(1)).reason
    'the app raised SystemExit: 1'
    """
    return TransportFailure(Outcome.APP_RAISED, f"the app raised {type(error).__name__}: {error}".removesuffix(": "))


def ends_the_run(error: BaseException) -> bool:
    """Tell whether an exception from an app goes on after it was recorded, because a signal may have raised it.

    Signals raise in the main thread only: Ctrl-C raises `KeyboardInterrupt`, and a plugin that limits the time of a
    test calls `pytest.fail`. An app that raises the same by itself looks the same.

    >>> ends_the_run(KeyboardInterrupt()), ends_the_run(SystemExit())
    (True, False)
    """
    pytest = sys.modules.get("pytest")
    kinds = (pytest.fail.Exception, pytest.skip.Exception, pytest.exit.Exception) if pytest is not None else ()
    by_signal = isinstance(error, (KeyboardInterrupt, *kinds))
    return by_signal and threading.current_thread() is threading.main_thread()


_BY_OUTCOME = {
    Outcome.REDIRECT: "EngageLab does not follow redirects: register the final address, and check the trailing slash",
    Outcome.REFUSED: "start the receiver first, and check the host and port of its address",
    Outcome.DNS_FAILURE: "check the spelling of the host",
    Outcome.CONNECT_TIMEOUT: "check that the host is up and that no firewall drops the connection",
    Outcome.UNREACHABLE: "check the host and this machine's network",
    Outcome.TLS_FAILURE: "for your own certificate pass tls_verify='ca.pem', or tls_verify=False (--insecure);"
    " for a plain-text port use http://",
    Outcome.RESET: "the receiver's process may have crashed, or a proxy in front of it gave up: look at their logs",
    Outcome.CLOSED: "the receiver's process may have crashed, or a proxy in front of it gave up: look at their logs",
    Outcome.INCOMPLETE: "the receiver announced a longer answer than it sent, or stopped midway: look at its log",
    Outcome.MALFORMED: "something that does not speak HTTP answers at this address; is it the right port?",
}
_ACKNOWLEDGE_FIRST = "answer first and do the work afterwards: EngageLab waits 3 s; pass limit=None while you debug"


def hint_for(delivery: Delivery) -> str:
    """Return what to try next, from the outcome of the last attempt.

    >>> from engagelab_mock import EngageLab, Receiver
    >>> with EngageLab(Receiver.http("http://127.0.0.1:1/")) as engagelab:
    ...     run = engagelab.send("+6591234567", check=False)
    >>> hint_for(run.deliveries[0])
    'start the receiver first, and check the host and port of its address'
    """
    attempt = delivery.attempts[-1]
    if attempt.outcome is Outcome.TIMEOUT:
        return _ACKNOWLEDGE_FIRST
    if attempt.outcome is Outcome.APP_RAISED or (attempt.response and attempt.exception):
        return "the app's own exception is the cause shown with this failure"
    if attempt.outcome is Outcome.NOT_200 and attempt.response:
        return _for_status(delivery, attempt, attempt.response.status, attempt.response.text)
    if attempt.outcome is Outcome.MALFORMED and delivery.receiver.transport.name != "http":
        return "the app breaks its server interface; a server in front of it would answer 500"
    return _BY_OUTCOME.get(attempt.outcome, "")


def _for_status(delivery: Delivery, attempt: Attempt, status: int, text: str) -> str:
    if 200 < status < 300:
        return "EngageLab's document names exactly 200 [S]; answer with an empty 200 instead"
    if status == 403 and "CSRF" in text:
        return "exempt the view from CSRF protection: EngageLab cannot send a token (@csrf_exempt in Django)"
    if status in {401, 403}:
        return _for_refused_identity(delivery, attempt)
    if status == 400 and ("ALLOWED_HOSTS" in text or "Invalid host" in text or "DisallowedHost" in text):
        return "the app refuses the Host header: pass the host it expects as base_url='http://…'"
    if status in {400, 415, 422}:
        unread = "the receiver could not read the body: it is JSON, with the rows under 'rows'"
        if status == 400 and delivery.receiver.transport.name != "http":
            unread += "; or it refuses the Host header (Django's ALLOWED_HOSTS): base_url='http://…' sets another"
        return unread
    if status == 404:
        return f"no route matches {delivery.receiver.address}: check the path the receiver was given"
    if status == 405:
        return "the route exists but does not accept POST: add it to the route's methods"
    if status >= 500:
        return (
            "the handler failed: its traceback is in the app's log. In Flask, a view that returns nothing answers 500,"
            " so end it with `return '', 200`; with app.testing = True the exception shows here"
        )
    return "answer 200 with an empty body"


def _for_refused_identity(delivery: Delivery, attempt: Attempt) -> str:
    settings = delivery.receiver.settings
    if not delivery.events and settings.signs and "X-CALLBACK-ID" not in attempt.callback.headers:
        return "the ping of EngageLab's document is unsigned [S]: let an empty body pass without a signature"
    if settings.signs:
        signed = f"it was signed as {settings.username!r}: does the receiver use the same username and secret?"
        return signed + (" Its clock must agree to 300 s" if delivery.receiver.signature_clock == "wall" else "")
    if settings.authorization:
        return "does the receiver expect this Authorization value?"
    return "the receiver wants a signature or an Authorization: give Receiver the username and secret it expects"

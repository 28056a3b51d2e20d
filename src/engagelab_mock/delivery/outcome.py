"""The outcome of an attempt, and a hint for each way to fail."""

from __future__ import annotations

import re
import sys
import threading
from enum import StrEnum
from types import MethodType
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


def outcome_of(status: int, elapsed: float, limit: float | None) -> Outcome:
    """Return the outcome of a complete answer: only HTTP 200 in time acknowledges [S].

    >>> outcome_of(200, 0.1, 3.0), outcome_of(204, 0.1, 3.0)
    (<Outcome.ACKNOWLEDGED: 'acknowledged'>, <Outcome.NOT_200: 'not_200'>)
    """
    if limit is not None and elapsed > limit:
        return Outcome.TIMEOUT
    if status == 200:
        return Outcome.ACKNOWLEDGED
    return Outcome.REDIRECT if 300 <= status < 400 else Outcome.NOT_200


class TransportFailure(Exception):
    """Tell the sender that the transport got no complete answer, and the reason.

    >>> TransportFailure(Outcome.RESET, "connection reset").outcome
    <Outcome.RESET: 'reset'>
    """

    def __init__(self, outcome: Outcome, reason: str, *, response: Response | None = None) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason
        #: The answer, if one arrived nevertheless.
        self.response = response

    __reduce__ = reduce_error


def app_raised(error: BaseException) -> TransportFailure:
    """Return the failure of an app that raised an exception of any kind instead of answering.

    >>> app_raised(SystemExit(1)).reason
    'the app raised SystemExit: 1'
    """
    return TransportFailure(Outcome.APP_RAISED, f"the app raised {type(error).__name__}: {error}".removesuffix(": "))


def ends_the_run(error: BaseException) -> bool:
    """Tell whether an app's exception is raised again after it was recorded, because a signal may have raised it.

    Signals raise only in the main thread: Ctrl-C raises `KeyboardInterrupt`, and a plugin that limits the time of a
    test calls `pytest.fail`. If an app raises the same exception by itself, it looks the same.

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
    Outcome.RESET: "the receiver's process may have crashed, or a proxy in front of it gave up: look at their logs",
    Outcome.CLOSED: "the receiver's process may have crashed, or a proxy in front of it gave up: look at their logs",
    Outcome.INCOMPLETE: "the receiver announced a longer answer than it sent, or stopped midway: look at its log",
    Outcome.MALFORMED: "something that does not speak HTTP answers at this address; is it the right port?",
}


def hint_for(delivery: Delivery, *, python: bool = True) -> str:
    """Return a hint, chosen by the outcome of the last attempt.

    With `python`, it names arguments of this package, else options of the command line.

    >>> from engagelab_mock import EngageLab, Receiver
    >>> with EngageLab(Receiver.http("http://127.0.0.1:1/")) as engagelab:
    ...     run = engagelab.send("+6591234567", check=False)
    >>> hint_for(run.deliveries[0])
    'start the receiver first, and check the host and port of its address'
    """
    attempt = delivery.attempts[-1]
    if attempt.outcome is Outcome.TIMEOUT:
        longer = "pass limit=None" if python else "give a longer --timeout"
        return f"answer first and do the work afterwards: EngageLab waits 3 s; {longer} while you debug"
    if attempt.outcome is Outcome.TLS_FAILURE:
        trust = "pass tls_verify='ca.pem', or tls_verify=False" if python else "give --ca ca.pem, or --insecure"
        return f"for your own certificate {trust}; for a plain-text port use http://"
    if attempt.outcome is Outcome.APP_RAISED or (attempt.response and attempt.exception):
        return "the app's own exception is the cause shown with this failure" if python else ""
    if attempt.outcome is Outcome.NOT_200 and attempt.response:
        return _for_status(delivery, attempt, attempt.response, python=python)
    if attempt.outcome is Outcome.MALFORMED and _in_process(delivery):
        return "the app breaks its server interface; a server in front of it would answer 500"
    return _BY_OUTCOME.get(attempt.outcome, "")


def _for_status(delivery: Delivery, attempt: Attempt, response: Response, *, python: bool) -> str:
    status, text = response.status, response.text
    framework = _framework(delivery, response)
    if 200 < status < 300:
        return "EngageLab's document names exactly 200 [S]; answer with an empty 200 instead"
    if 400 <= status < 500 and "csrf" in text.lower():
        exempt = {"Django": " (@csrf_exempt)", "Flask": " (@csrf.exempt of Flask-WTF)"}.get(framework, "")
        return f"exempt the view from CSRF protection{exempt}: EngageLab cannot send a token"
    if status in {401, 403}:
        return _for_refused_identity(delivery, attempt, python=python)
    if status == 400 and ("ALLOWED_HOSTS" in text or "invalid host" in text.lower() or "DisallowedHost" in text):
        return f"the app refuses the Host header: {_another_host(delivery)}"
    if status in {400, 415, 422}:
        unread = "the receiver could not read the body: it is JSON, with the rows under 'rows'"
        if framework == "FastAPI":
            return f"{unread}; the `detail` of its answer names the field that its model does not accept"
        if status == 400 and _in_process(delivery) and framework in {"", "Django"}:
            setting = " (ALLOWED_HOSTS)" if framework else ""
            return f"{unread}; or it refuses the Host header{setting}: {_another_host(delivery)}"
        return unread
    if status == 404 and f"Cannot {attempt.method}" in text:
        return f"no route takes {attempt.method} at {delivery.receiver.address}: check the path, and app.post"
    if status == 404:
        return f"no route matches {delivery.receiver.address}: check the path the receiver was given"
    if status == 405:
        return f"the route exists but does not accept POST: {_ACCEPT.get(framework, 'let it')}"
    if status in {502, 504}:
        return "a proxy in front of the app got no answer from it: look at the logs of both"
    if status == 503:
        return "the receiver, or a proxy in front of it, says that it is not available: is it starting, or overloaded?"
    if status >= 500:
        return _for_failed_handler(delivery, response, framework)
    return "answer 200 with an empty body"


#: How to route POST in each framework.
_ACCEPT = {
    "Flask": "@app.post(…), or methods=['POST'] in @app.route",
    "FastAPI": "declare it with @app.post(…)",
    "Django": "see the view's @require_…, or name its method post",
}


def _for_failed_handler(delivery: Delivery, response: Response, framework: str) -> str:
    known = _in_process(delivery) or framework or _PYTHON.search(response.headers.get("Server") or "")
    failed = (
        f"the handler failed: its {'traceback' if known and framework != _EXPRESS else 'error'} is in the app's log"
    )
    if framework == "Flask":
        failed += ". In Flask, a view that returns nothing answers 500, so end it with `return '', 200`"
    switch = {"Flask": "app.testing = True", "Django": "DEBUG_PROPAGATE_EXCEPTIONS = True"}.get(framework, "")
    return f"{failed}; with {switch} the exception shows here" if switch and _in_process(delivery) else failed


def _for_refused_identity(delivery: Delivery, attempt: Attempt, *, python: bool) -> str:
    settings = delivery.receiver.settings
    if not delivery.events and settings.signs and "X-CALLBACK-ID" not in attempt.callback.headers:
        return "the ping of EngageLab's document is unsigned [S]: let an empty body pass without a signature"
    if settings.signs:
        signed = f"it was signed as {settings.username!r}: does the receiver use the same username and secret?"
        return signed + (" Its clock must agree to 300 s" if delivery.receiver.signature_clock == "wall" else "")
    if settings.authorization:
        return "does the receiver expect this Authorization value?"
    given = "give Receiver the username and secret" if python else "give the --username and --secret"
    return f"the receiver wants a signature or an Authorization: {given} it expects"


def _in_process(delivery: Delivery) -> bool:
    return delivery.receiver.transport.name != "http"


def _another_host(delivery: Delivery) -> str:
    if _in_process(delivery):
        return "pass the host it expects as base_url='http://…'"
    return "call the app by a name that it allows, or allow this one"


_EXPRESS = "Express"
#: Servers that are written in Python, in a Server header.
_PYTHON = re.compile("Werkzeug|gunicorn|uvicorn|hypercorn|daphne|waitress|Python")
#: Texts that only one framework writes in its own answers.
_SAYS = {
    "CSRF verification failed": "Django",
    "DEBUG = True</code> in your Django settings": "Django",
    "<h1>Server Error (500)</h1>": "Django",
    "Either the server is overloaded or there is an error in the application": "Flask",
    '{"detail":[{"type":': "FastAPI",
    '{"detail":"Method Not Allowed"}': "FastAPI",
}
#: The frameworks, by the package of an app's class.
_PACKAGES = {"flask": "Flask", "django": "Django", "fastapi": "FastAPI"}
#: The attributes in which middleware keeps the app, and how many layers of middleware are searched.
_INNER, _LAYERS = ("app", "application", "wsgi_app"), 10


def _framework(delivery: Delivery, response: Response) -> str:
    """Return the name of the framework that answered: of an in-process app, or as its answer shows; else empty."""
    app: object = getattr(delivery.receiver.transport, "app", None)
    for _ in range(_LAYERS):
        app = app.__self__ if isinstance(app, MethodType) else app  # Flask's middleware wraps `app.wsgi_app`
        for kind in type(app).__mro__:
            if found := _PACKAGES.get(kind.__module__.partition(".")[0]):
                return found
        # Without `getattr`, which could run code of the app.
        app = next((vars(app)[name] for name in _INNER if name in getattr(app, "__dict__", {})), None)
    headers, text = response.headers, response.text
    if "Werkzeug" in (headers.get("Server") or ""):
        return "Flask"
    if headers.get("X-Powered-By") == _EXPRESS:
        return _EXPRESS
    if headers.get("Referrer-Policy") == headers.get("Cross-Origin-Opener-Policy") == "same-origin":
        return "Django"  # its SecurityMiddleware adds it
    return next((framework for said, framework in _SAYS.items() if said in text), "")

"""Family E, the wire: does the receiver understand a callback in every form of HTTP, and can it be reached?"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import time
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec

from engagelab_mock.checks.check import Check, Fix, Severity
from engagelab_mock.checks.profile import accepted, describe
from engagelab_mock.checks.stimulus import half_held, header
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.eventloop import stopwatch

#: How long the sender waits for "100 Continue" before it sends the body without it, in seconds.
WAITS = (0.1, 0.3)
#: The time in which a server must close a connection that it does not keep, in seconds.
_TO_CLOSE = 0.05
#: How much longer a callback may take while another connection holds half a callback, in seconds.
MEANWHILE = 1.5
#: The statuses with which HTTP lets a server refuse a body without a length, and an expectation.
_MAY_REFUSE = {"chunked": 411, "expect_continue": 417}


def _same_outcome(trial: Trial, *faults: Fault | str, what: str) -> None:
    """Fail unless a callback that is sent in an unusual way is accepted and applied like other callbacks."""
    message = trial.message()
    attempt = trial.send(message, *faults)
    status = attempt.response.status if attempt.response is not None else 0
    if status in {_MAY_REFUSE.get(each.name) for each in attempt.faults}:
        trial.warn(f"{what} was {describe(attempt)}: a sender that cannot send it in another way never succeeds")
        return
    trial.expect_accepted(attempt, what)
    trial.expect_effect(message, what)


def _chunked(trial: Trial) -> None:
    _same_outcome(trial, "chunked", what="a callback sent in chunks, without a length,")


def _expectation(trial: Trial) -> None:
    for wait in WAITS:
        _same_outcome(trial, fault("expect_continue", wait=wait), what=f"a body that waits {wait:g} s for 100 Continue")


def _slowly(trial: Trial) -> None:
    _same_outcome(trial, "slow_body", what="a callback whose body comes in pieces")
    _same_outcome(trial, "split_header", what="a callback whose head comes in pieces")


def _kept_alive(trial: Trial) -> None:
    first, second = trial.message(), trial.message()
    keep = header("Connection", "keep-alive")
    trial.expect_accepted(trial.send(first, keep))
    # A server that closes the connection does so at once. The transport then opens another one.
    time.sleep(_TO_CLOSE)
    attempt = trial.send(second, keep)
    what = "a second callback over the same connection"
    if attempt.outcome is Outcome.CLOSED:
        trial.warn(f"{what} was not answered: the server closed the connection without saying so")
        attempt = trial.send(second, "new_connection")
    trial.expect_accepted(attempt, what)
    trial.expect_effect(second, what)


def _old_version(trial: Trial) -> None:
    _same_outcome(trial, "http_1_0", what="an HTTP/1.0 request")


def _cut_short(trial: Trial) -> None:
    message, after, meanwhile = trial.message(), trial.message(), trial.message()
    attempt = trial.send(message, "short_body")
    trial.expect_no_effect(attempt, message, "half a body on a connection that then closed")
    usual = trial.send(after)
    trial.expect_accepted(usual, "a valid callback after half a callback")
    with contextlib.ExitStack() as connections:
        _hold_half(trial, connections)
        seconds = min(trial.limit, MEANWHILE + 3 * usual.elapsed)
        attempt = trial.send(meanwhile, fault("give_up", after=seconds))
        if attempt.outcome is Outcome.ABANDONED:
            trial.fail(
                f"while one connection holds half a callback, another callback is not answered within {seconds:.1f} s: "
                "the server handles one request at a time, and waits for the rest of the first"
            )
        trial.expect_accepted(attempt, "a valid callback while another connection holds half a callback")


def _hold_half(trial: Trial, connections: contextlib.ExitStack) -> None:
    held: list[socket.socket] = []
    trial.send(trial.message(), half_held(held))
    for connection in held:
        connections.enter_context(connection)


def _compressed(trial: Trial) -> None:
    message = trial.message()
    trial.expect_not_lost(trial.send(message, "gzip"), message, "a compressed callback")


def _big_headers(trial: Trial) -> None:
    message = trial.message()
    trial.expect_not_lost(trial.send(message, "big_headers"), message, "a callback with 8 KB of headers")


def _alive(trial: Trial) -> None:
    # The first without a look at the state: if the app has ended, `observe` often cannot be asked either.
    attempt: Attempt = trial.send(trial.context.new_message())
    if not accepted(attempt):
        trial.fail(f"a valid callback was accepted before the checks, and after them: {describe(attempt)}")
    message = trial.message()
    trial.expect_accepted(trial.send(message), "a second valid callback after all checks")
    trial.expect_effect(message, "a valid callback after all checks")


#: How long a connection may take, in seconds.
CONNECT_LIMIT = 1.0
#: How many IP addresses of a host are tried at most.
_MOST = 8
#: Errors of this machine, for example because it has no IPv6 or no network.
_OURS = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class _Target(msgspec.Struct, frozen=True):
    scheme: str
    host: str
    port: int

    @property
    def is_named(self) -> bool:
        """Tell whether the host is a name that the DNS must have."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return self.host != "localhost" and not self.host.endswith(".localhost")
        return False


def _certificate(trial: Trial) -> None:
    target = _target(trial)
    if target.scheme != "https":
        trial.skip("the address is plain http, without a certificate; the console asks for https")
    transport: Any = trial.receiver.transport
    if transport.tls_verify is False:
        trial.inconclusive("the certificate is not verified (tls_verify=False, or --insecure); EngageLab verifies it")
    attempt = trial.ping()
    if attempt.outcome is Outcome.TLS_FAILURE:
        trial.fail(describe(attempt))
    if attempt.outcome.unreachable:
        trial.inconclusive(f"there was no connection: {describe(attempt)}")
    if transport.tls_verify is not True:
        trial.warn("the certificate is trusted because of the given CA bundle, which EngageLab does not have")


def _reachable(trial: Trial) -> None:
    target = _target(trial)
    if not target.is_named:
        trial.skip(f"{target.host} is not a DNS name")
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        trial.fail(f"the host {target.host!r} cannot be resolved: {error.strerror or error}")
    addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
    for family, address in list(addresses)[:_MOST]:
        _connect(trial, family, address)


def _connect(trial: Trial, family: int, address: Any) -> None:
    started = stopwatch()
    try:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(CONNECT_LIMIT)
            connection.connect(address)
    except TimeoutError:
        trial.fail(f"{address[0]} port {address[1]} accepts no connection within {CONNECT_LIMIT:g} s")
    except OSError as error:
        if error.errno in _OURS:
            trial.warn(f"{address[0]} cannot be reached from this machine: {error.strerror}")
            return
        trial.fail(f"{address[0]} port {address[1]} accepts no connection: {error.strerror or error}")
    if stopwatch() - started > CONNECT_LIMIT / 2:
        trial.warn(f"{address[0]} took {stopwatch() - started:.2f} s to accept a connection")


def _target(trial: Trial) -> _Target:
    parts = urlsplit(trial.receiver.address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return _Target(parts.scheme, parts.hostname or "", port)


_PROXY = (
    "A proxy that buffers requests, such as nginx with its defaults, turns it into a plain request for the app, so "
    "this check is about the server alone."
)
_SAME = "Accepted and applied, like any other callback."
_check = partial(Check, need="both", source="?", expected=_SAME, severity=Severity.MINOR, transports=("http",))

WIRE = (
    _check(
        id="E01",
        name="chunked",
        title="A callback sent in chunks is read",
        why="A sender that streams its body gives no length. It is not documented if EngageLab does so, and a proxy "
        "or a tunnel may. WSGI servers differ: behind wsgiref, and behind gunicorn with Django, the app reads an "
        f"empty body, takes it for the ping, answers 200, and loses the callback. {_PROXY}",
        stimulus="A valid callback with `Transfer-Encoding: chunked` and no length.",
        severity=Severity.MAJOR,
        fix=Fix(
            "Refuse a body without a length with 411, or let a proxy buffer requests. With Flask, every server but "
            "wsgiref reads chunks; with Django, use an ASGI server or waitress.",
            """\
if $headers.get("Transfer-Encoding"):
    body = $body
    if not body:
        $refuse_400""",
            own_django='if request.headers.get("Transfer-Encoding"):\n    return HttpResponse(status=411)',
            section="Serve",
        ),
        work=_chunked,
    ),
    _check(
        id="E02",
        name="expect-100",
        title="A body that waits for “100 Continue” is read",
        why="HTTP clients ask for permission before they send a large body; curl does from a megabyte on. If a server "
        f"never gives it, every such callback is late by the time that the client waits. {_PROXY}",
        stimulus="Valid callbacks with `Expect: 100-continue`, whose bodies come after the permission, or after "
        + " or ".join(f"{wait:g} s" for wait in WAITS)
        + ".",
        need="http",
        fix=Fix("Use a server that sends 100 Continue, as gunicorn, waitress and uvicorn do, or a proxy."),
        work=_expectation,
    ),
    _check(
        id="E03",
        name="slow-body",
        title="A callback that comes in pieces is read to its end",
        why="TCP can split a request anywhere. A receiver that takes the result of one read for the whole body works "
        "only on the developer's machine.",
        stimulus="Valid callbacks whose body, or whose head, comes in four pieces, 50 ms apart.",
        severity=Severity.MAJOR,
        need="http",
        fix=Fix("Read as many bytes as `Content-Length` says; frameworks do.", "body = $body\n$ok", section="Serve"),
        work=_slowly,
    ),
    _check(
        id="E04",
        name="keep-alive",
        title="A second callback over the same connection is answered, or the connection is closed before it",
        why="Senders keep connections open. A server that leaves part of a request unread takes it for the beginning "
        "of the next, and one that resets the connection can lose an answer.",
        stimulus="Two valid callbacks with `Connection: keep-alive`, the second over the same connection if the server "
        "kept it open.",
        expected="The second is answered, or the connection was closed before it; no reset, no garbled answer.",
        need="http",
        fix=Fix(
            "Read the body of each request before you answer, even if you refuse it. Or close the connection, and send "
            "`Connection: close`.",
            "body = $body  # read it first\n$ok",
        ),
        work=_kept_alive,
    ),
    _check(
        id="E05",
        name="http-1.0",
        title="An HTTP/1.0 request is understood",
        why="Old proxies use HTTP/1.0, and so does nginx by default towards its upstreams.",
        stimulus="A valid callback as an HTTP/1.0 request.",
        severity=Severity.INFO,
        need="http",
        fix=Fix("Use a server that also understands HTTP/1.0, as all common servers do."),
        work=_old_version,
    ),
    _check(
        id="E06",
        name="short-body",
        title="Half a callback has no effect and does not block others",
        why="Connections break in the middle of a request, and some stay open without more data. A server with one "
        "worker that waits for the rest answers no other request: a gunicorn sync worker waits for its `timeout`, "
        f"30 s by default. {_PROXY}",
        stimulus="Half of a valid callback on a connection that then closes; half of one on a connection that stays "
        "open, and another callback at the same time.",
        expected="No effect of either half; the other callbacks are accepted.",
        severity=Severity.MAJOR,
        fix=Fix(
            "Run several workers, or workers with threads (`gunicorn --threads 4`). Or let a proxy buffer requests, as "
            "gunicorn's documentation recommends for its sync worker.",
            section="Serve",
        ),
        work=_cut_short,
    ),
    _check(
        id="E07",
        name="gzip",
        title="A compressed callback is decompressed, or refused",
        why="No document says that callbacks are compressed. A callback that is acknowledged but not read is lost.",
        stimulus="A valid, compressed callback with `Content-Encoding: gzip`.",
        expected="Applied, or refused with 415 or 400: never acknowledged without an effect.",
        severity=Severity.INFO,
        transports=("http", "wsgi", "asgi"),
        fix=Fix(
            "Refuse an encoding that you do not decode.",
            'if $headers.get("Content-Encoding"):\n    $refuse_415',
        ),
        work=_compressed,
    ),
    _check(
        id="E08",
        name="big-headers",
        title="Many headers do not crash the receiver",
        why="Proxies and tracing add headers to every request, and their number grows.",
        stimulus="A valid callback with 8 KB of additional headers.",
        expected="Applied, or refused with 431 or another 4xx; no 5xx, no hang.",
        severity=Severity.INFO,
        need="http",
        transports=("http", "wsgi", "asgi"),
        fix=Fix("Allow at least 16 KB of headers in the server and in the proxy."),
        work=_big_headers,
    ),
)

_address = partial(Check, need="http", source="?", transports=("http",), needs_valid=False, needs_answer=False)

ADDRESS = (
    _address(
        id="E09",
        name="tls",
        title="The certificate is valid",
        why="The console asks for https. A sender refuses a certificate that has expired, is for another host, or "
        "does not lead to a known authority. A browser that knows the intermediate certificate from elsewhere hides "
        "an incomplete chain.",
        stimulus="A TLS session with verification and at least TLS 1.2, and the ping.",
        expected="A session.",
        severity=Severity.BLOCKER,
        fix=Fix(
            "Serve the full chain of a certificate for this host, and renew it automatically. "
            "`openssl s_client -connect HOST:443 -servername HOST` shows the error.",
        ),
        work=_certificate,
    ),
    _address(
        id="E10",
        name="dns-connect",
        title="Every IP address of the host accepts connections",
        why="A sender uses any of the addresses in the DNS. If one of them does not work, often the IPv6 address, some "
        "callbacks are late and others fail. A browser hides this.",
        stimulus="A connection to each IP address of the host.",
        expected=f"Each accepts it within {CONNECT_LIMIT:g} s.",
        severity=Severity.MAJOR,
        fix=Fix("Remove the DNS record of an address that does not work, or make the server listen there."),
        work=_reachable,
    ),
)

#: The check that runs after all others.
AFTERWARDS = (
    _check(
        id="E11",
        name="alive-after",
        title="The receiver still accepts valid callbacks, during the checks and after them",
        why="Any client on the internet can send the same requests as the checks. A receiver that has run out of "
        "workers, connections or memory, or has locked its database, does not answer any more. One that bans senders "
        "or limits their requests may refuse EngageLab: its callbacks come from a few addresses, or from that of your "
        "proxy.",
        stimulus="A valid callback after each check whose last request was not accepted, and after every other check.",
        expected="200, and applied. If valid callbacks are refused, this finding says since when and why, and the "
        "checks that need a valid callback are inconclusive until they are accepted again.",
        severity=Severity.BLOCKER,
        transports=("http", "wsgi", "asgi"),
        needs_answer=False,
        fix=Fix(
            "Look for the first error of the run in the server's log. Run half of the checks with `--only` to find the "
            "check that causes it.",
        ),
        work=_alive,
    ),
)

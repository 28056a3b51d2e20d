"""Family E, the wire: is the same callback understood however HTTP lets it travel?"""

from __future__ import annotations

import contextlib
import socket
import time
from functools import partial

from engagelab_mock.checks.check import Check, Fix
from engagelab_mock.checks.context import accepted, describe
from engagelab_mock.checks.stimulus import half_held, header
from engagelab_mock.checks.trial import Trial
from engagelab_mock.checks.verdict import Severity
from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.delivery.outcome import Outcome

#: How long a body waits for "100 Continue" before it comes all the same, in seconds.
WAITS = (0.1, 0.3)
#: How long a server gets to close a connection that it does not want to keep, in seconds.
_TO_CLOSE = 0.05
#: How long another callback gets while half a one is held, in seconds, beside what it took without.
BESIDE = 1.5
#: HTTP lets a server refuse a body without a length, and an expectation; a sender has to take it back then.
_MAY_REFUSE = {"chunked": 411, "expect_continue": 417}


def _same_outcome(trial: Trial, *faults: Fault | str, what: str) -> None:
    """Fail unless a callback that travels in an unusual way is accepted and applied as any other is."""
    message = trial.message()
    attempt = trial.send(message, *faults)
    status = attempt.response.status if attempt.response is not None else 0
    if status in {_MAY_REFUSE.get(each.name) for each in attempt.faults}:
        trial.warn(f"{what} was {describe(attempt)}: a sender that has no other way never gets through")
        return
    trial.accepted(attempt, what)
    trial.applied(message, what)


def _chunked(trial: Trial) -> None:
    _same_outcome(trial, "chunked", what="a callback sent in chunks, without a length,")


def _expectation(trial: Trial) -> None:
    for wait in WAITS:
        _same_outcome(trial, fault("expect_continue", wait=wait), what=f"a body that waits {wait:g} s for a Continue")


def _slowly(trial: Trial) -> None:
    _same_outcome(trial, "slow_body", what="a callback whose body comes in pieces")
    _same_outcome(trial, "split_header", what="a callback whose head comes in pieces")


def _kept_alive(trial: Trial) -> None:
    first, second = trial.message(), trial.message()
    keep = header("Connection", "keep-alive")
    trial.accepted(trial.send(first, keep))
    # Who closes the connection does it at once. The transport sees that, and opens another.
    time.sleep(_TO_CLOSE)
    attempt = trial.send(second, keep)
    what = "a second callback over the same connection"
    if attempt.outcome is Outcome.CLOSED:
        trial.warn(f"{what} was not answered: the connection was closed without a word of warning")
        attempt = trial.send(second, "new_connection")
    trial.accepted(attempt, what)
    trial.applied(second, what)


def _old_version(trial: Trial) -> None:
    _same_outcome(trial, "http_1_0", what="an HTTP/1.0 request")


def _cut_short(trial: Trial) -> None:
    message, after, beside = trial.message(), trial.message(), trial.message()
    trial.send(message, "short_body")
    trial.no_effect(message, "half a body, whose connection then closed,")
    usual = trial.send(after)
    trial.accepted(usual, "a valid callback after half a one")
    with contextlib.ExitStack() as connections:
        _hold_half(trial, connections)
        seconds = min(trial.limit, BESIDE + 3 * usual.elapsed)
        attempt = trial.send(beside, fault("give_up", after=seconds))
        if attempt.outcome is Outcome.ABANDONED:
            trial.fail(
                f"while half a callback is held on one connection, another is not answered within {seconds:.1f} s: "
                "the server works on one request at a time, and waits for the rest of that one"
            )
        trial.accepted(attempt, "a valid callback while half a one is held on another connection")


def _hold_half(trial: Trial, connections: contextlib.ExitStack) -> None:
    held: list[socket.socket] = []
    trial.send(trial.message(), half_held(held))
    for connection in held:
        connections.enter_context(connection)


def _compressed(trial: Trial) -> None:
    message = trial.message()
    trial.not_lost(trial.send(message, "gzip"), message, "a compressed callback")


def _big_headers(trial: Trial) -> None:
    message = trial.message()
    trial.not_lost(trial.send(message, "big_headers"), message, "a callback with 8 KB of headers")


def _alive(trial: Trial) -> None:
    message = trial.message()
    attempt: Attempt = trial.send(message)
    if not accepted(attempt):
        trial.fail(f"a valid callback was accepted before all of this, and now: {describe(attempt)}")
    trial.applied(message, "a valid callback after all of this")


_PROXY = (
    "A proxy that buffers requests, such as nginx with its defaults, makes a plain request of it before the app sees "
    "it, so this tells of the server alone."
)
_SAME = "Accepted and applied, as any other callback is."
_check = partial(Check, need="both", source="?", expected=_SAME, severity=Severity.MINOR, transports=("http",))

WIRE = (
    _check(
        id="E01",
        name="chunked",
        title="A callback sent in chunks is read",
        why="A sender that streams its body gives no length. Whether the real one does is not documented, and a proxy "
        "or a tunnel on the way may. WSGI servers differ: behind wsgiref, and behind gunicorn with Django, "
        f"the app reads an empty body, takes it for the ping, answers 200, and has lost the callback. {_PROXY}",
        stimulus="A valid callback with `Transfer-Encoding: chunked` and no length.",
        severity=Severity.MAJOR,
        fix=Fix(
            "Refuse a body without a length with 411, or let a proxy buffer requests. On Flask any server but wsgiref "
            "reads chunks; for Django take an ASGI server, or waitress.",
            """\
if $headers.get("Transfer-Encoding"):
    body = $body
    if not body:
        $refuse_400""",
            own_django='if request.headers.get("Transfer-Encoding"):\n    return HttpResponse(status=411)',
        ),
        work=_chunked,
    ),
    _check(
        id="E02",
        name="expect-100",
        title="A body that waits for “100 Continue” is read",
        why="HTTP clients ask for leave before they send a body of some size; curl does from a megabyte on. A server "
        f"that never grants it makes every such callback late by as long as the client waits. {_PROXY}",
        stimulus="Valid callbacks with `Expect: 100-continue`, whose bodies come with the leave, or after "
        + " or ".join(f"{wait:g} s" for wait in WAITS)
        + ".",
        need="http",
        fix=Fix("Serve with a server that grants it, as gunicorn, waitress and uvicorn do, or behind a proxy."),
        work=_expectation,
    ),
    _check(
        id="E03",
        name="slow-body",
        title="A callback that comes in pieces is read to its end",
        why="TCP cuts a request where it likes. A receiver that takes what one read gives for the whole body works on "
        "the developer's own machine.",
        stimulus="Valid callbacks whose body, and whose head, comes in four pieces with 50 ms between.",
        severity=Severity.MAJOR,
        need="http",
        fix=Fix("Read as many bytes as `Content-Length` says; a framework's body does.", "body = $body\n$ok"),
        work=_slowly,
    ),
    _check(
        id="E04",
        name="keep-alive",
        title="A second callback over the same connection is answered, or finds it closed",
        why="Senders keep connections. A server that leaves part of a request unread takes it for the beginning of the "
        "next, and one that resets the connection loses an answer on the way.",
        stimulus="Two valid callbacks with `Connection: keep-alive`, the second over the connection of the first, if "
        "that was kept.",
        expected="The second is answered, or the connection was closed before it; no reset, no garbled answer.",
        need="http",
        fix=Fix(
            "Read the body of each request before you answer, those that are refused included, or close the "
            "connection and say so with `Connection: close`.",
            "body = $body  # before anything is decided\n$ok",
        ),
        work=_kept_alive,
    ),
    _check(
        id="E05",
        name="http-1.0",
        title="An HTTP/1.0 request is understood",
        why="Old proxies speak HTTP/1.0, nginx does towards its upstreams unless told otherwise.",
        stimulus="A valid callback as an HTTP/1.0 request.",
        severity=Severity.INFO,
        need="http",
        fix=Fix("Serve with a server that speaks HTTP/1.0 as well, as all usual ones do."),
        work=_old_version,
    ),
    _check(
        id="E06",
        name="short-body",
        title="Half a callback has no effect and holds nobody up",
        why="Connections break in the middle of a request, and some stay open with nothing more coming. A server of "
        "one worker that waits for the rest answers nobody else meanwhile: a gunicorn sync worker for as long as its "
        f"`timeout`, 30 s by default. {_PROXY}",
        stimulus="Half of a valid callback, after which the connection closes; half of one whose connection stays "
        "open, and another callback meanwhile.",
        expected="No effect of either half; the other callbacks are accepted.",
        severity=Severity.MAJOR,
        fix=Fix(
            "Run more than one worker, or workers with threads (`gunicorn --threads 4`), or let a proxy buffer "
            "requests, as gunicorn's own documentation says of its sync worker.",
        ),
        work=_cut_short,
    ),
    _check(
        id="E07",
        name="gzip",
        title="A compressed callback is decompressed, or refused",
        why="Nothing says that callbacks are ever compressed. What is acknowledged without having been read is lost.",
        stimulus="A valid callback, compressed, with `Content-Encoding: gzip`.",
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
        title="Many headers are survived",
        why="Proxies and tracing add headers to every request, and their number only grows.",
        stimulus="A valid callback with 8 KB of further headers.",
        expected="Applied, or refused with 431 or another 4xx; no 5xx, no hang.",
        severity=Severity.INFO,
        need="http",
        transports=("http", "wsgi", "asgi"),
        fix=Fix("Allow at least 16 KB of headers, in the server and in the proxy before it."),
        work=_big_headers,
    ),
)

#: What is looked at when all is over.
AFTERWARDS = (
    _check(
        id="E11",
        name="alive-after",
        title="After all of this the receiver still works",
        why="None of what was sent is beyond what any client on the internet can send. A receiver that has run out of "
        "workers, connections or memory over it, or that has locked its database, answers nobody.",
        stimulus="A valid callback, after every other check.",
        expected="200, and applied.",
        severity=Severity.BLOCKER,
        transports=("http", "wsgi", "asgi"),
        needs_answer=False,
        fix=Fix(
            "Look into the server's log for the first error of the run, and run half of the checks with `--only` to "
            "find the one that does it.",
        ),
        work=_alive,
    ),
)

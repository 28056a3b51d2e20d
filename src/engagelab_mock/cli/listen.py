"""`engagelab-mock listen` receives callbacks and shows each; `record` passes them on and keeps them on a tape."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

import click

from engagelab_mock.cli.option_values import tls_verify
from engagelab_mock.cli.options import (
    authorization_option,
    credential_options,
    listening_options,
    output_options,
    setting,
    tls_options,
)
from engagelab_mock.cli.output import ExitCode, Output
from engagelab_mock.cli.render import CallbackReceived, RequestRecorded, Serving
from engagelab_mock.delivery.recorder import Received, Recorder
from engagelab_mock.delivery.render import counted, printable
from engagelab_mock.errors import UsageError
from engagelab_mock.explore.tape.file import Answer, TapeWriter
from engagelab_mock.explore.tape.sanitise import Pseudonyms, Sanitiser
from engagelab_mock.protocol.settings import CallbackSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from engagelab_mock.server.proxy import Passed, RecordingProxy

#: How long an answer may take to be handed to the socket, in seconds.
_LIMIT = 1.0

_HELP = """Receive callbacks, and show whether each is valid.

The first line on stdout is the address. Every path is accepted. Without --username no signature is verified. Ends
with Ctrl-C, or after --count callbacks: then it exits 0 when all were in order, 1 when not.
"""


@click.command(help=_HELP)
@listening_options
@credential_options
@authorization_option("Expect this Authorization header.")
@setting(
    "answer",
    type=click.IntRange(200, 599),
    default=200,
    show_default=True,
    metavar="STATUS",
    help="The HTTP status for callbacks that are in order.",
)
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="End after N callbacks; address validations do not count."
)
@output_options
def listen(
    host: str,
    port: int,
    username: str,
    secret: str,
    authorization: str,
    answer: int,
    count: int | None,
    format: str,
) -> int:
    """Receive callbacks, and show whether each is valid."""
    from engagelab_mock.server.loopback import LoopbackServer  # Werkzeug is not needed for --help

    output = Output(format)
    settings = CallbackSettings(username=username, secret=secret, authorization=authorization)
    arrived: SimpleQueue[Arrival] = SimpleQueue()
    callbacks = refused = 0
    with LoopbackServer(receiving_app(settings, answer, arrived.put), host, port) as server:
        output.show(Serving("listening", "Listening", f"{server.url}/engagelab", {}))
        if not output.json:
            verified = (
                f"signatures of {settings.username}" if settings.signs else "no signatures: no username and secret"
            )
            output.say(f"verifying {verified}; Ctrl-C ends it", "dim")
        if not server.loopback:
            output.notice(f"{host} is not only this machine: anyone who reaches this port can send to the receiver")
        try:
            while count is None or callbacks < count:
                received = next_answered(arrived)
                callbacks += not received.ping
                refused += bool(received.error) and not received.ping
                output.show(CallbackReceived(received))
        except KeyboardInterrupt:
            output.say(f"{counted(callbacks, 'callback')} received, {refused} refused")
            raise
    return ExitCode.FELL_SHORT if refused else ExitCode.OK


class Arrival(NamedTuple):
    """A request, and an event that is set once its answer has been handed to the socket."""

    received: Received
    answered: Event


def receiving_app(settings: CallbackSettings, answer: int, on_arrival: Callable[[Arrival], object]) -> WSGIApplication:
    """Return the receiver as a WSGI app, which calls `on_arrival` with each request before it answers."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answered = Event()
        recorder = Recorder(
            username=settings.username,
            secret=settings.secret,
            authorization=settings.authorization,
            answer=answer,
            on_received=lambda received: on_arrival(Arrival(received, answered)),
        )
        try:
            yield from recorder(environ, start_response)
        finally:
            answered.set()

    return app


def next_answered(arrived: SimpleQueue[Arrival]) -> Received:
    """Return the next request once its answer is out: the command may end then, and the server's threads with it."""
    while True:
        try:
            # With a timeout, as some systems deliver Ctrl-C only between waits.
            arrival = arrived.get(timeout=0.1)
        except Empty:
            continue
        arrival.answered.wait(_LIMIT)
        return arrival.received


_RECORD_HELP = """Record the callbacks that a receiver gets.

Listens, passes every request on unchanged, returns the receiver's answer, and adds one line per request to the tape.
Phone numbers and e-mail addresses are replaced by pseudonyms, secrets are dropped. Ends with Ctrl-C, or after
--count requests.
"""


@click.command(help=_RECORD_HELP)
@setting(
    "forward", metavar="URL", help="The receiver that gets every request, such as http://127.0.0.1:5000/engagelab."
)
@click.option("--out", metavar="FILE", help="The tape to write, such as day.jsonl; an existing file is not touched.")
@listening_options
@tls_options
@setting("pseudonym_key", metavar="KEY", help="Give people the same pseudonyms as on other tapes with this key.")
@click.option("--no-sanitise", is_flag=True, help="Keep everything, personal data and secrets too.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N requests.")
@output_options
def record(
    forward: str | None,
    out: str | None,
    host: str,
    port: int,
    insecure: bool,
    ca: str | None,
    pseudonym_key: str | None,
    no_sanitise: bool,
    count: int | None,
    format: str,
) -> int:
    """Record the callbacks that a receiver gets."""
    from engagelab_mock.delivery.transport.http import tls_context
    from engagelab_mock.server.proxy import RecordingProxy

    if not forward:
        raise UsageError("no receiver is named", where="--forward", hint="such as http://127.0.0.1:5000/engagelab")
    if not out:
        raise UsageError("no tape is named", where="--out", hint="such as day.jsonl")
    sanitiser = _sanitiser(pseudonym_key, no_sanitise=no_sanitise)
    verify = tls_verify(insecure, ca)
    tls = tls_context(verify) if forward.startswith("https:") else None
    output = Output(format)
    recording = Recording(output, count)
    with ExitStack() as stack:
        # The port first: if it cannot be used, no empty tape is left behind. Requests are taken once there is a tape.
        proxy = RecordingProxy(forward, recording.passed, host=host, port=port, tls=tls)
        stack.callback(proxy.stop)
        recording.tape = stack.enter_context(TapeWriter(out, started=time.time(), sanitiser=sanitiser))
        _announce(output, proxy, forward, out, sanitised=not no_sanitise)
        if not proxy.loopback:
            output.notice(f"{host} is not only this machine: anyone who reaches this port reaches the receiver")
        try:
            with proxy:
                recording.wait()
        finally:
            # The proxy waits for requests under way, so the numbers are final, however the command ends.
            output.say(f"{counted(recording.requests - recording.lost, 'request')} recorded in {out}")
            if recording.lost:
                output.notice(f"{counted(recording.lost, 'request')} passed on and not on the tape")
    return ExitCode.FELL_SHORT if recording.lost else ExitCode.OK


def _sanitiser(pseudonym_key: str | None, *, no_sanitise: bool) -> Sanitiser | None:
    """Return what replaces personal data on the tape; raise `UsageError` for a key without pseudonyms."""
    if not no_sanitise:
        return Sanitiser(Pseudonyms(pseudonym_key))
    if pseudonym_key:
        what = "a tape that is not sanitised has no pseudonyms"
        raise UsageError(what, where="--no-sanitise", hint="leave --pseudonym-key out")
    return None


def _announce(output: Output, proxy: RecordingProxy, forward: str, out: str, *, sanitised: bool) -> None:
    """Say where requests are taken, where they go, and what the tape will hold."""
    output.show(Serving("listening", "Recording", proxy.url, {"forward": forward, "out": out, "sanitised": sanitised}))
    if not output.json:
        output.say(f"to {forward}, on {out}; Ctrl-C ends it", "dim")
    if not sanitised:
        output.notice("the tape will hold phone numbers, e-mail addresses and secrets: do not pass it on")


class Recording:
    """Write requests to the tape and show them, on the proxy's threads: Ctrl-C interrupts the main thread only."""

    #: Set before the proxy takes requests.
    tape: TapeWriter

    def __init__(self, output: Output, count: int | None) -> None:
        #: How many requests passed, and how many of them are not on the tape.
        self.requests = 0
        self.lost = 0
        self._output = output
        self._count = count
        self._enough = threading.Event()
        self._failure: BaseException | None = None
        #: Held while a request is written and shown.
        self._lock = threading.Lock()

    def passed(self, passed: Passed) -> None:
        """Write a request to the tape, and show it, even if the tape cannot be written."""
        with self._lock:
            trouble = self._write(passed)
            self.requests += 1
            self.lost += bool(trouble)
            try:
                self._output.show(RequestRecorded(passed, trouble))
            except (OSError, SystemExit) as failure:
                # stdout is full or closed: the main thread ends the command.
                self._failure = failure
                self._enough.set()
            if trouble:
                self._output.notice(f"a request was passed on and is not on the tape: {printable(trouble)}")
            if self.requests == self._count:
                self._enough.set()

    def wait(self) -> None:
        """Wait until as many requests have passed as were asked for."""
        # With a timeout, as some systems deliver Ctrl-C only between waits.
        while not self._enough.wait(0.1):
            pass
        if self._failure is not None:
            raise self._failure

    def _write(self, passed: Passed) -> str:
        """Write a request to the tape, and return why that failed; empty if it did not."""
        if not passed.whole:
            return f"its body is longer than {len(passed.body) >> 20} MiB"
        try:
            self.tape.add(
                at=passed.at,
                method=passed.method,
                path=passed.path,
                headers=passed.headers,
                body=passed.body,
                answer=None if passed.status is None else Answer(status=passed.status, elapsed=passed.elapsed),
                note=passed.error,
            )
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

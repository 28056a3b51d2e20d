"""`engagelab-mock listen`: a receiver that shows each callback, its verdict and its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

import click

from engagelab_mock.cli.options import (
    authorization_option,
    credential_options,
    listening_options,
    output_options,
    setting,
)
from engagelab_mock.cli.output import ExitCode, Output
from engagelab_mock.cli.render import CallbackReceived, Serving
from engagelab_mock.delivery.recorder import Received, Recorder
from engagelab_mock.delivery.render import counted
from engagelab_mock.protocol.settings import CallbackSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

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

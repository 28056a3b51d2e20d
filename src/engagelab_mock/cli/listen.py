"""`engagelab-mock listen`: a receiver that says what it gets and what it thinks of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from threading import Semaphore
from typing import TYPE_CHECKING

import click

from engagelab_mock.cli.exitcode import ExitCode
from engagelab_mock.cli.listen_report import JsonReport, Report, TextReport
from engagelab_mock.cli.options import authorization_option, credential_options, output_options, setting
from engagelab_mock.cli.output import Output
from engagelab_mock.delivery.recorder import Received, Recorder
from engagelab_mock.protocol.settings import CallbackSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: How long the last answers may take to get out before the command ends, in seconds.
_FAREWELL = 1.0


@click.command()
@setting("host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@setting("port", type=click.IntRange(0, 65535), default=0, help="The port to listen on; 0, or left out: any free one.")
@credential_options
@authorization_option("Expect this Authorization header.")
@setting(
    "answer",
    type=click.IntRange(200, 599),
    default=200,
    show_default=True,
    metavar="STATUS",
    help="Answer what is in order with this HTTP status.",
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
    """Receive callbacks and say what each is worth.

    The first line on stdout says where. Every path is accepted. Without --username no signature is verified. Ends with
    Ctrl-C, or after --count callbacks: then with 0 when all were in order, with 1 when not.
    """
    from engagelab_mock.server.loopback import LoopbackServer  # Werkzeug: not for every --help

    output = Output(format)
    report: Report = JsonReport(output) if output.json else TextReport(output)
    settings = CallbackSettings(username=username, secret=secret, authorization=authorization)
    audience = Audience(settings, answer)
    with LoopbackServer(audience.app, host, port) as server:
        report.listening(f"{server.url}/engagelab", settings)
        if not server.loopback:
            report.exposed(host)
        try:
            return audience.follow(count, report)
        except KeyboardInterrupt:
            report.ended(audience.callbacks, audience.refused)
            raise


class Audience:
    """Hand requests from the server's threads to the one that prints, and count them."""

    def __init__(self, settings: CallbackSettings, answer: int) -> None:
        self._arrived: SimpleQueue[Received] = SimpleQueue()
        self._answered = Semaphore(0)
        recorder = Recorder(
            username=settings.username,
            secret=settings.secret,
            authorization=settings.authorization,
            answer=answer,
            on_received=self._arrived.put,
        )
        self.app: WSGIApplication = _telling(recorder, self._answered.release)
        #: How many callbacks came, pings aside, and how many of them were not in order.
        self.callbacks = 0
        self.refused = 0

    def follow(self, count: int | None, report: Report) -> ExitCode:
        """Report what arrives, until `count` callbacks have."""
        requests = 0
        while count is None or self.callbacks < count:
            received = self._next()
            requests += 1
            if not received.ping:
                self.callbacks += 1
                self.refused += bool(received.error)
            report.received(received)
        for _ in range(requests):
            # The last sender still waits for its answer, and the server's threads end with the process.
            self._answered.acquire(timeout=_FAREWELL)
        return ExitCode.FELL_SHORT if self.refused else ExitCode.OK

    def _next(self) -> Received:
        while True:
            try:
                # In steps, as some systems deliver Ctrl-C between waits only.
                return self._arrived.get(timeout=0.1)
            except Empty:
                continue


def _telling(app: WSGIApplication, answered: Callable[[], object]) -> WSGIApplication:
    """Return the app, made to tell when an answer has been handed to the socket."""

    def telling(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            yield from app(environ, start_response)
        finally:
            answered()

    return telling

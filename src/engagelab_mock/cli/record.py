"""`engagelab-mock record`: a proxy in front of a receiver that writes the callbacks to a tape."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from engagelab_mock.cli.options import listening_options, output_options, setting, tls_options, tls_verify
from engagelab_mock.cli.output import ExitCode, Output
from engagelab_mock.cli.render import RequestRecorded, Serving
from engagelab_mock.delivery.render import counted, printable
from engagelab_mock.errors import UsageError
from engagelab_mock.explore.tape.file import Answer, TapeWriter
from engagelab_mock.explore.tape.sanitise import Pseudonyms, Sanitiser

if TYPE_CHECKING:
    from engagelab_mock.server.proxy import Passed

_HELP = """Record the callbacks that a receiver gets.

Listens, passes every request on unchanged, answers what the receiver answers, and adds a line to the tape for each.
Phone numbers and e-mail addresses are replaced by pseudonyms, secrets are dropped. Ends with Ctrl-C, or after
--count requests.
"""


@click.command(help=_HELP)
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
    if no_sanitise and pseudonym_key:
        raise UsageError(
            "a tape that is not sanitised has no pseudonyms", where="--no-sanitise", hint="leave --pseudonym-key out"
        )
    verify = tls_verify(insecure, ca)
    tls = tls_context(verify) if forward.startswith("https:") else None
    sanitiser = Sanitiser(Pseudonyms(pseudonym_key.encode("utf-8", "surrogateescape") if pseudonym_key else None))
    output = Output(format)
    recording = Recording(output, count)
    with ExitStack() as stack:
        # The port first: if it cannot be used, no empty tape is left behind. Requests are taken once there is a tape.
        proxy = RecordingProxy(forward, recording.passed, host=host, port=port, tls=tls)
        stack.callback(proxy.stop)
        tape = TapeWriter(out, started=time.time(), sanitiser=None if no_sanitise else sanitiser)
        recording.tape = stack.enter_context(tape)
        fields = {"forward": forward, "out": out, "sanitised": not no_sanitise}
        output.show(Serving("listening", "Recording", proxy.url, fields))
        if not output.json:
            output.say(f"to {forward}, on {out}; Ctrl-C ends it", "dim")
        if no_sanitise:
            output.notice("the tape will hold phone numbers, e-mail addresses and secrets: do not pass it on")
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

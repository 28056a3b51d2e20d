"""`engagelab-mock record`: a proxy in front of a receiver, which keeps what passes on a tape."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

import click

from engagelab_mock.cli.engine import tls_verify
from engagelab_mock.cli.exitcode import ExitCode
from engagelab_mock.cli.options import output_options, setting
from engagelab_mock.cli.output import Output
from engagelab_mock.cli.record_report import JsonReport, Report, TextReport
from engagelab_mock.errors import UsageError
from engagelab_mock.explore.tape.file import Answer, TapeWriter
from engagelab_mock.explore.tape.sanitise import Pseudonyms, Sanitiser

if TYPE_CHECKING:
    from engagelab_mock.server.passing import Passed


@click.command()
@setting(
    "forward", metavar="URL", help="The receiver that gets every request, such as http://127.0.0.1:5000/engagelab."
)
@click.option("--out", metavar="FILE", help="The tape to make, such as day.jsonl; one that is there is not touched.")
@setting("host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@setting("port", type=click.IntRange(0, 65535), default=0, help="The port to listen on; 0, or left out: any free one.")
@setting("insecure", is_flag=True, help="Do not verify the receiver's TLS certificate.")
@setting("ca", type=click.Path(exists=True, dir_okay=False), help="Trust the certificates in this PEM file.")
@setting("pseudonym_key", metavar="KEY", help="Give people the same pseudonyms as on other tapes made with this key.")
@click.option("--no-sanitise", is_flag=True, help="Keep everything, people and secrets as well.")
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
    """Record the callbacks that a receiver gets.

    Listens, passes every request on unchanged, answers what the receiver answers, and adds a line to the tape for each.
    Phone numbers and e-mail addresses are replaced by pseudonyms, secrets are dropped. Ends with Ctrl-C, or after
    --count requests.
    """
    from engagelab_mock.delivery.transport.http import tls_context
    from engagelab_mock.server.recording import RecordingProxy

    if not forward:
        raise UsageError("no receiver is named", where="--forward", hint="such as http://127.0.0.1:5000/engagelab")
    if not out:
        raise UsageError("no tape is named", where="--out", hint="such as day.jsonl")
    if no_sanitise and pseudonym_key:
        raise UsageError("what is not sanitised has no pseudonyms", where="--no-sanitise", hint="leave the key out")
    verify = tls_verify(insecure, ca)
    tls = tls_context(verify) if forward.startswith("https:") else None
    output = Output(format)
    report: Report = JsonReport(output) if output.json else TextReport(output)
    names = Pseudonyms(pseudonym_key.encode("utf-8", "surrogateescape") if pseudonym_key else None)
    recording = Recording()
    with (
        RecordingProxy(forward, recording.passed, host=host, port=port, tls=tls) as proxy,
        TapeWriter(out, started=time.time(), sanitiser=None if no_sanitise else Sanitiser(names)) as tape,
    ):
        recording.tape = tape
        report.listening(proxy.url, forward, out, sanitised=not no_sanitise)
        if not proxy.loopback:
            report.exposed(host)
        try:
            recording.follow(count, report)
        finally:
            # What was passed on is on the tape, and told, before the command ends, however it ends.
            proxy.stop()
            recording.finish()
            report.ended(recording.requests, recording.lost, out)
    return ExitCode.FELL_SHORT if recording.lost else ExitCode.OK


class Taped(NamedTuple):
    """One request that passed, and why it is not on the tape; empty where it is."""

    passed: Passed
    trouble: str


class Recording:
    """Put each request on the tape from the server's threads, and hand it to the one that prints."""

    def __init__(self) -> None:
        self.tape: TapeWriter | None = None
        #: How many requests passed, and how many of them are not on the tape.
        self.requests = 0
        self.lost = 0
        self._passed: SimpleQueue[Taped | None] = SimpleQueue()
        self._enough = threading.Event()
        self._reporter: threading.Thread | None = None

    def passed(self, passed: Passed) -> None:
        """Put a request on the tape; whatever goes wrong with that is told, and harms nothing else."""
        trouble = ""
        try:
            if self.tape is None:
                raise OSError("the tape is not there yet")
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
            trouble = f"{type(error).__name__}: {error}"
        self._passed.put(Taped(passed, trouble))

    def follow(self, count: int | None, report: Report) -> None:
        """Wait until `count` requests have passed, reporting each from a thread of its own.

        Ctrl-C reaches the main thread wherever it is: in the middle of a line, or with a request in its hand.
        """
        self._reporter = threading.Thread(target=self._report, args=(count, report), daemon=True)
        self._reporter.start()
        # In steps, as some systems deliver Ctrl-C between waits only.
        while not self._enough.wait(0.1):
            pass

    def finish(self) -> None:
        """Wait until everything that passed has been reported."""
        self._passed.put(None)
        if self._reporter is not None:
            self._reporter.join()

    def _report(self, count: int | None, report: Report) -> None:
        while (taped := self._passed.get()) is not None:
            self.requests += 1
            self.lost += bool(taped.trouble)
            report.passed(taped.passed, taped.trouble)
            if self.requests == count:
                self._enough.set()

"""What the command `check` does."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from engagelab_mock.checks.context import Hooks
from engagelab_mock.checks.report import Report
from engagelab_mock.checks.runner import Runner
from engagelab_mock.checks.selection import Selection
from engagelab_mock.cli.check_report import CheckReport, JsonCheckReport, TextCheckReport
from engagelab_mock.cli.engine import tls_verify
from engagelab_mock.cli.exitcode import ExitCode
from engagelab_mock.cli.failure import tell_unreachable
from engagelab_mock.cli.observing import observer
from engagelab_mock.cli.output import Output
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError

#: What --report can write, by the name in front of the file's.
_FORMATS = ("junit", "html", "sarif")


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Hold what the command was given."""

    address: str | None
    url: str | None
    username: str
    secret: str
    authorization: str
    timeout: float
    insecure: bool
    ca: str | None
    observe: str | None
    observe_command: str | None
    only: tuple[str, ...]
    skip: tuple[str, ...]
    severity: str
    suppress: tuple[str, ...]
    fail_on: str
    patience: float
    wait: float
    total: float
    report: tuple[str, ...]
    verbose: bool
    format: str


def run(options: CheckOptions) -> int:
    """Check the receiver, tell what is found, and return what to exit with."""
    output = Output(options.format)
    files = [report_file(each) for each in options.report]
    receiver = receiver_from(options)
    report: CheckReport = (
        JsonCheckReport(output, options.fail_on)
        if output.json
        else TextCheckReport(output, receiver, options.fail_on, verbose=options.verbose)
    )
    runner = Runner(
        receiver,
        Hooks(observe=observer(options.observe, options.observe_command), patience=options.patience),
        selection=selection_from(options),
        timeout=options.total,
        on_start=report.start,
        on_finding=report.finding,
    )
    try:
        # The display ends with the checks: what is reported after them would meet it on the terminal.
        with report, closing(receiver):
            unreachable = runner.unreachable(options.wait)
            if not unreachable:
                found = runner.run()
    except KeyboardInterrupt:
        report.end(runner.report(), interrupted=True)
        raise
    if unreachable:
        hint = "start it, or give --wait 10 if it is about to come up"
        tell_unreachable(output, EngageLabMockError(unreachable, where=receiver.address, hint=hint))
        return ExitCode.UNREACHABLE
    report.end(found)
    for kind, path in files:
        write(found, kind, path, fail_on=options.fail_on)
    return ExitCode.FELL_SHORT if found.at_least(options.fail_on) else ExitCode.OK


def receiver_from(options: CheckOptions) -> Receiver:
    """Make the receiver, or raise `UsageError` when nothing says where it is."""
    url = options.address or options.url
    if not url:
        raise UsageError(
            "nothing says which receiver to check",
            where="URL",
            hint="engagelab-mock check http://127.0.0.1:5000/engagelab --username acme --secret s3cret",
        )
    return Receiver.http(
        url,
        username=options.username,
        secret=options.secret,
        authorization=options.authorization,
        limit=options.timeout,
        tls_verify=tls_verify(options.insecure, options.ca),
    )


def selection_from(options: CheckOptions) -> Selection:
    """Read what is to be run, and what is not to count."""
    return Selection(
        only=_listed(options.only),
        skip=_listed(options.skip),
        severity=options.severity,
        suppress=reasons(options.suppress),
    )


def reasons(given: tuple[str, ...]) -> dict[str, str]:
    """Read the --suppress options.

    >>> reasons(("B17=the address is reached over mutual TLS alone",))
    {'B17': 'the address is reached over mutual TLS alone'}
    """
    pairs = [pair.partition("=") for pair in given]
    for id, equals, reason in pairs:
        if not equals or not reason.strip():
            raise UsageError(f"{id!r} comes without a reason", where="--suppress", hint=f'--suppress "{id}=why"')
    return {id.strip(): reason.strip() for id, _, reason in pairs}


def report_file(given: str) -> tuple[str, Path]:
    """Read a --report option.

    >>> report_file("junit=out.xml")[0]
    'junit'
    """
    kind, equals, name = given.partition("=")
    if not equals or not name:
        raise UsageError(f"{given!r} is not KIND=FILE", where="--report", hint="such as --report html=check.html")
    if kind not in _FORMATS:
        raise UnknownName("kind of report", kind, _FORMATS, where="--report")
    path = Path(name)
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no directory {str(path.absolute().parent)!r}", where="--report")
    return kind, path


def write(report: Report, kind: str, path: Path, *, fail_on: str) -> None:
    """Write a report into a file, or raise `UsageError` if that cannot be."""
    from engagelab_mock.checks.formats.html import html
    from engagelab_mock.checks.formats.junit import junit
    from engagelab_mock.checks.formats.sarif import sarif

    text = {
        "junit": lambda: junit(report),
        "sarif": lambda: sarif(report),
        "html": lambda: html(report, fail_on=fail_on),
    }
    try:
        path.write_text(text[kind](), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be written: {error.strerror}", where="--report") from None


def _listed(given: tuple[str, ...]) -> list[str]:
    return [part.strip() for each in given for part in each.split(",") if part.strip()]

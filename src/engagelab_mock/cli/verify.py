"""`engagelab-mock verify`: judge an X-CALLBACK-ID header."""

from __future__ import annotations

import math
import re
import time

import click
from rich.text import Text

from engagelab_mock.cli.credentials import required
from engagelab_mock.cli.exitcode import ExitCode
from engagelab_mock.cli.options import credential_options, output_options, setting
from engagelab_mock.cli.output import Marks, Output
from engagelab_mock.clock import check_delay
from engagelab_mock.errors import UsageError
from engagelab_mock.protocol.signature import HEADER, TOLERANCE, Verdict
from engagelab_mock.protocol.signature import verify as judge

_PREFIX = re.compile(rf"\s*{HEADER}\s*:", re.IGNORECASE)


@click.command()
@click.argument("header")
@credential_options
@click.option("--now", type=float, metavar="UNIX", help="Judge at this time, in Unix seconds; now when left out.")
@setting(
    "tolerance",
    type=float,
    default=float(TOLERANCE),
    show_default=True,
    metavar="SECONDS",
    help="How far the timestamp may be from the time of judging.",
)
@output_options
def verify(header: str, username: str, secret: str, now: float | None, tolerance: float, format: str) -> int:
    """Say whether an X-CALLBACK-ID header is valid, and why.

    HEADER is the header's value, with or without its name in front. Exits 0 when it is valid, 1 when it is not.
    """
    settings = required(username, secret)
    if now is not None and not math.isfinite(now):
        raise UsageError(f"{now!r} is not a time", where="--now", hint="give Unix seconds, such as 1681991058")
    verdict = judge(
        _PREFIX.sub("", header, count=1),
        username=settings.username,
        secret=settings.secret,
        now=time.time() if now is None else now,
        tolerance=check_delay(tolerance, where="--tolerance"),
    )
    _tell(verdict, Output(format))
    return ExitCode.OK if verdict else ExitCode.FELL_SHORT


def _tell(verdict: Verdict, output: Output) -> None:
    if output.json:
        output.record(type="verdict", valid=bool(verdict), reason=str(verdict.reason), detail=verdict.detail)
        return
    target = output.results
    target.print(Text.assemble(Marks(target.encoding).of(bool(verdict)), f" {verdict}"), soft_wrap=True)

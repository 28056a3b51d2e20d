"""`engagelab-mock sign` and `verify`: make and check an X-CALLBACK-ID header."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from random import SystemRandom
from typing import Any

import click
from rich.text import Text

from engagelab_mock.cli.option_values import signing_settings
from engagelab_mock.cli.options import credential_options, from_zero, output_options, setting
from engagelab_mock.cli.output import ExitCode, Output, Screen
from engagelab_mock.errors import UsageError
from engagelab_mock.generate import Generator
from engagelab_mock.protocol.signature import HEADER, TOLERANCE, Signature, Verdict, parse
from engagelab_mock.protocol.signature import sign as make_signature
from engagelab_mock.protocol.signature import verify as judge

_NAME = re.compile(rf"\s*{HEADER}\s*:", re.IGNORECASE)

_SIGN = """Print the value of an X-CALLBACK-ID header, signed as EngageLab signs.

For curl: -H "X-CALLBACK-ID: $(engagelab-mock sign --username acme --secret s3cret)"
"""


@click.command(help=_SIGN, short_help="Make an X-CALLBACK-ID header.")
@credential_options
@click.option("--timestamp", type=int, metavar="UNIX", help="Unix seconds. Default: now.")
@click.option("--nonce", help="Any text without ';'. Default: 12 random digits.")
@output_options
def sign(username: str, secret: str, timestamp: int | None, nonce: str | None, format: str) -> int:
    """Print the value of an X-CALLBACK-ID header, signed as EngageLab signs."""
    settings = signing_settings(username, secret)
    signature = make_signature(
        settings.username,
        settings.secret,
        timestamp=int(time.time()) if timestamp is None else timestamp,
        nonce=Generator(SystemRandom()).nonce() if nonce is None else nonce,
    )
    _check_readable(signature)
    Output(format).show(Signed(signature))
    return ExitCode.OK


_VERIFY = """Say whether an X-CALLBACK-ID header is valid, and why.

HEADER is the header's value, with or without its name in front. Exits 0 when it is valid, 1 when it is not.
"""


@click.command(help=_VERIFY)
@click.argument("header")
@credential_options
@click.option("--now", type=float, metavar="UNIX", help="The time to compare with, in Unix seconds. Default: now.")
@setting(
    "tolerance",
    type=float,
    callback=from_zero,
    default=float(TOLERANCE),
    show_default=True,
    metavar="SECONDS",
    help="How far the timestamp may be from that time.",
)
@output_options
def verify(header: str, username: str, secret: str, now: float | None, tolerance: float, format: str) -> int:
    """Say whether an X-CALLBACK-ID header is valid, and why."""
    settings = signing_settings(username, secret)
    if now is not None and not math.isfinite(now):
        raise UsageError(f"{now!r} is not a time", where="--now", hint="give Unix seconds, such as 1681991058")
    verdict = judge(
        _NAME.sub("", header, count=1),
        username=settings.username,
        secret=settings.secret,
        now=time.time() if now is None else now,
        tolerance=tolerance,
    )
    Output(format).show(Verified(verdict))
    return ExitCode.OK if verdict else ExitCode.FELL_SHORT


def _check_readable(signature: Signature) -> None:
    """Raise `UsageError` if a receiver could not read the parts from the header again."""
    nonce = signature.nonce
    if parse(signature.header) != signature or not nonce.isascii() or not nonce.isprintable():
        raise UsageError(
            f"timestamp {signature.timestamp} and nonce {nonce!r} make no readable header",
            where="sign",
            hint="a timestamp is Unix seconds, a nonce printable ASCII without ';' and without blanks around it",
        )


@dataclass(frozen=True)
class Signed:
    """Show the header."""

    signature: Signature

    def record(self) -> dict[str, Any]:
        """Return the header and its parts."""
        signature = self.signature
        return {
            "type": "signature",
            "name": HEADER,
            "header": signature.header,
            "timestamp": signature.timestamp,
            "nonce": signature.nonce,
            "username": signature.username,
            "signature": signature.signature,
        }

    def write(self, screen: Screen) -> None:
        """Print the header's value and nothing else, for use in a shell."""
        # Not by rich, which would expand a tab in the username.
        click.echo(self.signature.header)


@dataclass(frozen=True)
class Verified:
    """Show the verdict on a header."""

    verdict: Verdict

    def record(self) -> dict[str, Any]:
        """Return the verdict."""
        verdict = self.verdict
        return {
            "type": "verdict",
            "valid": bool(verdict),
            "reason": str(verdict.reason),
            "detail": verdict.detail,
        }

    def write(self, screen: Screen) -> None:
        """Print the verdict."""
        screen.line(Text.assemble(screen.mark(bool(self.verdict)), f" {self.verdict}"))

"""`engagelab-mock sign`: make an X-CALLBACK-ID header."""

from __future__ import annotations

import time
from random import SystemRandom

import click

from engagelab_mock.cli.credentials import required
from engagelab_mock.cli.exitcode import ExitCode
from engagelab_mock.cli.options import credential_options, output_options
from engagelab_mock.cli.output import Output
from engagelab_mock.errors import UsageError
from engagelab_mock.generate import Generator
from engagelab_mock.protocol.signature import HEADER, Signature, parse
from engagelab_mock.protocol.signature import sign as sign_parts


@click.command(short_help="Make an X-CALLBACK-ID header.")
@credential_options
@click.option("--timestamp", type=int, metavar="UNIX", help="Unix seconds; now when left out.")
@click.option("--nonce", help="Any text without ';'; 12 random digits when left out.")
@output_options
def sign(username: str, secret: str, timestamp: int | None, nonce: str | None, format: str) -> int:
    """Print the value of an X-CALLBACK-ID header, signed as EngageLab signs.

    For curl: -H "X-CALLBACK-ID: $(engagelab-mock sign --username acme --secret s3cret)"
    """
    settings = required(username, secret)
    signature = sign_parts(
        settings.username,
        settings.secret,
        timestamp=int(time.time()) if timestamp is None else timestamp,
        nonce=Generator(SystemRandom()).nonce() if nonce is None else nonce,
    )
    _check_readable(signature)
    output = Output(format)
    if output.json:
        output.record(
            type="signature",
            name=HEADER,
            header=signature.header,
            timestamp=signature.timestamp,
            nonce=signature.nonce,
            username=signature.username,
            signature=signature.signature,
        )
    else:
        click.echo(signature.header)
    return ExitCode.OK


def _check_readable(signature: Signature) -> None:
    """Raise `UsageError` for parts that no receiver could read out of the header again."""
    nonce = signature.nonce
    if parse(signature.header) != signature or not nonce.isascii() or not nonce.isprintable():
        raise UsageError(
            f"timestamp {signature.timestamp} and nonce {nonce!r} make no readable header",
            where="sign",
            hint="a timestamp is Unix seconds, a nonce printable ASCII without ';' and without blanks around it",
        )

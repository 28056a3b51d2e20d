"""`engagelab-mock ready`: wait until a server of `serve` takes requests, for health checks and scripts."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import click

from engagelab_mock.cli.option_values import tls_verify
from engagelab_mock.cli.options import from_zero, output_options, setting, tls_options
from engagelab_mock.cli.output import ExitCode, Output, Screen
from engagelab_mock.cli.serve import PORT
from engagelab_mock.delivery.outcome import TransportFailure
from engagelab_mock.delivery.transport import split_address
from engagelab_mock.delivery.transport.http import HttpTransport
from engagelab_mock.delivery.transport.wire import Wire
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.protocol.callback import Callback, Headers

#: The path that answers without a token.
_PATH = "/_mock/readyz"
#: How long one answer may take, and the pause before the next try, in seconds.
_LIMIT, _PAUSE = 2.0, 0.1

_HELP = """Wait until `serve` takes requests.

URL is its address. Default: http://127.0.0.1 and --port. Exits 0 when it is ready, 1 when another program answers
there, 3 when no answer came within --wait.
"""


@click.command(help=_HELP)
@click.argument("url", metavar="[URL]", required=False)
@setting(
    "port",
    type=click.IntRange(1, 65535),
    default=PORT,
    show_default=True,
    help="The port of the server on this machine.",
)
@click.option(
    "--wait",
    type=float,
    callback=from_zero,
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="Try again for so long.",
)
@tls_options
@output_options
def ready(url: str | None, port: int, wait: float, insecure: bool, ca: str | None, format: str) -> int:
    """Wait until `serve` takes requests."""
    address = (url or f"http://127.0.0.1:{port}").rstrip("/")
    output = Output(format)
    split_address(address, where="URL")
    with closing(HttpTransport(address + _PATH, tls_verify=tls_verify(insecure, ca))) as transport:
        started = time.monotonic()
        while True:
            try:
                answer = transport.exchange(Callback(Headers(), b""), _LIMIT, Wire(method="GET"))
                break
            except TransportFailure as failure:
                waited = time.monotonic() - started
                if waited + _PAUSE >= wait:
                    within = f" within {wait:g} s" if wait else ""
                    hint = "start it with engagelab-mock serve"
                    hint += ", or look into its log" if wait else ", or give --wait 30 if it is about to come up"
                    error = EngageLabMockError(f"no answer{within}: {failure.reason}", where=address, hint=hint)
                    output.error("Unreachable", error)
                    return ExitCode.UNREACHABLE
                time.sleep(_PAUSE)
    version = _version(answer.text) if answer.status == 200 else None
    if version is None:
        hint = "another program answers there: is the port right?"
        error = EngageLabMockError(f"{_PATH} answered {answer.status} {answer.reason}", where=address, hint=hint)
        output.error("NotReady", error)
        return ExitCode.FELL_SHORT
    output.show(Ready(address, version))
    return ExitCode.OK


def _version(text: str) -> str | None:
    """Return the version in an answer; None if it is not an answer of `serve`."""
    try:
        said = json.loads(text)
        return str(said["version"]) if said["status"] == "ready" else None
    except (ValueError, LookupError, TypeError):
        return None


@dataclass(frozen=True)
class Ready:
    """Say that the server is ready."""

    url: str
    version: str

    def record(self) -> dict[str, Any]:
        """Return the address and the version of the server."""
        return {"type": "ready", "url": self.url, "version": self.version}

    def write(self, screen: Screen) -> None:
        """Print the address."""
        screen.line(f"Ready: {self.url}")

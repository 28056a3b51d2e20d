"""Family E, the address: is the certificate valid, and does every IP address of the host accept connections?"""

from __future__ import annotations

import errno
import ipaddress
import socket
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec

from engagelab_mock.checks.check import Check, Fix, Severity
from engagelab_mock.checks.profile import describe
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.eventloop import stopwatch

#: How long a connection may take, in seconds.
CONNECT_LIMIT = 1.0
#: How many IP addresses of a host are tried at most.
_MOST = 8
#: Errors of this machine, for example because it has no IPv6 or no network.
_OURS = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class _Target(msgspec.Struct, frozen=True):
    scheme: str
    host: str
    port: int

    @property
    def is_named(self) -> bool:
        """Tell whether the host is a name that must be in the DNS."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return self.host != "localhost" and not self.host.endswith(".localhost")
        return False


def _certificate(trial: Trial) -> None:
    target = _target(trial)
    if target.scheme != "https":
        trial.skip("the address is plain http, without a certificate; the console asks for https")
    transport: Any = trial.receiver.transport
    if transport.tls_verify is False:
        trial.inconclusive("the certificate is not verified (tls_verify=False, or --insecure); EngageLab verifies it")
    attempt = trial.ping()
    if attempt.outcome is Outcome.TLS_FAILURE:
        trial.fail(describe(attempt))
    if attempt.outcome.unreachable:
        trial.inconclusive(f"there was no connection: {describe(attempt)}")
    if transport.tls_verify is not True:
        trial.warn("the certificate is trusted because of the given CA bundle, which EngageLab does not have")


def _reachable(trial: Trial) -> None:
    target = _target(trial)
    if not target.is_named:
        trial.skip(f"{target.host} is not a DNS name")
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        trial.fail(f"the host {target.host!r} cannot be resolved: {error.strerror or error}")
    addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
    for family, address in list(addresses)[:_MOST]:
        _connect(trial, family, address)


def _connect(trial: Trial, family: int, address: Any) -> None:
    started = stopwatch()
    try:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(CONNECT_LIMIT)
            connection.connect(address)
    except TimeoutError:
        trial.fail(f"{address[0]} port {address[1]} accepts no connection within {CONNECT_LIMIT:g} s")
    except OSError as error:
        if error.errno in _OURS:
            trial.warn(f"{address[0]} cannot be reached from this machine: {error.strerror}")
            return
        trial.fail(f"{address[0]} port {address[1]} accepts no connection: {error.strerror or error}")
    if stopwatch() - started > CONNECT_LIMIT / 2:
        trial.warn(f"{address[0]} took {stopwatch() - started:.2f} s to accept a connection")


def _target(trial: Trial) -> _Target:
    parts = urlsplit(trial.receiver.address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return _Target(parts.scheme, parts.hostname or "", port)


_check = partial(Check, need="http", source="?", transports=("http",), needs_valid=False, needs_answer=False)

ADDRESS = (
    _check(
        id="E09",
        name="tls",
        title="The certificate is valid",
        why="The console asks for https. A sender refuses a certificate that has expired, is for another host, or "
        "does not lead to a known authority. A browser that knows the intermediate certificate from elsewhere hides "
        "an incomplete chain.",
        stimulus="A TLS session with verification and at least TLS 1.2, and the ping.",
        expected="A session.",
        severity=Severity.BLOCKER,
        fix=Fix(
            "Serve the full chain of a certificate for this host, and renew it automatically. "
            "`openssl s_client -connect HOST:443 -servername HOST` shows the error.",
        ),
        work=_certificate,
    ),
    _check(
        id="E10",
        name="dns-connect",
        title="Every IP address of the host accepts connections",
        why="A sender uses any of the addresses in the DNS. If one of them does not work, often the IPv6 address, some "
        "callbacks are late and others fail. A browser hides this.",
        stimulus="A connection to each IP address of the host.",
        expected=f"Each accepts it within {CONNECT_LIMIT:g} s.",
        severity=Severity.MAJOR,
        fix=Fix("Remove the DNS record of an address that does not work, or make the server listen there."),
        work=_reachable,
    ),
)

"""Family E, the address: does its certificate convince, and does every address of its host lead there?"""

from __future__ import annotations

import errno
import ipaddress
import socket
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec

from engagelab_mock.checks.check import Check, Fix
from engagelab_mock.checks.context import describe
from engagelab_mock.checks.trial import Trial
from engagelab_mock.checks.verdict import Severity
from engagelab_mock.clock import stopwatch
from engagelab_mock.delivery.outcome import Outcome

#: How long a connection may take, in seconds.
CONNECT_LIMIT = 1.0
#: How many addresses of one host are tried at most.
_MOST = 8
#: What says that it is this machine that cannot get there, for want of IPv6 or of a network.
_OURS = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class _Target(msgspec.Struct, frozen=True):
    scheme: str
    host: str
    port: int

    @property
    def is_named(self) -> bool:
        """Tell whether the host is a name that somebody had to enter in the DNS."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return self.host != "localhost" and not self.host.endswith(".localhost")
        return False


def _certificate(trial: Trial) -> None:
    target = _target(trial)
    if target.scheme != "https":
        trial.skip("the address is plain http, and has no certificate; the console asks for https")
    transport: Any = trial.receiver.transport
    if transport.tls_verify is False:
        trial.inconclusive("with tls_verify=False the certificate is not looked at; EngageLab does look")
    attempt = trial.ping()
    if attempt.outcome is Outcome.TLS_FAILURE:
        trial.fail(describe(attempt))
    if attempt.outcome.unreachable:
        trial.inconclusive(f"there was no connection: {describe(attempt)}")
    if transport.tls_verify is not True:
        trial.warn("the certificate is trusted because of the CA bundle that was given; EngageLab does not have it")


def _reachable(trial: Trial) -> None:
    target = _target(trial)
    if not target.is_named:
        trial.skip(f"{target.host} is no name that would have to be resolved")
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
        trial.fail(f"{address[0]} port {address[1]} takes no connection within {CONNECT_LIMIT:g} s")
    except OSError as error:
        if error.errno in _OURS:
            trial.warn(f"{address[0]} cannot be reached from this machine: {error.strerror}")
            return
        trial.fail(f"{address[0]} port {address[1]} takes no connection: {error.strerror or error}")
    if stopwatch() - started > CONNECT_LIMIT / 2:
        trial.warn(f"{address[0]} took {stopwatch() - started:.2f} s to take a connection")


def _target(trial: Trial) -> _Target:
    parts = urlsplit(trial.receiver.address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return _Target(parts.scheme, parts.hostname or "", port)


_check = partial(Check, need="http", source="?", transports=("http",), needs_valid=False, needs_answer=False)

ADDRESS = (
    _check(
        id="E09",
        name="tls",
        title="The certificate convinces",
        why="The console asks for https. A sender refuses a certificate that has expired, is made out to another host, "
        "or does not lead to an authority it knows; a browser that has seen the intermediate certificate elsewhere "
        "hides that the chain is incomplete.",
        stimulus="A TLS session, with verification and TLS 1.2 at least, and the ping.",
        expected="A session.",
        severity=Severity.BLOCKER,
        fix=Fix(
            "Serve the full chain of a certificate for this very host, let it be renewed by itself, and look at what "
            "`openssl s_client -connect HOST:443 -servername HOST` says.",
        ),
        work=_certificate,
    ),
    _check(
        id="E10",
        name="dns-connect",
        title="Every address of the host takes connections",
        why="A sender takes any of the addresses that the DNS gives. One of several that leads nowhere, often that of "
        "IPv6, makes some callbacks late and others fail, and whoever tests from a browser does not notice.",
        stimulus="A connection to each address of the host.",
        expected=f"Each takes it within {CONNECT_LIMIT:g} s.",
        severity=Severity.MAJOR,
        fix=Fix("Take the record away that leads nowhere, or have the server listen there."),
        work=_reachable,
    ),
)

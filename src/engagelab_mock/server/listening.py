"""The addresses on which a server can listen."""

from __future__ import annotations

import errno
import ipaddress
import socket

from engagelab_mock.errors import UsageError

#: Connections that may wait to be accepted.
_BACKLOG = 128


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is a loopback one.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket, or raise `UsageError` with the reason.

    >>> with listening_socket("127.0.0.1", 0) as listening:
    ...     listening.getsockname()[0]
    '127.0.0.1'
    """
    where = f"{host}:{port}"
    if not 0 <= port <= 65535:
        raise UsageError(f"{port} is not a port", where=where, hint="ports go from 0 (any free one) to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        what, hint = _explain(error, host, port)
        raise UsageError(what, where=where, hint=hint) from error


def _explain(error: OSError | UnicodeError, host: str, port: int) -> tuple[str, str]:
    number = error.errno if isinstance(error, OSError) else socket.EAI_NONAME
    if number in {socket.EAI_NONAME, socket.EAI_AGAIN}:
        return f"the host {host!r} cannot be resolved", "127.0.0.1 is this machine, for itself alone"
    if number == errno.EADDRINUSE:
        return f"port {port} is in use", "stop the program that listens there, or take port 0, which is any free one"
    if number == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine", "127.0.0.1 is, for itself alone; 0.0.0.0 is for all"
    if number == errno.EACCES:
        return f"port {port} is not for this user", "take one above 1023, or port 0, which is any free one"
    return f"the port cannot be opened: {error}", "take port 0, which is any free one"

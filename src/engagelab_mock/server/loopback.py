"""Servers on real sockets: the threads that wait for requests and answer them, and a WSGI app served by them."""

from __future__ import annotations

import errno
import ipaddress
import math
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, Self

from engagelab_mock.errors import UsageError
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.server.connection import REQUEST_LIMIT, Connection, WsgiResponder, log

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

#: Seconds that a connection may wait for its next request.
IDLE_LIMIT = 60.0
#: Connections that are kept open. One beyond them is closed after its answer.
KEPT_CONNECTIONS = 256
#: Threads that wait to take the lead.
_STANDBYS = 2
#: Seconds after which a request counts as slow, and another thread takes the lead.
_STALL = 0.01
#: A standby sleeps until a request begins, once it has found none under way this many times in a row.
_QUIET = 10
#: Connections that may wait to be accepted.
_BACKLOG = 128
#: Seconds that `stop` waits for the thread that leads.
_JOIN = 5.0


class Served(Protocol):
    """A connection that a listener can hold."""

    socket: socket.socket

    def serve(self) -> bool:
        """Answer the requests that have begun to arrive; return whether more may follow."""


class Listener:
    """Accept connections, and serve their requests, until it is stopped.

    One thread leads: it waits for connections and requests, and serves each request itself, because handing one over to
    another thread costs more than most answers. When a request is slow, a standby thread takes the lead.

    `connect` makes a connection of a socket and the client's address. A new connection may wait `first_limit` seconds
    for its first request, and `idle_limit` seconds for each that follows.
    """

    def __init__(
        self,
        listening: socket.socket,
        connect: Callable[[socket.socket, Any], Served],
        *,
        name: str,
        first_limit: float,
        idle_limit: float = IDLE_LIMIT,
        kept: int = KEPT_CONNECTIONS,
    ) -> None:
        self.port: int = listening.getsockname()[1]
        self._listening = listening
        self._connect = connect
        self._name = name
        self._first_limit = first_limit
        self._idle_limit = idle_limit
        self._kept = kept
        #: The connections that are watched. Only the leader, or the thread that takes the lead from it, touches them.
        self._idle = _Idle()
        #: Guards everything below; standbys wait on it.
        self._changed = threading.Condition(threading.Lock())
        self._leader: threading.Thread | None = None
        #: The connection that the leader serves, and since when.
        self._serving: tuple[Served, float] | None = None
        #: A standby looks every `_STALL` seconds for a stuck leader; otherwise the leader wakes one.
        self._watched = False
        self._standbys = 0
        self._started = False
        self._stopped = False
        self._open = 0
        #: Connections whose slow requests have been answered, and that the leader shall watch again.
        self._answered: deque[Served] = deque()
        #: Written to when the leader has something to do.
        self._waker, self._woken = socket.socketpair()
        for end in (self._waker, self._woken, listening):
            end.setblocking(False)
        self._idle.selector.register(self._woken, selectors.EVENT_READ)
        self._idle.selector.register(listening, selectors.EVENT_READ)

    def may_keep(self) -> bool:
        """Tell whether a connection may stay open after its answer."""
        return not self._stopped and self._open <= self._kept

    def start(self) -> None:
        """Accept connections from now on; raise `UsageError` if it was stopped."""
        if self._stopped:
            raise UsageError("the server was stopped and cannot start again", where=self._name, hint="make a new one")
        if not self._started:
            self._started = True
            self._add_thread()

    def stop(self) -> None:
        """Free the port and close the connections that wait; a second time does nothing.

        A request under way is answered, and its connection closed then.
        """
        with self._changed:
            if self._stopped:
                return
            self._stopped = True
            leader = self._leader
            if self._serving is not None:  # take the lead, so as not to wait for a slow request
                self._idle.remove(self._serving[0])
                self._leader = self._serving = leader = None
            self._changed.notify_all()
        self._wake()
        if leader is not None:
            leader.join(_JOIN)
        for connection in [*self._idle.connections, *self._answered]:
            self._close(connection)
        self._idle.selector.close()
        for end in (self._waker, self._woken, self._listening):
            end.close()

    def _add_thread(self) -> None:
        threading.Thread(target=self._run, name=f"{self._name}:{self.port}", daemon=True).start()

    def _run(self) -> None:
        while self._take_lead():
            try:
                self._lead()
            except Exception:
                log.exception("a connection could not be served")
            finally:
                with self._changed:
                    if self._leader is threading.current_thread():
                        self._leader = None
                        self._changed.notify()

    def _take_lead(self) -> bool:
        """Wait until no thread leads, or the leader is stuck; return False if this thread is not needed any more."""
        quiet = 0
        with self._changed:
            if self._standbys >= _STANDBYS:
                return False
            self._standbys += 1
            while self._leader is not None and not self._stopped:
                if self._serving is None:
                    quiet += 1
                    self._watched = quiet < _QUIET
                    self._changed.wait(_STALL if self._watched else None)
                    continue
                quiet = 0
                connection, since = self._serving
                if (left := since + _STALL - stopwatch()) <= 0:
                    self._idle.remove(connection)
                    break
                self._watched = True
                self._changed.wait(left)
            self._standbys -= 1
            if self._stopped:
                return False
            self._leader, self._serving, self._watched = threading.current_thread(), None, False
            alone = not self._standbys
        if alone:
            self._add_thread()
        return True

    def _lead(self) -> None:
        """Watch for connections and requests, and serve them, until another thread leads or it is time to stop."""
        idle = self._idle
        while not self._stopped:
            timeout = None if idle.until == math.inf else max(0.0, idle.until - stopwatch())
            for key, _ in idle.selector.select(timeout):
                if key.fileobj is self._listening:
                    self._accept(idle)
                elif key.fileobj is self._woken:
                    self._watch_again(idle)
                elif not self._serve(key.data):
                    return
            for connection in idle.take_expired():
                self._close(connection)

    def _serve(self, connection: Served) -> bool:
        """Serve the requests that have arrived on a connection, and return whether this thread still leads."""
        with self._changed:
            if self._stopped:
                return True
            self._serving = (connection, stopwatch())
            if not self._watched:
                self._changed.notify()
        keep = False
        try:
            keep = connection.serve()
        finally:
            with self._changed:
                if leads := self._leader is threading.current_thread():
                    self._serving = None
            self._give_back(connection, keep=keep, leads=leads)
        return leads

    def _give_back(self, connection: Served, *, keep: bool, leads: bool) -> None:
        """Watch a connection again, or close it."""
        if leads and keep:
            self._idle.renew(connection, self._idle_limit)
        elif leads:
            self._idle.remove(connection)
            self._close(connection)
        else:
            with self._changed:
                if keep := keep and not self._stopped:
                    self._answered.append(connection)
            if keep:
                self._wake()
            else:
                self._close(connection)

    def _accept(self, idle: _Idle) -> None:
        """Accept all waiting clients, so that the last of many does not wait for the requests of the others."""
        while True:
            try:
                connection = self._connect(*self._listening.accept())
            except OSError:  # no client waits, the client has gone again, or there are no files left: look again later
                return
            with self._changed:
                self._open += 1
            idle.add(connection, self._first_limit)

    def _watch_again(self, idle: _Idle) -> None:
        self._woken.recv(4096)
        while self._answered:
            idle.add(self._answered.popleft(), self._idle_limit)

    def _wake(self) -> None:
        with suppress(OSError):  # it has enough to read, or has ended
            self._waker.send(b"!")

    def _close(self, connection: Served) -> None:
        with self._changed:
            self._open -= 1
        connection.socket.close()


class _Idle:
    """Hold the connections that wait for a request, each until its time is over."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        #: Each with the moment at which its time is over.
        self.connections: dict[Served, float] = {}
        #: The moment at which to look for connections whose time is over.
        self.until = math.inf

    def add(self, connection: Served, limit: float) -> None:
        """Watch a connection for that many seconds at most."""
        self.renew(connection, limit)
        self.selector.register(connection.socket, selectors.EVENT_READ, connection)

    def renew(self, connection: Served, limit: float) -> None:
        """Go on watching a connection, for that many seconds at most."""
        self.connections[connection] = end = stopwatch() + limit
        self.until = min(self.until, end)

    def remove(self, connection: Served) -> None:
        """Watch a connection no longer."""
        del self.connections[connection]
        self.selector.unregister(connection.socket)

    def take_expired(self) -> list[Served]:
        """Remove and return the connections whose time is over."""
        now = stopwatch()
        if now < self.until:
            return []
        over = [connection for connection, end in self.connections.items() if end <= now]
        for connection in over:
            self.remove(connection)
        self.until = min(self.connections.values(), default=math.inf)
        return over


class LoopbackServer:
    """Serve a WSGI app over HTTP/1.1, by default on a free port of 127.0.0.1, which only this machine can reach.

    >>> from engagelab_mock import EngageLab, Receiver, Recorder
    >>> with LoopbackServer(Recorder()) as server, EngageLab(Receiver.http(server.url)) as engagelab:
    ...     engagelab.send("+6591234567").acknowledged
    True

    The port listens once this is constructed, so a request that is made before `start` waits for it. A request that has
    not arrived within `request_limit` seconds is answered 408. Connections stay open for more requests: at most `kept`
    of them, and each for at most `idle_limit` seconds without a request.
    """

    def __init__(
        self,
        app: WSGIApplication,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        request_limit: float = REQUEST_LIMIT,
        idle_limit: float = IDLE_LIMIT,
        kept: int = KEPT_CONNECTIONS,
    ) -> None:
        self.host = host
        self._respond = WsgiResponder(app)
        self._request_limit = request_limit
        self._listener = Listener(
            listening_socket(host, port),
            self._connect,
            first_limit=request_limit,
            idle_limit=idle_limit,
            kept=kept,
            name="LoopbackServer",
        )
        self.port = self._listener.port

    @property
    def url(self) -> str:
        """Return the server's address for clients on this machine, without a trailing slash."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Tell whether only this machine can reach the server."""
        return is_loopback(self.host)

    def start(self) -> Self:
        """Answer requests from now on."""
        self._listener.start()
        return self

    def stop(self) -> None:
        """Stop answering, free the port and close idle connections; a second time does nothing."""
        self._listener.stop()

    def _connect(self, connection: socket.socket, peer: Any) -> Connection:
        limit, may_keep = self._request_limit, self._listener.may_keep
        return Connection(self._respond, connection, peer, request_limit=limit, may_keep=may_keep)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<LoopbackServer {self.url}>"


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

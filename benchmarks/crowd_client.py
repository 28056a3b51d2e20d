"""Many clients at once, in one process: how many answers they got, and how long each took."""

from __future__ import annotations

import asyncio
import math
from time import perf_counter

import msgspec

#: How long one answer may take, in seconds, before it counts as an error.
_PATIENCE = 10.0


class Load(msgspec.Struct):
    """Hold the results of a crowd of clients."""

    seconds: float = 0.0
    errors: int = 0
    #: Seconds that each request took to the last byte of its answer, with the connection if it needed a new one.
    taken: list[float] = []

    @property
    def rate(self) -> float:
        """Return the answers per second."""
        return len(self.taken) / self.seconds

    def quantile(self, share: float) -> float:
        """Return the seconds within which that share of the requests was answered."""
        ordered = sorted(self.taken)
        return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def load(port: int, request: bytes, *, clients: int, seconds: float) -> Load:
    """Have clients send a request over and over, each on one connection for as long as the server keeps it open."""
    return asyncio.run(_load(port, request, clients, seconds))


async def _load(port: int, request: bytes, clients: int, seconds: float) -> Load:
    met = Load()
    started = perf_counter()
    numbers = iter(range(10**9))

    async def client() -> None:
        connection = _Connection(port)
        while perf_counter() - started < seconds:
            begun = perf_counter()
            try:
                await asyncio.wait_for(connection.exchange(_numbered(request, next(numbers))), _PATIENCE)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, RuntimeError):
                met.errors += 1
                connection.close()
            else:
                met.taken.append(perf_counter() - begun)
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    met.seconds = perf_counter() - started
    return met


def _numbered(request: bytes, number: int) -> bytes:
    """Replace eight hash signs by a number of eight digits, so that no two recipients are the same."""
    return request.replace(b"########", b"%08d" % (number % 10**8))


class _Connection:
    """Send requests to one server, on a new connection after each that the server closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: bytes) -> None:
        """Send a request and read its answer; raise `RuntimeError` if it is not a 200."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith((b"http/1.1 200", b"http/1.0 200")):
            raise RuntimeError(head.split(b"\r\n", 1)[0].decode())
        await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
        if b"connection: close" in head or head.startswith(b"http/1.0"):
            self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def post(path: str, body: bytes, **headers: str) -> bytes:
    """Return a POST request as it goes over the wire."""
    given = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in given.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

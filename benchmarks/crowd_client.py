"""Many clients at once, in one process: what they were answered, and how long each answer took."""

from __future__ import annotations

import asyncio
import math
from time import perf_counter

import msgspec

#: How long one answer may take, in seconds, before it counts as an error.
_PATIENCE = 10.0


class Load(msgspec.Struct):
    """Hold what a crowd of clients met with."""

    seconds: float = 0.0
    errors: int = 0
    #: Seconds that each request took, from the connection to the last byte of its answer.
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
    """Have clients send a request over and over, each on a connection of its own, as their servers close them."""
    return asyncio.run(_load(port, request, clients, seconds))


async def _load(port: int, request: bytes, clients: int, seconds: float) -> Load:
    met = Load()
    started = perf_counter()
    numbers = iter(range(10**9))

    async def client() -> None:
        while perf_counter() - started < seconds:
            begun = perf_counter()
            try:
                await asyncio.wait_for(_exchange(port, _numbered(request, next(numbers))), _PATIENCE)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, RuntimeError):
                met.errors += 1
            else:
                met.taken.append(perf_counter() - begun)

    await asyncio.gather(*(client() for _ in range(clients)))
    met.seconds = perf_counter() - started
    return met


def _numbered(request: bytes, number: int) -> bytes:
    """Put a number of eight digits where there are eight hash signs, so that no two recipients are the same."""
    return request.replace(b"########", b"%08d" % (number % 10**8))


async def _exchange(port: int, request: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
            raise RuntimeError(head.split(b"\r\n", 1)[0].decode())
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
    finally:
        writer.close()


def post(path: str, body: bytes, **headers: str) -> bytes:
    """Return a POST request as it goes over the wire."""
    given = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in given.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

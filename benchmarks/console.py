"""C1: the console's page, how it searches ten thousand messages, and the cost of an open one to a busy server."""

from __future__ import annotations

import http.client
import json
import socket
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import engagelab_mock
from benchmarks.crowd_client import load
from benchmarks.row import Row
from benchmarks.server import CLIENTS, SEND, serving
from benchmarks.timing import Effort
from engagelab_mock import EngageLab
from engagelab_mock.server import ApiServer

_FOLDER = Path(engagelab_mock.__file__).parent / "server" / "console"
#: How many messages there are to search, at most.
_MESSAGES = 10_000


def measure(effort: Effort) -> Iterator[Row]:
    """Weigh the page, time a search, and compare the load that a server takes with and without an open console."""
    contents = {path.name: path.read_bytes() for path in _FOLDER.iterdir() if path.is_file()}
    yield Row(
        goal="C1",
        what="bytes of the page with its style and scripts",
        value=float(sum(map(len, contents.values()))),
        budget=60_000,
        unit="bytes",
        context={name: float(len(content)) for name, content in contents.items()},
    )
    lines = {name: float(content.count(b"\n")) for name, content in contents.items() if name.endswith(".js")}
    yield Row(
        goal="C1", what="lines of its scripts", value=sum(lines.values()), budget=600, unit="lines", context=lines
    )
    yield _search(effort)
    yield _watched(effort)


def _search(effort: Effort) -> Row:
    """Find one of many messages by a part of its recipient, and read one of them by its id."""
    count = min(_MESSAGES, effort.deliveries)
    with EngageLab(defaults={"check": False}) as engagelab, ApiServer(engagelab) as server:
        recipients = [f"+65{number:08}" for number in range(count)]
        engagelab.send_many(count, to=recipients, scenario=["plan"])
        port = int(server.url.rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port)
        [newest] = _read(connection, "/_mock/messages?limit=1")["messages"]
        taken: dict[str, list[float]] = {"search": [], "one": []}
        paths = {
            "search": f"/_mock/messages?search={recipients[17][3:]}",
            "one": f"/_mock/messages/{newest['message_id']}",
        }
        for _ in range(effort.rounds):
            for name, path in paths.items():
                started = perf_counter()
                _read(connection, path)
                taken[name].append(perf_counter() - started)
        connection.close()
    ratio = statistics.median(one / other for one, other in zip(taken["search"], taken["one"], strict=True))
    context = {f"{name}_ms": statistics.median(times) * 1e3 for name, times in taken.items()}
    what = f"find one of {count} messages by a text / read one by its id"
    return Row(goal="C1", what=what, value=ratio, budget=10, context=context)


def _watched(effort: Effort) -> Row:
    """Load a server with a console that follows it, and without, in turn."""
    rates: dict[str, list[float]] = {"alone": [], "watched": []}
    reads = 0
    for _ in range(effort.http_rounds):
        for name, met in rates.items():
            with serving("--speed", "1000") as (_, port):
                if name == "alone":
                    met.append(load(port, SEND, clients=CLIENTS, seconds=effort.crowd_seconds).rate)
                    continue
                with _console(port) as read:
                    met.append(load(port, SEND, clients=CLIENTS, seconds=effort.crowd_seconds).rate)
                reads += len(read)
    ratio = statistics.median(one / other for one, other in zip(rates["watched"], rates["alone"], strict=True))
    context = {f"{name}_per_second": statistics.median(met) for name, met in rates.items()} | {"reads": float(reads)}
    what = f"POST /v1/messages per second, {CLIENTS} clients, with an open console / without one"
    return Row(goal="C1", what=what, value=ratio, budget=0.8, sense="at least", context=context)


@contextmanager
def _console(port: int) -> Iterator[list[str]]:
    """Follow the changes, and read the newest messages after each, as the page does; give what was read."""
    read: list[str] = []
    following = http.client.HTTPConnection("127.0.0.1", port)
    following.request("GET", "/_mock/stream?follow")
    answer = following.getresponse()

    def follow() -> None:
        reading = http.client.HTTPConnection("127.0.0.1", port)
        try:
            while line := answer.readline():
                if line.startswith(b"data:"):
                    _read(reading, "/_mock/messages?limit=50")
                    read.append(line.decode())
        except (OSError, ValueError, http.client.HTTPException):
            pass  # the server has ended
        finally:
            reading.close()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield read
    finally:
        following.sock.shutdown(socket.SHUT_RDWR)
        thread.join()
        following.close()


def _read(connection: http.client.HTTPConnection, path: str) -> dict[str, list[dict[str, str]]]:
    connection.request("GET", path)
    given: dict[str, list[dict[str, str]]] = json.loads(connection.getresponse().read())
    return given

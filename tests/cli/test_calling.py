"""Calls of the app next to its callbacks: connections are kept, and a request on one that is closed is repeated."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from engagelab_mock import EngageLabMockError
from engagelab_mock.cli.calling import Caller

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server(socketserver.ThreadingTCPServer):
    """Answer with the path, and count the connections and requests; close after `most` answers without saying so."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.connections = 0
        self.targets: list[bytes] = []
        self.most = 1_000_000


class Connection(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        self.server.connections += 1
        answers = 0
        while line := self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            if answers == self.server.most:
                return
            answers += 1
            self.server.targets.append(line.split()[1])
            self.wfile.write(ANSWER)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.shutdown()


@pytest.fixture
def caller() -> Iterator[Caller]:
    caller = Caller("--observe")
    yield caller
    caller.close()


def test_all_addresses_of_a_server_share_its_connections(server: Server, caller: Caller) -> None:
    urls = [f"/state/{number}" for number in range(20)] + ["/state?id=1", "/"]
    answers = [caller.fetch(f"{server.url}{url}").text for url in urls] + [caller.fetch(server.url).text]
    assert set(answers) == {"ok"}
    assert server.targets == [url.encode() for url in urls] + [b"/"]
    assert server.connections == 1


def test_threads_that_call_at_once_have_a_connection_each(server: Server, caller: Caller) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: caller.fetch(f"{server.url}/{number}"), range(100)))
    assert len(server.targets) == 100
    assert server.connections <= 4


def test_a_question_on_a_connection_that_the_server_closes_is_asked_again(server: Server, caller: Caller) -> None:
    server.most = 1
    assert [caller.fetch(f"{server.url}/{number}").text for number in range(4)] == ["ok"] * 4
    assert server.targets == [b"/0", b"/1", b"/2", b"/3"]


def test_a_server_that_closes_every_connection_is_an_error(server: Server, caller: Caller) -> None:
    server.most = 0
    with pytest.raises(EngageLabMockError, match="closed"):
        caller.fetch(server.url)
    assert server.connections == 2


def test_a_post_is_never_repeated(server: Server, caller: Caller) -> None:
    server.most = 1
    caller.post(f"{server.url}/reset")
    with pytest.raises(EngageLabMockError, match="closed"):
        caller.post(f"{server.url}/reset")

"""`ready` waits for a server, and tells it from another program."""

from __future__ import annotations

import json
import socket
import threading

import flask
import pytest

from engagelab_mock import EngageLab
from engagelab_mock.server import create_app
from engagelab_mock.server.loopback import LoopbackServer
from tests.cli.conftest import Command
from tests.docs.reference import check_fields


def test_a_server_is_ready(command: Command) -> None:
    with EngageLab() as engagelab, LoopbackServer(create_app(engagelab, token="hush")) as server:
        result = command("ready", server.url, "--format", "json")
        assert (result.code, result.err) == (0, "")
        [ready] = result.objects
        assert ready["url"] == server.url
        check_fields("ready", ready)
        port = server.url.rpartition(":")[2]
        assert command("ready", "--port", port).out == f"Ready: {server.url}\n"


def test_a_closed_port_is_unreachable(command: Command, closed_url: str) -> None:
    result = command("ready", closed_url)
    assert (result.code, result.out) == (3, "")
    assert "connection refused" in result.err
    assert "or give --wait 30" in result.err
    waited = command("ready", closed_url, "--wait", "0.05")
    assert waited.code == 3
    assert "no answer within 0.05 s" in waited.err
    assert "--wait 30" not in waited.err


@pytest.mark.parametrize("answer", ['{"status": "ok"}', "ready", "[]"])
def test_another_program_is_not_ready(command: Command, answer: str) -> None:
    app = flask.Flask("other")
    app.add_url_rule("/_mock/readyz", "ready", lambda: answer)
    with LoopbackServer(app) as server:
        result = command("ready", server.url)
    assert (result.code, result.out) == (1, "")
    assert "/_mock/readyz answered 200 OK" in result.err
    assert "another program" in result.err


def test_it_tries_again_until_a_server_answers(command: Command) -> None:
    """The first connection is closed without an answer, as by a server that is about to come up."""
    body = json.dumps({"status": "ready", "version": "1"}).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for said in (b"", answer):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(said)

        server = threading.Thread(target=serve)
        server.start()
        result = command("ready", f"http://127.0.0.1:{listener.getsockname()[1]}", "--wait", "60")
        server.join(60)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Ready: http://127.0.0.1:")


def test_an_address_that_cannot_be_used(command: Command) -> None:
    result = command("ready", "ftp://127.0.0.1/")
    assert result.code == 2
    assert "URL" in result.err


def test_serve_refuses_a_name_that_is_not_one(command: Command) -> None:
    result = command("serve", "--port", "0", "--allow-host", "http://engagelab")
    assert result.code == 2
    assert "--allow-host: 'http://engagelab' is not the name of a host" in result.err

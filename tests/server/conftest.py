"""A running server, and plain HTTP to talk to it."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from engagelab_mock import EngageLab, LiveClock
from engagelab_mock.server import ApiServer
from tests.patience import PATIENCE

BASIC = "Basic " + base64.b64encode(b"key:secret").decode()


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, int]:
        """Return the HTTP status and the code of an error object, after checking that it is one."""
        assert self.headers["Content-Type"] == "application/json"
        given = self.json
        assert [name for name in given if name != "calls"] == ["code", "message"]
        assert isinstance(given["message"], str)
        assert given["message"]
        assert b"Traceback" not in self.body
        return self.status, given["code"]


class Talk:
    """Send requests to a server, each on a new connection."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self._host, _, port = server.url.removeprefix("http://").partition(":")
        self._port = int(port)

    def __call__(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, api: bool = True
    ) -> Answer:
        given = {"Authorization": BASIC} if api and path.startswith("/v1") else {}
        given.update(headers or {})
        content = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        connection = http.client.HTTPConnection(self._host, self._port, timeout=PATIENCE)
        try:
            connection.request(method, path, content, given)
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read())
        finally:
            connection.close()


@pytest.fixture
def talk(engagelab: EngageLab) -> Iterator[Talk]:
    with ApiServer(engagelab) as server:
        yield Talk(server)


@pytest.fixture
def frozen_clock() -> LiveClock:
    """Return a live clock that stands still until it is moved."""
    clock = LiveClock()
    clock.freeze()
    return clock


def message(to: str = "+6591234567", template: str = "my-template") -> dict[str, Any]:
    return {"to": to, "template": {"id": template, "language": "default", "params": {}}}

"""A client of `serve`, and a receiver of its callbacks."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from engagelab_mock import Recorder

#: How long an answer may take before the test fails, in seconds: much longer than any machine needs.
PATIENCE = 60.0


BASIC = "Basic " + base64.b64encode(b"key:secret").decode()


class Client:
    """Talk to a server, in JSON."""

    def __init__(self, url: str, authorization: str = BASIC) -> None:
        self.url = url
        self.authorization = authorization
        self.content_type = "application/json"

    def call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": self.authorization, "Content-Type": self.content_type}
        with urlopen(Request(self.url + path, data, headers, method=method), timeout=PATIENCE) as answer:
            return json.load(answer)

    def send(self, to: str = "+6591234567", template: str = "tpl") -> dict[str, Any]:
        sent: dict[str, Any] = self.call("POST", "/v1/messages", {"to": to, "template": {"id": template}})
        return sent

    def freeze(self) -> None:
        """Stop the server's clock: from now on it moves only by `advance`."""
        self.call("POST", "/_mock/clock/freeze")

    def advance(self, **span: float) -> None:
        self.call("POST", "/_mock/clock/advance", span)

    def journal(self, query: str = "") -> list[dict[str, Any]]:
        with urlopen(f"{self.url}/_mock/journal{query}", timeout=PATIENCE) as lines:
            return [json.loads(line) for line in lines]

    def refused(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        with pytest.raises(HTTPError) as caught:
            self.call(method, path, body)
        with caught.value as error:
            return error.code, json.load(error)


class Inbound(Recorder):
    """A receiver that lists the statuses it got."""

    def statuses(self) -> list[str]:
        return [event.name for received in self.received for event in received.events]


def towards(url: str) -> tuple[str, ...]:
    return ("--callback-url", url, "--username", "acme", "--secret", "s3cret")

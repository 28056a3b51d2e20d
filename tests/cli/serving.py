"""A client of `serve`, and a receiver of its callbacks."""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import werkzeug.test

from engagelab_mock import EngageLab, Receiver, Recorder, RetryPolicy
from engagelab_mock.cli.log import Log
from engagelab_mock.cli.output import Output
from engagelab_mock.server import create_app

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


MESSAGE = {"to": "+6591234567", "template": {"id": "login"}}


class Watched:
    """A server in this process, in virtual time, and its log."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *receivers: Receiver, **settings: Any) -> None:
        form = settings.pop("form", "text")
        quiet, verbose, token = (settings.pop(name, "") for name in ("quiet", "verbose", "token"))
        defaults = {"check": False, "retry": settings.pop("retry", RetryPolicy.vendor())}
        self.engagelab = EngageLab([*receivers], seed=7, defaults=defaults, **settings)
        self._capsys = capsys
        self.client = werkzeug.test.Client(create_app(self.engagelab))
        self.log = Log(Output(form), quiet=bool(quiet), verbose=bool(verbose))
        self.log.follow(self.engagelab, token=token)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        answer = self.client.open(path, method=method, data=data, headers={"Authorization": BASIC}, buffered=True)
        return answer.get_json(silent=True)

    def send(self, to: str = "+6591234567") -> Any:
        return self.call("POST", "/v1/messages", {**MESSAGE, "to": to})

    def advance(self, seconds: float) -> None:
        self.engagelab.clock.advance(seconds)

    def err(self) -> str:
        """Return the text since the last call."""
        return self._capsys.readouterr().err

    def lines(self) -> list[str]:
        """Return the lines since the last call, without their times and milliseconds."""
        return [re.sub(r" +\d+\.\d ms", "", re.sub(r"^\d\d:\d\d:\d\d  ", "", line)) for line in self.err().splitlines()]

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.err().splitlines()]

    def code(self, message_id: str) -> str:
        found = self.engagelab._engine.messages.find(message_id)
        assert found is not None
        return found.code

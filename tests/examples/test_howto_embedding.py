"""EngageLab's REST API as a WSGI app, in a server of your own choice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from wsgiref.simple_server import make_server

import pytest
from engagelab_otp import OTPClient
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from engagelab_mock import EngageLab
from engagelab_mock.server import create_app


# [server]
@pytest.fixture
def base_url(engagelab: EngageLab) -> Iterator[str]:
    with make_server("127.0.0.1", 0, create_app(engagelab)) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def test_a_code_arrives(engagelab: EngageLab, base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OTPClient, "BASE_URL", base_url)
    client = OTPClient("key", "secret")

    message = client.send("+6591234567", "shop-login")

    assert client.verify(message["message_id"], engagelab.inbox("+6591234567").code)["verified"]


# [mounted]
def test_beside_an_app_of_your_own(engagelab: EngageLab) -> None:
    both = DispatcherMiddleware(Flask("shop"), {"/otp": create_app(engagelab, token="t0ken")})
    browser = Client(both)

    assert browser.get("/otp/v1/template-configs", auth=("key", "secret")).status_code == 200
    assert browser.get("/otp/_mock/clock").status_code == 401
    assert browser.get("/otp/_mock/clock", headers={"Authorization": "Bearer t0ken"}).status_code == 200

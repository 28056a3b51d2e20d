"""The whole loop with the official SDK: send, look into the inbox, verify, and read the callbacks that come."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from engagelab_otp import EngagelabError, MessageStatusEvent, OTPClient
from flask import Flask
from waitress.server import create_server

from engagelab_mock import ERROR_CODES, EngageLab, ErrorCode, Receiver
from engagelab_mock.server import ApiServer, create_app
from tests.real import shop

#: How long anything here may take before the test is called stuck, in seconds.
PATIENCE = 15.0
PHONE = "+6591234567"


@contextmanager
def under_waitress(engagelab: EngageLab) -> Iterator[str]:
    """Serve the WSGI app with a server that is not ours."""
    server = create_server(create_app(engagelab), host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}/v1"
    finally:
        with suppress(OSError):  # awake for another reason, it has closed before it is woken for this one
            server.trigger.pull_trigger(server.close)
        thread.join(PATIENCE)


@contextmanager
def on_our_server(engagelab: EngageLab) -> Iterator[str]:
    with ApiServer(engagelab) as server:
        yield server.base_url


@pytest.fixture(params=[on_our_server, under_waitress])
def base_url(request: pytest.FixtureRequest, engagelab: EngageLab) -> Iterator[str]:
    with request.param(engagelab) as url:
        yield url


@pytest.fixture
def client(base_url: str) -> OTPClient:
    client = OTPClient("key", "secret")
    client.BASE_URL = base_url
    return client


@pytest.fixture
def app() -> Flask:
    return shop.create_app("http://127.0.0.1:1/v1")


@pytest.fixture
def engagelab_receiver(app: Flask) -> Receiver:
    return Receiver.wsgi(app, path="/engagelab", username=shop.USERNAME, secret=shop.SECRET, limit=PATIENCE)


def test_send_inbox_verify_callbacks(client: OTPClient, engagelab: EngageLab, app: Flask) -> None:
    message = client.send(PHONE, "shop-login", params={"name": "Ann"}, language="en")
    assert message["send_channel"] == "sms"

    received = engagelab.inbox(PHONE)
    assert [each.message_id for each in received] == [message["message_id"]]
    assert received.code in received.text

    wrong = "0" if received.code != "0" else "1"
    assert client.verify(message["message_id"], wrong) == {
        "message_id": message["message_id"],
        "verify_code": wrong,
        "verified": False,
    }
    assert client.verify(message["message_id"], received.code)["verified"] is True
    with pytest.raises(EngagelabError) as again:
        client.verify(message["message_id"], received.code)
    assert (again.value.code, again.value.http_status, again.value.retryable) == (3003, 400, False)

    engagelab.settle()
    events: list[MessageStatusEvent] = app.extensions["events"]
    assert [event.status for event in events] == ["plan", "sent", "delivered", "verified_failed", "verified"]
    assert {event.message_id for event in events} == {message["message_id"]}
    assert {event.to for event in events} == {PHONE}
    assert {event.template_key for event in events} == {"shop-login"}
    assert [event.current_send_channel for event in events][:3] == ["", "sms", "sms"]


def test_send_custom_brings_the_app_s_own_code(client: OTPClient, engagelab: EngageLab) -> None:
    one = client.send_custom(PHONE, "shop-news", params={"code": "398210"})
    assert engagelab.inbox(PHONE)[-1].message_id == one["message_id"]
    assert engagelab.inbox(PHONE).code == "398210"
    with pytest.raises(EngagelabError, match="verified") as caught:
        client.verify(one["message_id"], "398210")
    assert caught.value.code == 4001

    several = client.send_custom(["+6500000001", "+6500000002"], "shop-news", params={"code": "77"})
    assert several["message_id"]
    assert engagelab.inbox("+6500000001").code == engagelab.inbox("+6500000002").code == "77"


def test_silence_until_the_code_expires(client: OTPClient, engagelab: EngageLab, app: Flask) -> None:
    message = client.send(PHONE, "shop-login")
    code = engagelab.inbox(PHONE).code
    engagelab.clock.advance(minutes=11)
    assert app.extensions["events"][-1].status == "verified_timeout"
    with pytest.raises(EngagelabError) as expired:
        client.verify(message["message_id"], code)
    assert expired.value.code == 3003


@pytest.mark.parametrize("known", ERROR_CODES.values(), ids=[str(code) for code in ERROR_CODES])
def test_every_error_reaches_the_sdk_as_documented(engagelab: EngageLab, known: ErrorCode) -> None:
    engagelab.rule(error=known.code)
    with on_our_server(engagelab) as url:
        client = OTPClient("key", "secret")
        client.BASE_URL = url
        calls: list[Callable[[], object]] = [
            lambda: client.send(PHONE, "shop-login"),
            lambda: client.send_custom(PHONE, "shop-login", {"code": "1234"}),
            lambda: client.verify("1725407449772531712", "1234"),
        ]
        for call in calls:
            with pytest.raises(EngagelabError) as caught:
                call()
            error = caught.value
            assert (error.code, error.http_status) == (known.code, known.http_status)
            assert error.retryable == (known.code in {1000, 5001, 5016} or known.http_status >= 500)
            assert str(error)
    engagelab.journal.assert_nothing_sent()


def test_errors_for_their_real_reasons(client: OTPClient, engagelab: EngageLab) -> None:
    def code_of(call: Callable[[], object]) -> int:
        with pytest.raises(EngagelabError) as caught:
            call()
        code: int = caught.value.code
        return code

    assert code_of(lambda: client.send("+65 9123", "shop-login")) == 5011
    assert code_of(lambda: client.verify("1", "1234")) == 4001
    assert code_of(lambda: client.send(PHONE, "shop-login", language="tlh")) == 3002
    client.send(PHONE, "shop-login")
    assert code_of(lambda: client.send(PHONE, "shop-login")) == 3004
    engagelab.inbox(PHONE)
    engagelab.clock.advance(minutes=11)
    assert client.send(PHONE, "shop-login")["message_id"]


# --- The receiver calls EngageLab while EngageLab calls it


def test_a_receiver_in_process_verifies_inside_its_handler(engagelab: EngageLab) -> None:
    with on_our_server(engagelab) as url:
        app = shop.create_app(url, verify_at="delivered")
        engagelab.receiver = Receiver.wsgi(
            app, path="/engagelab", username=shop.USERNAME, secret=shop.SECRET, limit=PATIENCE
        )
        app.test_client().post("/login", data={"phone": "+10000000005"})
        assert engagelab.journal.statuses == ["plan", "sent", "delivered", "verified"]
    assert [answer["verified"] for answer in app.extensions["answers"]] == [True]


@contextmanager
def program(environment: dict[str, str]) -> Iterator[str]:
    """Run the app in another process, and return its address."""
    command = [sys.executable, "-m", "tests.real.shop"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env={**os.environ, **environment}, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def post(url: str, **fields: str) -> bytes:
    with urlopen(url, urlencode(fields).encode(), timeout=PATIENCE) as answer:
        body: bytes = answer.read()
        return body


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("verify_at", ["", "delivered"], ids=["verified by the user", "verified in its handler"])
def test_an_app_in_another_process_over_http(engagelab: EngageLab, engagelab_server: ApiServer, verify_at: str) -> None:
    with program({**engagelab_server.env, "VERIFY_AT": verify_at}) as url:
        engagelab.receiver = Receiver.http(
            f"{url}/engagelab", username=shop.USERNAME, secret=shop.SECRET, limit=PATIENCE
        )
        # The test asks the engine for nothing: the callbacks come by themselves.
        post(f"{url}/login", phone="+10000000005")
        last = b"verified" if verify_at else b"delivered"

        def arrived() -> bool:
            with urlopen(f"{url}/statuses", timeout=PATIENCE) as answer:
                return b'"' + last + b'"' in answer.read()

        until(arrived)
        assert engagelab.inbox("+10000000005").code == shop.KNOWN
    expected = ["plan", "sent", "delivered"] + (["verified"] if verify_at else [])
    assert engagelab.journal.statuses == expected


@pytest.mark.slow
def test_the_sandbox_s_webhook_names_an_app_in_another_process(
    engagelab: EngageLab, engagelab_server: ApiServer, client: OTPClient
) -> None:
    with program(engagelab_server.env) as url:
        webhook = json.dumps({"url": f"{url}/engagelab", "username": shop.USERNAME, "secret": shop.SECRET})
        curl = ["curl", "-sSf", "-u", "key:secret", "-X", "PUT", "-d", webhook]
        if shutil.which("curl") is None:
            pytest.skip("curl is not here")
        subprocess.run([*curl, f"{engagelab_server.base_url}/sandbox/webhook"], check=True, timeout=PATIENCE)
        post(f"{url}/login", phone=PHONE)
        assert engagelab.inbox(PHONE).code
    assert engagelab.journal.statuses == ["plan", "sent", "delivered"]


# --- Clients that are not Python's


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
def test_curl_in_a_shell(engagelab: EngageLab, engagelab_server: ApiServer) -> None:
    script = Path(__file__).with_name("login.sh")
    finished = subprocess.run(
        ["sh", str(script)],
        env={**os.environ, **engagelab_server.env},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    assert '"verified":true' in finished.stdout
    assert engagelab.journal.statuses == ["plan", "sent", "delivered", "verified"]

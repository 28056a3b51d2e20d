"""The receiver that an app sets, as in the vendor's sandbox."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from engagelab_mock import (
    EngageLab,
    Receiver,
    Recorder,
)
from engagelab_mock.server import ApiServer
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.service.rest.exchange import ApiSettings
from tests.server.conftest import Talk


def test_the_webhook_sets_the_receiver_and_pings_it(
    talk: Talk, engagelab: EngageLab, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(username="acme", secret="s3cret")
    with LoopbackServer(recorder) as there, caplog.at_level(logging.INFO, logger="engagelab_mock.server"):
        wanted = {"url": f"{there.url}/engagelab", "username": "acme", "secret": "s3cret"}
        answer = talk("PUT", "/v1/sandbox/webhook", wanted).json
        engagelab.send(scenario=["plan"])
    assert answer == {"code": 0, "message": "success", "state": "normal", "outcome": "acknowledged", "error": None}
    assert [(received.ping, bool(received.verdict)) for received in recorder.received] == [(True, True), (False, True)]
    assert [receiver.address for receiver in engagelab.receivers] == [wanted["url"]]
    assert f"callbacks go to {wanted['url']} from now on" in caplog.text


def test_a_webhook_that_does_not_answer_is_saved_as_abnormal(talk: Talk, engagelab: EngageLab) -> None:
    answer = talk("PUT", "/v1/sandbox/webhook", {"url": "http://127.0.0.1:1/engagelab"}).json
    assert (answer["code"], answer["state"], answer["outcome"]) == (0, "abnormal", "refused")
    assert "refused" in answer["error"]
    assert (engagelab.receiver.address, engagelab.receiver.state) == ("http://127.0.0.1:1/engagelab", "abnormal")


def test_a_webhook_without_credentials_keeps_those_of_before(talk: Talk, engagelab: EngageLab) -> None:
    engagelab.receiver = Receiver.recording(username="acme", secret="s3cret", authorization="Bearer t")
    talk("PUT", "/v1/sandbox/webhook", {"url": "http://127.0.0.1:1/moved"})
    settings = engagelab.receiver.settings
    assert (settings.username, settings.secret, settings.authorization) == ("acme", "s3cret", "Bearer t")
    talk("PUT", "/v1/sandbox/webhook", {"url": "http://127.0.0.1:1/other", "username": "you", "secret": "other"})
    settings = engagelab.receiver.settings
    assert (settings.username, settings.secret, settings.authorization) == ("you", "other", "")
    talk("PUT", "/v1/sandbox/webhook", {"url": "http://127.0.0.1:1/unsigned", "username": "", "secret": ""})
    assert not engagelab.receiver.settings.signs


@pytest.mark.parametrize(
    "body", [{}, {"url": "htps://x"}, {"url": "http://x", "username": "acme"}, {"url": "http://x", "secrt": "s"}, "{"]
)
def test_an_unusable_webhook_is_refused(talk: Talk, engagelab: EngageLab, body: Any) -> None:
    receiver = engagelab.receiver
    assert talk("PUT", "/v1/sandbox/webhook", body).status == 400
    assert engagelab.receiver is receiver
    assert talk("PUT", "/v1/sandbox/webhook", {"url": "http://x"}, api=False).error == (401, 2001)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [("application/json; charset=utf-8", 200), ("application/x-www-form-urlencoded", 400), (None, 400)],
)
def test_a_webhook_needs_json_s_content_type_if_that_is_required(
    content_type: str | None, expected: int, engagelab: EngageLab
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    webhook = {"url": "http://127.0.0.1:1/engagelab"}
    with EngageLab(api=ApiSettings(strict_content_type=True)) as strict, ApiServer(strict) as server:
        before = strict.receiver
        answer = Talk(server)("PUT", "/v1/sandbox/webhook", webhook, headers=headers)
        assert answer.status == expected
        if expected == 400:
            assert answer.error == (400, 3001)
            assert strict.receiver is before
    with ApiServer(engagelab) as server:
        assert Talk(server)("PUT", "/v1/sandbox/webhook", webhook, headers=headers).status == 200

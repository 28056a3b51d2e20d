"""A copy sends the same again, and a copied test fails if the callback on the screen failed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from engagelab_mock import EngageLab, Receiver, Recorder, Schedule, fault
from engagelab_mock.delivery.receiver import SANDBOX_SECRET, SANDBOX_USERNAME
from engagelab_mock.server import ApiServer
from engagelab_mock.server.loopback import LoopbackServer
from tests.server.conftest import Talk


def copied(talk: Talk, path: str, form: str) -> str:
    answer = talk("GET", f"/_mock/{path}/copy?form={form}")
    assert answer.status == 200, answer.body
    text: str = answer.json["text"]
    return text


@pytest.mark.parametrize("scenario", ["verified", "fallback", "sent_failed", "delivered", "target_invalid"])
def test_a_token_plays_the_same_statuses(scenario: str, talk: Talk, engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario=scenario)
    token = copied(talk, f"messages/{run.message_id}", "token")
    played = engagelab.play(token)
    assert [record.events for record in played.records] == [(label,) for label in Schedule.parse(token).events]
    assert [label.partition("/")[0] for label in Schedule.parse(token).events] == run.statuses


def test_a_token_has_what_was_sent_twice_and_with_a_fault(talk: Talk, engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario="delivered")
    [*_, plan] = talk("GET", "/_mock/callbacks").json["callbacks"]
    talk("POST", f"/_mock/callbacks/{plan['id']}/send", {"fault": "ack_lost"})
    assert copied(talk, f"messages/{run.message_id}", "token") == "eg1:plan,sent,delivered,plan!ackloss"
    assert copied(talk, f"callbacks/{plan['id']}", "token") == "eg1:plan"


def test_a_command_for_a_shell_sends_the_message_again(talk: Talk, engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario="delivered")
    curl, option, body, url = shlex.split(copied(talk, f"messages/{run.message_id}", "curl"))
    assert (curl, option, url) == ("curl", "-d", f"{talk.server.url}/_mock/send")
    assert talk("POST", "/_mock/send", body).json["statuses"] == ["plan", "sent", "delivered"]


def test_a_callback_as_a_command_is_its_request(talk: Talk, engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", scenario=["plan"], template="it's")
    name = talk("GET", "/_mock/callbacks").json["callbacks"][0]["id"]
    words = shlex.split(copied(talk, f"callbacks/{name}", "curl"))
    assert words[-2].encode() == engagelab.journal.attempts[0].callback.body
    assert f"X-CALLBACK-ID: {engagelab.journal.attempts[0].callback.headers['X-CALLBACK-ID']}" in words


def test_a_ping_is_no_test(talk: Talk, engagelab: EngageLab) -> None:
    engagelab.validate_address()
    name = talk("GET", "/_mock/callbacks").json["callbacks"][0]["id"]
    assert talk("GET", f"/_mock/callbacks/{name}/copy?form=pytest").error == (409, 3003)
    assert talk("GET", f"/_mock/callbacks/{name}/copy?form=curl").status == 200


class Careless:
    """Acknowledge every callback without checking its signature, or refuse `sent`."""

    def __init__(self) -> None:
        self.refuses = b""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        refused = bool(self.refuses) and self.refuses in body
        start_response("500 Broken" if refused else "200 OK", [("Content-Length", "0")])
        return [b""]


@pytest.fixture
def careless() -> Iterator[tuple[Careless, str]]:
    app = Careless()
    with LoopbackServer(app) as server:
        yield app, f"{server.url}/engagelab"


def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, text: str, **environment: str) -> pytest.RunResult:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    pytester.makepyfile(text)
    return pytester.runpytest_inprocess("-n", "0", "-p", "no:asyncio")


@pytest.mark.slow
def test_a_copied_test_fails_while_the_receiver_is_broken_and_passes_when_it_is_mended(
    careless: tuple[Careless, str], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, url = careless
    app.refuses = b'"sent"'
    receiver = Receiver.http(url, username="acme", secret="s3cret-of-acme")
    with EngageLab(receiver, defaults={"check": False}) as engagelab, ApiServer(engagelab) as server:
        sent = engagelab.send("+6591234567", scenario="delivered")
        text = copied(Talk(server), f"messages/{sent.message_id}", "pytest")
    assert "s3cret-of-acme" not in text
    run(pytester, monkeypatch, text, ENGAGELAB_WEBHOOK_SECRET="s3cret-of-acme").assert_outcomes(failed=1)
    app.refuses = b""
    run(pytester, monkeypatch, text).assert_outcomes(passed=1)


def test_a_copied_test_of_a_wrong_signature_fails_where_it_is_accepted(
    careless: tuple[Careless, str], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []
    with LoopbackServer(Recorder(username=SANDBOX_USERNAME, secret=SANDBOX_SECRET)) as right:
        for url in (careless[1], f"{right.url}/engagelab"):
            receiver = Receiver.http(url, username=SANDBOX_USERNAME, secret=SANDBOX_SECRET)
            with EngageLab(receiver, defaults={"check": False}) as engagelab, ApiServer(engagelab) as server:
                engagelab.send("+6591234567", scenario=["plan"], fault=fault("stale", by=900))
                talk = Talk(server)
                name = talk("GET", "/_mock/callbacks").json["callbacks"][0]["id"]
                texts.append(copied(talk, f"callbacks/{name}", "pytest"))
        run(pytester, monkeypatch, texts[0]).assert_outcomes(failed=1)
        run(pytester, monkeypatch, texts[1]).assert_outcomes(passed=1)


def test_a_receiver_in_process_is_the_suite_s_own(
    talk: Talk, engagelab: EngageLab, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = engagelab.send("+6591234567", scenario="fallback")
    text = copied(talk, f"messages/{sent.message_id}", "pytest")
    assert "Receiver" not in text
    run(pytester, monkeypatch, text).assert_outcomes(passed=1)

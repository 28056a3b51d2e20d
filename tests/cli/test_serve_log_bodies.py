"""The log of `serve` with bodies, without secrets, and as JSON."""

from __future__ import annotations

import json
from typing import Any

import flask
import pytest

from engagelab_mock import ApiSettings, Receiver, Recorder
from tests.cli.conftest import Spawn, Watch, end
from tests.cli.serving import MESSAGE


def test_verbose_logs_bodies_and_the_signature(watch: Watch) -> None:
    watched = watch(Receiver.recording(username="acme", secret="s3cret"), verbose=True)
    watched.call("POST", "/v1/messages", '{"to":  "+6591234567", "template": {"id": "a\u2603"}}')
    watched.advance(60)
    watched.call("POST", "/v1/messages", '{"to":')
    watched.call("POST", "/v1/messages", json.dumps({"to": "x" * 3000}))
    lines = watched.lines()
    delivery = watched.engagelab.journal.deliveries[0]
    assert '            > {"to":  "+6591234567", "template": {"id": "a\u2603"}}' in lines
    assert any(line.startswith('            < {"message_id":"') for line in lines)
    assert f"            > X-CALLBACK-ID: {delivery.callback.headers['X-CALLBACK-ID']}" in lines
    assert f"            > {delivery.body.decode()}" in lines
    assert "            < 200 OK" in lines
    assert '            > {"to":' in lines
    assert "            > … 1010 more characters" in lines


#: The secrets of the server and its receivers, none a part of another, and one that a call brings.
KNOWN = ("s3cret", "qu'oted\"key", "t0ken-of-news", "dXNlcjpwYXNz", "of-developers")
SECRETS = (*KNOWN, "m0ved-passphrase")


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("verbose", [True, False])
def test_no_secret_is_shown(form: str, verbose: bool, watch: Watch) -> None:
    app = flask.Flask("receiver")

    @app.post("/")
    def receive() -> str:
        # An app may repeat what it knows.
        return json.dumps([*KNOWN, flask.request.headers.get("Authorization")], ensure_ascii=False)

    settings: Any = {"username": "acme", "secret": SECRETS[1], "authorization": "Basic dXNlcjpwYXNz"}
    receivers = Receiver.wsgi(app, path="/", **settings), Receiver.wsgi(app, path="/", username="a", secret="s3cret")
    api = ApiSettings(dev_key="key", dev_secret="of-developers")
    watched = watch(*receivers, form=form, verbose=verbose, token="t0ken-of-news", api=api)
    watched.engagelab.send("+6591234567", scenario=["plan"], custom_args={"repeated": "s3cret"})
    webhook = {"url": "http://127.0.0.1:1/", "username": "acme", "secret": "m0ved-passphrase"}
    for body in (
        webhook,
        {**webhook, "url": 5},
        json.dumps(webhook)[:-3],
        json.dumps(webhook).replace("secret", "\\u0073ecret", 1),
        "secret=m0ved-passphrase",
        [webhook],
    ):
        watched.call("PUT", "/v1/sandbox/webhook", body)
        watched.call("POST", "/_mock/nothing", body)
    err = watched.err()
    assert "/v1/sandbox/webhook" in err
    for secret in SECRETS:
        assert secret not in err
        assert json.dumps(secret)[1:-1] not in err
        assert json.dumps(json.dumps(secret))[1:-1] not in err
    if verbose:
        assert "(as configured)" in err
        assert "not JSON, and may have a secret" in err


def test_json_has_an_object_for_each_entry(watch: Watch) -> None:
    recorder = Recorder()
    watched = watch(Receiver.wsgi(recorder), form="json")
    sent = watched.send()
    watched.call("POST", "/v1/verifications", {"message_id": sent["message_id"], "verify_code": "x"})
    watched.engagelab.send("+6591234568", scenario=["plan"])
    recorder.answer = 503
    watched.engagelab.send("+6591234568", scenario=["plan"], retry=[60])
    watched.engagelab.rule(error=5011, to="+6591234567")
    watched.call("POST", "/v1/codes", {**MESSAGE, "code": "1"})
    watched.log.notice("the disk is full")
    watched.log.summarise()
    objects = watched.objects()
    requests = [each for each in objects if each["type"] == "request"]
    attempts = [each for each in objects if each["type"] == "attempt"]
    first, wrong, refused = requests
    plan, again = (each for each in attempts if each["to"] == "+6591234568" and each["number"] == 1)
    notice, summary = objects[-2:]
    assert all(each["time"] > 1.7e9 for each in objects)
    assert (first["type"], first["method"], first["path"], first["status"]) == ("request", "POST", "/v1/messages", 200)
    assert (first["code"], first["error"], first["verified"]) == (None, None, None)
    assert first["accepted"] == {
        "message_id": sent["message_id"],
        "to": "+6591234567",
        "template": "login",
        "channel": "sms",
        "code": watched.code(sent["message_id"]),
        "others": 0,
    }
    assert (plan["type"], plan["number"], plan["retry_in"], plan["given_up"]) == ("attempt", 1, None, False)
    assert (again["http_status"], again["retry_in"], again["given_up"]) == (503, 60, False)
    journal = [json.loads(line) for line in watched.client.get("/_mock/journal").text.splitlines()]
    for logged, kept in zip(attempts, (each for each in journal if each["type"] == "attempt"), strict=True):
        assert {name: logged[name] for name in kept} == kept
        assert set(logged) - set(kept) == {"time", "retry_in", "given_up"}
    assert (refused["status"], refused["code"], refused["error"]) == (400, 5011, "invalid number format")
    assert refused["accepted"] is None
    assert (wrong["verified"], wrong["status"]) == (False, 200)
    assert (notice["type"], notice["message"]) == ("notice", "the disk is full")
    assert {name: summary[name] for name in summary if name != "time"} == {
        "type": "summary",
        "callbacks": len(attempts),
        "acknowledged": sum(each["acknowledged"] for each in attempts),
        "given_up": 0,
    }


def test_verbose_json_has_bodies(watch: Watch) -> None:
    watched = watch(Receiver.recording(), form="json", verbose=True)
    watched.send()
    watched.advance(1)
    request, attempt, *_ = watched.objects()
    assert json.loads(request["body"]) == MESSAGE
    assert set(json.loads(request["answer"])) == {"message_id", "send_channel"}
    assert attempt["answer"] == ""


@pytest.mark.slow
def test_json_prints_nothing_else(spawn: Spawn) -> None:
    program = spawn("serve", "--host", "0.0.0.0", "--port", "0", "--format", "json")
    assert program.stdout is not None
    assert json.loads(program.stdout.readline())["token"]
    ended = end(program)
    assert ended.out == ""
    objects = [json.loads(line) for line in ended.err.splitlines() if line]
    assert [each["type"] for each in objects] == ["notice", "summary"]

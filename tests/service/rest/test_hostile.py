"""Any request gets an answer or a documented error object, and raises nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engagelab_mock import ERROR_CODES, ApiAnswer, ApiRequest, EngageLab
from tests.service.rest.client import Client, basic, template

PATHS = ["/v1/messages", "/v1/codes", "/v1/custom-messages", "/v1/verifications", "/v1/template-configs"]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
#: Bodies that look right and have something wrong at one place.
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "to": JSON | st.just("+6591234567"),
        "code": JSON | st.just("1234"),
        "message_id": JSON | st.just("1"),
        "verify_code": JSON | st.just("1"),
        "template": JSON
        | st.fixed_dictionaries(
            {},
            optional={
                "id": JSON | st.just("login"),
                "language": JSON,
                "params": JSON | st.dictionaries(st.text(), JSON),
            },
        ),
        "custom_args": JSON,
    },
)
ENGINE = EngageLab(defaults={"check": False}, keep=20)


def check(answer: ApiAnswer) -> Any:
    """Let an answer be written, and make sure that it has the form that the documents describe."""
    answer.written()
    content = json.loads(answer.body)
    if answer.status == 200:
        return content
    assert sorted(content) == ["code", "message"]
    assert content["code"] in ERROR_CODES
    assert content["code"] != 1000, content
    assert isinstance(content["message"], str)
    assert answer.status in {400, 401, 404, 405, 413}
    return content


@given(path=st.sampled_from(PATHS), body=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@example(path="/v1/messages", body=b'"\\ud800"')
@example(path="/v1/messages", body=b"\xef\xbb\xbf{}")
@example(path="/v1/messages", body=b'{"to": 1e999}')
@example(path="/v1/messages", body=b"9" * 5000)
@settings(max_examples=150, deadline=None)
def test_any_body(path: str, body: bytes) -> None:
    check(Client(ENGINE).request("POST", path, body))


@given(path=st.sampled_from(PATHS), body=NEARLY)
@settings(max_examples=200, deadline=None)
def test_a_body_that_is_nearly_right(path: str, body: Any) -> None:
    check(Client(ENGINE).request("POST", path, json.dumps(body).encode()))
    ENGINE.settle()


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_template_with_something_wrong(data: st.DataObject) -> None:
    body: Any = template(str(data.draw(st.integers())), email_config=None, pwa_config={})
    inside = data.draw(st.sampled_from([body, body["verify_code_config"], body["sms_config"]]))
    changed = dict(inside)
    changed[data.draw(st.sampled_from([*inside, "email_config", "description"]))] = data.draw(JSON)
    whole = changed if inside is body else {key: changed if value is inside else value for key, value in body.items()}
    check(Client(ENGINE).request("POST", "/v1/template-configs", json.dumps(whole).encode()))
    check(Client(ENGINE).request("GET", "/v1/template-configs"))
    ENGINE.templates.clear()


@given(method=st.text(max_size=10), path=st.text(max_size=40) | st.just("/v1/template-configs/\ud800"),
       authorization=st.none() | st.text(max_size=40) | st.just(basic()))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_request(method: str, path: str, authorization: str | None) -> None:
    check(ENGINE.api.handle(ApiRequest(method, path, authorization)))


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, 3001),
        (b"[" * 100_000, 400, 3002),
        (b'{"a":' * 500 + b"1" + b"}" * 500, 400, 3002),
        (b'{"custom_args":' + b"[" * 32 + b"]" * 32 + b"}", 400, 3002),
        (b" " * (1 << 20) + b"{}", 413, 3002),
        (b"[]", 400, 3002),
        (b"null", 400, 3002),
        (b'{"to":"+6591234567"}{"to":"+6591234567"}', 400, 3001),
    ],
    ids=["empty", "open", "deep", "a little too deep", "large", "array", "null", "two"],
)
def test_a_body_out_of_bounds(client: Client, body: bytes, status: int, code: int) -> None:
    answer = client.request("POST", "/v1/messages", body)
    assert (answer.status, check(answer)["code"]) == (status, code)


def test_a_body_just_within_the_bounds(client: Client) -> None:
    nested: Any = []
    for _ in range(29):
        nested = [nested]
    answer = client.send(custom_args={"nested": nested, "many": [[], {}] * 100})
    assert answer.status == 200, answer
    assert client.engagelab.journal.statuses == ["plan", "sent", "delivered"]

"""Sanitising replaces personal data, and keeps the values that a receiver acts on."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagelab_mock import EngageLab, Headers, decode, encode, sign
from engagelab_mock.explore.tape.sanitise import DROPPED, Pseudonyms, Sanitiser
from engagelab_mock.messages.message import check_recipient
from tests.protocol.strategies import event_lists

PROPERTY = settings(derandomize=True, max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

phones = st.from_regex(r"\+[1-9][0-9]{7,13}", fullmatch=True)
emails = st.from_regex(r"[a-z][a-z0-9._+-]{0,12}@[a-z]{2,8}\.(com|co\.uk|sg)", fullmatch=True)


def sanitised(value: Any) -> Any:
    body = Sanitiser(Pseudonyms(b"key")).body(json.dumps(value).encode())
    assert body is not None
    return json.loads(body)


def test_a_callback_s_ids_times_and_statuses_stay() -> None:
    with EngageLab() as engagelab:
        run = engagelab.send("+6591234567", scenario="fallback_exhausted")

    for event in run.events:
        [kept] = decode(Sanitiser().body(encode([event])) or "").rows
        assert kept == type(event)(
            **{name: getattr(event, name) for name in event.__struct_fields__ if name != "to"},
            to=getattr(kept, "to", ""),
        )
        assert getattr(kept, "to", "") != "+6591234567"


def test_a_person_has_one_pseudonym_in_every_place_and_spelling() -> None:
    row = {"to": "+6591234567", "response": {"response_data": {"from": "+65 9123-4567", "to": "006591234567"}}}
    found = sanitised({"rows": [row], "custom_args": {"phone": "+6591234567", "Ann@Acme.example": "ann@acme.example"}})

    data = found["rows"][0]["response"]["response_data"]
    assert found["rows"][0]["to"] == data["from"] == f"+{data['to']}" == found["custom_args"]["phone"]
    [(key, value)] = [pair for pair in found["custom_args"].items() if pair[0] != "phone"]
    assert key == value
    assert value.endswith("@example.com")


def test_an_address_in_a_text_has_the_pseudonym_of_the_address_whatever_digits_that_has() -> None:
    names = Pseudonyms(b"24")
    email = names.email("ann@acme.example")
    assert email == "user-474703db40@example.com"
    assert (
        Sanitiser(names).text("to ann@acme.example, not +6591234567") == f"to {email}, not {names.phone('+6591234567')}"
    )


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"response": {"response_data": {"body": "STOP"}}}, "STOP"),
        ({"status": {"error_code": 5001, "error_detail": {"message": "sender config is invalid"}}}, "sender config"),
        (
            {"notification": {"notification_data": {"remain_balance": -0.005}}},
            "-0.005",
        ),
        ({"system_event": {"data": {"api_call": {"api_path": "/v1/messages", "method": "POST"}}}}, "/v1/messages"),
        ({"custom_args": {"seat": 7, "vip": True, "note": None}}, '{"seat": 7, "vip": true, "note": null}'),
        ({"message_id": 1742442805608914945}, "1742442805608914945"),
    ],
)
def test_values_that_a_receiver_acts_on_stay(value: Any, kept: str) -> None:
    assert kept in json.dumps(sanitised({"rows": [value]}))


@pytest.mark.parametrize(
    ("value", "gone"),
    [
        ({"to": "+6591234567"}, "91234567"),
        ({"to": "91234567"}, "91234567"),
        ({"to": ["+6591234567"]}, "91234567"),
        ({"to": "ann.lee@acme.example"}, "ann"),
        ({"to": "ann lee"}, "ann lee"),
        ({"response": {"response_data": {"body": "call me: 9123 4567"}}}, "4567"),
        ({"response": {"response_data": {"body": "my code is 482915"}}}, "482915"),
        ({"custom_args": {"name": "Ann Lee"}}, "Ann"),
        ({"custom_args": {"phone": 6591234567}}, "6591234567"),
        ({"custom_args": {"code": "482915"}}, "482915"),
        ({"custom_args": {"c": 482915}}, "482915"),
        ({"custom_args": {"message_id": "Ann Lee"}}, "Ann"),
        ({"custom_args": {"+6591234567": 1}}, "91234567"),
        ({"custom_args": {"deep": [{"x": ["ann@acme.example"]}]}}, "ann"),
        ({"message_id": "+6591234567"}, "91234567"),
        ({"message_status": "+6591234567"}, "91234567"),
        ({"operator": {"api_key": "5f3a9c", "email": "ann@acme.example"}}, "5f3a9c"),
        ({"operator": {"ip_address": "203.0.114.77"}}, "203.0.114.77"),
        ({"operator": {"ip_address": "2001:db9::77"}}, "2001:db9::77"),
        ({"key_manage": {"api_key": "5f3a9c", "description": "Ann's"}}, "Ann"),
        ({"account_login": {"action": "login_failed", "fail_reason": "ann@acme.example unknown"}}, "ann"),
        ({"status": {"error_detail": {"message": "no route to +65 9123 4567"}}}, "4567"),
        ({"status": {"error_detail": {"message": "no route to (+65)91234567"}}}, "4567"),
        ({"client_secret": {"value": "hush"}}, "hush"),
        ({"unheard_of": "Ann Lee"}, "Ann"),
        ({"authorization": "Basic YTpi"}, "YTpi"),
    ],
)
def test_personal_values_are_replaced(value: Any, gone: str) -> None:
    assert gone not in json.dumps(sanitised({"rows": [value]}))


@PROPERTY
@given(phones, st.sampled_from(["to", "from", "body", "message", "reason", "api_path", "unheard_of", "custom_args"]))
def test_no_phone_number_gets_through_in_any_place(phone: str, key: str) -> None:
    digits = phone[1:]
    spelt = [phone, f"00{digits}", f"{phone[:3]} {digits[2:5]}-{digits[5:]}", f"call {phone}, please"]
    text = json.dumps(sanitised([{key: value} for value in spelt]))
    assert digits[2:] not in re.sub(r"[^0-9]", "", text) or len(digits) < 8


@PROPERTY
@given(emails, st.sampled_from(["to", "email", "body", "message", "reason", "unheard_of", "custom_args"]))
def test_no_address_gets_through_in_any_place(email: str, key: str) -> None:
    assert email not in json.dumps(sanitised([{key: email}, {key: f"write to <{email}>!"}]))


@PROPERTY
@given(st.lists(st.one_of(phones, emails), min_size=2, max_size=60, unique=True))
def test_pseudonyms_are_recipients_and_unique(people: list[str]) -> None:
    names = Pseudonyms(b"key")
    given_names = [names.recipient(person) for person in people]
    assert [check_recipient(name) for name in given_names] == given_names
    assert len(set(given_names)) == len({person.lower() for person in people})


def test_more_people_than_fictional_numbers_still_have_unique_pseudonyms() -> None:
    names = Pseudonyms(b"key")
    # As if every fictional number were taken.
    for number in range(300):
        names.phone(f"+65{number:08d}")
    crowd = {names.phone(f"+49{number:09d}") for number in range(3000)}
    assert len(crowd) == 3000


def test_pseudonyms_depend_only_on_the_key() -> None:
    assert Pseudonyms(b"a").phone("+6591234567") == Pseudonyms(b"a").phone("+6591234567")
    assert Pseudonyms(b"a").phone("+6591234567") != Pseudonyms(b"b").phone("+6591234567")
    assert Pseudonyms().email("a@b.sg") != Pseudonyms().email("a@b.sg")


@PROPERTY
@given(event_lists)
def test_a_readable_body_stays_readable(events: list[Any]) -> None:
    body = Sanitiser(Pseudonyms(b"key")).body(encode(events))
    assert body is not None
    assert [event.kind for event in decode(body).rows] == [event.kind for event in events]


@pytest.mark.parametrize("body", [b"{", b"\xff\x00", b"+6591234567", b"[" * 100_000])
def test_a_body_that_is_not_json_is_dropped(body: bytes) -> None:
    kept = Sanitiser().body(body)
    assert kept is None or "91234567" not in kept


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_pings_stay(body: bytes) -> None:
    assert Sanitiser().body(body) == body.decode()


def test_half_of_a_surrogate_pair_can_be_written() -> None:
    body = Sanitiser().body(b'{"rows":[{"\\ud800":1}]}')
    assert body is not None
    assert json.loads(body.encode()) == {"rows": [{"\ud800": 1}]}


def test_only_headers_about_the_transport_keep_their_values() -> None:
    header = sign("acme", "s3cret", timestamp=1681991058, nonce="123123123123").header
    given_headers = Headers(
        [
            ("Content-Type", "application/json"),
            ("X-CALLBACK-ID", header),
            ("Authorization", "Bearer hush"),
            ("Cookie", "session=hush"),
            ("X-Forwarded-For", "203.0.114.77"),
            ("User-Agent", "agent of ann@acme.example"),
            ("X-Api-Key", "hush"),
        ]
    )
    kept = Sanitiser().headers(given_headers)

    assert [name for name, _ in kept.pairs] == [name for name, _ in given_headers.pairs]
    assert kept["Content-Type"] == "application/json"
    assert kept["X-CALLBACK-ID"] == f"timestamp=1681991058;{DROPPED}"
    text = str(kept)
    for gone in ("hush", "acme", "123123123123", "203.0.114.77", "ann"):
        assert gone not in text


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/engagelab", "/engagelab"),
        ("/cb?token=hush", "/cb"),
        ("/hooks/9f86d081884c7d659a2feaa0c55ad015", "/hooks/dropped"),
    ],
)
def test_a_path_loses_parts_that_may_be_secret(path: str, kept: str) -> None:
    assert Sanitiser().path(path) == kept

"""Personal data on a tape is found, its place is named, and the data itself is not shown."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import pytest
from hypothesis import given

from engagelab_mock import encode
from engagelab_mock.explore.tape.file import TapeEntry, sanitised
from engagelab_mock.explore.tape.personal import personal_data
from engagelab_mock.explore.tape.sanitise import Pseudonyms, Sanitiser
from tests.explore.tape.test_sanitise import PROPERTY
from tests.protocol.strategies import event_lists


def entry(body: Any = None, **given: Any) -> TapeEntry:
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    fields: dict[str, Any] = {"at": 0.0, "method": "POST", "path": "/engagelab", "headers": (), "body": text}
    return TapeEntry(**fields | given)


@PROPERTY
@given(event_lists)
def test_what_was_sanitised_once_has_no_personal_data(events: list[Any]) -> None:
    once = sanitised(entry(encode(events).decode()), Sanitiser())

    assert personal_data(once) == []
    assert sanitised(once, Sanitiser()) == once


@pytest.mark.parametrize(
    ("found", "place"),
    [
        (entry({"rows": [{"to": "+6591234567"}]}), "body.rows[0].to: a phone number"),
        (entry({"rows": [{"to": "ann@acme.example"}]}), "body.rows[0].to: an e-mail address"),
        (entry({"custom_args": {"name": "Ann Lee"}}), "body.custom_args.name: a text that may be personal"),
        (entry({"ip_address": "119.74.20.8"}), "body.ip_address: an IP address"),
        (entry({"verify_code": "482915"}), "body.verify_code: a secret"),
        (
            entry({"custom_args": {"account": 91234567}}),
            "body.custom_args.account: a number that may identify a person",
        ),
        (entry({"custom_args": {"ann@acme.example": 1}}), "body.custom_args: a key that may be personal"),
        (entry("to=+6591234567"), "body: data that is not JSON, which cannot be sanitised"),
        (
            entry(base64=base64.b64encode(b"\xff\x00").decode()),
            "body: data that is not JSON, which cannot be sanitised",
        ),
        (entry("{}", headers=(("Authorization", "Bearer 5f3a-hush"),)), "header Authorization: a secret"),
        (
            entry("{}", headers=(("X-CALLBACK-ID", "timestamp=1681991058;nonce=1;username=acme;signature=aa"),)),
            "header X-CALLBACK-ID: a secret",
        ),
        (entry("{}", path="/engagelab?token=hush"), "path: a query, or a part that may be personal"),
    ],
    ids=itertools.count(),
)
def test_a_place_is_named_and_the_data_is_not_shown(found: TapeEntry, place: str) -> None:
    assert personal_data(found) == [place]
    assert personal_data(sanitised(found, Sanitiser())) == []


def test_pseudonyms_of_one_tape_are_kept_by_another_key() -> None:
    first, second = Pseudonyms(b"one"), Pseudonyms(b"two")
    for kind, original in (("phone", "+6591234567"), ("email", "ann@acme.example"), ("ip", "119.74.20.8")):
        pseudonym = getattr(first, kind)(original)
        assert getattr(second, kind)(pseudonym) == pseudonym != getattr(second, kind)(original)


def test_two_people_do_not_get_one_pseudonym_because_one_has_it_already() -> None:
    names = Pseudonyms(b"key")
    taken = Pseudonyms(b"key").phone("+6591234567")
    assert names.phone(taken) == taken
    assert names.phone("+6591234567") != taken

"""Callbacks: headers, and bodies that decode to the encoded events or raise InvalidBody."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engagelab_mock import (
    Callback,
    Envelope,
    Event,
    Headers,
    InvalidBody,
    Message,
    StatusEvent,
    UnknownEvent,
    decode,
    encode,
)
from tests.protocol.documents import NOTIFICATION_BODY, RESPONSE_BODY, STATUS_BODY, SYSTEM_BODY
from tests.protocol.strategies import (
    PROPERTY,
    event_lists,
    json_values,
    known_events,
    notification_events,
    response_events,
    status_events,
    system_events,
    unknown_events,
)

HEADERS = Headers([("Content-Type", "application/json"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("X", "")])


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
def test_a_header_is_found_in_any_case(name: str) -> None:
    assert HEADERS[name] == "application/json"
    assert name in HEADERS
    assert HEADERS.get(name) == "application/json"


def test_a_repeated_header_gives_its_first_value_and_all_of_them() -> None:
    assert HEADERS["Set-Cookie"] == "a=1"
    assert HEADERS.get_all("SET-COOKIE") == ["a=1", "b=2"]


def test_a_header_that_was_not_sent_is_absent() -> None:
    assert "X-CALLBACK-ID" not in HEADERS
    assert HEADERS.get("X-CALLBACK-ID") is None
    assert HEADERS.get_all("X-CALLBACK-ID") == []
    with pytest.raises(KeyError, match="X-CALLBACK-ID"):
        HEADERS["X-CALLBACK-ID"]


def test_names_stand_once_in_the_order_and_spelling_of_their_first_use() -> None:
    assert list(HEADERS) == ["Content-Type", "Set-Cookie", "X"]
    assert len(HEADERS) == 3
    assert dict(HEADERS) == {"Content-Type": "application/json", "Set-Cookie": "a=1", "X": ""}


def test_pairs_keep_everything_in_order() -> None:
    assert HEADERS.pairs == (
        ("Content-Type", "application/json"),
        ("Set-Cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("X", ""),
    )


def test_equal_pairs_make_equal_headers() -> None:
    assert Headers(HEADERS.pairs) == HEADERS
    assert hash(Headers(HEADERS.pairs)) == hash(HEADERS)
    assert Headers(reversed(HEADERS.pairs)) != HEADERS
    assert dict(HEADERS) != HEADERS


def test_headers_show_their_pairs() -> None:
    assert repr(Headers([("A", "1")])) == "Headers([('A', '1')])"
    assert not Headers()


MESSAGE = Message(id="1742442805608914944", to="+6591234567", business_id="100917676394736")
#: Objects that users and the vendor fill as they like: one more key in them is data, not an unknown field.
FREE = {"custom_args", "msg_history"}


@given(status_events, notification_events, response_events, system_events)
@PROPERTY
def test_all_four_kinds_in_one_body_come_back_equal(
    status: Event, notification: Event, response: Event, system: Event
) -> None:
    events = [system, status, response, notification, status]
    assert decode(encode(events)) == Envelope(5, tuple(events))


@given(st.lists(known_events | unknown_events, max_size=4))
@PROPERTY
def test_rows_of_unknown_kinds_come_back_equal_too(events: list[Event]) -> None:
    assert decode(encode(events)) == Envelope(len(events), tuple(events))


@given(event_lists)
@PROPERTY
def test_body_is_compact_json_in_utf_8(events: list[Event]) -> None:
    body = encode(events)
    document = json.loads(body.decode("utf-8"))
    assert list(document) == ["total", "rows"]
    assert decode(body.decode("utf-8")) == decode(body)


def test_total_is_the_number_of_rows_unless_given() -> None:
    events = [MESSAGE.event("plan", at=1), MESSAGE.event("sent", at=2)]
    assert json.loads(encode(events))["total"] == 2
    assert json.loads(encode(events, total=7))["total"] == 7
    assert decode(encode(events, total=0)) == Envelope(0, tuple(events))


def test_total_may_be_left_out_of_a_body() -> None:
    assert decode(b'{"rows": []}') == Envelope(0, ())


@pytest.mark.parametrize("identifier", ["1742442805608914944", "9007199254740993", "0001", "18446744073709551617"])
def test_ids_stay_exact_decimal_strings(identifier: str) -> None:
    message = Message(id=identifier, to="+6591234567", business_id=identifier)
    body = encode([message.event("plan", at=1)])
    assert body.count(f'"{identifier}"'.encode()) == 3
    (event,) = decode(body).rows
    assert isinstance(event, StatusEvent)
    assert (event.message_id, event.status.status_data.business_id) == (identifier, identifier)


def test_an_id_sent_as_a_number_is_refused_rather_than_rounded() -> None:
    body = encode([MESSAGE.event("plan", at=1)]).replace(b'"1742442805608914944"', b"1742442805608914944")
    with pytest.raises(InvalidBody, match=r"Expected `str`, got `int`"):
        decode(body)


def with_surprises(value: Any) -> Any:
    """Add an unknown field to every object a Struct stands for."""
    if isinstance(value, list):
        return [with_surprises(item) for item in value]
    if isinstance(value, dict):
        inner = {key: item if key in FREE else with_surprises(item) for key, item in value.items()}
        return {"surprise": {"deep": [1, None]}, **inner, "another": "field"}
    return value


@given(event_lists)
@PROPERTY
def test_unknown_fields_are_passed_over_at_every_level(events: list[Event]) -> None:
    body = json.dumps(with_surprises(json.loads(encode(events))))
    assert decode(body).rows == tuple(events)


def test_unknown_kind_is_kept_whole() -> None:
    envelope = decode(b'{"total": 1, "rows": [{"itime": 1, "rcs_event": {"event": "typing"}}]}')
    assert envelope.rows == (UnknownEvent(row={"itime": 1, "rcs_event": {"event": "typing"}}),)
    assert (envelope.rows[0].kind, envelope.rows[0].name) == ("unknown", "itime,rcs_event")


def second_row(row: object) -> bytes:
    good = json.loads(NOTIFICATION_BODY)["rows"][0]
    return json.dumps({"total": 2, "rows": [good, row]}).encode()


def status_row(**changes: object) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(STATUS_BODY)["rows"][1]
    row["status"]["status_data"].update(changes)
    return row


WRONG_ROWS = [
    pytest.param(17, "Expected `object`, got `int`", id="a number"),
    pytest.param(None, "Expected `object`, got `null`", id="null"),
    pytest.param([], "Expected `object`, got `array`", id="a list"),
    pytest.param({"status": None}, r"got `null` - at `\$\.status`", id="null section"),
    pytest.param({"notification": []}, r"got `array` - at `\$\.notification`", id="list for a section"),
    pytest.param({"response": {"response_data": {}}, "itime": 1}, "missing required field", id="empty section"),
    pytest.param({"system_event": {"event": "api_call"}, "itime": 1}, "required field `data`", id="no data"),
    pytest.param(status_row(msg_time="soon"), r"at `\$\.status\.status_data\.msg_time`", id="text for a time"),
    pytest.param(status_row(msg_time=1.5), r"at `\$\.status\.status_data\.msg_time`", id="half a second"),
    pytest.param(status_row(message_id=None), r"at `\$\.status\.status_data\.message_id`", id="null id"),
]


@pytest.mark.parametrize(("row", "said"), WRONG_ROWS)
def test_wrong_row_is_named_by_its_place(row: object, said: str) -> None:
    with pytest.raises(InvalidBody, match=said) as caught:
        decode(second_row(row))
    assert caught.value.where == "body.rows[1]"
    assert str(caught.value).startswith("body.rows[1]: ")


def test_right_second_row_is_accepted() -> None:
    assert len(decode(second_row(status_row())).rows) == 2


WRONG_BODIES = [
    pytest.param(b"", "truncated", id="nothing"),
    pytest.param(STATUS_BODY.encode()[:-20], "truncated", id="truncated"),
    pytest.param(b"total=1", "malformed", id="a form"),
    pytest.param(b"\xef\xbb\xbf" + STATUS_BODY.encode(), "malformed", id="byte order mark"),
    pytest.param(STATUS_BODY.encode("utf-16"), "malformed", id="utf-16"),
    pytest.param(b'[{"total": 0, "rows": []}]', "got `array`", id="top-level list"),
    pytest.param(b"null", "got `null`", id="null"),
    pytest.param(b"{}", "missing required field `rows`", id="no rows"),
    pytest.param(b'{"total": 0, "rows": null}', r"at `\$\.rows`", id="null rows"),
    pytest.param(b'{"total": 0, "rows": {}}', r"at `\$\.rows`", id="rows not a list"),
    pytest.param(b'{"total": "1", "rows": []}', r"at `\$\.total`", id="total as text"),
    pytest.param(b'{"rows": []} trailing', "trailing characters", id="something after it"),
    pytest.param(b'{"rows": [{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}", "recursion", id="very deep"),
    pytest.param(b'{"rows": [{"a": "\\udc00"}]}', "surrogate", id="lone surrogate escaped"),
    pytest.param('{"rows": ["\ud800"]}', "surrogates not allowed", id="lone surrogate in text"),
]


@pytest.mark.parametrize(("body", "said"), WRONG_BODIES)
def test_a_body_that_is_not_an_envelope_is_refused_at_the_body(body: bytes | str, said: str) -> None:
    with pytest.raises(InvalidBody, match=said) as caught:
        decode(body)
    assert caught.value.where == "body"
    assert 'hint: an envelope is {"total": N, "rows": [...]}' in str(caught.value)


def test_invalid_utf_8_inside_a_row_is_named_by_its_place() -> None:
    with pytest.raises(InvalidBody, match="invalid start byte") as caught:
        decode(NOTIFICATION_BODY.encode().replace(b"insufficient", b"\xff"))
    assert caught.value.where == "body.rows[0]"


def judged(body: bytes | str) -> bool:
    """Decode: the result is an envelope of events, or `InvalidBody` with a place; it is never anything else."""
    try:
        envelope = decode(body)
    except InvalidBody as error:
        return error.where.startswith("body")
    return all(isinstance(row, Event) for row in envelope.rows)


@given(st.binary(max_size=200) | st.text(st.characters(), max_size=100))
@example(b'{"rows": [{"itime": ' + b"9" * 5000 + b"}]}")
@example(b'{"rows": [{"notification": {"event": "e"}, "itime": 1' + b"0" * 5000 + b"}]}")
@example(b'{"rows": [{"a": 1e999}]}')
@example(b'{"rows": [{"\xff": 1}]}')
@PROPERTY
def test_any_bytes_and_any_text_are_judged(body: bytes | str) -> None:
    assert judged(body)


BODIES = st.sampled_from([body.encode() for body in (STATUS_BODY, NOTIFICATION_BODY, RESPONSE_BODY, SYSTEM_BODY)])


@st.composite
def damaged_bodies(draw: st.DrawFn) -> bytes:
    """Cut, repeat or overwrite parts of a valid body."""
    body = draw(BODIES | event_lists.map(encode))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 30)))
        put_in = draw(st.binary(max_size=4) | st.sampled_from([b"", b"null", b"[", b"}", b'"', b"\\ud800", b"1e400"]))
        body = body[:start] + put_in + body[end:]
    return body


@given(damaged_bodies())
@PROPERTY
def test_damaged_bodies_are_judged(body: bytes) -> None:
    assert judged(body)


def replaced(value: Any, target: int, new: Any) -> Any:
    """Return the JSON tree with its target-th node, counted depth first, replaced."""
    count = -1

    def visit(node: Any) -> Any:
        nonlocal count
        count += 1
        if count == target:
            return new
        if isinstance(node, dict):
            return {key: visit(item) for key, item in node.items()}
        if isinstance(node, list):
            return [visit(item) for item in node]
        return node

    return visit(value)


@given(BODIES, st.integers(0, 40), json_values)
@PROPERTY
def test_a_value_of_any_type_at_any_place_is_judged(body: bytes, target: int, new: Any) -> None:
    assert judged(json.dumps(replaced(json.loads(body), target, new)).encode())


def test_callback_names_its_events() -> None:
    events = (MESSAGE.event("plan", at=1), MESSAGE.event("sent", at=2))
    callback = Callback(Headers([("X-CALLBACK-ID", "timestamp=1")]), encode(events), events)
    assert callback.statuses == ["plan", "sent"]
    assert Callback(Headers(), b"").statuses == []

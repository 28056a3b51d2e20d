"""The shipped JSON Schema, judged by `jsonschema`, not by the code that wrote it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from engagelab_mock import DIALECTS, Event, callback_schema, encode
from engagelab_mock.protocol.callback import row_schema
from tests.protocol.documents import NOTIFICATION_BODY, RESPONSE_BODY, STATUS_BODY, SYSTEM_BODY
from tests.protocol.strategies import PROPERTY, event_lists

FOLDER = files("engagelab_mock.protocol")
SHIPPED = json.loads(FOLDER.joinpath("callback.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SHIPPED)
EXAMPLES = {"status": STATUS_BODY, "notification": NOTIFICATION_BODY, "response": RESPONSE_BODY, "system": SYSTEM_BODY}


def in_order(schema: Any) -> Any:
    """Return a schema with its alternatives sorted: msgspec has changed their order."""
    if isinstance(schema, dict):
        return {name: in_order(value) for name, value in schema.items()}
    return sorted(map(in_order, schema), key=repr) if isinstance(schema, list) else schema


def test_shipped_schema_is_the_generated_one() -> None:
    assert in_order(callback_schema()) == in_order(SHIPPED)


def test_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SHIPPED)
    assert SHIPPED["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("status", STATUS_BODY),
        ("notification", NOTIFICATION_BODY),
        ("response", RESPONSE_BODY),
        ("system_event", SYSTEM_BODY),
    ],
)
def test_the_schema_of_a_kind_accepts_its_rows_and_no_other(kind: str, body: str) -> None:
    shipped = json.loads(FOLDER.joinpath(f"{kind}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(shipped)
    assert in_order(shipped) == in_order(row_schema(kind))
    judge = Draft202012Validator(shipped)
    for text in (STATUS_BODY, NOTIFICATION_BODY, RESPONSE_BODY, SYSTEM_BODY):
        assert all(judge.is_valid(row) is (text == body) for row in json.loads(text)["rows"])


def test_descriptions_are_prose_alone() -> None:
    descriptions = [definition["description"] for definition in SHIPPED["$defs"].values()]
    assert all(text and ">>>" not in text and "\n\n" not in text for text in descriptions)


@given(event_lists)
@PROPERTY
def test_every_encoded_body_is_valid(events: list[Event]) -> None:
    VALIDATOR.validate(json.loads(encode(events)))
    VALIDATOR.validate(json.loads(encode([DIALECTS["newer"].spell(event) for event in events])))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_documents_examples_are_valid(name: str) -> None:
    VALIDATOR.validate(json.loads(EXAMPLES[name]))


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every field in a body."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def changed(body: dict[str, Any], path: tuple[str | int, ...], *value: object) -> dict[str, Any]:
    """Return the body with one field set or removed."""
    copy: Any = deepcopy(body)
    parent = copy
    for key in path[:-1]:
        parent = parent[key]
    if value:
        parent[path[-1]] = value[0]
    else:
        del parent[path[-1]]
    result: dict[str, Any] = copy
    return result


FIELDS = [(name, path) for name, text in EXAMPLES.items() for path in places(json.loads(text))]


@pytest.mark.parametrize(("name", "path"), FIELDS, ids=lambda part: ".".join(map(str, part)) if part else "")
def test_a_field_of_the_wrong_type_is_refused(name: str, path: tuple[str | int, ...]) -> None:
    body = json.loads(EXAMPLES[name])
    assert not VALIDATOR.is_valid(changed(body, path, [[]]))


MISSING = [
    ("status", ("total",)),
    ("status", ("rows",)),
    ("status", ("rows", 0, "message_id")),
    ("status", ("rows", 0, "to")),
    ("status", ("rows", 0, "itime")),
    ("status", ("rows", 1, "status")),
    ("status", ("rows", 1, "status", "message_status")),
    ("status", ("rows", 1, "status", "status_data")),
    ("status", ("rows", 1, "status", "status_data", "msg_time")),
    ("status", ("rows", 1, "status", "status_data", "message_id")),
    ("status", ("rows", 1, "status", "error_detail", "message")),
    ("notification", ("rows", 0, "notification")),
    ("notification", ("rows", 0, "notification", "event")),
    ("response", ("rows", 0, "response", "response_data", "from")),
    ("system", ("rows", 0, "system_event", "data")),
    ("system", ("rows", 0, "system_event", "data", "operator", "ip_address")),
    ("system", ("rows", 0, "system_event", "data", "account_login", "action")),
]


@pytest.mark.parametrize(("name", "path"), MISSING, ids=lambda part: ".".join(map(str, part)) if part else "")
def test_a_missing_field_is_refused(name: str, path: tuple[str | int, ...]) -> None:
    body = json.loads(EXAMPLES[name])
    assert not VALIDATOR.is_valid(changed(body, path))


def test_a_row_of_two_kinds_is_refused() -> None:
    row = json.loads(STATUS_BODY)["rows"][0] | json.loads(NOTIFICATION_BODY)["rows"][0]
    assert not VALIDATOR.is_valid({"total": 1, "rows": [row]})


def test_unknown_fields_are_allowed() -> None:
    body = json.loads(STATUS_BODY)
    body["rows"][0]["status"]["status_data"]["surprise"] = {"deep": True}
    VALIDATOR.validate(body)

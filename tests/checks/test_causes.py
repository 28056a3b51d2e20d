"""Causes: the finding of a text names the character, the place, and what that suggests."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from engagelab_mock import Finding, Judgement
from tests.checks.receivers.correct import Refused
from tests.checks.serving import check_in_memory
from tests.truth.receivers.in_memory import InMemory, PlainStatus


class HandlesTexts(PlainStatus):
    """Call a function with the texts of one place, before anything else is done with the row."""

    def __init__(self, place: str, handle: Callable[[str], object]) -> None:
        super().__init__()
        self.place = place
        self.handle_text = handle

    def apply(self, db: sqlite3.Connection, row: Any) -> None:
        for text in self.texts(row) if isinstance(row, dict) else []:
            self.handle_text(text)
        super().apply(db, row)

    def texts(self, row: dict[str, Any]) -> list[str]:
        args, status = row.get("custom_args") or {}, row.get("status") or {}
        found: dict[str, Callable[[], list[str]]] = {
            "custom_args": lambda: [text for text in args.values() if isinstance(text, str)],
            "a key of custom_args": lambda: [*args],
            "template_key": lambda: [status.get("status_data", {}).get("template_key") or ""],
            "error_detail": lambda: [(status.get("error_detail") or {}).get("message", "")],
            "a user's reply": lambda: [((row.get("response") or {}).get("response_data") or {}).get("body", "")],
            "the reason of template_audit_result": lambda: [
                ((row.get("notification") or {}).get("notification_data") or {}).get("reason") or ""
            ],
        }
        return found[self.place]()


def finding_of(app: InMemory, id: str) -> Finding:
    return check_in_memory(app, id).finding(id)


def in_sql(text: str) -> None:
    """Run SQL that contains a text, as in a database that refuses null characters."""
    with sqlite3.connect(":memory:") as db:
        db.execute(f"SELECT '{text.encode('utf-8', 'replace').decode()}'")
    db.close()


def refuse_null(text: str) -> None:
    if "\0" in text:
        raise ValueError("a string literal cannot contain NUL (0x00) characters")


def limit_to(length: int) -> Callable[[str], None]:
    def check(text: str) -> None:
        if len(text) > length:
            raise ValueError(f"value too long for type character varying({length})")

    return check


def three_bytes(text: str) -> None:
    if any(ord(each) > 0xFFFF for each in text):
        raise ValueError("1366 Incorrect string value")


def known(text: str) -> None:
    if text:
        {"otp": 1, "note": 2, "demo": 3}[text]


def firewall(text: str) -> None:
    if "'" in text:
        raise Refused(403)


PLACES = ["custom_args", "a key of custom_args", "template_key", "error_detail", "a user's reply"]


@pytest.mark.parametrize("place", PLACES)
def test_the_place_of_a_null_character_is_named(place: str) -> None:
    finding = finding_of(HandlesTexts(place, refuse_null), "D16")
    assert finding.verdict is Judgement.FAIL
    assert finding.reason.startswith(f"a null character in {place}: answered 500")
    assert "a database that refuses null characters" in finding.reason
    assert finding.check.fix.text == "Replace null characters before you store a text."
    assert finding.exchanges[-1].answer is None or finding.exchanges[-1].answer.status == 500


@pytest.mark.parametrize(
    ("handle", "id", "begins", "cause", "fix"),
    [
        (in_sql, "D16", "a null character in custom_args: ", "and so was \"O'Brien's\"", "Pass texts to the database"),
        (in_sql, "D26", "an apostrophe in custom_args: ", "SQL that contains the text", "Pass texts to the database"),
        (three_bytes, "D16", "emoji in custom_args: ", "three bytes for a character", "Use a character set with all"),
        (
            lambda text: text.encode("latin-1", "strict") if "\ud83d" not in text else "",
            *("D16", "emoji in custom_args: ", "only ASCII or Latin-1", "Use UTF-8 for logs"),
        ),
        (
            lambda text: text.encode(),
            *(
                "D16",
                "half a surrogate pair in custom_args: ",
                "half a surrogate pair cannot be",
                "Replace the characters that UTF-8 cannot",
            ),
        ),
        (
            lambda text: text % (),
            "D26",
            "a percent sign in custom_args: ",
            "used as a format",
            "Pass texts as arguments",
        ),
        (str.format, "D26", "braces in custom_args: ", "used as a template", "Pass texts to a template"),
        (lambda text: eval(f'"{text}"'), "D26", "quotation marks in custom_args: ", "put together", "Build JSON with"),
        (firewall, "D26", "an apostrophe in custom_args: answered 403", "a firewall in front", "Do not validate texts"),
        (limit_to(255), "D25", "a text of 300 characters in custom_args: ", "has 255 characters", "Use text columns"),
        (limit_to(64), "D25", "a text of 300 characters in custom_args: ", "has 64 characters", "Use text columns"),
        (
            limit_to(1000),
            "D25",
            "a text of 4000 characters in custom_args: ",
            "has 1000 characters",
            "Use text columns",
        ),
        (
            known,
            "D26",
            "an apostrophe in custom_args: ",
            "It is not this text: 'a usual text' there was",
            "Read the fields",
        ),
        (known, "D25", "a text of 300 characters in custom_args: ", "It is not this text", "Read the fields"),
    ],
)
def test_the_evidence_decides_about_the_cause(
    handle: Callable[[str], object], id: str, begins: str, cause: str, fix: str
) -> None:
    finding = finding_of(HandlesTexts("custom_args", handle), id)
    assert finding.verdict is Judgement.FAIL
    assert finding.reason.startswith(begins)
    assert cause in finding.reason
    assert finding.check.fix.text.startswith(fix)


@pytest.mark.parametrize("place", ["a key of custom_args", "error_detail", "a user's reply"])
def test_an_apostrophe_is_sql_in_every_place(place: str) -> None:
    finding = finding_of(HandlesTexts(place, in_sql), "D26")
    assert finding.reason.startswith(f"an apostrophe in {place}: ")
    assert "SQL that contains the text" in finding.reason


def test_an_apostrophe_in_an_account_event_is_named() -> None:
    finding = finding_of(HandlesTexts("the reason of template_audit_result", in_sql), "D26")
    assert finding.reason.startswith("an apostrophe in the reason of template_audit_result: ")


def test_texts_that_only_fail_together_are_named_together() -> None:
    class TakesOneText(PlainStatus):
        def apply(self, db: sqlite3.Connection, row: Any) -> None:
            if json_has(row, 3):
                raise ValueError("too many")
            super().apply(db, row)

    def json_has(row: Any, number: int) -> bool:
        return str(row).count("🔑") >= number

    finding = finding_of(TakesOneText(), "D16")
    assert finding.reason.startswith(
        "emoji in custom_args, a key of custom_args, template_key and error_detail: answered 500"
    )


# --- Fields


class KnowsItsFields(PlainStatus):
    """Fail on a row or an object in it with an unknown key, or on one whose value is null."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place

    def apply(self, db: sqlite3.Connection, row: Any) -> None:
        found = {
            "in a row": row,
            "in status of a row": row.get("status") or {},
            "in status_data of status of a row": (row.get("status") or {}).get("status_data") or {},
        }
        if "new_field" in found.get(self.place, {}) or (
            "error_detail" in found["in status of a row"] and not self.place
        ):
            raise TypeError("unexpected keyword argument")
        super().apply(db, row)


@pytest.mark.parametrize("place", ["in a row", "in status of a row", "in status_data of status of a row"])
def test_the_place_of_a_new_field_is_named(place: str) -> None:
    finding = finding_of(KnowsItsFields(place), "D12")
    said = f"a valid callback with new fields, even with a single one {place}: answered 500"
    assert finding.reason.startswith(said)


def test_the_field_that_is_null_is_named() -> None:
    finding = finding_of(KnowsItsFields(""), "D13")
    assert finding.reason.startswith("a valid callback with null for error_detail: answered 500")

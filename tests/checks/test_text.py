"""Texts: receivers that keep them in unusual forms pass, and one that shows none is not judged."""

from __future__ import annotations

import json
import sqlite3
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest

from engagelab_mock import Finding, Judgement
from tests.checks.serving import check_in_memory
from tests.truth.receivers.in_memory import InMemory, OneStatus


class KeepsNotes(OneStatus):
    """Show the custom_args of a message, in another form, and the text of the last reply."""

    def __init__(self, form: Callable[[str], str] = str) -> None:
        super().__init__()
        self.form = form
        self.notes: dict[str, str] = {}
        self.replies: list[str] = []

    def event(self, message_id: str, status: str, channel: str) -> None:
        super().event(message_id, status, channel)
        self.notes[message_id] = self.form(str((self.row.get("custom_args") or {}).get("note", "")))

    def apply_response(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        self.replies.append(row["response"]["response_data"]["body"].lower())

    def observe(self, message_id: str) -> Any:
        replies = self.replies if message_id == "0" else []
        return {"status": self.statuses.get(message_id), "note": self.notes.get(message_id), "replies": [*replies]}


def finding_of(app: InMemory) -> Finding:
    return check_in_memory(app, "D29").finding("D29")


@pytest.mark.parametrize("form", [str, json.dumps, lambda text: json.dumps({"note": text}), repr])
def test_a_text_in_another_form_is_kept(form: Callable[[str], str]) -> None:
    finding = finding_of(KeepsNotes(form))
    assert (finding.verdict, finding.warnings) == (Judgement.PASS, ())


def test_another_unicode_form_is_a_warning() -> None:
    finding = finding_of(KeepsNotes(lambda text: unicodedata.normalize("NFC", text)))
    assert finding.verdict is Judgement.PASS
    assert "another Unicode form" in finding.warnings[0]


@pytest.mark.parametrize(
    ("form", "became", "fix"),
    [
        (lambda text: text.encode().decode("latin-1"), "\xc3\xab", "Parse the bytes of the body"),
        (lambda text: text.encode("ascii", "replace").decode(), "'Zo?", "utf8mb4"),
        (lambda text: text.encode("ascii", "ignore").decode(), "'Zo ", "utf8mb4"),
        (str.lower, "'order mixed'", "Keep the texts of custom_args as they are"),
    ],
)
def test_a_text_that_is_changed_is_named_with_the_fix_of_its_cause(
    form: Callable[[str], str], became: str, fix: str
) -> None:
    finding = finding_of(KeepsNotes(form))
    assert finding.verdict is Judgement.FAIL
    assert became in finding.reason.partition("became")[2]
    assert fix in finding.check.fix.text


def test_a_receiver_that_shows_no_texts_is_not_judged() -> None:
    assert finding_of(OneStatus()).verdict is Judgement.NOT_APPLICABLE


@pytest.mark.parametrize(
    "form",
    [lambda text: text[:6], lambda text: text[:12], lambda text: text.partition("\N{KEY}")[0]],
    ids=["6", "12", "before the emoji"],
)
def test_a_text_that_is_cut_off_is_named_as_it_is_kept(form: Callable[[str], str]) -> None:
    finding = finding_of(KeepsNotes(form))
    assert finding.verdict is Judgement.FAIL
    assert "in custom_args was cut off: " in finding.reason


def test_the_first_word_of_a_text_may_be_kept_alone() -> None:
    assert finding_of(KeepsNotes(lambda text: text.partition(" ")[0])).verdict is not Judgement.FAIL

"""The checks of codes, channels, recipients, texts and kinds of rows: receivers that are right in unusual ways pass."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from engagelab_mock import Judgement, Message
from tests.checks.receivers.correct import Incoming, Refused
from tests.checks.serving import check_in_memory, verdicts
from tests.truth.receivers.in_memory import InMemory, OneStatus
from tests.truth.receivers.work import WorksInQueue

VOCABULARY = ("D22", "D23", "D24", "D25", "D26", "D27")


@pytest.mark.parametrize("kind", [OneStatus, WorksInQueue])
def test_a_receiver_that_keeps_one_status_passes(kind: type[InMemory]) -> None:
    report = check_in_memory(kind(), *VOCABULARY)
    assert verdicts(report) == dict.fromkeys(VOCABULARY, "pass"), report.findings
    assert {finding.basis for finding in report.of(Judgement.PASS)} == {"both"}


class OnlyBlocked(OneStatus):
    """Keep failures by their codes: only those after which a number is not tried again."""

    def replaces(self, status: str, old: str | None) -> bool:
        code = self.row["status"]["error_code"]
        return code in {0, 5001, 5013, 5019, 5020} and super().replaces(status, old)


class NoVoice(OneStatus):
    """Ignore the channels that the app does not use."""

    def replaces(self, status: str, old: str | None) -> bool:
        return self.row["status"]["status_data"]["current_send_channel"] != "voice" and super().replaces(status, old)


@pytest.mark.parametrize(("kind", "id", "says"), [(OnlyBlocked, "D22", "code 5012"), (NoVoice, "D23", "channel voice")])
def test_what_is_ignored_on_purpose_cannot_be_told_from_what_is_lost(kind: type[InMemory], id: str, says: str) -> None:
    finding = check_in_memory(kind(), id).finding(id)
    assert finding.verdict is Judgement.INCONCLUSIVE
    assert f"the {'error ' if id == 'D22' else ''}{says}" in finding.reason
    assert "on purpose" in finding.reason


class StoresAndThenFails(OneStatus):
    """Store a message, and then log the ValueError of its recipient, and acknowledge the row that is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: set[str] = set()

    def event(self, message_id: str, status: str, channel: str) -> None:
        self.stored.add(message_id)
        with suppress(ValueError):
            int(self.row["to"])
            super().event(message_id, status, channel)

    def observe(self, message_id: str) -> Any:
        return {"status": self.statuses.get(message_id, "")} if message_id in self.stored else None


def test_a_message_that_is_stored_without_its_status_is_lost() -> None:
    report = check_in_memory(StoresAndThenFails(), "D24", "D25", "D26")
    assert verdicts(report) == {"D24": "fail", "D25": "pass", "D26": "pass"}
    assert (
        report.finding("D24").reason
        == "an e-mail address as the recipient was acknowledged and had no effect on status"
    )


class NamesBlocked(OneStatus):
    """Store a word of the app for some codes, instead of the status."""

    def observe(self, message_id: str) -> Any:
        return {"status": self.statuses.get(message_id, "")}

    def replaced(self, message_id: str, status: str) -> None:
        if self.row["status"]["error_code"] in {5013, 5019, 5999}:
            self.statuses[message_id] = "blocked"

    def replaces(self, status: str, old: str | None) -> bool:
        return old != "blocked" and super().replaces(status, old)


def test_some_codes_may_lead_to_another_status() -> None:
    assert check_in_memory(NamesBlocked(), "D22").finding("D22").verdict is Judgement.PASS


class UpToAKilobyte(OneStatus):
    """Refuse a body that is too long for the app."""

    def read(self, incoming: Incoming) -> bytes:
        if len(incoming.body) > 2000:
            raise Refused(413)
        return super().read(incoming)


def test_a_very_long_text_may_be_refused() -> None:
    finding = check_in_memory(UpToAKilobyte(), "D25").finding("D25")
    assert finding.verdict is Judgement.PASS
    assert "a text of 4000 characters in custom_args was answered 413" in finding.warnings[0]


def test_without_observe_nothing_is_known_to_be_kept() -> None:
    report = check_in_memory(OneStatus(), *VOCABULARY, observe=None)
    assert verdicts(report) == dict.fromkeys(VOCABULARY, "inconclusive")


@pytest.mark.parametrize(
    ("events", "skipped"), [(["delivered"], {"D22", "D27"}), (["delivered", "notification"], {"D22"})]
)
def test_only_what_is_ticked_is_sent(events: list[str], skipped: set[str]) -> None:
    report = check_in_memory(OneStatus(), *VOCABULARY, events=events)
    assert {id for id, verdict in verdicts(report).items() if verdict == "skipped"} == skipped
    assert report.of(Judgement.FAIL) == []


def test_an_app_that_sends_no_email_is_not_judged_by_email() -> None:
    def prepare(message: Message) -> None:
        int(message.to)

    report = check_in_memory(OneStatus(), "D24", "D25", "D26", prepare=prepare)
    assert verdicts(report) == {"D24": "inconclusive", "D25": "pass", "D26": "pass"}
    assert "for a message with an e-mail address as the recipient" in report.finding("D24").reason


class FailsOnFailures(OneStatus):
    def replaces(self, status: str, old: str | None) -> bool:
        if status == "delivered_failed":
            raise KeyError(status)
        return super().replaces(status, old)


def test_a_status_that_is_never_accepted_says_nothing_about_codes() -> None:
    report = check_in_memory(FailsOnFailures(), "D19", "D22")
    assert verdicts(report) == {"D19": "fail", "D22": "inconclusive"}
    assert "the status delivered_failed" in report.finding("D19").reason
    assert report.finding("D22").reason.endswith("D19 checks that")

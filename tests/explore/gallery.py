"""The mutants of the gallery, each with the schedule that shows its bug."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engagelab_mock import Played, Schedule, converges, eventually, exactly_once, idempotent, never_regresses
from tests.receivers.gallery import mutants
from tests.receivers.gallery.orders import Orders


def leaves_no_trace_of_what_it_refuses(played: Played) -> str | None:
    for record in played.records:
        response = record.attempt.response
        if response is not None and 400 <= response.status < 500 and record.before != record.after:
            return f"it answered {response.status}, and {record.before} became {record.after}"
    return None


def never_answers_5xx(played: Played) -> str | None:
    for record in played.records:
        response = record.attempt.response
        if response is not None and response.status >= 500 and not record.processed:
            return f"it answered {response.status} to {', '.join(record.events)}"
    return None


def refunds_nobody_who_verified(played: Played) -> None:
    assert not (played.final["refunds"] and played.final["status"] == "verified")


def pays_who_verified(played: Played) -> str | None:
    state = played.final
    return None if state["credits"] == (state["status"] == "verified") else f"the final state is {state}"


CRASHES = {"duplicates": 0, "faults": "at-least-once"}


CROSSED = "eg1:verified,verified:verified,verified#2"


#: No time passes between its events.
SAME_SECOND = "plan-sent-delivered"


WRONG_THEN_RIGHT = "eg1:plan-verified_failed-verified:verified,verified_failed"


TWO_MESSAGES = Schedule.parse("eg1:verified,verified:plan,plan#2,sent,sent#2,verified#2,verified")


#: The invariants for every receiver of this app.
USUAL = [
    converges(),
    never_regresses("status"),
    exactly_once("credits"),
    idempotent(),
    never_answers_5xx,
    refunds_nobody_who_verified,
]


@dataclass(frozen=True)
class Case:
    """A bug, the invariant and the options that find it, and the shortest schedule in which it shows."""

    orders: type[Orders]
    lifecycle: Any
    invariant: Callable[[Played], Any]
    token: str
    options: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case(mutants.LastWriteWins, "verified", converges("status"), "eg1:verified,delivered"),
    Case(mutants.LastWriteWins, "verified", never_regresses("status"), "eg1:verified,delivered"),
    Case(mutants.TerminalWritesWin, "verified", never_regresses("status"), "eg1:verified,delivered"),
    Case(mutants.FirstTerminalStays, "plan-verified_failed-verified", converges("status"), WRONG_THEN_RIGHT),
    Case(mutants.OrdersByTime, SAME_SECOND, converges("status"), f"eg1:{SAME_SECOND}:delivered,sent"),
    Case(mutants.WantsALaterTime, SAME_SECOND, converges("status"), f"eg1:{SAME_SECOND}:sent,plan"),
    Case(mutants.OrdersByMsgTime, "verified", converges("status"), "eg1:verified,delivered"),
    Case(mutants.WantsALaterMsgTime, "verified", converges("status"), "eg1:sent,plan"),
    Case(mutants.DedupesByMessage, "verified", converges(), "eg1:sent,plan"),
    Case(mutants.DedupesByStatus, "fallback", converges("cost"), "eg1:sent/sms,sent/whatsapp"),
    Case(mutants.DedupesByNonce, "verified", exactly_once("credits"), "eg1:verified*2"),
    Case(mutants.NeverDedupes, "verified", exactly_once("credits"), "eg1:verified*2"),
    Case(mutants.NeverDedupes, "verified", idempotent(), "eg1:sent*2"),
    Case(mutants.NeverDedupes, "verified", exactly_once("credits"), "eg1:verified!ackloss", CRASHES),
    Case(mutants.ReadsTheFirstRow, "verified", converges(), "eg1:delivered+verified", {"batchings": True}),
    Case(mutants.TrustsTotal, "verified", never_answers_5xx, "eg1:plan!wrong_total", {"faults": ["wrong_total"]}),
    Case(mutants.LosesTheRest, "verified", converges(), "eg1:sent!null_section", {"faults": ["null_section"]}),
    Case(
        mutants.CommitsBeforeVerifying,
        "verified",
        leaves_no_trace_of_what_it_refuses,
        "eg1:plan!wrong_secret",
        {"faults": ["wrong_secret"]},
    ),
    Case(mutants.RefundsEveryFailure, "fallback", refunds_nobody_who_verified, "eg1:delivered_failed,verified"),
    Case(mutants.ActsOnTerminal, "fallback", refunds_nobody_who_verified, "eg1:delivered_failed,verified"),
    Case(mutants.ActsOnTerminal, "fallback", converges(), "eg1:delivered,delivered_failed"),
    Case(mutants.KnowsPlannedOnesOnly, "verified", never_answers_5xx, "eg1:verified"),
    Case(mutants.MarksBeforeItWorks, "verified", pays_who_verified, "eg1:verified", {"retry": [60]}),
    Case(mutants.WorksBeforeItMarks, "verified", exactly_once("credits"), "eg1:verified", {"retry": [60]}),
    Case(mutants.DedupesAcrossMessages, TWO_MESSAGES, eventually("verified", "status"), CROSSED),
]


def name(case: Case) -> str:
    return f"{case.orders.__name__}-{case.invariant.__name__}-{'-'.join(case.options)}".rstrip("-")

"""Every fault against a correct receiver and against a mutant that it exposes, judged by the data they keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engagelab_mock import FAULTS, EngageLab, Fault, Run, fault
from tests.receivers import mutants
from tests.receivers.correct import CorrectReceiver
from tests.receivers.serving import (
    LIMIT,
    Serving,
    by_hand,
    case_sensitive,
    closed_without_a_word,
    in_process,
    kept_alive,
    on_werkzeug,
    on_wsgiref,
    read_at_once,
)
from tests.receivers.store import Store

#: The effects when the callback that is struck has its own, and when it has none.
ALL = ["plan", "sent", "delivered"]
REST = ["plan", "delivered"]


class Seen(msgspec.Struct, frozen=True):
    """What is seen of a receiver: its answer to the callback that is struck, and the effects it had in the end."""

    answer: str
    effects: list[str]


REFUSED = Seen("401", REST)
UNREADABLE = Seen("400", REST)
TAKEN = Seen("200", ALL)
LOST = Seen("200", REST)
CRASHED = Seen("500", REST)


class Case(msgspec.Struct, frozen=True):
    """One fault, with its effect on a correct receiver and on a mutant."""

    fault: Fault
    correct: Seen
    mutant: type[CorrectReceiver]
    exposed: Seen
    serving: Serving = in_process
    #: Where the bug is not the app's but its server's.
    mutant_serving: Serving | None = None


def case(
    name: str,
    correct: Seen,
    mutant: type[CorrectReceiver],
    exposed: Seen,
    serving: Serving = in_process,
    mutant_serving: Serving | None = None,
    **options: Any,
) -> Case:
    return Case(fault(name, on="sent", **options), correct, mutant, exposed, serving, mutant_serving)


CASES = [
    case("wrong_secret", REFUSED, mutants.NeverVerifies, TAKEN),
    case("other_username", REFUSED, mutants.BelievesTheHeadersUsername, TAKEN),
    case("stale", REFUSED, mutants.NeverLooksAtTheTime, TAKEN),
    case("future", REFUSED, mutants.LooksAtThePastAlone, TAKEN),
    case("replayed_nonce", REFUSED, mutants.ForgetsNonces, TAKEN),
    case("replayed_header", REFUSED, mutants.ForgetsNonces, TAKEN),
    case("missing_signature", REFUSED, mutants.VerifiesWhatIsThere, TAKEN),
    case("malformed_signature", REFUSED, mutants.SplitsWithoutLooking, CRASHED),
    case("truncated_signature", REFUSED, mutants.ComparesAsFarAsItGoes, TAKEN),
    case("duplicated_signature", REFUSED, mutants.TakesTheFirstOfSeveral, TAKEN),
    case("shifted_concatenation", REFUSED, mutants.ConcatenatesAndForgetsTheTime, TAKEN),
    case("tampered_body", UNREADABLE, mutants.BelievesTheBody, TAKEN),
    case("wrong_total", TAKEN, mutants.CountsByTheTotal, CRASHED),
    case("null_section", TAKEN, mutants.TellsKindsByTheKeyAlone, CRASHED),
    case("unknown_status", LOST, mutants.KnowsEveryStatus, CRASHED),
    case("unknown_kind", TAKEN, mutants.KnowsEveryKind, CRASHED),
    case("unknown_fields", TAKEN, mutants.KnowsEveryField, CRASHED),
    case("numbers_for_strings", TAKEN, mutants.TakesIdsForStrings, CRASHED),
    case("documentation_typos", TAKEN, mutants.NeedsEveryField, CRASHED),
    case("truncated_json", UNREADABLE, mutants.SwallowsWhatItCannotRead, LOST),
    case("bom", TAKEN, mutants.DecodesTextFirst, CRASHED),
    case("nan", UNREADABLE, mutants.ReadsWhatPythonReads, TAKEN),
    case("huge_body", Seen("413", REST), mutants.TakesAnySize, TAKEN),
    case("deep_body", UNREADABLE, mutants.CatchesValueErrorsAlone, CRASHED, depth=10_000),
    case("duplicate_keys", UNREADABLE, mutants.TakesTheFirstOfTwoKeys, LOST),
    case("gzip", Seen("415", REST), mutants.OverlooksTheEncoding, CRASHED),
    case("big_headers", TAKEN, mutants.KeepsHeadersInAColumn, CRASHED),
    case("lowercase_headers", TAKEN, CorrectReceiver, REFUSED, on_werkzeug, by_hand(case_sensitive)),
    case("underscore_header", REFUSED, CorrectReceiver, TAKEN, on_werkzeug, on_wsgiref),
    case("chunked", TAKEN, mutants.ReadsByContentLength, LOST, on_werkzeug),
    case("expect_continue", TAKEN, mutants.RefusesToBeAsked, Seen("417", REST), on_werkzeug),
    case("slow_body", TAKEN, CorrectReceiver, UNREADABLE, on_werkzeug, by_hand(read_at_once)),
    case("split_header", TAKEN, CorrectReceiver, REFUSED, on_werkzeug, by_hand(read_at_once)),
    case("http_1_0", TAKEN, mutants.RefusesOldHttp, Seen("505", REST), on_werkzeug),
    case(
        "kept_connection",
        TAKEN,
        CorrectReceiver,
        Seen("closed", REST),
        by_hand(kept_alive),
        by_hand(closed_without_a_word),
    ),
    case(
        "new_connection", TAKEN, CorrectReceiver, Seen("timeout", REST), on_werkzeug, by_hand(kept_alive, limit=LIMIT)
    ),
]


def name_of(case: Case) -> str:
    return case.fault.name


each_case = pytest.mark.parametrize("case", CASES, ids=name_of)


def see(store: Store, run: Run) -> Seen:
    """Return the results of a run; the callbacks without the fault must have been acknowledged."""
    plan, sent, delivered = run.deliveries
    assert plan.acknowledged
    assert delivered.acknowledged
    [attempt] = sent.attempts
    assert len(attempt.faults) == 1
    answer = str(attempt.response.status) if attempt.response else str(attempt.outcome)
    return Seen("closed" if answer == "reset" else answer, store.effects)


def strike(case: Case, receiver: type[CorrectReceiver], serving: Serving, store: Store) -> Seen:
    with serving(receiver(store).app) as target, EngageLab(target) as engagelab:
        return see(store, engagelab.send("+6591234567", scenario="delivered", fault=case.fault))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "receiver.sqlite")


@each_case
def test_a_correct_receiver_does_the_right_thing(case: Case, store: Store) -> None:
    assert strike(case, CorrectReceiver, case.serving, store) == case.correct
    assert store.recipients == {"+6591234567"}
    assert store.unreadable_bodies == 0


@each_case
def test_a_mutant_is_exposed(case: Case, store: Store) -> None:
    assert strike(case, case.mutant, case.mutant_serving or case.serving, store) == case.exposed
    assert case.exposed != case.correct


# A close without a word is noticed in time or not: that is the bug, and shows by chance without the fault.
@pytest.mark.parametrize("case", [case for case in CASES if case.fault.name != "kept_connection"], ids=name_of)
def test_the_mutant_passes_for_correct_without_the_fault(case: Case, store: Store) -> None:
    serving = case.mutant_serving or case.serving
    with serving(case.mutant(store).app) as target, EngageLab(target) as engagelab:
        assert engagelab.send("+6591234567", scenario="delivered").acknowledged
        assert store.effects == ALL


def test_a_mutant_that_reads_nan_keeps_invalid_json(store: Store) -> None:
    with in_process(mutants.ReadsWhatPythonReads(store).app) as target, EngageLab(target) as engagelab:
        engagelab.send("+6591234567", scenario=["plan"], fault="nan")
    assert store.unreadable_bodies == 1


def test_a_mutant_that_takes_any_size_keeps_it_all(store: Store) -> None:
    with in_process(mutants.TakesAnySize(store).app) as target, EngageLab(target) as engagelab:
        engagelab.send("+6591234567", scenario=["plan"], fault="huge_body")
    assert store.largest_body >= 1 << 20


def test_a_mutant_that_believes_the_body_changes_its_mind_about_the_recipient(store: Store) -> None:
    with in_process(mutants.BelievesTheBody(store).app) as target, EngageLab(target) as engagelab:
        engagelab.send(
            "+6591234567", scenario=["plan", "sent"], fault=fault("tampered_body", to="+15550001", on="sent")
        )
    assert store.recipients == {"+15550001"}


#: What test_exchange.py is about: who knows what of an exchange takes more than a row of a table.
ELSEWHERE = ["short_body", "request_lost", "ack_lost", "bad_gateway", "give_up", "reset", "duplicate"]


def test_every_fault_has_a_case() -> None:
    assert sorted([case.fault.name for case in CASES] + ELSEWHERE) == sorted(FAULTS)

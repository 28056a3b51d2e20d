"""The expected state: each bug has its kind, right but unusual states pass, and values that cannot be judged do not."""

from __future__ import annotations

from typing import Any

import pytest

from engagelab_mock.load.expected import Expected, learn
from engagelab_mock.load.ledger import Baseline, Entry

STATUSES = ["plan", "sent", "delivered", "verified"]


def learned(*states: Any, scenario: str = "verified", before: Any = None, known: bool = True) -> Expected:
    """Return what is expected if the state after each callback is one of `states`."""
    ids = tuple((f"17424428056089{number:05d}", f"+65912345{number:02d}") for number in range(5))
    final = tuple((states[-1] | ({"to": to} if "to" in states[-1] else {})) if known else None for _, to in ids)
    return Expected(Baseline(scenario=scenario, states=final, messages=ids, after=(before, *states)))


def from_final(*states: Any) -> Expected:
    ids = tuple((f"17424428056089{number:05d}", f"+65912345{number:02d}") for number in range(len(states)))
    return Expected(Baseline(scenario="verified", states=states, messages=ids))


def deliveries(order: str = "0123", at_once: str = "") -> list[Entry]:
    """Return deliveries in an order of their steps; those in `at_once` take so long that they overlap the next."""
    made: list[Entry] = []
    for place, digit in enumerate(order):
        step, copy, took = int(digit), order[:place].count(digit), 1.5 if digit in at_once else 0.1
        values = ("verified", step, len(order), STATUSES[step], copy, place, place, took, "acknowledged", 200)
        made.append(Entry("1742442805608914945", "+6591234567", *values))
    return made


def kinds(expected: Expected, state: Any, order: str = "0123", at_once: str = "") -> list[str]:
    return [each.kind for each in expected.differences(state, deliveries(order, at_once))]


def said(expected: Expected, state: Any, order: str = "0123") -> list[str]:
    return [each.what for each in expected.differences(state, deliveries(order))]


HISTORY = learned(*({"history": STATUSES[:n]} for n in range(1, 5)))
EVENTS = learned(*({"events": [{"name": name, "by": "sms"} for name in STATUSES[:n]]} for n in range(1, 5)))
CODES = learned(*({"status": code} for code in (10, 20, 40, 50)))
VERSION = learned(*({"status": name, "version": n} for n, name in enumerate(STATUSES, 1)))
WORKER = learned(*({"status": name, "worker": 4000, "host": "a-1"} for name in STATUSES))
PERSON = learned(*({"status": name, "to": "+6591234500", "tries": 1} for name in STATUSES))
MONEY = learned(*({"status": name, "balance": "500" if name == "verified" else "0"} for name in STATUSES))
OPEN = learned(*({"open": name != "verified"} for name in STATUSES), before={"open": True})
DEFAULT = learned(*({"status": name} for name in STATUSES), before={"status": "unknown"})


@pytest.mark.parametrize(
    ("expected", "state", "order", "kind"),
    [
        # A duplicate fills the place of the entry that was lost.
        (HISTORY, {"history": ["plan", "sent", "delivered", "delivered"]}, "01223", "lost"),
        (HISTORY, {"history": ["plan", "sent", "delivered"]}, "0123", "lost"),
        # "verified" was not overtaken.
        (HISTORY, {"history": ["plan", "delivered", "sent"]}, "0213", "lost"),
        (HISTORY, {"history": ["plan", "sent", "delivered", "read"]}, "0123", "lost"),
        (HISTORY, {"history": [*STATUSES, "read"]}, "0123", "wrong"),
        (EVENTS, {"events": [{"name": name, "by": "sms"} for name in STATUSES[:3] * 2]}, "0123012", "lost"),
        (CODES, {"status": 40}, "0123", "lost"),
        (CODES, {"status": 40}, "0132", "regressed"),
        (VERSION, {"status": "verified", "version": 3}, "0123", "lost"),
        (PERSON, {"status": "verified", "to": "+6590000000", "tries": 1}, "0123", "wrong"),
        (PERSON, {"status": "verified", "to": None, "tries": 1}, "0123", "lost"),
        (PERSON, {"status": "verified", "to": "+6591234567", "tries": 2}, "0123", "doubled"),
        (MONEY, {"status": "verified", "balance": "1000"}, "01233", "doubled"),
        (MONEY, {"status": "verified", "balance": "0"}, "0123", "lost"),
        (OPEN, {"open": True}, "0123", "lost"),
        (DEFAULT, {"status": "unknown"}, "0123", "lost"),
        (DEFAULT, {"status": "nonsense"}, "0123", "wrong"),
        (learned(None, None, None, None, known=False), {"status": "verified"}, "0123", "wrong"),
    ],
)
def test_each_bug_has_its_kind(expected: Expected, state: Any, order: str, kind: str) -> None:
    assert kinds(expected, state, order) == [kind]


@pytest.mark.parametrize(
    ("expected", "state", "order", "at_once"),
    [
        (HISTORY, {"history": ["verified", "verified", "plan", "delivered", "sent"]}, "30321", ""),
        # A history of transitions ignores an event that comes late, or at the same time.
        (HISTORY, {"history": ["plan", "delivered", "verified"]}, "0213", ""),
        (HISTORY, {"history": ["plan", "delivered", "verified"]}, "0123", "1"),
        (EVENTS, {"events": [{"name": name, "by": "sms"} for name in ("plan", "verified")]}, "0312", ""),
        (VERSION, {"status": "verified", "version": 5}, "01233", ""),
        (WORKER, {"status": "verified", "worker": 4000, "host": "a-1"}, "0123", ""),
        (PERSON, {"status": "verified", "to": "+6591234567", "tries": 1, "error": None}, "0123", ""),
        (OPEN, {"open": None}, "0123", ""),
        (learned(None, None, None, None, known=False), None, "0123", ""),
    ],
)
def test_a_right_but_unusual_state_passes(expected: Expected, state: Any, order: str, at_once: str) -> None:
    assert kinds(expected, state, order, at_once) == []


@pytest.mark.parametrize(
    ("expected", "state", "order"),
    [
        # A status as a number that went back looks the same.
        (VERSION, {"status": "verified", "version": 3}, "0213"),
        (WORKER, {"status": "verified", "worker": 4001, "host": "a-1"}, "0123"),
        (WORKER, {"status": "verified", "worker": 4000, "host": "a-2"}, "0123"),
    ],
)
def test_a_value_that_may_be_right_or_wrong_is_unclear(expected: Expected, state: Any, order: str) -> None:
    assert kinds(expected, state, order) == ["unclear"]
    assert all("leave it out of what observe returns" in what for what in said(expected, state, order))


def test_the_texts_name_the_entry_and_the_owner() -> None:
    assert said(HISTORY, {"history": STATUSES[:3]}) == ["history has 3 entries, expected 4: 'verified' is missing"]
    assert said(PERSON, {"status": "verified", "to": "+6590000000", "tries": 1}) == [
        "to is '+6590000000', expected the recipient of the message"
    ]


def test_a_value_that_differs_in_each_message_must_be_there() -> None:
    rows = from_final(*({"status": "verified", "receipt": f"r-{n}"} for n in "abcde"))
    assert kinds(rows, {"status": "verified", "receipt": "r-x"}) == []
    assert kinds(rows, {"status": "verified", "receipt": None}) == ["lost"]
    assert kinds(rows, {"status": "verified"}) == ["lost"]


@pytest.mark.parametrize(
    "states",
    [
        [f"row {n}: verified" for n in range(5)],
        [{"status": status} for status in ("sent", "delivered", "verified", "sent", "sent")],
        [{"credits": n} for n in (0, 1, 2, 1, 1)],
        [{"credits": n} for n in (0, 1, 1, 1, 1)],
        [{"receipt": receipt} for receipt in ("r-1", "r-2", None, "r-3", "r-4")],
        [{"done": True}, *({"done": True, "receipt": f"r-{n}"} for n in range(4))],
    ],
)
def test_values_that_may_depend_on_the_callbacks_are_never_ignored(states: list[Any]) -> None:
    assert from_final(*states).unclear


def test_a_state_of_values_that_differ_has_nothing_to_be_judged() -> None:
    assert not from_final(*({"row": f"r-{n}"} for n in range(5))).judged
    assert from_final(*({"row": f"r-{n}", "done": True} for n in range(5))).judged


def test_the_right_ones_of_the_first_messages_are_expected() -> None:
    right, wrong = {"status": "verified", "credits": 1}, {"status": "delivered", "credits": 0}
    expected = from_final(right, wrong, wrong, right, wrong)
    assert expected.leaves["credits",] == 1
    assert not expected.unclear
    assert kinds(expected, right) == []
    assert kinds(expected, wrong)[:1] == ["lost"]


def test_a_counter_is_known_from_a_longer_scenario() -> None:
    ids = (("171", "+6591234567"),)
    long = tuple({"n": n} for n in range(1, 5))
    sent = Baseline(scenario="lost", states=(long[1],), messages=ids, after=(None, *long[:2]))
    verified = Baseline(scenario="verified", states=(long[-1],), messages=ids, after=(None, *long))
    for baselines in ([sent, verified], [verified, sent]):
        assert {*learn(baselines)["lost"].counters} == {("n",)}
    assert not learn([sent])["lost"].counters


def test_a_state_that_was_removed_before_the_end_is_not_expected() -> None:
    gone = learned(*({"status": name} for name in STATUSES), known=False)
    assert gone.gone
    assert kinds(gone, {"status": "sent"}) == []

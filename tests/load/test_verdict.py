"""The verdict on one message: its deliveries, the state that was expected, and the state that was found."""

from __future__ import annotations

from typing import Any

import pytest

from engagelab_mock.load.expected import Expected
from engagelab_mock.load.ledger import Baseline, Entry
from engagelab_mock.load.verdict import answer_case, effect_case
from engagelab_mock.protocol.status import Meaning

ID, TO = "1742442805608914945", "+6591234567"
STATUSES = ["plan", "sent", "delivered", "verified"]
EFFECTS = Meaning.of({"credits": "verified"})
NONE = Meaning.of()


def deliveries(*outcomes: str, order: str = "0123", faults: str = "") -> list[Entry]:
    """Return deliveries of "verified" in an order of its steps; a step that comes again is a duplicate."""
    made: list[Entry] = []
    for place, digit in enumerate(order):
        step = int(digit)
        copy = sum(1 for each in made if each.step == step)
        outcome = outcomes[place] if place < len(outcomes) else "acknowledged"
        applied = "ack_lost" if digit in faults else ""
        made.append(
            Entry(ID, TO, "verified", step, len(order), STATUSES[step], copy, place, place, 0.1, outcome, 200, applied)
        )
    return made


def expected(*states: Any, after: tuple[Any, ...] = ()) -> Expected:
    ids = tuple((f"17424428056089{number:05d}", f"+65912345{number:02d}") for number in range(len(states)))
    return Expected(Baseline(scenario="verified", states=states, messages=ids, after=after))


RIGHT = {"status": "verified", "credits": 1}
AS_RIGHT = expected(*[RIGHT] * 5)


def kind_of(entries: list[Entry], state: Any, baseline: Expected | None = AS_RIGHT, effects: Meaning = NONE) -> str:
    case = effect_case(entries, state, baseline, effects)
    return "" if case is None else case.kind


@pytest.mark.parametrize("effects", [EFFECTS, NONE])
@pytest.mark.parametrize("order", ["0123", "1032", "00112233", "3210"])
def test_the_expected_state_is_right_in_any_order(order: str, effects: Meaning) -> None:
    assert kind_of(deliveries(order=order), dict(RIGHT), effects=effects) == ""


@pytest.mark.parametrize(
    ("state", "order", "kind"),
    [
        (None, "0123", "lost"),
        ({"status": "delivered", "credits": 0}, "0123", "lost"),
        ({"status": "verified", "credits": 0}, "0123", "lost"),
        ({"status": "verified", "credits": 2}, "01233", "doubled"),
        ({"status": "delivered", "credits": 1}, "0132", "regressed"),
        ({"status": "delivered", "credits": 1}, "01232", "regressed"),
    ],
)
@pytest.mark.parametrize("effects", [EFFECTS, NONE])
def test_each_kind_is_told_from_the_others(state: Any, order: str, kind: str, effects: Meaning) -> None:
    assert kind_of(deliveries(order=order), state, effects=effects) == kind


def test_effects_are_judged_without_an_expected_state() -> None:
    assert kind_of(deliveries(), {"credits": 0}, None, EFFECTS) == "lost"
    assert kind_of(deliveries(), {"credits": 2}, None, EFFECTS) == "doubled"
    assert kind_of(deliveries(), {"credits": 1}, None, EFFECTS) == ""


@pytest.mark.parametrize("state", [RIGHT, {"status": "delivered", "credits": 0}])
@pytest.mark.parametrize("outcome", ["timeout", "reset", "not_200", "abandoned"])
def test_a_callback_without_an_acknowledgement_may_have_had_its_effect_or_not(state: Any, outcome: str) -> None:
    entries = deliveries("acknowledged", "acknowledged", "acknowledged", outcome)
    assert kind_of(entries, state, effects=EFFECTS) == ""


def test_a_callback_that_never_arrived_has_no_effect() -> None:
    entries = deliveries("acknowledged", "acknowledged", "acknowledged", "refused")
    assert kind_of(entries, {"status": "verified", "credits": 1}, effects=EFFECTS) == "doubled"


def test_a_callback_with_a_fault_may_have_had_its_effect_or_not() -> None:
    for state in (RIGHT, {"status": "delivered", "credits": 0}):
        assert kind_of(deliveries(faults="3"), state, effects=EFFECTS) == ""
    assert kind_of(deliveries(faults="3"), {"status": "verified", "credits": 2}, effects=EFFECTS) == "doubled"


def test_a_message_whose_callbacks_were_all_lost_on_the_way_is_not_expected() -> None:
    assert kind_of(deliveries("refused", "refused", "refused", "refused"), None, effects=EFFECTS) == ""


def test_a_scenario_that_the_app_never_keeps_is_not_expected() -> None:
    assert kind_of(deliveries(), None, expected(*[None] * 5)) == ""


def test_values_that_always_differ_are_ignored() -> None:
    rows = expected(*({"status": "verified", "row": number, "at": "2026-01-01T00:00:00Z"} for number in range(5)))
    assert kind_of(deliveries(), {"status": "verified", "row": 77, "at": "2026-01-02T00:00:00Z"}, rows) == ""
    assert kind_of(deliveries(), {"status": "sent", "row": 77, "at": "2026-01-02T00:00:00Z"}, rows) != ""


def test_a_counter_of_callbacks_may_count_duplicates_and_not_lack_one() -> None:
    after = (None, *({"status": status, "n": n, "credits": n // 4} for n, status in enumerate(STATUSES, 1)))
    counts = expected(*[after[-1]] * 5, after=after)
    assert kind_of(deliveries(order="001233"), {"status": "verified", "n": 6, "credits": 1}, counts) == ""
    assert kind_of(deliveries(), {"status": "verified", "n": 3, "credits": 1}, counts) == "lost"


def test_a_history_may_hold_duplicates_in_any_order() -> None:
    after = (None, *({"history": STATUSES[:n]} for n in range(1, 5)))
    log = expected(*[after[-1]] * 5, after=after)
    assert kind_of(deliveries(order="10233"), {"history": ["sent", "plan", *STATUSES[2:], "verified"]}, log) == ""
    assert kind_of(deliveries(), {"history": STATUSES[:3]}, log) == "lost"


def test_a_bug_that_hits_one_of_the_first_messages_does_not_become_the_rule() -> None:
    mostly = expected(*[RIGHT] * 4, {"status": "delivered", "credits": 0})
    assert kind_of(deliveries(), dict(RIGHT), mostly) == ""
    assert kind_of(deliveries(), {"status": "delivered", "credits": 0}, mostly) == "lost"
    assert mostly.unclear == {}
    # Credits alone could be a value that differs by chance.
    assert {path[0] for path in expected(*[RIGHT] * 4, RIGHT | {"credits": 0}).unclear} == {"credits"}


def test_only_messages_with_a_callback_that_was_not_acknowledged_have_a_case() -> None:
    assert answer_case(deliveries()) is None
    assert answer_case(deliveries("timeout", order="00123")) is None  # the duplicate was acknowledged
    assert answer_case(deliveries("abandoned", faults="0")) is None
    maybe, never = answer_case(deliveries("timeout")), answer_case(deliveries("timeout", "not_200"))
    assert (maybe and maybe.kind, never and never.kind) == ("maybe", "never_acknowledged")

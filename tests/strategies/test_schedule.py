"""The machine finds failures with several messages, reduces them, and prints the token that replays them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from engagelab_mock import (
    EngageLab,
    NothingObserved,
    Receiver,
    ScheduleFailed,
    UsageError,
    converges,
    eventually,
    exactly_once,
    never_regresses,
)
from engagelab_mock.strategies import ReceiverMachine
from tests.explore.books import Books
from tests.receivers.gallery import mutants
from tests.receivers.gallery.orders import Orders
from tests.receivers.gallery.stacks import Shop, shop

#: The same examples each time, without a database of failed ones.
BOUNDED = settings(
    derandomize=True,
    database=None,
    max_examples=30,
    stateful_step_count=8,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    deadline=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow],
)


ORDER = ["plan", "sent", "delivered", "verified"]
TWO_OUT_OF_ORDER = {f"eg1:{late},{early}" for early, late in combinations(ORDER, 2)}
TWO_TOGETHER = {f"eg1:{one}+{other}" for one, other in combinations(ORDER, 2)}


def machine_for(opened: Shop, **attributes: Any) -> type[ReceiverMachine]:
    class Machine(ReceiverMachine):
        def receiver(self) -> Receiver:
            return opened.receiver

        def reset(self) -> None:
            opened.reset()

    return type("Machine", (Machine,), attributes)


def shrunk(orders: type[Orders], **attributes: Any) -> str:
    """Return the token of the schedule that the machine fails with."""
    with shop("flask", orders) as opened, pytest.raises(ScheduleFailed) as raised:
        run_state_machine_as_test(machine_for(opened, **attributes), settings=BOUNDED)
    token = raised.value.failure.token
    assert f"replay: {token}" in str(raised.value) or f"replay: '{token}'" in str(raised.value)
    return token


@pytest.mark.parametrize(
    ("orders", "attributes", "tokens"),
    [
        (
            mutants.LastWriteWins,
            {"must_hold": [never_regresses("status")]},
            TWO_OUT_OF_ORDER,
        ),
        (mutants.NeverDedupes, {"must_hold": [exactly_once("credits")]}, {"eg1:verified*2"}),
        (
            mutants.DedupesAcrossMessages,
            {"lifecycles": ("verified", "verified"), "must_hold": [eventually("verified", "status")]},
            {"eg1:verified,verified:verified,verified#2", "eg1:verified,verified:verified#2,verified"},
        ),
        (
            mutants.DedupesByNonce,
            {"faults": ["ack_lost"], "must_hold": [exactly_once("credits")]},
            {"eg1:verified*2", "eg1:verified!ackloss"},
        ),
        (
            mutants.ReadsTheFirstRow,
            {"must_hold": [converges()]},
            TWO_TOGETHER,
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_mutant_shrinks_to_its_minimum(orders: type[Orders], attributes: dict[str, Any], tokens: set[str]) -> None:
    assert shrunk(orders, **attributes) in tokens


def test_the_correct_receiver_passes_several_messages_in_any_order_with_crashes() -> None:
    held = [converges(), never_regresses("status"), exactly_once("credits")]
    with shop("flask") as opened:
        machine = machine_for(
            opened,
            lifecycles=("verified", "fallback", "sent_failed"),
            faults="at-least-once",
            delays=True,
            must_hold=held,
        )
        run_state_machine_as_test(machine, settings=BOUNDED)


def test_the_same_seed_makes_the_same_schedules() -> None:
    def schedules() -> Sequence[str]:
        seen: list[str] = []
        with shop("flask") as opened:

            class Noting(machine_for(opened, lifecycles=("verified", "verified"), faults="at-least-once")):  # type: ignore[misc]
                def teardown(self) -> None:
                    seen.append(self.schedule.token)

            run_state_machine_as_test(Noting, settings=settings(BOUNDED, max_examples=20))
        return seen

    first = schedules()
    assert first == schedules()
    assert len(set(first)) > 10


def test_without_reset_every_example_is_about_messages_that_the_app_has_not_seen() -> None:
    books = Books()

    class Machine(ReceiverMachine):
        must_hold = (converges(), exactly_once("credits", when="verified"))

        def receiver(self) -> Receiver:
            return books.receiver

        def teardown(self) -> None:
            super().teardown()
            examples.append(self.schedule.token)

    examples: list[str] = []
    for _ in range(2):  # as a second run of the tests, against an app that is still up
        run_state_machine_as_test(Machine, settings=BOUNDED)
    played = [token for token in examples if token != "eg1:"]
    assert len(played) > 30
    assert len(books.kept) >= len(played)


def test_a_users_machine_prints_a_token_that_fails_again(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from hypothesis import Phase, settings

        from engagelab_mock import converges
        from engagelab_mock.strategies import ReceiverMachine
        from tests.receivers.gallery.flask_stack import FlaskShop
        from tests.receivers.gallery.mutants import LastWriteWins

        shop = FlaskShop(LastWriteWins)


        class Machine(ReceiverMachine):
            lifecycles = ("verified", "verified")
            must_hold = (converges("status"),)

            def receiver(self):
                return shop.receiver

            def reset(self):
                shop.reset()


        TestReceiver = Machine.TestCase
        TestReceiver.settings = settings(derandomize=True, database=None, max_examples=20, stateful_step_count=8,
                                         phases=[Phase.generate], report_multiple_bugs=False)
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:asyncio")
    result.assert_outcomes(failed=1)
    found = re.search(r"replay: '?(eg1:[^\s']+)", result.stdout.str())
    assert found
    with shop("flask", mutants.LastWriteWins) as opened, EngageLab(opened.receiver) as engagelab:
        for _ in range(3):
            with pytest.raises(ScheduleFailed):
                engagelab.replay(found[1], invariants=[converges("status")], reset=opened.reset)


def test_a_machine_without_a_receiver_raises() -> None:
    with pytest.raises(NotImplementedError, match=r"ReceiverMachine\.receiver must return"):
        run_state_machine_as_test(ReceiverMachine, settings=BOUNDED)


def test_a_misspelt_lifecycle_raises() -> None:
    with shop("flask") as opened, pytest.raises(UsageError, match="did you mean 'verified'"):
        machine_for(opened, lifecycles=("verfied",))()


def test_a_receiver_that_shows_nothing_is_played_once() -> None:
    books = Books()

    class Machine(ReceiverMachine):
        def receiver(self) -> Receiver:
            return Receiver.wsgi(books, observe=dict[str, str]().get)

    with pytest.raises(NothingObserved, match="the receiver showed no effect"):
        run_state_machine_as_test(Machine, settings=BOUNDED)
    # The deliveries of one example, and two lifecycles in order. Finding it out again takes half a second each time.
    assert books.requests <= BOUNDED.stateful_step_count + 4 + 7

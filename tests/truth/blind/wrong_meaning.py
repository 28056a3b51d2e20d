"""The declared meaning of the statuses is wrong."""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from engagelab_mock import EngageLab, NothingObserved, ProbeFailed, Receiver
from engagelab_mock.strategies import ReceiverMachine
from tests.truth.blind.case import App, Cases, Reach, explore

blind = Cases()


@blind("explore", "no state has the name of a declared effect", NothingObserved, "no state had 'credts'")
def _unknown_effect(reach: Reach) -> None:
    app = App()
    explore(reach(app, observe=app.observe), effects={"credts": "verified"}, duplicates=0, invariants=[])


@blind("explore", "the same, without an event that has the effect", NothingObserved, "did you mean 'credits'")
def _unknown_effect_of_nothing(reach: Reach) -> None:
    app = App()
    explore(reach(app, observe=app.observe), "delivered", effects={"credts": "verified"}, invariants=[])


@blind("replay", "no state has the name of a declared effect", NothingObserved, "no state had 'credts'")
def _unknown_effect_replayed(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=app.observe, effects={"credts": "verified"})) as engagelab:
        engagelab.replay("eg1:plan")


@blind("check", "no state has the name of a declared effect", NothingObserved, "no state had 'credts'")
def _check_unknown_effect(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=app.observe, effects={"credts": "verified"})) as engagelab:
        engagelab.check(only=["F*"], patience=0.1).assert_none("major")


@blind("ReceiverMachine", "no state has the name of a declared effect", NothingObserved, "no state had 'credts'")
def _machine_with_an_unknown_effect(reach: Reach) -> None:
    app = App()
    receiver = reach(app, observe=app.observe)

    class Machine(ReceiverMachine):
        effects: ClassVar[Any] = {"credts": "verified"}
        must_hold = ()

        def receiver(self) -> Receiver:
            return receiver

    quickly = settings(max_examples=3, derandomize=True, deadline=None, database=None, stateful_step_count=3)
    run_state_machine_as_test(Machine, settings=quickly)


@blind("explore", "the declared terminal status is never shown", NothingObserved, "no status was verified")
def _unknown_terminal(reach: Reach) -> None:
    app = App()
    receiver = reach(app, observe=lambda message_id: app.observe(message_id) and len(app.observe(message_id)["status"]))
    explore(receiver, terminal="verified", duplicates=0, invariants=[])


@blind("check", "the checks of meaning run without `effects` and `terminal`", NothingObserved, "nothing was judged")
def _check_without_meaning(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=app.observe)) as engagelab:
        engagelab.check(only=["F*"], patience=0.1).assert_none("major")


@blind("check", "a declared effect does not count", ProbeFailed, "does not count how often it happened")
def _check_effect_is_a_text(reach: Reach) -> None:
    app = App()

    def observe(message_id: str) -> Any:
        row = app.observe(message_id)
        return row and {**row, "credits": f"{row['credits']} credits"}

    with EngageLab(reach(app, observe=observe, effects={"credits": "verified"})) as engagelab:
        engagelab.check(only=["F*"], patience=0.1)

"""The state shows no effect of the callbacks."""

from __future__ import annotations

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from engagelab_mock import EngageLab, NothingObserved, Receiver, StatusEvent, converges, idempotent, never_regresses
from engagelab_mock.strategies import ReceiverMachine
from tests.truth.blind.case import App, Cases, Reach, explore

blind = Cases()


class OwnRowsOnly(App):
    def handle(self, event: StatusEvent) -> None:
        if event.message_id in self.rows:
            super().handle(event)


@blind("explore", "the app ignores messages that it did not send", NothingObserved, "prepare, if the app ignores")
def _own_rows(reach: Reach) -> None:
    app = OwnRowsOnly()
    explore(reach(app, observe=app.observe))


@blind("explore", "the same, with no invariants at all", NothingObserved, "showed no effect")
def _own_rows_without_invariants(reach: Reach) -> None:
    app = OwnRowsOnly()
    explore(reach(app, observe=app.observe), invariants=[])


@blind("explore", "the same, with invariants that never compare", NothingObserved, "showed no effect")
def _own_rows_with_some(reach: Reach) -> None:
    app = OwnRowsOnly()
    explore(reach(app, observe=app.observe), invariants=[never_regresses(), idempotent()], faults="at-least-once")


@blind("explore", "`observe` looks for another id", NothingObserved, "another observe, if it looks in the wrong place")
def _another_id(reach: Reach) -> None:
    app = App()
    explore(reach(app, observe=lambda message_id: app.observe(f"id-{message_id}")))


@blind("explore", "`observe` returns the same for ever", NothingObserved, "observe returned {'status': 'new'}")
def _constant(reach: Reach) -> None:
    explore(reach(App(), observe=lambda message_id: {"status": "new"}))


@blind("explore", "the app puts work into a queue without a worker", NothingObserved, "wait_idle, if the app works")
def _no_worker(reach: Reach) -> None:
    jobs: list[object] = []

    class Queues(App):
        def handle(self, event: StatusEvent) -> None:
            jobs.append(event)

    app = Queues()
    explore(reach(app, observe=app.observe))


@blind("replay", "the app ignores messages that it did not send", NothingObserved, "showed no effect")
def _replay(reach: Reach) -> None:
    app = OwnRowsOnly()
    with EngageLab(reach(app, observe=app.observe)) as engagelab:
        engagelab.replay("eg1:verified,delivered")


@blind("play with invariants", "`observe` looks for another id", NothingObserved, "showed no effect")
def _play(reach: Reach) -> None:
    with EngageLab(reach(App(), observe=dict[str, str]().get)) as engagelab:
        engagelab.play("eg1:verified,delivered", converges())


@blind("ReceiverMachine", "the app ignores messages that it did not send", NothingObserved, "showed no effect")
def _machine(reach: Reach) -> None:
    app = OwnRowsOnly()
    receiver = reach(app, observe=app.observe)

    class Machine(ReceiverMachine):
        def receiver(self) -> Receiver:
            return receiver

    quickly = settings(max_examples=3, derandomize=True, deadline=None, database=None, stateful_step_count=3)
    run_state_machine_as_test(Machine, settings=quickly)


@blind("check", "the app ignores messages that it did not send", NothingObserved, "prepare")
def _check(reach: Reach) -> None:
    app = OwnRowsOnly()
    with EngageLab(reach(app, observe=app.observe)) as engagelab:
        engagelab.check(only=["C0*"], patience=0.1).assert_none("major")


@blind("check", "`observe` returns the same for ever", NothingObserved, "observe")
def _check_constant(reach: Reach) -> None:
    with EngageLab(reach(App(), observe=lambda message_id: "new")) as engagelab:
        engagelab.check(only=["B01", "C06"], patience=0.1).assert_none("major")

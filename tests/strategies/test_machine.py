"""The machine draws races and crashes in the handlers, and finds what only they break."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from flask import Flask, request
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from engagelab_mock import EngageLab, NothingObserved, ProbeFailed, Receiver, ScheduleFailed, UsageError, converges
from engagelab_mock.explore.crash import can_fork
from engagelab_mock.strategies import ReceiverMachine
from tests.explore.books import Books, KeepsCredits
from tests.receivers import racing
from tests.receivers.racing import Handle, Store, flask_receiver, folder
from tests.strategies.test_schedule import BOUNDED

forked = pytest.mark.skipif(not can_fork(), reason="this system cannot fork")


@pytest.fixture
def store() -> Iterator[Store]:
    with TemporaryDirectory(dir=folder()) as name:
        yield Store(Path(name, "shop.sqlite"))


def machine_for(receiver: Receiver, **attributes: Any) -> type[ReceiverMachine]:
    class Machine(ReceiverMachine):
        lifecycles = ("plan-sent",)
        batches = False

        def receiver(self) -> Receiver:
            return receiver

    return type("Machine", (Machine,), attributes)


def failed(receiver: Receiver, **attributes: Any) -> ScheduleFailed:
    with pytest.raises(ScheduleFailed) as raised:
        run_state_machine_as_test(machine_for(receiver, **attributes), settings=BOUNDED)
    with EngageLab(receiver) as engagelab, pytest.raises(ScheduleFailed):
        engagelab.replay(raised.value.failure.token)
    return raised.value


def passes(receiver: Receiver, **attributes: Any) -> None:
    run_state_machine_as_test(machine_for(receiver, **attributes), settings=settings(BOUNDED, max_examples=10))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handle", "tokens"),
    [
        (racing.select_then_insert, {"eg1:plan|plan@a2b", "eg1:plan-sent:sent|sent@a2b"}),
        (racing.effect_commit_mark, {"eg1:plan|plan@a2b", "eg1:plan-sent:sent|sent@a2b"}),
        (racing.lost_update, {"eg1:plan|plan@a2b", "eg1:plan-sent:sent|sent@a2b", "eg1:plan-sent:plan|sent@a2b"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_race_is_found_with_its_shortest_token(store: Store, handle: Handle, tokens: set[str]) -> None:
    error = failed(flask_receiver(store, handle), concurrent=2, must_hold=())
    assert error.failure.token in tokens
    assert "the steps of the handlers, from switch point to switch point:" in str(error)


@pytest.mark.slow
@forked
@pytest.mark.parametrize(
    ("handle", "point"),
    [(racing.mark_commit_effect, 3), (racing.effect_commit_mark, 4)],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_crash_is_found_with_its_shortest_token(store: Store, handle: Handle, point: int) -> None:
    error = failed(flask_receiver(store, handle), crashes="handler", must_hold=())
    assert error.failure.token in {f"eg1:plan!crash@{point}", f"eg1:plan-sent:sent!crash@{point}"}
    assert "<-- crashes before this" in str(error)


@pytest.mark.slow
@pytest.mark.parametrize("handle", [racing.correct, racing.locks_at_once], ids=lambda value: value.__name__)
def test_the_correct_receiver_passes(store: Store, handle: Handle) -> None:
    messages = ("sent_failed", "plan-sent")
    passes(flask_receiver(store, handle), concurrent=3, crashes="handler", lifecycles=messages, must_hold=[converges()])


@pytest.mark.slow
def test_a_point_to_which_the_handler_does_not_come_is_no_error(store: Store) -> None:
    kind = machine_for(flask_receiver(store, racing.correct), concurrent=2, crashes="handler")
    for rule, drawn in (("deliver_and_crash", ("plan", 9)), ("deliver_together", (("plan", "plan"), "a9b"))):
        machine = kind()
        getattr(machine, rule)(*drawn)
        machine.teardown()


@pytest.mark.slow
def test_without_the_options_no_handler_is_stopped(store: Store) -> None:
    """Delivered one after the other, these callbacks are right."""
    passes(flask_receiver(store, racing.select_then_insert), must_hold=())


@pytest.mark.slow
def test_an_example_is_printed_as_its_rules(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    machine = machine_for(flask_receiver(store, racing.select_then_insert), concurrent=2, must_hold=())
    with pytest.raises(ScheduleFailed) as caught:
        run_state_machine_as_test(machine, settings=settings(BOUNDED, phases=[Phase.generate, Phase.shrink]))
    assert caught.value.__notes__[1:4] == [
        "state = Machine()",
        "state.deliver_together(events=('plan', 'plan'), order='a2b')",
        "state.teardown()",
    ]


# A machine that sees nothing is not green.


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"concurrent": 2}, {"crashes": "handler"}])
def test_handlers_without_switch_points_are_an_error(options: dict[str, Any]) -> None:
    books = Books()
    receiver = Receiver.wsgi(books, observe=books.kept.get, reset=books.reset)
    with pytest.raises(NothingObserved, match="no handler came to a switch point"):
        passes(receiver, **options)


@pytest.mark.slow
def test_named_switch_points_are_used() -> None:
    kept: dict[str, int] = {}
    app = Flask("memory")

    @app.post("/")
    def engagelab_callback() -> str:
        for message_id, _ in racing.statuses(request.get_json(force=True)):
            known = load(kept, message_id)
            kept[message_id] = known + 1
        return ""

    receiver = Receiver.wsgi(app, observe=kept.get, reset=kept.clear)
    # The switch point is before the call, so a second one, after it, lets the other handler in between.
    passes(receiver, concurrent=2, must_hold=(), switch_points=[load])


def load(kept: dict[str, int], message_id: str) -> int:
    return kept.get(message_id, 0)


@pytest.mark.slow
def test_a_receiver_whose_state_or_handlers_cannot_be_seen_is_an_error(store: Store) -> None:
    receiver = flask_receiver(store, racing.select_then_insert)
    receiver.observe = None
    with pytest.raises(UsageError, match="this receiver has no observe"):
        passes(receiver, concurrent=2, must_hold=())
    with pytest.raises(UsageError, match="the handlers run in another process"):
        passes(Receiver.http("http://127.0.0.1:9", observe=int), concurrent=2, must_hold=())


def test_wrong_options_are_refused() -> None:
    receiver = Books().receiver
    with pytest.raises(UsageError, match="concurrent is an integer from 2 to 3, not 4"):
        machine_for(receiver, concurrent=4)()
    with pytest.raises(UsageError, match="unknown kind of crash 'power'"):
        machine_for(receiver, crashes="power")()


@pytest.mark.slow
def test_a_reset_that_leaves_a_value_that_grows_is_an_error() -> None:
    app = KeepsCredits()
    with pytest.raises(ProbeFailed, match="as the callbacks before left it"):
        passes(app.prepared())

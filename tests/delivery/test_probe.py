from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from engagelab_mock import InvalidDelay, Message, ProbeFailed, Receiver, StateNotSettled, UsageError
from engagelab_mock.delivery import probe as probing
from engagelab_mock.delivery.io import ASYNC, SYNC, run_sync
from engagelab_mock.delivery.probe import Probe

MESSAGE = Message(id="7", to="+6591234567")


def look(probe: Probe, before: Any = None) -> Any:
    return run_sync(probe.look(SYNC, "7", before))


def idle(probe: Probe) -> None:
    run_sync(probe.idle(SYNC, ("7",)))


def raising(error: Exception) -> Callable[..., Any]:
    def function(*arguments: Any) -> Any:
        raise error

    return function


# The state.


def test_an_unchanged_state_is_the_same_object() -> None:
    row = {"status": "sent", "cost": 0.5}
    probe = Probe(lambda message_id: row)
    before = look(probe)
    assert look(probe, before) is before
    row["status"] = "delivered"
    assert look(probe, before) == {"status": "delivered", "cost": 0.5}
    assert before == {"status": "sent", "cost": 0.5}


def test_an_app_may_raise_for_a_message_that_it_does_not_know() -> None:
    states: dict[str, str] = {}
    probe = Probe(states.__getitem__)
    assert look(probe) is None
    states["7"] = "sent"
    assert look(probe) == "sent"
    probe.check_seen()
    del states["7"]
    assert look(probe) is None


def test_an_observe_that_never_returns_a_value_is_an_error() -> None:
    probe = Probe(raising(KeyError("7")))
    assert look(probe) is None
    with pytest.raises(ProbeFailed, match="observe: observe raised KeyError: '7'") as raised:
        probe.check_seen()
    assert isinstance(raised.value.__cause__, KeyError)


def test_an_observe_that_fails_later_is_an_error() -> None:
    answers: list[Any] = ["sent", OSError("refused")]

    def observe(message_id: str) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    probe = Probe(observe)
    assert look(probe) == "sent"
    with pytest.raises(ProbeFailed, match="observe raised OSError: refused"):
        look(probe)


def test_an_error_of_this_package_is_never_a_state() -> None:
    with pytest.raises(ProbeFailed, match="http://x/: answered 500"):
        look(Probe(raising(UsageError("answered 500", where="http://x/"))))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ((each for each in ["sent"]), "observe returned a generator"),
        (float("nan"), "nan, which does not equal itself"),
        ({"cost": [float("nan")]}, "nan, which does not equal itself"),
        ({"log": "x" * 10_000_000}, "a state of about 10,000,003 characters; at most 1,000,000"),
        (threading.Lock(), "cannot be copied: TypeError"),
    ],
)
def test_a_state_that_cannot_be_compared_is_an_error(state: Any, said: str) -> None:
    with pytest.raises(ProbeFailed, match=said):
        look(Probe(lambda message_id: state))


async def _status(*arguments: Any) -> str:
    return "sent"


def test_an_asynchronous_observe_needs_the_async_twin() -> None:
    probe = Probe(_status, prepare=_status, reset=_status, wait_idle=_status)
    with pytest.raises(UsageError, match="observe is asynchronous"):
        look(probe)
    with pytest.raises(UsageError, match="prepare is asynchronous"):
        run_sync(probe.prepare_message(SYNC, MESSAGE))
    with pytest.raises(UsageError, match="reset is asynchronous"):
        run_sync(probe.reset_app(SYNC))
    with pytest.raises(UsageError, match="wait_idle is asynchronous"):
        idle(probe)


def test_asynchronous_functions_are_awaited() -> None:
    async def test() -> Any:
        called: list[Any] = []

        async def call(*arguments: Any) -> None:
            called.append(arguments)

        probe = Probe(_status, prepare=call, reset=call, wait_idle=call)
        await probe.reset_app(ASYNC)
        await probe.prepare_message(ASYNC, MESSAGE)
        await probe.idle(ASYNC, ("7",))
        assert called == [(), (MESSAGE,), ()]
        return await probe.look(ASYNC, "7")

    assert asyncio.run(test()) == "sent"


# The app.


def test_the_whole_account_is_read_as_a_copy() -> None:
    totals = {"credits": [1]}
    kept = run_sync(Probe(observe_account=lambda: totals).look_at_account(SYNC))
    totals["credits"].append(1)
    assert kept == {"credits": [1]}
    assert run_sync(Probe().look_at_account(SYNC)) is None


def test_the_clock_of_the_app_is_set_and_made_right_again() -> None:
    times: list[float | None] = []
    probe = Probe(set_time=times.append)
    run_sync(probe.set_app_time(SYNC, 1_800_000_000.0))
    run_sync(probe.set_app_time(SYNC, None))
    assert times == [1_800_000_000.0, None]


@pytest.mark.parametrize("name", ["prepare", "reset", "wait_idle", "observe_account", "set_time", "restart"])
def test_a_function_that_raises_is_named(name: str) -> None:
    given: dict[str, Any] = {name: raising(RuntimeError("UNIQUE constraint failed\nmore"))}
    probe = Probe(**given)
    calls: dict[str, Callable[[], object]] = {
        "prepare": lambda: run_sync(probe.prepare_message(SYNC, MESSAGE)),
        "reset": lambda: run_sync(probe.reset_app(SYNC)),
        "wait_idle": lambda: idle(probe),
        "observe_account": lambda: run_sync(probe.look_at_account(SYNC)),
        "set_time": lambda: run_sync(probe.set_app_time(SYNC, 0.0)),
        "restart": lambda: run_sync(probe.restart_app(SYNC)),
    }
    with pytest.raises(ProbeFailed, match=f"{name} raised RuntimeError: UNIQUE constraint failed") as raised:
        calls[name]()
    assert "more" not in str(raised.value)


def test_wait_idle_is_called() -> None:
    called: list[bool] = []
    idle(Probe(wait_idle=lambda: called.append(True)))
    assert called == [True]


@pytest.mark.parametrize("forever", [threading.Event().wait, lambda: [None for _ in iter(int, 1)]])
def test_a_wait_idle_that_never_returns_is_stopped(
    forever: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "IDLE_LIMIT", 0.02)
    with pytest.raises(ProbeFailed, match=r"wait_idle: it did not return within 0\.02 s"):
        idle(Probe(wait_idle=forever))


def test_an_asynchronous_wait_idle_that_never_returns_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "IDLE_LIMIT", 0.02)

    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(ProbeFailed, match="wait_idle: it did not return"):
        asyncio.run(Probe(wait_idle=forever).idle(ASYNC, ("7",)))


def test_seconds_wait_until_the_state_stays_the_same() -> None:
    states = iter(["plan", "sent", "delivered"])
    last = "verified"
    probe = Probe(lambda message_id: next(states, last), wait_idle=0.03)
    idle(probe)
    assert next(states, last) == last


def test_a_state_that_never_stays_the_same_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "IDLE_LIMIT", 0.02)
    count = iter(range(1_000_000))
    with pytest.raises(StateNotSettled, match=r"the state never stayed the same for 0\.05 s"):
        idle(Probe(lambda message_id: next(count), wait_idle=0.05))


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"wait_idle": -1}, InvalidDelay, "wait_idle"),
        ({"wait_idle": "1"}, UsageError, "wait_idle must be callable, '1' is not"),
        ({"observe": "sent"}, UsageError, "observe must be callable, 'sent' is not"),
        ({"prepare": 1}, UsageError, "prepare must be callable, 1 is not"),
        ({"reset": []}, UsageError, "reset must be callable"),
    ],
)
def test_a_value_that_is_not_callable_is_refused(given: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Receiver.http("http://127.0.0.1:9/", **given)


def test_arguments_of_a_call_go_over_those_of_the_receiver() -> None:
    receiver = Receiver.http("http://127.0.0.1:9/", observe=lambda message_id: "receiver", reset=lambda: None)
    probe = receiver.probe({"observe": lambda message_id: "call", "reset": None})
    assert look(probe) == "call"
    assert probe.reset is receiver.reset


def test_a_receiver_with_other_settings_keeps_its_probe() -> None:
    given: Any = {"observe": str, "prepare": repr, "reset": dict, "wait_idle": 0.5}
    receiver = Receiver.http("http://127.0.0.1:9/", **given).with_settings(description="the shop")
    assert {name: getattr(receiver, name) for name in given} == given

"""Every attempt ends, however an app in process ends: by any exception, or because a signal stopped its caller."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
import trio

from engagelab_mock import Attempt, EngageLab, EngageLabMockError, NotAcknowledged, Outcome, Receiver
from tests.delivery.transport.ending import BODY, START, asgi, raising
from tests.failures import failure_of
from tests.patience import PATIENCE


class Odd(BaseException):
    """An exception that Python itself never raises."""


KINDS: list[type[BaseException]] = [asyncio.CancelledError, SystemExit, GeneratorExit, Odd]

#: At which point the app raises.
MOMENTS = ["at once", "after a wait", "by its own task"]


def wsgi(kind: type[BaseException], moment: str) -> Receiver:
    def chunks() -> Iterator[bytes]:
        yield b""
        raise kind("why")

    def app(environ: Any, start_response: Any) -> Any:
        if moment == "at once":
            raise kind("why")
        start_response("200 OK", [])
        return chunks()

    return Receiver.wsgi(app)


def is_app_raised(attempt: Attempt, kind: type[BaseException]) -> bool:
    assert attempt.outcome is Outcome.APP_RAISED
    assert attempt.error == f"the app raised {kind.__name__}: why"
    assert type(attempt.exception) is kind
    return True


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_asgi_app_that_raises(kind: type[BaseException], moment: str) -> None:
    if kind is GeneratorExit and moment == "by its own task":
        pytest.skip("asyncio takes it for the end of a coroutine that is closed")
    error = failure_of(asgi(raising(kind, moment)))
    assert is_app_raised(error.delivery.attempts[0], kind)
    assert type(error.__cause__) is kind
    assert error.hint == "the app's own exception is the cause shown with this failure"


@pytest.mark.parametrize("moment", ["at once", "while its answer is read"])
@pytest.mark.parametrize("kind", [*KINDS, StopIteration])
def test_a_wsgi_app_that_raises(kind: type[BaseException], moment: str) -> None:
    if kind is StopIteration and moment != "at once":
        pytest.skip("Python makes a RuntimeError of it")
    error = failure_of(wsgi(kind, moment))
    assert is_app_raised(error.delivery.attempts[0], kind)
    assert type(error.__cause__) is kind


def test_an_app_that_raises_without_a_text() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise SystemExit

    assert failure_of(asgi(app)).delivery.attempts[0].error == "the app raised SystemExit"


@pytest.mark.anyio
@pytest.mark.parametrize("moment", ["at once", "after a wait"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["asgi", "wsgi"])
async def test_an_app_that_raises_in_the_tests_own_loop(kind: type[BaseException], moment: str, way: str) -> None:
    receiver = wsgi(kind, moment) if way == "wsgi" else asgi(raising(kind, moment))
    engagelab = EngageLab(receiver)
    with pytest.raises(NotAcknowledged) as caught:
        await engagelab.asend("+6591234567")
    assert is_app_raised(caught.value.delivery.attempts[0], kind)
    # The caller's task is as it was, and so are its time limits.
    with pytest.raises(TimeoutError), anyio.fail_after(0):
        await anyio.sleep_forever()


@pytest.mark.asyncio
async def test_an_app_that_lets_a_cancellation_out_fails_its_task_group() -> None:
    engagelab = EngageLab(asgi(raising(asyncio.CancelledError, "after a wait")))
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(engagelab.asend("+6591234567"))
    [error] = caught.value.exceptions
    assert isinstance(error, NotAcknowledged)
    assert is_app_raised(engagelab.journal.attempts[0], asyncio.CancelledError)


@pytest.mark.asyncio
@pytest.mark.parametrize("first", [False, True], ids=["after a wait", "at once"])
async def test_an_app_that_cancels_its_own_task_is_not_a_cancellation_of_the_test(first: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not first:
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    engagelab = EngageLab(asgi(app))
    run = await engagelab.asend("+6591234567", check=False)
    assert {attempt.outcome for attempt in engagelab.journal.attempts} == {Outcome.APP_RAISED}
    assert len(run.deliveries) == 4
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.anyio
async def test_an_app_whose_own_time_limit_ran_out_and_that_raises_is_not_a_cancellation() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with anyio.move_on_after(0):
            await anyio.sleep_forever()
        raise asyncio.CancelledError("why")

    engagelab = EngageLab(asgi(app))
    with pytest.raises(NotAcknowledged):
        await engagelab.asend("+6591234567")
    assert is_app_raised(engagelab.journal.attempts[0], asyncio.CancelledError)


def test_a_trio_cancellation_that_an_app_kept_and_raises_again_is_the_apps() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        kept: list[trio.Cancelled] = []
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as error:
                kept.append(error)
                raise
        raise kept[0]

    async def main() -> Attempt:
        engagelab = EngageLab(asgi(app))
        with pytest.raises(NotAcknowledged):
            await engagelab.asend("+6591234567")
        return engagelab.journal.attempts[0]

    assert trio.run(main).outcome is Outcome.APP_RAISED


# ---- after the answer, and with faults ----


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
async def test_an_app_that_raises_after_its_answer_has_answered(kind: type[BaseException]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(BODY)
        raise kind("why")

    run = await EngageLab(asgi(app)).asend(scenario=["plan"])
    [attempt] = run.deliveries[0].attempts
    assert attempt.acknowledged
    assert type(attempt.exception) is kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["asgi", "wsgi"])
@pytest.mark.parametrize("fault", ["duplicate", "ack_lost"])
def test_copies_sent_at_once_and_lost_answers(kind: type[BaseException], way: str, fault: str) -> None:
    receiver = wsgi(kind, "at once") if way == "wsgi" else asgi(raising(kind, "after a wait"))
    with EngageLab(receiver) as engagelab:
        engagelab.send(scenario=["plan"], fault=fault)
        assert all(is_app_raised(attempt, kind) for attempt in engagelab.journal.attempts)
        with pytest.raises(NotAcknowledged):
            engagelab.send(scenario=["plan"], fault=fault, check=True)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["duplicate", "reset", "short_body"])
async def test_faults_in_the_tests_own_loop(kind: type[BaseException], fault: str) -> None:
    engagelab = EngageLab(asgi(raising(kind, "after a wait")))
    await engagelab.asend(scenario=["plan"], fault=fault)
    expected = Outcome.APP_RAISED if fault == "duplicate" else Outcome.ABANDONED
    assert {attempt.outcome for attempt in engagelab.journal.attempts} == {expected}
    assert {type(attempt.exception) for attempt in engagelab.journal.attempts} == {kind}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["reset", "short_body"])
def test_a_wsgi_app_that_raises_when_the_client_is_gone(kind: type[BaseException], fault: str) -> None:
    with EngageLab(wsgi(kind, "at once")) as engagelab:
        [delivery] = engagelab.send(scenario=["plan"], fault=fault).deliveries
    assert delivery.outcome is Outcome.ABANDONED
    assert type(delivery.attempts[0].exception) is kind


# ---- tasks of the app, in synchronous sends ----


@pytest.mark.parametrize("way", ["send", "send_many", "duplicate"])
def test_a_task_of_the_app_that_exits_stops_the_loop_and_closes_every_attempt(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Asyncio lets SystemExit out of the loop at once. The app itself still waits then."""
    left: list[asyncio.Task[None]] = []

    async def exits() -> None:
        raise SystemExit("why")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        left.append(asyncio.create_task(exits()))
        await asyncio.Event().wait()

    with EngageLab(asgi(app)) as engagelab:
        if way == "send_many":
            with pytest.raises(EngageLabMockError, match="a task of the app raised SystemExit") as caught:
                engagelab.send_many(3)
            assert isinstance(caught.value.__cause__, SystemExit)
        else:
            with pytest.raises(NotAcknowledged):
                engagelab.send(scenario=["plan"], check=True, fault="duplicate" if way == "duplicate" else None)
        outcomes = {attempt.outcome for attempt in engagelab.journal.attempts}
        assert outcomes == {Outcome.ABANDONED if way == "send_many" else Outcome.APP_RAISED}
        assert engagelab.pending == []
    assert {type(task.exception()) for task in left} == {SystemExit}
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# ---- Ctrl-C, and other exceptions that signals raise ----


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("way", ["asgi", "wsgi"])
@pytest.mark.parametrize("fault", [None, "duplicate"])
def test_an_interrupt_in_the_main_thread_is_recorded_and_goes_on(way: str, answered: bool, fault: str | None) -> None:
    async def asynchronous(scope: Any, receive: Any, send: Any) -> None:
        if answered:
            await send(START)
            await send(BODY)
        signal.raise_signal(signal.SIGINT)

    def synchronous(environ: Any, start_response: Any) -> list[bytes]:
        signal.raise_signal(signal.SIGINT)
        return []

    if way == "wsgi" and (answered or fault):
        pytest.skip("it has no moment after the answer, and copies are sent from other threads")
    receiver = Receiver.wsgi(synchronous) if way == "wsgi" else asgi(asynchronous)
    with EngageLab(receiver) as engagelab:
        with pytest.raises(KeyboardInterrupt):
            engagelab.send("+6591234567", check=False, fault=fault)
        expected = Outcome.ACKNOWLEDGED if answered else Outcome.APP_RAISED
        assert {attempt.outcome for attempt in engagelab.journal.attempts} == {expected}
        assert {type(attempt.exception) for attempt in engagelab.journal.attempts} == {KeyboardInterrupt}
        assert engagelab.journal.statuses == ["plan"] * len(engagelab.journal)
        assert engagelab.pending == []


def test_an_exception_of_pytest_goes_on() -> None:
    """A time limit of pytest raises it by a signal, wherever the test is."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        pytest.fail("Timeout >1.0s")

    with EngageLab(Receiver.wsgi(app)) as engagelab:
        with pytest.raises(pytest.fail.Exception, match="Timeout"):
            engagelab.send("+6591234567", check=False)
        assert engagelab.journal.attempts[0].outcome is Outcome.APP_RAISED


def test_an_interrupt_in_another_thread_is_the_apps() -> None:
    caught: list[BaseException] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        raise KeyboardInterrupt("why")

    def send() -> None:
        try:
            EngageLab(Receiver.wsgi(app)).send("+6591234567")
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    thread.join(PATIENCE)
    [error] = caught
    assert isinstance(error, NotAcknowledged)
    assert is_app_raised(error.delivery.attempts[0], KeyboardInterrupt)

"""Asynchronous functions of a receiver are awaited by `acheck`, and refused by `check`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio

from engagelab_mock import EngageLab, Judgement, ProbeFailed, Receiver
from engagelab_mock.delivery import probe
from tests.checks.observing import check, in_process
from tests.checks.receivers.correct import PATH, SETTINGS, CorrectReceiver, observe
from tests.checks.receivers.frameworks import on_fastapi
from tests.checks.receivers.store import Store


def asynchronous(calls: list[int], call: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Make an asynchronous function that notes the thread in which it is awaited."""

    async def called(*arguments: Any) -> Any:
        calls.append(threading.get_ident())
        return call(*arguments)

    return called


def all_four(store: Store, calls: list[int]) -> dict[str, Any]:
    return {
        "observe": asynchronous(calls, partial(observe, store)),
        "prepare": asynchronous(calls, lambda message: store.issue(message.id)),
        "reset": asynchronous(calls, lambda: None),
        "wait_idle": asynchronous(calls, lambda: None),
    }


async def check_with_asynchronous_functions(store: Store) -> None:
    calls: list[int] = []
    receiver = Receiver.asgi(on_fastapi(CorrectReceiver(store)), PATH, **SETTINGS, **all_four(store, calls))
    with EngageLab(receiver) as engagelab:
        report = await engagelab.acheck(only=["B02", "B16", "C13"])
    assert len(report.of(Judgement.PASS)) == 3
    assert {*calls} == {threading.get_ident()}


@pytest.mark.asyncio
async def test_acheck_awaits_them_in_the_callers_loop(store: Store) -> None:
    await check_with_asynchronous_functions(store)


def test_acheck_awaits_them_under_trio(store: Store) -> None:
    trio.run(check_with_asynchronous_functions, store)


@pytest.mark.parametrize("name", ["observe", "prepare", "reset", "wait_idle"])
def test_check_refuses_each_of_them_before_the_first_check(name: str, store: Store) -> None:
    with_state = {"observe": partial(observe, store)}
    with pytest.raises(ProbeFailed, match=f"{name} is asynchronous, and this call is not") as caught:
        check(in_process(store), "A01", **with_state | {name: all_four(store, [])[name]})
    assert "acheck" in str(caught.value)
    assert caught.value.report is not None
    assert caught.value.report.findings == ()


@pytest.mark.parametrize("kind", ["synchronous", "asynchronous"])
@pytest.mark.asyncio
async def test_a_wait_idle_that_never_returns_ends_acheck(
    kind: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "IDLE_LIMIT", 0.05)
    gone = threading.Event()
    never = gone.wait if kind == "synchronous" else asyncio.Event().wait
    with EngageLab(in_process(store, observe=partial(observe, store))) as engagelab:
        with pytest.raises(ProbeFailed, match=r"wait_idle: it did not return within 0\.05 s"):
            await engagelab.acheck(only=["B16"], wait_idle=never)
        assert len(engagelab.journal.refusals) == 1
    gone.set()


@pytest.mark.asyncio
async def test_a_cancelled_acheck_sends_no_more(store: Store) -> None:
    started = asyncio.Event()

    async def look(message_id: str) -> Any:
        started.set()
        return observe(store, message_id)

    with EngageLab(in_process(store)) as engagelab:
        task = asyncio.create_task(engagelab.acheck(observe=look))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.get_running_loop().shutdown_default_executor()
    assert len(store.message_ids()) < 10

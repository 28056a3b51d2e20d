"""A function of the probe fails."""

from __future__ import annotations

import threading
from typing import Any

from engagelab_mock import EngageLab, ProbeFailed, UsageError
from tests.truth.blind.case import App, Cases, Reach, explore

blind = Cases()


def _fail(*arguments: Any) -> Any:
    raise RuntimeError("no such table")


for _name in ("observe", "prepare", "reset", "wait_idle", "set_time"):

    @blind("explore", f"`{_name}` raises", ProbeFailed, f"{_name} raised RuntimeError: no such table")
    def _raises(reach: Reach, name: str = _name) -> None:
        app = App()
        given: dict[str, Any] = {"observe": app.observe, name: _fail}
        explore(reach(app, **given))

    @blind("check", f"`{_name}` raises", ProbeFailed, f"{_name} raised RuntimeError: no such table")
    def _check_raises(reach: Reach, name: str = _name) -> None:
        app = App()
        given: dict[str, Any] = {"observe": app.observe, name: _fail}
        with EngageLab(reach(app, **given)) as engagelab:
            engagelab.check(only=["C06"], patience=0.1)


@blind("explore", "`observe` fails midway", ProbeFailed, "observe raised OSError: the database is gone")
def _observe_fails_midway(reach: Reach) -> None:
    app, left = App(), iter(range(20))

    def observe(message_id: str) -> Any:
        if next(left, None) is None:
            raise OSError("the database is gone")
        return app.observe(message_id)

    explore(reach(app, observe=observe), invariants=[])


@blind("check", "`observe` fails midway", ProbeFailed, "observe raised OSError: the database is gone")
def _check_observe_fails_midway(reach: Reach) -> None:
    app, left = App(), iter(range(20))

    def observe(message_id: str) -> Any:
        if next(left, None) is None:
            raise OSError("the database is gone")
        return app.observe(message_id)

    with EngageLab(reach(app, observe=observe)) as engagelab:
        engagelab.check(only=["C*"], patience=0.1)


@blind("check", "`observe_account` raises", ProbeFailed, "observe_account raised RuntimeError: no such table")
def _check_account_raises(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=app.observe, observe_account=_fail)) as engagelab:
        engagelab.check(only=["C06"], patience=0.1)


async def _late_observe(message_id: str) -> Any:
    return "sent"


@blind("explore", "`observe` is asynchronous, and the call is synchronous", UsageError, "observe is asynchronous")
def _asynchronous(reach: Reach) -> None:
    explore(reach(App(), observe=_late_observe))


@blind("check", "`observe` is asynchronous, and the call is synchronous", UsageError, "observe is asynchronous")
def _check_asynchronous(reach: Reach) -> None:
    with EngageLab(reach(App(), observe=_late_observe)) as engagelab:
        engagelab.check(only=["A01", "C06"], patience=0.1)


@blind("explore", "`observe` returns a generator", ProbeFailed, "can be read only once")
def _generator(reach: Reach) -> None:
    app = App()
    explore(reach(app, observe=lambda message_id: (each for each in [app.observe(message_id)])))


@blind("check", "`observe` returns a number that does not equal itself", ProbeFailed, "does not equal itself")
def _not_a_number(reach: Reach) -> None:
    with EngageLab(reach(App(), observe=lambda message_id: {"cost": float("nan")})) as engagelab:
        engagelab.check(only=["C06"], patience=0.1)


@blind("explore", "`observe` returns ten megabytes", ProbeFailed, "at most 1,000,000 are compared")
def _huge(reach: Reach) -> None:
    explore(reach(App(), observe=lambda message_id: {"log": "x" * 10_000_000}))


@blind("explore", "`wait_idle` does not return", ProbeFailed, "wait_idle: it did not return", socket=False)
def _never_idle(reach: Reach) -> None:
    app = App()
    explore(reach(app, observe=app.observe, wait_idle=threading.Event().wait))

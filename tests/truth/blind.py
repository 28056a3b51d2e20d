"""Cases in which nothing can be judged, or the visible state misleads: none of them may be green.

Each is a function that runs one judge, and the error that must come of it. The page `docs/explanation/truth.md` lists
them; `python docs/tables.py` writes it.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from engagelab_mock import (
    EngageLab,
    NotAcknowledged,
    NothingObserved,
    ProbeFailed,
    Receiver,
    ReceiverFellShort,
    ScheduleFailed,
    StateNotSettled,
    StatusEvent,
    UsageError,
    converges,
    decode,
    exactly_once,
    idempotent,
    never_regresses,
    verify,
)
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.strategies import ReceiverMachine

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

#: Puts an app where callbacks come in, in process or over a socket, and makes its receiver.
Reach = Callable[..., Receiver]


@contextmanager
def in_process() -> Iterator[Reach]:
    yield lambda app, **probe: Receiver.wsgi(app, "/engagelab", **probe)


@contextmanager
def over_a_socket() -> Iterator[Reach]:
    with ExitStack() as stack:

        def reach(app: WSGIApplication, **probe: Any) -> Receiver:
            server = stack.enter_context(LoopbackServer(app))
            return Receiver.http(f"{server.url}/engagelab", **probe)

        yield reach


class App:
    """A receiver with two bugs: the last status wins, and each `verified` gives a credit. It ignores all else."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.seen: set[tuple[str, str]] = set()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        for event in decode(body).rows if body not in {b"", b"{}"} else ():
            if isinstance(event, StatusEvent):
                self.handle(event)
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]

    def handle(self, event: StatusEvent) -> None:
        row = self.rows.setdefault(event.message_id, {"status": None, "credits": 0})
        row["status"] = event.name
        row["credits"] += event.name == "verified"

    def observe(self, message_id: str) -> Any:
        return self.rows.get(message_id)

    def status(self, message_id: str) -> Any:
        return self.rows.get(message_id, {}).get("status")

    def reset(self) -> None:
        self.rows.clear()


class Verifies(App):
    """Refuse callbacks that are not signed, or were not signed within the last five minutes."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        header = environ.get("HTTP_X_CALLBACK_ID", "")
        if int(environ.get("CONTENT_LENGTH") or 0) and not verify(
            header, username="acme", secret="s3cret", now=time.time()
        ):
            start_response("401 Unauthorized", [("Content-Length", "0")])
            return [b""]
        return super().__call__(environ, start_response)


class OwnRowsOnly(App):
    def handle(self, event: StatusEvent) -> None:
        if event.message_id in self.rows:
            super().handle(event)


class Blind(msgspec.Struct, frozen=True):
    """Hold a case: the situation, the judge that runs, and the expected error."""

    judge: str
    what: str
    run: Callable[[Reach], object]
    error: type[Exception]
    #: A part of the error's text.
    says: str
    #: Whether it is run over a socket too.
    socket: bool = True


CASES: list[Blind] = []


def blind(
    judge: str, what: str, error: type[Exception], says: str, *, socket: bool = True
) -> Callable[[Callable[[Reach], object]], Callable[[Reach], object]]:
    """Enter a function as a case."""

    def enter(run: Callable[[Reach], object]) -> Callable[[Reach], object]:
        CASES.append(Blind(judge, what, run, error, says, socket))
        return run

    return enter


def explore(receiver: Receiver, *arguments: Any, **options: Any) -> None:
    with EngageLab(receiver) as engagelab:
        engagelab.explore(*arguments or ("verified",), **options)


# --- The state shows nothing


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


# --- The declared meaning of the statuses is wrong


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


# --- There is nothing to judge


@blind("explore", "the receiver ticks none of the events", NothingObserved, "no callback was sent")
def _ticks_nothing(reach: Reach) -> None:
    explore(reach(App(), events=["uplink_message"]))


@blind("explore", "the scenario has no callbacks", NothingObserved, "no callback was sent")
def _no_callbacks(reach: Reach) -> None:
    explore(reach(App()), "lost")


@blind("explore", "the time was up at once", NothingObserved, "the time was up")
def _no_time(reach: Reach) -> None:
    explore(reach(App()), time_budget=0)


@blind("explore", "no state is one of those that the invariant knows", NothingObserved, "no state was in its order")
def _no_known_state(reach: Reach) -> None:
    app = App()
    receiver = reach(app, observe=lambda message_id: f"row {app.observe(message_id)}")
    explore(receiver, invariants=[never_regresses()])


@blind("replay", "no state is one of those that the invariant knows", NothingObserved, "no state was in its order")
def _replay_no_known_state(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=lambda message_id: f"row {app.observe(message_id)}")) as engagelab:
        engagelab.replay("eg1:verified,delivered", invariants=[never_regresses()])


@blind("play with invariants", "the same", NothingObserved, "no state was in its order")
def _play_no_known_state(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=lambda message_id: f"row {app.observe(message_id)}")) as engagelab:
        engagelab.play("eg1:verified,delivered", never_regresses())


@blind("explore", "no state has the part that is counted", NothingObserved, "no state had 'credts'")
def _no_such_count(reach: Reach) -> None:
    app = App()
    explore(reach(app, observe=app.observe), invariants=[exactly_once("credts")], duplicates=0)


@blind("explore", "no state has the part that is compared", NothingObserved, "no state had 'statsu'")
def _no_such_part(reach: Reach) -> None:
    app = App()
    explore(reach(app, observe=app.observe), invariants=[converges("statsu")], duplicates=0)


@blind("replay", "no state has the part that must not change twice", NothingObserved, "no state had 'statsu'")
def _replay_no_such_part(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=app.observe)) as engagelab:
        engagelab.replay("eg1:verified*2", invariants=[idempotent("statsu")])


@blind("replay", "the receiver ticks none of the events", NothingObserved, "no callback was sent")
def _replay_ticks_nothing(reach: Reach) -> None:
    with EngageLab(reach(App(), events=["uplink_message"])) as engagelab:
        engagelab.replay("eg1:verified")


@blind("play with invariants", "the receiver ticks none of the events", NothingObserved, "no callback was sent")
def _play_ticks_nothing(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=app.observe, events=["uplink_message"])) as engagelab:
        engagelab.play("eg1:verified", converges())


@blind("explore", "an invariant needs the state, and there is no `observe`", UsageError, "has no observe")
def _no_observe(reach: Reach) -> None:
    explore(reach(App()), invariants=[converges()])


@blind("check", "only checks of the state run, and there is no `observe`", NothingObserved, "nothing was judged")
def _check_without_observe(reach: Reach) -> None:
    with EngageLab(reach(App())) as engagelab:
        engagelab.check(only=["C06"]).assert_none("major")


@blind("check", "totals were asked for, and there is no `observe_account`", NothingObserved, "nothing was judged")
def _check_without_observe_account(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=app.observe)) as engagelab:
        engagelab.check(only=["C21"], patience=0.1).assert_none("major")


@blind("check", "`observe_account` returns the same for ever", NothingObserved, "nothing was judged")
def _check_account_never_changes(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=app.observe, observe_account=lambda: {"credits": 7})) as engagelab:
        engagelab.check(only=["C21"], patience=0.1).assert_none("major")


@blind("check", "only time was asked for, and the app's clock cannot be moved", NothingObserved, "nothing was judged")
def _check_without_time(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=app.status)) as engagelab:
        engagelab.check(only=["C22"], patience=0.1).assert_none("major")


@blind("check", "nothing shows that `set_time` moves the app's clock", NothingObserved, "nothing was judged")
def _check_another_clock(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=app.status, set_time=lambda now: None)) as engagelab:
        engagelab.check(only=["C22"], patience=0.1).assert_none("major")


@blind("check", "`set_time` does not move the clock by which the app verifies", ProbeFailed, "moved by an hour")
def _check_refused_by_another_clock(reach: Reach) -> None:
    app = Verifies()
    signed = {"username": "acme", "secret": "s3cret"}
    with EngageLab(reach(app, observe=app.status, set_time=lambda now: None, **signed)) as engagelab:
        engagelab.check(only=["C22"], patience=0.1)


@blind("check", "`skip` removes every check", UsageError, "no check is left")
def _check_nothing(reach: Reach) -> None:
    with EngageLab(reach(App())) as engagelab:
        engagelab.check(only=["A01"], skip=["A01"]).assert_none("major")


# --- The visible state misleads


@blind("explore", "the app works after its answer", StateNotSettled, "give wait_idle")
def _works_late(reach: Reach) -> None:
    """The work is done when the state is read for the third time, so that no test waits."""
    app, waiting = App(), list[StatusEvent]()
    looks = [0]

    class Late(App):
        def handle(self, event: StatusEvent) -> None:
            looks[0] = 0
            waiting.append(event)

    def observe(message_id: str) -> Any:
        looks[0] += 1
        while looks[0] > 2 and waiting:
            app.handle(waiting.pop(0))
        return app.observe(message_id)

    explore(reach(Late(), observe=observe))


@blind("explore", "the state changes on every read", StateNotSettled, "no callback was sent")
def _changes_on_read(reach: Reach) -> None:
    app, reads = App(), iter(range(100_000))
    explore(reach(app, observe=lambda message_id: {"read": next(reads), "row": app.observe(message_id)}))


@blind("explore", "no two messages ever have the same state", ProbeFailed, "entirely different values")
def _random_state(reach: Reach) -> None:
    app, draw = App(), random.Random(1)
    marks: dict[tuple[str, str], float] = {}

    def observe(message_id: str) -> Any:
        row = app.observe(message_id)
        return row and marks.setdefault((message_id, row["status"]), draw.random())

    explore(reach(app, observe=observe))


@blind("explore", "`reset` leaves rows", ProbeFailed, "reset")
def _reset_leaves_rows(reach: Reach) -> None:
    app = App()
    explore(reach(app, observe=app.observe, reset=lambda: None), invariants=[idempotent()], duplicates=0)


@blind("explore", "`reset` forgets the table of known events", ProbeFailed, "reset must empty every table")
def _reset_forgets(reach: Reach) -> None:
    class Once(App):
        def handle(self, event: StatusEvent) -> None:
            if (event.message_id, event.name) not in self.seen:
                self.seen.add((event.message_id, event.name))
                super().handle(event)

    app = Once()
    explore(reach(app, observe=app.observe, reset=app.reset), invariants=[never_regresses()])


# --- A function of the probe fails


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


# --- No callback went out, or no test heard of its failure


@blind(
    "journal",
    "an async test reads the journal before anything is sent",
    UsageError,
    "await engagelab.asettle()",
    socket=False,
)
def _journal_too_early(reach: Reach) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    async def test() -> None:
        with EngageLab(Receiver.asgi(app, lifespan=False)) as engagelab:
            engagelab.begin_send("+6591234567")
            assert engagelab.journal.statuses == []

    asyncio.run(test())


@blind("with", "an app answers 500 to callbacks that its own calls caused", NotAcknowledged, "answered 500")
def _with_block(reach: Reach) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("500 Internal Server Error", [("Content-Length", "0")])
        return [b""]

    with EngageLab(reach(app)) as engagelab:
        engagelab.begin_send("+6591234567")


@blind(
    "send",
    "an app lets `CancelledError` out in a task group",
    NotAcknowledged,
    "the app raised CancelledError",
    socket=False,
)
def _cancelled(reach: Reach) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError

    async def test() -> None:
        with EngageLab(Receiver.asgi(app, lifespan=False)) as engagelab:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(engagelab.asend("+6591234567"))
            except* NotAcknowledged as several:
                raise several.exceptions[0] from None

    asyncio.run(test())


@blind("explore", "the receiver refuses every callback", ScheduleFailed, "acknowledged")
def _refuses(reach: Reach) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("403 Forbidden", [("Content-Length", "0")])
        return [b""]

    explore(reach(app, observe=dict[str, str]().get))


@blind("check", "the receiver refuses every callback", ReceiverFellShort, "A01")
def _check_refuses(reach: Reach) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("403 Forbidden", [("Content-Length", "0")])
        return [b""]

    with EngageLab(reach(app, observe=dict[str, str]().get)) as engagelab:
        engagelab.check(only=["A01", "B01", "C06"], patience=0.1).assert_none("major")


@blind("explore", "`wait_idle` does not return", ProbeFailed, "wait_idle: it did not return", socket=False)
def _never_idle(reach: Reach) -> None:
    app = App()
    explore(reach(app, observe=app.observe, wait_idle=threading.Event().wait))

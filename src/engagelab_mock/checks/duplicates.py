"""Family C, duplicates: does an event that comes several times have its effect once?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from engagelab_mock.checks.arrivals import Arrivals
from engagelab_mock.checks.check import Check, Fix
from engagelab_mock.checks.context import accepted
from engagelab_mock.checks.course import Step
from engagelab_mock.checks.evidence import Change
from engagelab_mock.checks.probe import Snapshot
from engagelab_mock.checks.state import MISSING, Path, State, differing, dotted, state_of
from engagelab_mock.checks.trial import Trial
from engagelab_mock.checks.verdict import Ended, Severity
from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.events import Event

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

#: How many copies come at once, and how often that is tried.
COPIES = 8
_ROUNDS = 3
#: How often a connection is reset, at most, until a callback had its effect all the same.
_RESETS = 5
#: How long a handler goes on, at least, that nobody waits for any more, and until when it has an effect, in seconds.
_FINISHES, _PATIENCE = 0.01, 0.5
#: How long the handler is made to take, and after how much of it the sender stops waiting, in seconds.
_STALL, _GIVE_UP = 0.06, 0.02


class Once:
    """Know the state that one callback of a status leads to, to tell whether several had the effect of one."""

    def __init__(self, trial: Trial, status: str = "") -> None:
        self.trial = trial
        self.status = status or trial.context.standing.status
        self._arrivals = Arrivals(trial, Step(self.status))
        self._arrivals.learn((0,), ())
        self._arrivals.learn((0,), anew=True)

    def event(self, message: Message) -> Event:
        """Make the event."""
        return self.trial.event(message, self.status)

    def schedule(self, times: int = 1, fault: str = "") -> Schedule:
        """Return what sends the event so many times again."""
        return self._arrivals.schedule((0,) * times, fault=fault)

    def again(self, message: Message, what: str, schedule: Schedule | None = None) -> None:
        """Send the event once more, newly signed; it has to be acknowledged as the first was."""
        self.trial.accepted(self.trial.send(self.event(message)), what, schedule)

    def check(
        self,
        message: Message,
        what: str,
        *,
        first: Snapshot | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        """Fail unless a message's state is as after one callback: as it was after the first, or as others have it."""
        arrivals = self._arrivals
        [now] = self.trial.settled([message])

        def wrong() -> set[Path]:
            nonlocal now
            now = self.trial.context.look(message)
            return self._wrong(message, now, first)

        if not arrivals.stays(wrong):
            return
        for _ in range(2):
            arrivals.learn((0,), anew=True)
        arrivals.stays(wrong)
        for path in sorted(wrong()):
            known, state = arrivals.state((0,)), state_of(now, message)
            self.trial.show(message, Change(first or now, now))
            self.trial.fail(
                f"{what}: {dotted(path)} is {state.get(path, MISSING)!r:.60}, and "
                f"{known.get(path, MISSING)!r:.60} after the event came once",
                schedule,
            )

    def _wrong(self, message: Message, now: Snapshot, first: Snapshot | None) -> set[Path]:
        noise = self._arrivals.noise()
        state = state_of(now, message)
        known: Iterable[State] = [self._arrivals.state((0,)), *([state_of(first, message)] if first else [])]
        ways = [differing(each, state) - noise for each in known]
        return ways[0] if all(ways) else set()


def _dup_resigned(trial: Trial) -> None:
    wanted = [status for status in ("sent", "delivered", "verified") if trial.ticks(status)]
    if not wanted:
        trial.skip("the receiver's settings tick none of sent, delivered, verified")
    for status in wanted:
        once = Once(trial, status)
        message = trial.message()
        once.again(message, f"a valid callback of {status}", once.schedule())
        [first] = trial.settled([message])
        what, twice = f"{status} a second time, newly signed", once.schedule(2)
        once.again(message, what, twice)
        once.check(message, what, first=first, schedule=twice)


def _dup_concurrent(trial: Trial) -> None:
    once = Once(trial)
    try:
        for _ in range(_ROUNDS):
            message = trial.message()
            attempts = trial.send_at_once(once.event(message), COPIES)
            for attempt in attempts:
                trial.survived(attempt, f"one of {COPIES} copies of an event at once")
            if not any(map(accepted, attempts)):
                trial.fail(f"none of {COPIES} copies of an event at once was acknowledged")
            once.check(message, f"{COPIES} copies of an event at once")
    except Ended:
        if trial.transport == "wsgi" and not _works_in_a_thread(trial):
            trial.inconclusive(
                "the app does not work outside of the thread of the test, whose transaction others do not see: "
                "check it over a socket"
            )
        raise


def _works_in_a_thread(trial: Trial) -> bool:
    """Tell whether an app that is called in process works in another thread than the test's."""
    message = trial.message()
    [attempt] = trial.send_at_once(trial.event(message), 1)
    return accepted(attempt) and trial.await_change(message).changed


def _ack_lost(trial: Trial) -> None:
    _lose(trial, "whose acknowledgement was lost", "ack_lost", like="ack_lost")
    if trial.transport == "http":
        # A reset can take along what the server has not read yet, and then it says nothing.
        any(_lose(trial, "whose connection was reset", "reset", like="reset") for _ in range(_RESETS))


def _timeout(trial: Trial) -> None:
    stall = trial.context.hooks.stall
    if stall is not None:
        # The sender stops waiting in the middle of what the handler does.
        _lose(
            trial,
            "that the sender gave up",
            fault("give_up", after=_GIVE_UP),
            during=partial(stall, _STALL),
            finishes=_STALL,
        )
        return
    usual = trial.send(trial.message())
    for after in (0.0, usual.elapsed / 2):
        _lose(trial, "that the sender gave up", fault("give_up", after=after))


def _error_after_commit(trial: Trial) -> None:
    what = "that was answered with an error after its effect"
    _lose(trial, what, during=partial(_failing_afterwards, trial), like="bad_gateway")


def _lose(
    trial: Trial,
    what: str,
    *faults: Fault | str,
    during: Callable[[], Any] = nullcontext,
    finishes: float = _FINISHES,
    like: str = "",
) -> bool:
    """Send a callback whose acknowledgement does not arrive, and then once more; tell whether the first had an effect.

    `during` is what the callback comes in the midst of; the handler needs so many seconds to finish, at least. `like`
    is the fault, by its name, that is the same to the app; a schedule has no other.
    """
    once = Once(trial)
    schedule = once.schedule(fault=like) if like else None
    message = trial.message()
    before = trial.context.look(message)
    usual = trial.send(trial.message()).elapsed
    with during():
        trial.send(once.event(message), *faults)
        # Nobody waits for the handler any more; it may finish, or never have begun.
        time.sleep(max(finishes, 2 * usual))
        patience = max(_PATIENCE, 5 * trial.context.standing.lag)
        changed = trial.context.look_for_change(before, message, patience) != before
    [first] = trial.settled([message]) if changed else [None]
    what = f"the retry of a callback {what}"
    once.again(message, what, schedule)
    once.check(message, what, first=first, schedule=schedule)
    return changed


@contextmanager
def _failing_afterwards(trial: Trial) -> Iterator[None]:
    """Have the app raise once it has done its work, as a middleware around it may."""
    transport: Any = trial.receiver.transport
    app = transport.app
    transport.app = _wsgi_failing(app) if trial.transport == "wsgi" else _asgi_failing(app)
    try:
        yield
    finally:
        transport.app = app


def _wsgi_failing(app: WSGIApplication) -> WSGIApplication:
    def failing(environ: dict[str, Any], start_response: Any) -> Any:
        answer = app(environ, lambda *given: lambda written: None)
        close = getattr(answer, "close", None)
        if close is not None:
            close()
        raise RuntimeError("made to fail after the app had done its work")

    return failing


def _asgi_failing(app: Any) -> Any:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        async def swallow(message: Any) -> None:
            pass

        if scope["type"] != "http":
            return await app(scope, receive, send)  # type: ignore[no-any-return]
        await app(scope, receive, swallow)
        raise RuntimeError("made to fail after the app had done its work")

    return failing


_WHY = (
    "EngageLab delivers at least once: what was not acknowledged in time is sent again, as a new request with a new "
    "timestamp, nonce and signature, and its acknowledgement can be lost when all was done. "
)
_ONCE = Fix(
    "Give each event a key, which is the message's id, the status, the channel and the error code, and neither nonce "
    "nor signature; have its effect in the transaction in which that key is inserted into a table that has it once.",
    """\
with database.transaction():
    if database.insert_if_new(message_id, status, channel, error_code):  # INSERT … ON CONFLICT DO NOTHING
        have_the_effect(message_id, status)
$ok""",
)
_check = partial(Check, need="probe", severity=Severity.BLOCKER, expected="One effect, no 5xx.", source="?", fix=_ONCE)

DUPLICATES = (
    _check(
        id="C01",
        name="dup-resigned",
        title="An event that is sent again has one effect",
        why=_WHY + "A receiver that knows duplicates by their nonce or signature takes a retry for something new.",
        stimulus="A valid callback, and the same event once more under a new signature; for sent, delivered, verified.",
        expected="One effect: the state as after the first, times apart. Both acknowledged.",
        source="X",
        work=_dup_resigned,
    ),
    _check(
        id="C02",
        name="dup-concurrent",
        title="Copies of an event that come at once have one effect",
        why="A retry can overtake what is still being worked on, and reach another worker. A receiver that first looks "
        "whether an event is there, and then enters it, has the effect twice when two look at once.",
        stimulus=f"The same event {COPIES} times at once, each signed anew; {_ROUNDS} times.",
        expected="One effect, at least one acknowledged, no 5xx, no deadlock.",
        work=_dup_concurrent,
    ),
    _check(
        id="C03",
        name="ack-lost",
        title="A retry after a lost acknowledgement has no second effect",
        why=_WHY + "So the receiver must have remembered the event before it answers, in the transaction that has the "
        "effect: what it remembers once its answer is out, it does not remember when the connection breaks.",
        stimulus="A valid callback whose answer is lost, and over HTTP one whose connection is reset once the request "
        "is out; then each once more.",
        expected="One effect, and the retry acknowledged.",
        work=_ack_lost,
    ),
    _check(
        id="C04",
        name="timeout-then-finish",
        title="A retry after a timeout has no second effect",
        why="The sender stops waiting after 3 seconds and the handler does not: it finishes, with its effect. That "
        "nobody waits any more must not keep it from remembering the event.",
        stimulus="A valid callback whose sender hangs up before the answer, and the event once more when the handler "
        "has finished.",
        expected="One effect, and the retry acknowledged.",
        work=_timeout,
        transports=("http",),
        unless="in process nobody can stop waiting while the handler goes on",
    ),
    _check(
        id="C05",
        name="5xx-after-commit",
        title="A retry after an error behind the effect has no second effect",
        why="What fails after the handler has done its work, such as a middleware, a log or a proxy, makes an error of "
        "its success. EngageLab sends the event again.",
        stimulus="A valid callback to an app that raises once its handler is done, and the event once more.",
        expected="One effect, and the retry acknowledged.",
        work=_error_after_commit,
        transports=("wsgi", "asgi"),
        unless="only an app in process can be made to fail once it has done its work, which takes a test in pytest",
    ),
)

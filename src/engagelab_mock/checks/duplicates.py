"""Duplicates: does an event that comes several times have its effect once, and two that look alike have two?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from engagelab_mock.checks.check import Check, Ended, Fix, Severity
from engagelab_mock.checks.finding import Change
from engagelab_mock.checks.orderings import Order, Orderings
from engagelab_mock.checks.profile import accepted
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.explore.state import MISSING, Path, Snapshot, differing, dotted, state_of
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.events import Event

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

#: How many copies are sent at once, and how often.
COPIES = 8
_ROUNDS = 3
#: How often a connection is reset at most, until a reset callback had an effect.
_RESETS = 5
#: How long a handler gets to finish after the sender has gone, at least, and how long its effect may take, in seconds.
_FINISHES, _PATIENCE = 0.01, 0.5
#: How long the handler is made to take, and after how much of it the sender disconnects, in seconds.
_STALL, _GIVE_UP = 0.06, 0.02


class Once:
    """Know the state after one callback of each status, to tell whether several callbacks had one effect."""

    def __init__(self, trial: Trial, *statuses: str) -> None:
        self.trial = trial
        self.statuses = statuses or (trial.context.profile.status,)
        #: Whether the states of different messages can be compared.
        self._own = trial.context.profile.own
        scenario = "verified" if statuses else trial.context.profile.scenario
        self._orderings = Orderings(trial, scenario, *self.statuses, own=False)

    def learn(self) -> None:
        """Find out the states after one callback, and wait until the app has done the work of all callbacks so far.

        If the app works after its answer, call this after the first callback, so that both are waited for at once.
        """
        orders = [(status,) for status in self.statuses]
        if not self._own:
            self.trial.context.settle()
            return
        self._orderings.learn((), *orders * 2)
        if unseen := self._orderings.unseen(*orders):
            raise unseen

    def event(self, message: Message, status: str = "") -> Event:
        """Make the event."""
        status = status or self.statuses[0]
        return self.trial.events(self.schedule(1, status), message)[status]

    def schedule(self, times: int = 1, status: str = "", *, fault: str = "") -> Schedule:
        """Return the schedule that delivers the event so many times."""
        return self._orderings.schedule((status or self.statuses[0],) * times, fault=fault)

    def again(self, message: Message, what: str, schedule: Schedule | None = None, *, status: str = "") -> None:
        """Send the event once more, newly signed; fail unless it is accepted."""
        self.trial.expect_accepted(self.trial.send(self.event(message, status)), what, schedule)

    def check(
        self,
        message: Message,
        what: str,
        *,
        status: str = "",
        first: Snapshot | None = None,
        schedule: Schedule | None = None,
        settled: bool = False,
    ) -> None:
        """Fail unless the state of a message is the state after one callback: its own `first`, or another message's."""
        orderings = self._orderings
        if not self._own and first is None:
            self.trial.expect_own_state()
        if not settled:
            self.trial.context.settle()
        order = (status or self.statuses[0],)
        now = self.trial.context.look(message)

        def wrong() -> set[Path]:
            nonlocal now
            now = self.trial.context.look(message)
            return self._wrong(order, message, now, first)

        if not orderings.stays(wrong):
            return
        if self._own:
            orderings.learn(order, order, again=True)
        orderings.stays(wrong)
        for path in sorted(wrong()):
            known = orderings.state(order) if self._own else state_of(first or now, message)
            state = state_of(now, message)
            self.trial.show(message, Change(first or now, now))
            self.trial.fail(
                f"{what}: {dotted(path)} is {state.get(path, MISSING)!r:.60}; "
                f"after one callback it is {known.get(path, MISSING)!r:.60}",
                schedule,
            )

    def _wrong(self, order: Order, message: Message, now: Snapshot, first: Snapshot | None) -> set[Path]:
        noise = self._orderings.noise()
        state = state_of(now, message)
        known = [self._orderings.state(order)] if self._own else []
        if first is not None:
            known.append(state_of(first, message))
        ways = [differing(each, state) - noise for each in known]
        return ways[0] if all(ways) else set()


def _dup_resigned(trial: Trial) -> None:
    wanted = [status for status in ("sent", "delivered", "verified") if trial.ticks(status)]
    if not wanted:
        trial.skip("the receiver's settings do not tick sent, delivered or verified")
    # The app may make nothing of these three.
    once = Once(trial, *wanted) if trial.context.profile.scenario == "verified" else Once(trial)
    wanted = [*once.statuses]
    # All of them before the first is sent again: an app that works after its answer is waited for twice, and not six
    # times. With a state that all messages share, one after another.
    groups = [wanted] if trial.context.profile.own else [[status] for status in wanted]
    for statuses in groups:
        _send_again(once, {status: trial.message() for status in statuses})


def _send_again(once: Once, messages: dict[str, Message]) -> None:
    trial = once.trial
    for status, message in messages.items():
        once.again(message, f"a valid callback of {status}", once.schedule(1, status), status=status)
    once.learn()
    first = [trial.glance(message) for message in messages.values()]
    whats = {status: f"{status} sent a second time, newly signed" for status in messages}
    for status, message in messages.items():
        once.again(message, whats[status], once.schedule(2, status), status=status)
    trial.context.settle()
    for (status, message), known in zip(messages.items(), first, strict=True):
        schedule = once.schedule(2, status)
        once.check(message, whats[status], status=status, first=known, schedule=schedule, settled=True)


def _dup_concurrent(trial: Trial) -> None:
    once = Once(trial)
    try:
        if not trial.context.profile.lag:
            # Before and, if something differs, afterwards: some apps store how late a callback was, in whole seconds.
            once.learn()
        messages = [trial.message() for _ in range(_ROUNDS)]
        for message in messages:
            attempts = trial.send_at_once(once.event(message), COPIES)
            for attempt in attempts:
                trial.expect_answer(attempt, f"one of {COPIES} copies of an event at once")
            if not any(map(accepted, attempts)):
                trial.fail(f"none of {COPIES} copies of an event at once was acknowledged")
        once.learn()
        for message in messages:
            once.check(message, f"{COPIES} copies of an event at once", settled=True)
    except Ended:
        if trial.transport == "wsgi" and not _works_in_a_thread(trial):
            trial.inconclusive(
                "the app only works in the test's own thread, for example because of a transaction there: "
                "check it over a socket"
            )
        raise


def _works_in_a_thread(trial: Trial) -> bool:
    """Tell whether an app that is called in process also works in another thread than the test's."""
    message = trial.message()
    [attempt] = trial.send_at_once(trial.event(message), 1)
    return accepted(attempt) and trial.await_effect(message)


def _ack_lost(trial: Trial) -> None:
    _lose(trial, "whose acknowledgement was lost", "ack_lost", like="ack_lost")
    if trial.transport == "http":
        # A reset can destroy data that the server has not read yet. Then it shows nothing.
        any(_lose(trial, "whose connection was reset", "reset", like="reset") for _ in range(_RESETS))


def _timeout(trial: Trial) -> None:
    stall = trial.context.stall
    if stall is not None:
        # The sender disconnects while the handler works.
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
    """Send a callback whose acknowledgement does not arrive, and send it again; tell whether the first had an effect.

    `during` makes a context in which the first is sent. `finishes` is how long the handler takes at least, in seconds.
    `like` names the fault that looks the same to the app, for the schedule.
    """
    once = Once(trial)
    schedule = once.schedule(fault=like) if like else None
    message = trial.message()
    before = trial.context.look(message)
    usual = trial.send(trial.message()).elapsed
    with during():
        trial.send(once.event(message), *faults)
        # The sender does not wait for the handler any more. The handler may finish, or never have begun.
        time.sleep(max(finishes, 2 * usual))
        if not trial.context.profile.lag:
            trial.context.look_for_change(before, message, _PATIENCE)
    once.learn()
    now = trial.context.look(message)
    changed = trial.context.changed(before, now, message)
    first = now if changed else None
    what = f"the retry of a callback {what}"
    once.again(message, what, schedule)
    once.check(message, what, first=first, schedule=schedule)
    return changed


@contextmanager
def _failing_afterwards(trial: Trial) -> Iterator[None]:
    """Make the app raise after it has done its work, as a middleware around it may."""
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


def _uplinks(trial: Trial) -> None:
    # In the document's example, an uplink message has the id 0.
    if not trial.sees_kind("response"):
        trial.not_applicable("`observe` shows no effect of users' replies, which have the message id 0")
    places = trial.places("response")
    for text in ("STOP", "HELP", "START"):
        for place in places:
            trial.look(place)
        trial.expect_accepted(trial.send(trial.context.new_event("response", places[-1], text)), "a user's reply")
    if not any(trial.effects(*places)):
        trial.fail("a user's reply was lost after others: all have the message id 0")


_WHY = (
    "EngageLab delivers at least once. A callback that is not acknowledged in time is sent again, as a new request "
    "with a new timestamp, nonce and signature. An acknowledgement can also be lost after all the work was done. "
)
_ONCE = Fix(
    "Give each event a key: message id, status, channel and error code, but not nonce or signature. Insert the key "
    "into a table where it is unique, and have the effect in the same transaction.",
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
        why=_WHY + "A receiver that recognises duplicates by their nonce or signature takes a retry for a new event.",
        stimulus="A valid callback, and the same event once more under a new signature; for sent, delivered, verified.",
        expected="One effect: the state as after the first, except for times. Both acknowledged.",
        source="X",
        work=_dup_resigned,
    ),
    _check(
        id="C02",
        name="dup-concurrent",
        title="Copies of an event that come at once have one effect",
        why="A retry can reach another worker while the first callback is still being handled. A receiver that first "
        "checks if an event is known, and then inserts it, has the effect twice when two workers check at once.",
        stimulus=f"The same event {COPIES} times at once, each with its own signature; {_ROUNDS} times.",
        expected="One effect, at least one acknowledged, no 5xx, no deadlock.",
        work=_dup_concurrent,
    ),
    _check(
        id="C03",
        name="ack-lost",
        title="A retry after a lost acknowledgement has no second effect",
        why=_WHY
        + "So the receiver must store the event before it answers, in the transaction that has the effect. If it "
        "stores the event after its answer, it forgets the event when the connection breaks.",
        stimulus="A valid callback whose answer is lost, and over HTTP one whose connection is reset after the request "
        "was sent; then each once more.",
        expected="One effect, and the retry acknowledged.",
        work=_ack_lost,
    ),
    _check(
        id="C04",
        name="timeout-then-finish",
        title="A retry after a timeout has no second effect",
        why="The sender stops waiting after 3 seconds, but the handler goes on and has its effect. It must store the "
        "event even if the sender has gone.",
        stimulus="A valid callback whose sender disconnects before the answer, and the event once more when the "
        "handler has finished.",
        expected="One effect, and the retry acknowledged.",
        work=_timeout,
        transports=("http",),
        unless="in process, the sender cannot disconnect while the handler goes on",
    ),
    _check(
        id="C05",
        name="5xx-after-commit",
        title="A retry after an error that follows the effect has no second effect",
        why="A middleware, a log or a proxy can fail after the handler has done its work. The success then becomes an "
        "error, and EngageLab sends the event again.",
        stimulus="A valid callback to an app that raises after its handler is done, and the event once more.",
        expected="One effect, and the retry acknowledged.",
        work=_error_after_commit,
        transports=("wsgi", "asgi"),
        unless="only an app in process can be made to fail after its work, which needs a test in pytest",
    ),
    _check(
        id="D15",
        name="uplink-id-0",
        title="Users' replies are not taken for duplicates",
        why="In the documented example, a user's reply has the message id 0. A receiver that recognises duplicates by "
        "the message id alone keeps the first STOP and loses all replies after it.",
        stimulus="Three different replies of one user, all with the message id 0.",
        expected="All are kept.",
        severity=Severity.MAJOR,
        source="D",
        fix=Fix(
            "Identify users' replies by their `message_sid`.",
            """\
for row in json.loads($body)["rows"]:
    if isinstance(row.get("response"), dict):
        key = row["response"]["response_data"]["message_sid"]
    else:
        key = row["message_id"], row["status"]["message_status"]""",
        ),
        work=_uplinks,
    ),
)

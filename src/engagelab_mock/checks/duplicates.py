"""Family C, duplicates: does an event that comes several times have its effect once?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from engagelab_mock.checks.at_once import expect_answers
from engagelab_mock.checks.check import Check, Ended, Fix, Severity
from engagelab_mock.checks.finding import Change
from engagelab_mock.checks.orderings import Order, Orderings
from engagelab_mock.checks.profile import accepted
from engagelab_mock.checks.stimulus import failing_afterwards
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.explore.schedule import Schedule, Step
from engagelab_mock.explore.state import Path, Snapshot, differing, dotted, state_of, told_at
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.events import Event

#: The statuses that are sent several times.
STATUSES = (
    *("sent", "delivered", "verified", "verified_failed", "verified_timeout"),
    *("sent_failed", "delivered_failed", "target_invalid"),
)
#: How many copies are sent at once, and how often for each status.
COPIES = 8
_ROUNDS = 3
#: The largest number of reset connections until a reset callback has an effect.
_RESETS = 5
#: The minimum time for a handler to finish after the sender has gone, and how long its effect may take, in seconds.
_FINISHES, _PATIENCE = 0.01, 0.5
#: How long the handler must take, and after how much of that time the sender disconnects, in seconds.
_STALL, _GIVE_UP = 0.06, 0.02


class Once:
    """Hold the state after one callback of each status, to find out whether several callbacks had one effect."""

    def __init__(self, trial: Trial, *statuses: str) -> None:
        self.trial = trial
        self.statuses = statuses or (trial.context.profile.status,)
        #: Whether the states of different messages can be compared.
        self._own = trial.context.profile.own
        scenario = "-".join(statuses) if statuses else trial.context.profile.scenario
        self._orderings = Orderings(trial, scenario, *self.statuses, own=False)

    def learn(self) -> None:
        """Find out the states after one callback, and wait until the app has done the work of all callbacks so far.

        If the app works after its answer, call this after the first callback, so that one wait is enough for both.
        """
        orders = [(status,) for status in self.statuses]
        if not self._own:
            self.trial.context.settle()
            return
        self._orderings.learn((), *orders * 2)
        if unseen := self._orderings.unseen(*orders):
            raise unseen

    @classmethod
    def of_all(cls, trial: Trial) -> Once:
        """Learn the states for each subscribed status; `visible` are the statuses that have a visible effect."""
        once = cls(trial, *dict.fromkeys([trial.context.profile.status, *filter(trial.ticks, STATUSES)]))
        once.learn()
        return once

    @property
    def visible(self) -> list[str]:
        """Return the statuses with a visible effect, whose repetition can be seen too."""
        if not self._own:
            return [*self.statuses[:1]]
        return [status for status in self.statuses if self._orderings.differing((), (status,))]

    def event(self, message: Message, status: str = "") -> Event:
        """Make the event."""
        status = status or self.statuses[0]
        return self.trial.events(self.schedule(1, status), message)[status]

    def schedule(self, times: int = 1, status: str = "", *, fault: str = "", rows: int = 1) -> Schedule:
        """Return the schedule that delivers the event so many times, each time in so many rows of one callback."""
        status = status or self.statuses[0]
        delivered = self._orderings.schedule((status,) * times, fault=fault)
        return delivered if rows == 1 else Schedule(delivered.lifecycles, (Step((status,) * rows),) * times)

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
                f"{what}: {dotted(path)} is {told_at(state, path)}; after one callback it is {told_at(known, path)}",
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
    once = Once.of_all(trial)
    # Send all before the first comes again, to wait only twice if the app works after its answer. Totals: one by one.
    groups = [once.visible] if trial.context.profile.own else [[status] for status in once.statuses]
    for statuses in groups:
        send_again(once, {status: trial.message() for status in statuses})


def send_again(once: Once, messages: dict[str, Message]) -> None:
    """Send each status about its message twice; fail if the second has an effect."""
    trial = once.trial
    for status, message in messages.items():
        once.again(message, f"a valid callback of {status}", once.schedule(1, status), status=status)
    trial.context.settle()
    first = [trial.glance(message) for message in messages.values()]
    whats = {status: f"{status} sent a second time, newly signed" for status in messages}
    for status, message in messages.items():
        once.again(message, whats[status], once.schedule(2, status), status=status)
    trial.context.settle()
    for (status, message), known in zip(messages.items(), first, strict=True):
        schedule = once.schedule(2, status)
        once.check(message, whats[status], status=status, first=known, schedule=schedule, settled=True)


def _dup_concurrent(trial: Trial) -> None:
    try:
        # Known before and, if something differs, afterwards: some apps store how late a callback was, in seconds.
        once = Once.of_all(trial)
        messages = [(status, trial.message()) for _ in range(_ROUNDS) for status in once.visible]
        for number, (status, message) in enumerate(messages):
            if number and trial.time_left() < 2 * COPIES * trial.context.profile.answer + 2 * trial.context.profile.lag:
                trial.warn(f"there was only time for {number} of {len(messages)} rounds: give more, with `timeout=`")
                messages = messages[:number]
                break
            what = f"{COPIES} copies of {status} at once"
            attempts = trial.send_at_once(once.event(message, status), COPIES)
            expect_answers(trial, attempts, what)
            if not any(accepted(each) or each.outcome is Outcome.TIMEOUT for each in attempts):
                trial.fail(f"none of {what} was acknowledged")
        trial.context.settle()
        for status, message in messages:
            once.check(message, f"{COPIES} copies of {status} at once", status=status, settled=True)
    except Ended:
        trial.expect_threads()
        raise


def _ack_lost(trial: Trial) -> None:
    _lose(trial, "whose acknowledgement was lost", "ack_lost", like="ack_lost")
    if trial.transport == "http":
        # A reset can destroy data that the server has not read yet. Then the attempt proves nothing.
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
    for after in (0.0, trial.send(trial.message()).elapsed / 2):
        _lose(trial, "that the sender gave up", fault("give_up", after=after))


def _error_after_commit(trial: Trial) -> None:
    what = "that was answered with an error after its effect"
    _lose(trial, what, during=partial(failing_afterwards, trial.receiver.transport), like="bad_gateway")


def _lose(
    trial: Trial,
    what: str,
    *faults: Fault | str,
    during: Callable[[], Any] = nullcontext,
    finishes: float = _FINISHES,
    like: str = "",
) -> bool:
    """Send a callback whose acknowledgement is lost, and send it again; tell whether the first had an effect.

    The first is sent in a context that `during` makes. `finishes` is the minimum time of the handler, in seconds.
    `like` is the name of the fault that looks the same to the app, for the schedule.
    """
    once = Once(trial)
    schedule = once.schedule(fault=like) if like else None
    message = trial.message()
    before = trial.context.look(message)
    usual = trial.send(trial.message()).elapsed
    with during():
        trial.send(once.event(message), *faults)
        # The sender does not wait for the handler any more. The handler may finish, or may never have begun.
        trial.receiver.wait(max(finishes, 2 * usual))
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


def _dup_account_events(trial: Trial) -> None:
    kinds = [kind for kind in ("response", "notification") if trial.ticks_kind(kind)]
    if not kinds:
        trial.skip("the receiver's settings tick neither users' replies nor notifications")
    ways: list[tuple[str, Callable[[Event], list[Attempt]]]] = [
        ("sent a second time, newly signed", lambda event: [trial.send(event), trial.send(event)]),
        ("twice in one callback", lambda event: [trial.send([event, event])]),
    ]
    if trial.transport != "wsgi" or trial.works_in_threads():
        ways += [(f"sent {COPIES} times at once", lambda event: trial.send_at_once(event, COPIES))] * _ROUNDS
    seen: list[object] = []
    for kind in filter(trial.sees_kind, kinds):
        one, other = (_growth(trial, kind, lambda event: [trial.send(event)]) for _ in range(2))
        seen += (usual := dict(one.items() & other.items()))  # such as the number of all replies
        for what, send in ways:
            grown = _growth(trial, kind, send)
            for path, by in usual.items():
                if (got := grown.get(path, 0)) != by:
                    trial.fail(f"a {kind} {what}: {dotted(path[1])} grew by {got}; after one it grows by {by}")
    if not seen:
        trial.not_applicable("`observe` shows no number of users' replies or of notifications")


def _growth(trial: Trial, kind: str, send: Callable[[Event], list[Attempt]]) -> dict[tuple[int, Path], float]:
    """Return by how much each number in the state grows when callbacks of a new account event are sent."""
    places = trial.places(kind)
    before = trial.numbers(places)
    expect_answers(trial, send(trial.context.new_event(kind, places[-1])), f"the {kind} callbacks")
    trial.context.settle()
    now = trial.numbers(places)
    return {path: value - before.get(path, 0) for path, value in now.items() if value != before.get(path, 0)}


_WHY = (
    "EngageLab delivers at least once. A callback that is not acknowledged in time is sent again, as a new request "
    "with a new timestamp, nonce and signature. An acknowledgement can also be lost after all the work was done. "
)
_ONCE = Fix(
    "Give each event a key: message id, status, channel, error code and `itime`. A retry has the same, but another "
    "nonce and signature. Insert the key into a table with a unique constraint on it, and have the effect in the same "
    "transaction.",
    """\
with database.transaction():
    # INSERT … ON CONFLICT DO NOTHING
    if database.insert_if_new(message_id, status, channel, error_code, itime):
        have_the_effect(message_id, status)
$ok""",
    section="Status",
)
_check = partial(Check, need="probe", severity=Severity.BLOCKER, expected="One effect, no 5xx.", source="?", fix=_ONCE)

DUPLICATES = (
    _check(
        id="C01",
        name="dup-resigned",
        title="An event that is sent again has one effect",
        why=_WHY + "A receiver that recognises duplicates by their nonce or signature takes a retry for a new event.",
        stimulus="A valid callback, and the same event once more under a new signature; for each status that has an "
        "effect.",
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
        stimulus=f"The same event {COPIES} times at once, each with its own signature; {_ROUNDS} times for each status "
        "that has an effect.",
        expected="One effect, at least one acknowledged, no 5xx except 503, no deadlock.",
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
        id="C17",
        name="dup-account-event",
        title="A reply or a notification that is sent again has one effect",
        why=_WHY + "A receiver that recognises only statuses answers a user's STOP twice, and sends an alert for each "
        "retry of a notification.",
        stimulus="A user's reply and a notification: once more under a new signature, twice in one callback, and "
        f"{COPIES} times at once.",
        severity=Severity.MAJOR,
        fix=Fix(
            "Identify a reply by its `message_sid`, and a notification, which has no id, by a digest of its row. "
            "Insert the key and have the effect in one transaction, as for statuses.",
            """\
for row in json.loads($body)["rows"]:
    reply = (row.get("response") or {}).get("response_data", {})
    key = reply.get("message_sid") or hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
    with database.transaction():
        if database.insert_if_new(key):
            handle(row)""",
        ),
        work=_dup_account_events,
    ),
)

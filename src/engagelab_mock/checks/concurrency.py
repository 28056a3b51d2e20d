"""Callbacks at once, judged by the state: is one lost, does a change overwrite another, is a total too low?"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from itertools import permutations

from engagelab_mock.checks.at_once import send_all, stays
from engagelab_mock.checks.check import Check, Ended, Fix, Severity
from engagelab_mock.checks.finding import Change
from engagelab_mock.checks.orderings import Order, Orderings
from engagelab_mock.checks.profile import accepted, describe
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.io import SYNC, run_sync
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.state import MISSING, Path, Snapshot, State, differing, dotted, state_of, told_at
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.events import Event

#: How many callbacks the burst has, and how often the events of one message are sent at once.
BURST, ROUNDS = 50, 20
#: How many messages opposite batches are about, and how often they are sent at once.
BATCH, BATCHES = 8, 8
#: How many callbacks change the account at once, and how often.
MANY, TIMES = 16, 4
#: Different events of one message, by the scenario that has them.
_EVENTS = {
    "verified": ("sent", "delivered", "verified"),
    "sent-delivered+1-verified_failed+1-verified_failed+1-verified+1": (
        *("verified_failed.1", "verified_failed.2", "verified"),
    ),
}
_STATUSES = ("sent", "delivered", "verified")
#: Has no id and no recipient that a state can contain.
_NOBODY = Message(id="(the account)", to="+6500000000")
#: A number in a text, or in the repr of a decimal number.
_NUMBER = re.compile(r"(?:Decimal\(')?([-+]?\d+(?:\.\d+)?)(?:'\))?")


def _burst_applied(trial: Trial) -> None:
    trial.expect_own_state()
    trial.expect_threads()
    (before, after), (other_before, other_after) = _effect_alone(trial), _effect_alone(trial)
    effect = differing(before, after) & differing(other_before, other_after)
    effect -= differing(before, other_before) | trial.context.profile.shared
    if not effect:
        trial.inconclusive("`observe` returns entirely different values for two messages that had the same callback")
    messages = trial.messages(BURST)
    sent = send_all(trial, [[trial.event(message)] for message in messages])
    sent.expect_none_refused(trial)

    def missing(message: Message, now: Snapshot) -> list[Path]:
        """Return the parts of the effect that are not in the state of a message."""
        state = state_of(now, message)
        return [path for path in sorted(effect) if state.get(path, MISSING) == before.get(path, MISSING)]

    lost = [message for message, now in zip(messages, trial.settled(messages), strict=True) if missing(message, now)]
    if lost := stays(trial, lambda: [message for message in lost if missing(message, trial.context.look(message))]):
        trial.show(lost[0])
        paths = missing(lost[0], trial.glance(lost[0]))
        which = "their effect" if len(paths) == len(effect) else f"the effect {dotted(paths[0])}"
        trial.fail(f"{len(lost)} of {BURST} callbacks at once were acknowledged, and {which} is missing")


def _effect_alone(trial: Trial) -> tuple[State, State]:
    """Return the state of a message before and after a callback that comes alone."""
    message = trial.message()
    before = trial.glance(message)
    trial.expect_accepted(trial.send(message))
    trial.await_effect(message)
    return state_of(before, message), state_of(trial.glance(message), message)


class _OneByOne:
    """Hold the states of a message after its events came one after another, in any order.

    If they came at once, the state must be one of these.
    """

    def __init__(self, trial: Trial, scenario: str, labels: Sequence[str]) -> None:
        self.trial = trial
        self.orderings = Orderings(trial, scenario, *labels)
        self.labels = self.orderings.in_order
        self._orders: list[Order] = [self.labels]
        self.orderings.learn((), self.labels, self.labels)

    def event(self, message: Message, label: str) -> Event:
        return self.trial.events(self.orderings.schedule(self.labels), message)[label]

    def check(self, what: str, messages: Sequence[Message], crashes: Sequence[tuple[Attempt, Message]]) -> None:
        """Fail if a callback was not answered, or if a message has another state than these."""
        wrong = self.find_new(messages)
        if not crashes and not wrong:
            return
        self._learn_all_orders(what)
        for attempt, message in crashes:
            self.trial.show(message)
            self.trial.fail(f"{what}: {describe(attempt)}; one after another they are answered", basis="answer")
        if self._still_new(wrong):
            # An app that works after its answer may not have been ready when the known orders were read.
            self.orderings.learn(*self._orders, again=True)
        if wrong := self._still_new(wrong):
            self._fail(what, wrong[0])

    def _still_new(self, messages: Sequence[Message]) -> list[Message]:
        """Return those of these messages whose states stay new for as long as the app may work after its answer."""
        return stays(self.trial, lambda: [m for m in messages if self._is_new(m, self.trial.context.look(m))])

    def find_new(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages whose states no known order leads to."""
        states = zip(messages, self.trial.settled(messages), strict=True)
        return [message for message, now in states if self._is_new(message, now)]

    def _is_new(self, message: Message, now: Snapshot) -> bool:
        """Tell whether no order that is known leads to the state of a message."""
        state, noise = state_of(now, message), self.orderings.noise()
        return all(differing(state, self.orderings.state(order)) - noise for order in self._orders)

    def _learn_all_orders(self, what: str) -> None:
        """Deliver the events one after another in every order, too: at once, each order is possible."""
        self._orders = list(permutations(self.labels))
        try:
            self.orderings.learn(self.labels, again=True)
            self.orderings.learn(*self._orders)
        except Ended as ended:
            self.trial.inconclusive(f"{what} had another result than in order, and so do they alone: {ended.reason}")

    def _fail(self, what: str, message: Message) -> None:
        noise, state = self.orderings.noise(), state_of(self.trial.context.look(message), message)
        ways = [(differing(state, known) - noise, known) for known in map(self.orderings.state, self._orders)]
        paths, nearest = min(ways, key=lambda way: len(way[0]))
        path = min(paths)
        self.trial.show(message)
        self.trial.glance(message)
        self.trial.fail(
            f"{what}: {dotted(path)} is {told_at(state, path)}; "
            f"one after another, in any order, they lead to another state, such as {told_at(nearest, path)}"
        )


def _sets_of_events(trial: Trial) -> list[_OneByOne]:
    """Return the sets of events that have a visible effect; end the trial if none has one."""
    trial.expect_threads()
    ends, found = [], []
    for scenario, labels in _EVENTS.items():
        ticked = [label for label in labels if trial.ticks(label.partition(".")[0])]
        if len(ticked) > 1:
            known = _OneByOne(trial, scenario, ticked)
            end = known.orderings.unseen(known.labels)
            ends += [end] if end else []
            found += [] if end else [known]
    if not found:
        raise ends[0] if ends else trial.skip("the receiver's settings tick too few statuses")
    return found


def _different_events(trial: Trial) -> None:
    for known in _sets_of_events(trial):
        messages, crashes = trial.messages(ROUNDS), []
        for message in messages:
            sent = send_all(trial, [[known.event(message, label)] for label in known.labels])
            crashes += [(attempt, message) for attempt in sent.crashed]
        known.check(f"{_listed(known.labels)} of a message at once", messages, crashes)


def _opposite_batches(trial: Trial) -> None:
    known, crashes = _sets_of_events(trial)[0], []

    def opposite(messages: Sequence[Message]) -> list[list[Event]]:
        return [
            [known.event(message, label) for message in (messages[::-1] if number % 2 else messages)]
            for number, label in enumerate(known.labels)
        ]

    alone, *batches = [trial.messages(BATCH) for _ in range(1 + BATCHES)]
    for callback in opposite(alone):
        attempt = trial.send(callback)
        if not accepted(attempt):
            trial.inconclusive(f"a batch that comes alone: {describe(attempt)}; D01 checks that")
    if known.find_new(alone):
        trial.inconclusive("batches have another effect than single callbacks, also one after another; D02 checks that")
    for messages in batches:
        crashes += [(attempt, messages[0]) for attempt in send_all(trial, opposite(messages)).crashed]
    what = f"batches about the same {BATCH} messages in opposite order, at once"
    known.check(what, [message for messages in batches for message in messages], crashes)


def _account_totals(trial: Trial) -> None:
    if trial.context.probe.observe_account is None:
        trial.inconclusive("the state of the account cannot be seen: give `observe_account`")
    trial.expect_threads()
    seen = False
    for status in filter(trial.ticks, _STATUSES):
        totals = _Totals(trial, status)
        totals.learn()
        for _ in range(TIMES if totals.usual else 0):
            seen = True
            totals.check()
    if not seen:
        trial.not_applicable(
            f"`observe_account` shows no number that grows by the same amount for every {MANY} callbacks"
        )


class _Totals:
    """Hold by how much the numbers of the account grow when callbacks of a status come one after another."""

    def __init__(self, trial: Trial, status: str) -> None:
        self._trial = trial
        self._status = status
        #: By how much each number grows. It grows by the same amount each time.
        self.usual: dict[Path, float] = {}
        self._took = 0.0

    def learn(self) -> None:
        """Send callbacks one after another, twice, and keep the numbers that grow by the same amount."""
        for _ in range(2):
            started = stopwatch()
            grown = self._in_order()
            self._took = max(self._took, stopwatch() - started)
            self.usual = {path: by for path, by in grown.items() if not self.usual or self._same(path, by)}
            if not self.usual:
                return

    def check(self) -> None:
        """Send callbacks at once. Fail if a number grows by less than in order."""
        before, messages = self._look(), self._trial.messages(MANY)
        sent = send_all(self._trial, [[self._trial.event(message, self._status)] for message in messages])
        sent.expect_none_refused(self._trial)
        self._wait(messages)

        def too_little() -> list[Path]:
            grown = _growth(before, self._look())
            return sorted(path for path in self.usual if self._less(path, grown.get(path, 0.0)))

        # A number that grows with time would also grow in the time that the callbacks took in order.
        if not stays(self._trial, too_little, self._took):
            return
        after = self._look()
        # Some numbers stop growing, or begin again in the next minute: so look whether they still grow.
        grown = self._in_order()
        short = _growth(before, after)
        for path in (path for path in self.usual if self._same(path, grown.get(path, 0.0))):
            if self._less(path, short.get(path, 0.0)):
                account = Change(Snapshot("account", self._plain(before)), Snapshot("account", self._plain(after)))
                self._trial.show(messages[0], account)
                self._trial.fail(
                    f"{MANY} callbacks of {self._status} at once: {dotted(path)} of the account changed by "
                    f"{short.get(path, 0.0):g}; one after another they change it by {self.usual[path]:g}"
                )

    def _in_order(self) -> dict[Path, float]:
        before, messages = self._look(), self._trial.messages(MANY)
        for message in messages:
            attempt = self._trial.send(self._trial.event(message, self._status))
            if not accepted(attempt):
                self._trial.inconclusive(f"{self._status}, sent alone: {describe(attempt)}")
        self._wait(messages)
        return _growth(before, self._look())

    def _wait(self, messages: Sequence[Message]) -> None:
        self._trial.context.settle()
        self._trial.context.wait_until_idle(*messages)

    def _look(self) -> dict[Path, float]:
        """Return the numbers in the state of the account."""
        value = run_sync(self._trial.context.probe.look_at_account(SYNC))
        leaves = state_of(Snapshot("account", value), _NOBODY)
        numbers = {path: _number(leaf) for path, leaf in leaves.items()}
        return {path: number for path, number in numbers.items() if number is not None}

    def _same(self, path: Path, by: float) -> bool:
        return math.isclose(self.usual.get(path, 0.0), by, rel_tol=1e-6)

    def _less(self, path: Path, by: float) -> bool:
        """Tell whether a number has changed by less than usual. A reset, as at the end of a day, does not count."""
        usual = self.usual[path]
        return 0 <= by * math.copysign(1, usual) < abs(usual) and not self._same(path, by)

    @staticmethod
    def _plain(numbers: dict[Path, float]) -> dict[str, float]:
        return {dotted(path): number for path, number in numbers.items()}


def _number(leaf: object) -> float | None:
    """Return a leaf as a number, also if it is a text or a decimal number; None if it is not one."""
    if isinstance(leaf, (int, float)) and not isinstance(leaf, bool):
        return float(leaf)
    found = _NUMBER.fullmatch(leaf) if isinstance(leaf, str) else None
    return float(found[1]) if found else None


def _growth(before: dict[Path, float], after: dict[Path, float]) -> dict[Path, float]:
    grown = {path: after.get(path, 0.0) - before.get(path, 0.0) for path in {**before, **after}}
    return {path: by for path, by in grown.items() if by}


def _listed(labels: Sequence[str]) -> str:
    *others, last = (label.partition(".")[0] for label in labels)
    return f"{', '.join(others)} and {last}"


_TIMES = "A retry, a batch and a new status can reach different workers at the same time. "
_check = partial(Check, need="probe", severity=Severity.MAJOR, source="?")

CONCURRENCY = (
    _check(
        id="A12",
        name="burst-applied",
        title="Each callback of a burst that is acknowledged has its effect",
        why="An acknowledged callback is never sent again. A handler that logs `database is locked` and answers 200, "
        "or that drops a callback when its queue is full, loses most callbacks of a campaign without an error.",
        stimulus=f"{BURST} valid callbacks at once, each about another message. Those that are refused are sent again.",
        expected="The whole effect of each callback. A refusal, such as 503, is not a loss.",
        severity=Severity.BLOCKER,
        fix=Fix(
            "Answer 200 only when the callback is stored. Wait for a lock of the database, and answer 503 if that "
            "takes too long or if the queue is full: EngageLab then sends the callback again.",
            """\
try:
    with database.transaction():  # waits for a lock: sqlite3.connect(…, timeout=2)
        store($body)
except (OperationalError, queue.Full):
    $refuse_503
$ok""",
            section="Store",
        ),
        work=_burst_applied,
    ),
    _check(
        id="C19",
        name="events-at-once",
        title="Different events of a message that come at once are all applied",
        why=_TIMES + "A handler that reads a row, changes it and writes it back overwrites the change that another "
        "worker made in between. The status, a counter of wrong codes, or an entry of a list is lost.",
        stimulus="`sent`, `delivered` and `verified` of one message at once, and two wrong codes and the right one; "
        f"{ROUNDS} times, each time for another message. Those that are refused are sent again.",
        expected="The state that the same events lead to one after another, in some order. No 5xx except 503.",
        fix=Fix(
            "Lock the row before you read it, or let the database change it in one `UPDATE`.",
            own_flask="message = db.session.get(Message, message_id, with_for_update=True)\n"
            'message.apply(status)\ndb.session.commit()\nreturn "", 200',
            own_django="with transaction.atomic():\n"
            "    message = Message.objects.select_for_update().get(id=message_id)\n    message.apply(status)\n"
            "return HttpResponse()",
            own_fastapi="async with AsyncSession(engine) as session, session.begin():\n"
            "    message = await session.get(Message, message_id, with_for_update=True)\n    message.apply(status)\n"
            "return Response()",
            section="Store",
        ),
        work=_different_events,
    ),
    _check(
        id="C20",
        name="opposite-batches",
        title="Batches about the same messages in opposite order do not block each other",
        why=_TIMES + "A handler that locks the rows of a batch one after another waits for a row that the other worker "
        "has locked, while that one waits for its row. The database ends one with an error, or both wait for long.",
        stimulus=f"Batches about {BATCH} messages, every second one in opposite order, at once; {BATCHES} times. Those "
        "that are refused are sent again.",
        expected="The state that the same events lead to one after another, in some order. No 5xx except 503, no "
        "timeout.",
        fix=Fix(
            "Apply the rows of a batch in the same order each time, such as by message id, or commit after each row. "
            "If the database ends a transaction because of a deadlock, run it again.",
            """\
rows = json.loads($body)["rows"]
for row in sorted(rows, key=lambda row: str(row.get("message_id"))):
    apply(row)
$ok""",
            section="Store",
        ),
        work=_opposite_batches,
    ),
    _check(
        id="C21",
        name="account-totals",
        title="Totals of the account count every callback that comes at once",
        why="Callbacks of different messages change the same credits, balance or statistics. A handler that reads a "
        "total, adds to it and writes it back loses what other workers added in between. No state of a message shows "
        "that.",
        stimulus=f"{MANY} callbacks of different messages one after another, twice, and {MANY} at once, {TIMES} times; "
        "for `sent`, `delivered` and `verified`.",
        expected="The numbers that `observe_account` returns change at once by as much as one after another.",
        fix=Fix(
            "Let the database add to the total, or lock its row before you read it. Or count the rows when you need "
            "the total.",
            own_flask="db.session.execute(update(Account).values(credits=Account.credits + 1))\n"
            'db.session.commit()\nreturn "", 200',
            own_django='Account.objects.update(credits=F("credits") + 1)\nreturn HttpResponse()',
            own_fastapi="await session.execute(update(Account).values(credits=Account.credits + 1))\n"
            "await session.commit()\nreturn Response()",
        ),
        work=_account_totals,
    ),
)

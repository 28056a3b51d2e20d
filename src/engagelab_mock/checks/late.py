"""Time: is an event recognised after days, does a late one count, and is a replayed signature refused until it is old?

The app's clock is moved, with `set_time` or with the virtual clock that the app reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from engagelab_mock.checks.check import Check, Ended, Fix, Judgement, Severity
from engagelab_mock.checks.duplicates import STATUSES, Once, send_again
from engagelab_mock.checks.finding import Change
from engagelab_mock.checks.profile import accepted, describe
from engagelab_mock.checks.stimulus import again
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.errors import ProbeFailed
from engagelab_mock.explore.state import (
    MISSING,
    Path,
    Snapshot,
    State,
    count_of,
    differing,
    dotted,
    names,
    part_of,
    state_of,
    told_at,
)
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.events import Event

_HOUR, _DAY = 3600, 86400
#: A little more than the time that is named, because the limits of apps are round.
_MORE = 600
#: How long after an event its duplicate comes.
_GAPS = {"an hour": _HOUR + _MORE, "a day": _DAY + _MORE, "10 days": 10 * _DAY + _MORE}
#: The age of a late event.
_LATE = _DAY + _MORE
#: After how many seconds a signature is replayed; it is genuine for 300 seconds.
_AGES = (60, 120, 200, 290)


def _again_after_days(trial: Trial) -> None:
    _move_the_clock(trial)
    once = Once.of_all(trial)
    with _at_once(trial, "C01"):
        send_again(once, {status: trial.message() for status in once.visible})
    events = {(gap, status): trial.message() for gap in _GAPS for status in once.visible}
    for (_, status), message in events.items():
        once.again(message, f"a valid callback of {status}", status=status)
    first = dict(zip(events, trial.settled([*events.values()]), strict=True))
    shared, forgotten, passed = trial.context.profile.shared, "", 0
    for gap, seconds in _GAPS.items():
        trial.context.advance(seconds - passed)
        passed = seconds
        due = {status: message for (each, status), message in events.items() if each == gap}
        before = {status: trial.glance(message) for status, message in due.items()}
        for status, message in due.items():
            trial.expect_answer(trial.send(once.event(message, status)), f"{status} sent again after {gap}")
        trial.context.settle()
        for status, message in due.items():
            what = f"{status} sent again after {gap}, newly signed"
            once.check(message, what, status=status, first=before[status], settled=True)
            kept, lost, now = first[gap, status], before[status], trial.glance(message)
            if _paths(kept, lost, message) - shared and _paths(lost, now, message) - shared:
                _expect_no_effect(trial, what, lost, now)
                forgotten = forgotten or f"{what}: `observe` returned {lost!s:.60} before it, and then {now!s:.60}"
    if forgotten:
        trial.inconclusive(
            f"{forgotten}: the app seems to have forgotten the message; let `observe` return what lasts, such as "
            "credits, or declare it with `effects`"
        )
    _expect_moved(trial)


def _paths(one: Snapshot, other: Snapshot, message: Message) -> set[Path]:
    """Return the leaves in which two states of a message differ."""
    return differing(state_of(one, message), state_of(other, message))


def _expect_no_effect(trial: Trial, what: str, before: Snapshot, now: Snapshot) -> None:
    """Fail if an effect that was declared has happened: the app had forgotten it."""
    for effect in trial.context.probe.meaning.effects:
        was, count = (count_of(part_of(each.value, effect), effect) for each in (before, now))
        if count > was:
            trial.fail(f"{what}: the app had forgotten the message, and {effect} went from {was} to {count} again")


def _account_event_again(trial: Trial) -> None:
    kinds = [kind for kind in ("response", "notification") if trial.ticks_kind(kind)]
    if not kinds:
        trial.skip("the receiver's settings tick neither users' replies nor notifications")
    _move_the_clock(trial)
    sent = []
    for kind in filter(trial.sees_kind, kinds):
        places = trial.places(kind)
        event, before = trial.context.new_event(kind, places[-1]), trial.numbers(places)
        once = _numbers_after(trial, event, places)
        counted = {leaf for leaf, number in once.items() if number > before.get(leaf, 0)}
        if counted & {leaf for leaf, number in _numbers_after(trial, event, places).items() if number > once[leaf]}:
            trial.inconclusive(f"a {kind} that comes again at once counts twice: see C17")
        sent += [(kind, event, places, counted)] if counted else []
    if not sent:
        trial.not_applicable("`observe` shows no number of users' replies or of notifications")
    trial.context.advance(_DAY + _MORE)
    for kind, event, places, counted in sent:
        before, now = trial.numbers(places), _numbers_after(trial, event, places)
        for place, path in sorted(counted):
            if now.get((place, path), 0) > before.get((place, path), 0):
                grown = now[place, path] - before.get((place, path), 0)
                trial.fail(f"a {kind} sent again after a day, newly signed: {dotted(path)} grew by {grown}")
    _expect_moved(trial)


def _numbers_after(trial: Trial, event: Event, places: Sequence[Message]) -> dict[tuple[int, Path], float]:
    """Send an event, and return the numbers in these states after it."""
    trial.expect_answer(trial.send(event), f"an event of the kind {event.kind}")
    trial.context.settle()
    return trial.numbers(places)


def _late_event(trial: Trial) -> None:
    if trial.context.moves_time:
        _move_the_clock(trial)
    # Totals do not show which of several events had an effect.
    several = trial.sees and trial.context.profile.own
    statuses = dict.fromkeys([trial.context.profile.status, *filter(trial.ticks, STATUSES if several else ())])
    once = Once(trial, *statuses)
    new = _Sent(once, {status: trial.message() for status in statuses})
    known = {status: new.effect(status) for status in new.accepted}
    if not known or (trial.sees and not any(known.values())):
        trial.inconclusive("no new callback was accepted and had an effect that can be seen")
    if trial.context.moves_time:
        messages = {status: trial.message() for status in known}
        trial.context.advance(_LATE)
    else:
        trial.begin(ago=_LATE)
        messages = {status: trial.message() for status in known}
    late = _Sent(once, messages)
    what = "whose `itime` is more than a day ago, newly signed"
    for status, attempt in late.attempts.items():
        trial.expect_accepted(attempt, f"{status} {what}")
    for status, effect in known.items():
        if _missing(effect, late.effect(status), status):
            late.look_again(status)
        for missing in _missing(effect, late.effect(status), status):
            trial.show(messages[status], Change(late.before[status], late.after[status]))
            now, usual = (each.told(status, missing) for each in (late, new))
            told = f"{dotted(missing)} is {now}; after a new one it is {usual}"
            trial.fail(f"{status} {what}, was acknowledged, and {told}{_older_than_its_message(trial)}")


def _older_than_its_message(trial: Trial) -> str:
    """Return another possible reason: without `set_time`, `prepare` enters the message after the late event."""
    if trial.context.moves_time or trial.context.probe.prepare is None:
        return ""
    return "; if the app ignores it because it entered the message later than that, give `set_time`"


def _missing(effect: State, late: State, status: str) -> list[Path]:
    """Return the leaves that an event changes, and a late one did not; other values may depend on the time."""
    return [
        path
        for path, value in sorted(effect.items())
        if path not in late or (names(value, status) and not names(late[path], status))
    ]


class _Sent:
    """Send each status about its message, and keep the states before and after."""

    def __init__(self, once: Once, messages: dict[str, Message]) -> None:
        trial = once.trial
        self._context = trial.context
        self._messages = messages
        self._shared = trial.context.profile.shared if trial.context.profile.own else frozenset()
        self.before = {status: trial.glance(message) for status, message in messages.items()}
        self.attempts = {status: trial.send(once.event(message, status)) for status, message in messages.items()}
        self.after = dict(zip(messages, trial.settled([*messages.values()]), strict=True))
        self.accepted = [status for status, attempt in self.attempts.items() if accepted(attempt)]

    def look_again(self, status: str) -> None:
        """Read the state after an event again, when the app had time to work after its answer."""
        self.after[status] = self._context.look_for_change(self.after[status], self._messages[status])

    def told(self, status: str, path: Path) -> str:
        """Return the value at a path after the event, as text."""
        return told_at(state_of(self.after[status], self._messages[status]), path)

    def effect(self, status: str) -> State:
        """Return the leaves that the event has changed, and their values after it."""
        message, after = self._messages[status], self.after[status]
        state = state_of(after, message)
        return {path: state.get(path, MISSING) for path in _paths(self.before[status], after, message) - self._shared}


def _replayed_later(trial: Trial) -> None:
    _move_the_clock(trial)
    once = Once(trial)
    sent = {age: (message := trial.message(), trial.send(once.event(message))) for age in (0, *_AGES)}
    once.learn()
    passed = 0
    for age, (message, attempt) in sent.items():
        trial.expect_accepted(attempt)
        if age:
            trial.context.advance(age - passed)
            passed = age
            _replay(once, message, attempt, f"after {age} s")
        else:
            with _at_once(trial, "B16 and B17"):
                _replay(once, message, attempt, "at once")
    _expect_moved(trial)


def _replay(once: Once, message: Message, attempt: Attempt, when: str) -> None:
    """Send another body with the same header, and the same request again; fail if one of them has an effect."""
    trial = once.trial
    # Another body first: a receiver that has forgotten the nonce remembers it again when the same request comes.
    other, what = trial.message(), f"another body with the same header {when}"
    replayed = trial.send(other, again(attempt))
    trial.expect_no_effect(replayed, other, what)
    trial.expect_answer(replayed, what)
    before, what = trial.glance(message), f"the same request again {when}"
    trial.expect_answer(trial.resend(attempt, message), what)
    once.check(message, what, first=before)


@contextmanager
def _at_once(trial: Trial, checks: str) -> Iterator[None]:
    """End the trial as inconclusive if something fails without any delay: other checks report that."""
    try:
        yield
    except Ended as ended:
        if ended.judgement is Judgement.FAIL:
            trial.inconclusive(f"it fails without any delay, see {checks}: {ended.reason}")
        raise


def _move_the_clock(trial: Trial) -> None:
    """Find out at the first call whether the app's clock moves; begin the lifecycles of this trial now.

    Raises `ProbeFailed` if the app refuses a valid callback after its clock was moved.
    """
    if trial.context.unmoved is None:
        with trial.context.apart():
            trial.context.unmoved = _reason_for_doubt(trial)
    trial.begin()


def _reason_for_doubt(trial: Trial) -> str:
    """Return why nothing shows that the app's clock moves; empty if it refuses a signature that was new before."""
    context, status = trial.context, trial.context.profile.status
    usual = context.send_valid(context.new_message(), status)
    if usual is None or not accepted(usual):
        trial.inconclusive(f"a valid callback: {'not ticked' if usual is None else describe(usual)}")
    context.advance(_HOUR)
    moved = context.send_valid(context.new_message(), status)
    by_the_user = context.app_clock.can_be_set
    if moved is None or not accepted(moved):
        raise ProbeFailed(
            f"after the clock was moved by an hour, a valid callback was {describe(moved) if moved else 'not sent'}",
            where="set_time" if by_the_user else "signature_clock",
            hint="set the clock that the app reads; time-machine and freezegun move that of the test's own process"
            if by_the_user
            else "let the app read the clock that `EngageLab(clock=…)` is given",
        )
    if not trial.receiver.settings.signs:
        return "without a username and a secret, nothing shows that the app's clock was moved"
    event = trial.event(context.new_message(), at=context.engagelab.clock.time())
    if accepted(trial.send(event, fault("stale", by=_HOUR))):
        return "nothing shows that the app's clock was moved: it accepts a signature that is an hour old, see B12"
    return ""


def _expect_moved(trial: Trial) -> None:
    """End the trial as inconclusive if nothing has shown that the app's clock moves."""
    if trial.context.unmoved:
        trial.inconclusive(trial.context.unmoved)


LATE = (
    Check(
        id="B26",
        name="replay-in-window",
        title="A signature that was used before is refused for as long as it is genuine",
        why="A signature is genuine for 300 seconds, and does not cover the body. A receiver that forgets nonces "
        "earlier can be sent any body with a recorded header as soon as it has forgotten.",
        stimulus=f"Valid callbacks, and after {', '.join(map(str, _AGES))} seconds the same requests again, and other "
        "messages' rows with the same headers. The app's clock is moved.",
        expected="No second effect, none on the other message, no 5xx.",
        severity=Severity.MAJOR,
        need="probe",
        source="? K",
        needs_signature=True,
        moves_time=True,
        fix=Fix(
            "Remember each nonce for 600 seconds, twice the time window, because the timestamp may be ahead: in your "
            "database or a cache that all workers share. A shorter time or a fixed number of nonces is not enough.",
            """\
digest = hashlib.sha256($body).hexdigest()
if cache.get_or_set(nonce, digest, timeout=600) != digest:
    $refuse_401""",
            section="Store",
        ),
        work=_replayed_later,
    ),
    Check(
        id="C22",
        name="dup-after-days",
        title="An event that comes again after hours or days has one effect",
        why="The last retry of a callback comes 18 days after the first attempt. A receiver that remembers events for "
        "a limited time, in a cache or in a table from which old rows are removed, takes that retry for a new event.",
        stimulus=f"Valid callbacks of each status that has an effect, and each event once more after "
        f"{', '.join(_GAPS)}, newly signed. The app's clock is moved.",
        expected="One effect, no 5xx.",
        severity=Severity.MAJOR,
        need="probe",
        source="X",
        moves_time=True,
        fix=Fix(
            "Keep the keys of events as long as the messages, in the same database. Do not use a cache with a time "
            "limit. If you remove old messages, wait for 30 days, or keep their keys.",
            """\
with database.transaction():
    if database.insert_if_new(message_id, status, channel, error_code, itime):  # unique, for ever
        have_the_effect(message_id, status)
$ok""",
            section="Status",
        ),
        work=_again_after_days,
    ),
    Check(
        id="C23",
        name="late-event",
        title="An event of yesterday that comes now is accepted and counts",
        why="A callback that was not acknowledged is sent again for days, each time with a new signature and the same "
        "`itime`. A receiver that compares `itime` with its clock, and drops old events, loses the events of "
        "a long outage.",
        stimulus="For each status that has an effect, a callback with an `itime` more than a day ago, newly signed. If "
        "the app's clock can be moved, it is moved by that time. Otherwise, the message was sent more than a day ago.",
        expected="Acknowledged, and the same effect as that of a new event.",
        severity=Severity.MAJOR,
        need="both",
        source="X",
        fix=Fix(
            "Judge the age of a callback by the timestamp in its signature only. Let the ranks of the statuses decide "
            "which one prevails. Do not compare their times.",
            """\
if abs(time.time() - int(timestamp)) > 300:  # the time of the signature, instead of row["itime"]
    $refuse_401""",
            section="Status",
        ),
        work=_late_event,
    ),
    Check(
        id="C24",
        name="dup-account-event-after-a-day",
        title="A reply or a notification that comes again after a day has one effect",
        why="Replies and notifications are sent again for days, as statuses are. A receiver that remembers them for a "
        "limited time answers a user's STOP again, and sends an old alert again.",
        stimulus="A user's reply and a notification, and each once more after a day, newly signed. The app's clock is "
        "moved.",
        expected="One effect, no 5xx.",
        severity=Severity.MAJOR,
        need="probe",
        source="X",
        moves_time=True,
        fix=Fix(
            "Keep the `message_sid` of a reply, and a digest of a notification's row, in a table with a unique key and "
            "without a time limit.",
            """\
for row in json.loads($body)["rows"]:
    reply = (row.get("response") or {}).get("response_data", {})
    key = reply.get("message_sid") or hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
    with database.transaction():
        if database.insert_if_new(key):  # unique, for ever
            handle(row)""",
        ),
        work=_account_event_again,
    ),
)

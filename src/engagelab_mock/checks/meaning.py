"""Family F, meaning: does each effect happen once, for its statuses only, and does a terminal status stay?

A receiver gives the meaning of its statuses with `effects` and `terminal`. Without them, these checks judge nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from engagelab_mock.checks.check import Check, Fix, Severity
from engagelab_mock.checks.context import Context
from engagelab_mock.checks.orderings import Order, Orderings
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.io import SYNC, run_sync
from engagelab_mock.errors import ProbeFailed
from engagelab_mock.explore.baseline import nothing_recognised
from engagelab_mock.explore.lifecycle import lifecycle
from engagelab_mock.explore.schedule import Schedule, Step, tidy
from engagelab_mock.explore.state import MISSING, count_of, names, part_of, status_in
from engagelab_mock.messages.message import Message
from engagelab_mock.messages.scenario import INFERRED, START
from engagelab_mock.protocol.status import Status, times

#: Every status once, in the order in which they may happen.
_LIFE = (
    *("plan", "target_valid", "target_invalid", "sent_failed", "sent", "delivered_failed", "delivered", "read"),
    *("verified_timeout", "verified_failed", "verified"),
)
_WRONG_CODES = "plan-sent+1-delivered+1-verified_failed+10-verified_failed+10-verified+5"
#: How many orders are delivered before their states are read: the app may put the callbacks into a queue.
_CHUNK = 24
#: The statuses that come once for each channel.
_OF_CHANNELS = ("sent_failed", "sent", "delivered_failed", "delivered")

#: Orders of events, with the effects to judge after each. True: it must have happened. False: it may have happened.
Cases = Mapping[Order, Mapping[str, bool]]


def way_to(status: str) -> Order:
    """Return the shortest way of a message to a status, the status included.

    >>> way_to("verified")
    ('plan', 'sent', 'verified')
    """
    ways: list[Order] = [(next_,) for next_ in INFERRED.next_after(START)]
    for way in ways:
        if way[-1] == status:
            return way
        ways += [(*way, next_) for next_ in INFERRED.next_after(way[-1]) if next_ not in way]
    return (status,)


def _in_one_life(one: str, other: str) -> bool:
    """Tell whether one message can have both statuses."""

    def follows(first: str, second: str) -> bool:
        known = [first]
        for status in known:
            known += [each for each in INFERRED.next_after(status) if each not in known]
        return second in known

    return follows(one, other) or follows(other, one)


def _part(state: Any, name: str) -> Any:
    """Return a part of a state. An object is kept as its fields, by the name of its type."""
    found = part_of(state, name)
    if found is MISSING and isinstance(state, dict) and len(state) == 1:
        [state] = state.values()
        return part_of(state, name)
    return found


def prove(context: Context) -> None:
    """Raise `NothingObserved` if no state has the name of an effect, and `ProbeFailed` if its value does not count."""
    meaning = context.probe.meaning
    for effect, causes in meaning.effects.items():
        message = _later_message(context)
        before = run_sync(context.probe.look(SYNC, message.id))
        if count := count_of(_part(before, effect), effect):
            hint = f"return how often {effect} happened for the message whose id is given"
            raise ProbeFailed(f"{effect} is {count} for a message that had no callback", where="observe", hint=hint)
        for status in way_to(causes[0]):
            context.send_valid(message, status)
        context.settle()
        after = context.look(message).value
        count_of(_part(after, effect), effect)
        if _part(after, effect) is MISSING and _part(before, effect) is MISSING:
            raise nothing_recognised("family F", effect, causes, after, where="check")
    if meaning.terminal:
        message = _later_message(context)
        for status in way_to(meaning.terminal[0]):
            context.send_valid(message, status)
        context.settle()
        after = context.look(message).value
        if not any(names(_status(after), status) for status in Status):
            raise nothing_recognised("family F", "status", meaning.terminal, after, where="check")


def _later_message(context: Context) -> Message:
    """Make a message in another second than the ones before: C16 checks apps that mix up messages of one second."""
    context.engagelab.clock.advance(1)
    return context.new_message()


def _status(state: Any) -> str:
    found = status_in(state)
    if not found and isinstance(state, dict) and len(state) == 1:
        [state] = state.values()
        return status_in(state)
    return found


class _Judge:
    """Deliver events in certain orders, and judge the effects and the status that they lead to."""

    def __init__(self, trial: Trial, scenario: str, *labels: str) -> None:
        self._trial = trial
        self._meaning = trial.context.probe.meaning
        self._orderings = Orderings(trial, scenario, *labels)

    def check(self, cases: Cases, *, terminal: Collection[str] = ()) -> None:
        """Fail if an effect has not happened as often as it must after one of these orders.

        With `terminal`, also fail if the status after one of the orders is not one of these.
        """
        orderings = self._orderings

        def wrong(order: Order) -> str:
            return self._miscounted(order, cases[order]) or (self._replaced(order, terminal) if terminal else "")

        tried = self._learn(list(cases))
        if not orderings.stays(lambda: any(map(wrong, tried))):
            return
        # Some results depend on the moment, so the same order must fail for two messages.
        for order in filter(wrong, tried):
            orderings.learn(order, again=True)
            if orderings.stays(partial(wrong, order)):
                orderings.point_out(order)
                self._trial.fail(wrong(order), self._shortest(orderings.seen(order).sent))

    def _shortest(self, order: Order) -> Schedule:
        """Return the schedule of an order, with a lifecycle that has no other statuses if they are all of `_LIFE`."""
        if not {*order} <= {*_LIFE}:
            return self._orderings.schedule(order)
        steps = tidy([Step((status,)) for status in order])
        return Schedule((lifecycle("+1-".join(status for status in _LIFE if status in order)),), steps)

    def _learn(self, orders: list[Order]) -> list[Order]:
        """Find out which states the orders lead to, and return the orders for which there was time."""
        trial, profile = self._trial, self._trial.context.profile
        for start in range(0, len(orders), _CHUNK):
            if start and trial.time_left() < _CHUNK * 4 * profile.answer + 2 * profile.lag:
                trial.warn(
                    f"there was only time for {start} of {len(orders)} orders of events: "
                    "give more, with `timeout=` or --total"
                )
                return orders[:start]
            self._orderings.learn(*orders[start : start + _CHUNK])
        return orders

    def _miscounted(self, order: Order, judged: Mapping[str, bool]) -> str:
        seen = self._orderings.seen(order)
        statuses = [self._orderings.status(label) for label in dict.fromkeys(order)]
        refused = {self._orderings.status(label) for label in self._orderings.refused(order)}
        for effect, due in judged.items():
            causes, value = self._meaning.effects[effect], _part(seen.after.value, effect)
            count, most = count_of(value, effect), times(causes, statuses)
            # A flag shows whether an effect happened, not how often. A refused callback is not lost.
            wanted = min(most, 1) if isinstance(value, bool) else most
            least = wanted if due and refused.isdisjoint(causes) else 0
            if not least <= count <= most:
                happened = "1 time" if count == 1 else f"{count} times"
                cause = "" if most else f": it belongs to {' and '.join(causes)}"
                return f"{effect} happened {happened} after {', '.join(order)}; expected {most}{cause}"
        return ""

    def _replaced(self, order: Order, terminal: Collection[str]) -> str:
        status = _status(self._orderings.seen(order).after.value)
        if any(names(status, each) for each in terminal):
            return ""
        wanted = next(label for label in order if label in terminal)
        return f"the status is {status or None!r} after {', '.join(order)}; expected {wanted!r}, which is terminal"


def _once(trial: Trial) -> None:
    effects = _ticked_effects(trial)
    plan = ("plan",) if trial.ticks("plan") else ()
    cases: dict[Order, dict[str, bool]] = {}
    for effect, causes in effects.items():
        for status in causes:
            way = _way_of(trial, status)
            # Repeat the status at once; and repeat it together with all events before it.
            for order in ((*way, status), (*way, *way)):
                cases.setdefault(order, {})[effect] = True
        if len(causes) > 1 and Status.VERIFIED_FAILED not in causes:
            several = [status for status in _LIFE if status in causes and status not in plan]
            cases.setdefault((*plan, *several, several[-1]), {})[effect] = True
    _life(trial).check(cases)
    for effect, causes in effects.items():
        for status in (each for each in causes if each in _OF_CHANNELS):
            channels = f"{status}/whatsapp", f"{status}/sms"
            judge = _Judge(trial, f"plan-{channels[0]}+1-{channels[1]}+10", *plan, *channels)
            judge.check({(*plan, *channels): {effect: True}})


def _only(trial: Trial) -> None:
    effects = _ticked_effects(trial)
    cases: dict[Order, dict[str, bool]] = {}
    for status in filter(trial.ticks, _LIFE):
        cases[status,] = {effect: False for effect, causes in effects.items() if status not in causes}
        cases[_way_of(trial, status)] = dict.fromkeys(effects, True)
    _life(trial).check(cases)


def _not_lost(trial: Trial) -> None:
    terminal = trial.context.probe.meaning.terminal
    cases: dict[Order, dict[str, bool]] = {}
    for effect, causes in _ticked_effects(trial).items():
        for status in causes:
            for other in (each for each in _LIFE if each not in causes and trial.ticks(each)):
                late, early = _both_orders(trial, status, other)
                cases.setdefault(late, {})[effect] = True
                # An earlier terminal status may end the message, and so may a status that excludes this one.
                due = other not in terminal and _related(status, other)
                cases.setdefault(early, {})[effect] = due
    _life(trial).check(cases)


def _terminal(trial: Trial) -> None:
    terminal = [status for status in trial.context.probe.meaning.terminal if trial.ticks(status)]
    if not terminal:
        trial.skip("the receiver's settings tick no terminal status")
    orders: list[Order] = []
    for status in terminal:
        orders.append(_way_of(trial, status))
        for other in (each for each in _LIFE if each not in terminal and trial.ticks(each)):
            late, early = _both_orders(trial, status, other)
            orders += [late, early] if _related(status, other) else [late]
    _life(trial).check({order: {} for order in orders}, terminal=terminal)


def _wrong_codes(trial: Trial) -> None:
    meaning = trial.context.probe.meaning
    codes = {Status.VERIFIED, Status.VERIFIED_FAILED}
    effects = {effect: True for effect, causes in meaning.effects.items() if not codes.isdisjoint(causes)}
    terminal = [status for status in meaning.terminal if status == Status.VERIFIED]
    if not effects and not terminal:
        trial.skip("no effect belongs to verified or verified_failed, and neither is terminal")
    before = [status for status in ("plan", "sent", "delivered") if trial.ticks(status)]
    first, second = (f"verified_failed.{number}" for number in (1, 2))
    judge = _Judge(trial, _WRONG_CODES, *before, first, second, "verified")
    retried = (*before, first, first, second, second, "verified")
    judge.check({(*before, first, second, "verified"): effects, retried: effects}, terminal=terminal)


def _life(trial: Trial) -> _Judge:
    return _Judge(trial, "+1-".join(_LIFE), *filter(trial.ticks, _LIFE))


def _way_of(trial: Trial, status: str) -> Order:
    """Return the statuses of the shortest way to one that the receiver subscribes to."""
    return tuple(filter(trial.ticks, way_to(status)))


def _both_orders(trial: Trial, status: str, other: str) -> tuple[Order, Order]:
    """Return the orders in which another status comes after one, and before it."""
    way = tuple(each for each in _way_of(trial, status) if each not in {status, other})
    return (*way, status, other), (*way, other, status)


def _related(status: str, other: str) -> bool:
    """Tell whether a status counts after another: one message can have both, or a right code came in the end."""
    return status == Status.VERIFIED or _in_one_life(status, other)


def _ticked_effects(trial: Trial) -> dict[str, list[str]]:
    """Return the effects, each with those of its statuses that the receiver subscribes to."""
    ticked = {
        effect: [status for status in causes if trial.ticks(status)]
        for effect, causes in trial.context.probe.meaning.effects.items()
    }
    if not any(ticked.values()):
        trial.skip("the receiver's settings tick no status that has an effect")
    return ticked


_CODE = """\
EFFECTS = {"verified": "credit", "sent_failed": "refund", "target_invalid": "refund"}
with database.transaction():
    effect = EFFECTS.get(status)  # compare the whole word
    if effect and database.insert_if_new(message_id, effect):  # INSERT … ON CONFLICT DO NOTHING
        have_the_effect(message_id, effect)
$ok"""
_KEYED = Fix(
    "Give each effect a key: the message's id and the name of the effect, without the channel or the status. Insert "
    "the key into a table with a unique constraint on it, in the transaction that has the effect.",
    _CODE,
    section="Status",
)
_WHOLE = Fix("Look the effect up by the whole name of the status. No other has it.", _CODE, section="Status")
_ALWAYS = Fix(
    "Let only the effect's own key decide if it has happened. Ignore the message's status. Do not undo the effect.",
    _CODE,
    section="Status",
)
_EACH_CODE = Fix(
    "Identify a wrong code by the message's id and its `itime`: a retry has the same, and the next wrong code has "
    "another. Insert this key into a table with a unique constraint on it, and count the keys.",
    """\
with database.transaction():
    if status == "verified_failed" and database.insert_if_new(message_id, status, row["itime"]):
        count_wrong_code(message_id)
$ok""",
)
_RANK = Fix(
    "Rank the statuses, the terminal ones highest, and never replace a status by one of lower rank. `read` and "
    "`verified_timeout` come below `verified`.",
    """\
RANK = {"plan": 0, "target_valid": 1, "target_invalid": 2, "sent_failed": 3, "sent": 4, "delivered_failed": 5,
        "delivered": 6, "read": 7, "verified_timeout": 8, "verified_failed": 9, "verified": 10}
with database.transaction():
    row = database.get_or_create_locked(message_id)  # SELECT … FOR UPDATE
    if RANK.get(status, -1) > RANK.get(row.status, -1):
        row.update(status)
$ok""",
    section="Status",
)
_effects = partial(Check, need="probe", severity=Severity.BLOCKER, source="?", meanings=("effects",))
_BOTH = "EngageLab repeats callbacks and does not keep their order. "

MEANING = (
    _effects(
        id="F01",
        name="effect-once",
        title="Each effect happens once for a message",
        why=_BOTH + "A status can also come once for each channel, and two statuses can have the same effect. A "
        "receiver that looks only for the same event again pays, bills or refunds twice.",
        stimulus="Each status of `effects` twice, with the statuses before it again, over two channels, and together "
        "with the other statuses of its effect.",
        expected="The effect happens once. Only a wrong code is something new each time.",
        fix=_KEYED,
        work=_once,
    ),
    _effects(
        id="F02",
        name="effect-of-its-status",
        title="Each effect happens after its statuses, and after no other",
        why="The names of statuses are alike: `verified_failed` begins with `verified`, and `delivered_failed` ends "
        "like `sent_failed`. A receiver that compares a part of the name gives credit for a wrong code. One that has "
        "an effect early, such as at `delivered`, has it for messages that never come so far.",
        stimulus="Every status alone, and with the statuses before it.",
        expected="Exactly the effects of the statuses that were sent, each once.",
        fix=_WHOLE,
        work=_only,
    ),
    _effects(
        id="F03",
        name="effect-not-lost",
        title="No other status, before or after, undoes an effect or repeats it",
        why=_BOTH + "A receiver that ignores a status because another one came first loses its effect: a user who has "
        "entered the right code does not get in. One that decides by the status it keeps has the effect again for "
        "each late status.",
        stimulus="Each status of `effects` with every other status, in both orders.",
        expected="The effect happens once. After a status that is declared `terminal` it may also not happen.",
        fix=_ALWAYS,
        work=_not_lost,
    ),
    _effects(
        id="F04",
        name="terminal-stays",
        title="No other status replaces a terminal one",
        why=_BOTH + "A receiver that ranks `verified_timeout` or `read` above `verified` forgets that the user has "
        "entered the right code.",
        stimulus="Each terminal status with every other status, in both orders.",
        expected="The terminal status. If two terminal statuses come, either may stay.",
        severity=Severity.MAJOR,
        fix=_RANK,
        meanings=("terminal",),
        work=_terminal,
    ),
    _effects(
        id="F05",
        name="wrong-codes",
        title="Each wrong code counts once, and then the right one counts",
        why="A user can mistype the code several times. These events are alike but for their `itime`. A receiver that "
        "takes the second wrong code for a retry does not count it, so it locks no user out. One that counts a retry "
        "locks out a user who mistyped once.",
        stimulus="Two wrong codes and then the right one; the same with each wrong code sent again.",
        expected="Effects of `verified_failed` twice, effects of `verified` once, and `verified` if it is terminal.",
        severity=Severity.MAJOR,
        meanings=("effects", "terminal"),
        fix=_EACH_CODE,
        work=_wrong_codes,
    ),
)

"""Family C, order: does a message end in the right state, in whatever order its events arrive?"""

from __future__ import annotations

from functools import partial
from itertools import permutations

from engagelab_mock.checks.arrivals import AnyOrder, Arrivals, Order
from engagelab_mock.checks.check import Check, Fix
from engagelab_mock.checks.course import Step
from engagelab_mock.checks.state import COUNT, Path, dotted
from engagelab_mock.checks.trial import Trial
from engagelab_mock.checks.verdict import Severity
from engagelab_mock.clock import stopwatch

_PLAN = Step("plan", 0, channel="")
_SENT = Step("sent", 2)
_DELIVERED = Step("delivered", 5)
_NOT_DELIVERED = Step("delivered_failed", 8, error_code=5012)
_WRONG_CODE = Step("verified_failed", 15)
_VERIFIED = Step("verified", 20)
_OVER_WHATSAPP = (
    Step("sent", 2, channel="whatsapp"),
    Step("delivered_failed", 10, channel="whatsapp", error_code=5012),
)
_OVER_SMS = (Step("sent", 12), Step("delivered", 17))

#: The courses every order of which is tried.
_TRACES = (
    (_PLAN, _SENT, _NOT_DELIVERED),
    (_PLAN, _SENT, _DELIVERED, _VERIFIED),
)
#: After how long no further orders are tried, in seconds: of a receiver or a probe that is slow.
_ENOUGH = 6.0
_CHUNK = 6


def _reorder_pair(trial: Trial) -> None:
    AnyOrder(Arrivals(trial, _SENT, _DELIVERED)).check([(1, 0)])


def _all_permutations(trial: Trial) -> None:
    end = stopwatch() + _ENOUGH
    wanted = [[step for step in trace if trial.ticks(step.status)] for trace in _TRACES]
    if not any(len(steps) > 1 for steps in wanted):
        trial.skip("the receiver's settings tick no two statuses of one course")
    for steps in wanted:
        if len(steps) < 2:
            continue
        arrivals = Arrivals(trial, *steps)
        judge = AnyOrder(arrivals)
        orders = sorted(permutations(arrivals.full), reverse=True)[:-1]
        for start in range(0, len(orders), _CHUNK):
            if stopwatch() > end:
                trial.warn(f"{start} of {len(orders)} orders of {arrivals.told(arrivals.full)} were tried, for time")
                break
            judge.check(orders[start : start + _CHUNK])
        arrivals.point_out(arrivals.full, orders[0])


def _gap(trial: Trial) -> None:
    wanted = [step for step in (_DELIVERED, _VERIFIED) if trial.ticks(step.status)]
    if not wanted:
        trial.skip("the receiver's settings tick neither delivered nor verified")
    unseen = []
    for step in wanted:
        arrivals = _following(trial, _PLAN, _SENT, last=(step,))
        before, full = arrivals.full[:-1], arrivals.full
        alone = arrivals.schedule(full[-1:])
        message = trial.message()
        trial.accepted(arrivals.send(message, full[-1]), f"{step}, of which nothing came before", alone)
        if trial.await_change(message).changed:
            continue
        if arrivals.differing(before, full):
            trial.show(message)
            trial.fail(f"{step} was acknowledged and had no effect; after {arrivals.told(before)} it has one", alone)
        unseen.append(step.status)
    if len(unseen) == len(wanted):
        trial.inconclusive(f"{' and '.join(unseen)} have no effect that `observe` shows, even in order")


def _late_after_terminal(trial: Trial) -> None:
    arrivals = _following(trial, _SENT, last=(_DELIVERED, _VERIFIED))
    *before, delivered, verified = arrivals.full
    AnyOrder(arrivals).check([(*before, verified, delivered)])
    _supersedes(trial, _SENT, _DELIVERED, _VERIFIED)


def _retried_code(trial: Trial) -> None:
    _supersedes(trial, _PLAN, _SENT, _DELIVERED, _WRONG_CODE, _VERIFIED)


def _conflict(trial: Trial) -> None:
    arrivals = _following(trial, _PLAN, _SENT, last=(_DELIVERED, _NOT_DELIVERED))
    *before, delivered, failed = arrivals.full
    one, other = (*before, delivered, failed), (*before, failed, delivered)
    alone = [(*before, delivered), (*before, failed)]

    def undecided() -> list[Path]:
        arrivals.learn(*alone, one, other)
        ways = [arrivals.telling(alone[0], alone[1:]), arrivals.telling(alone[1], alone[:1])]
        decisive, named = ways[0][0] & ways[1][0], ways[0][1] and ways[1][1]
        wrong = decisive & arrivals.differing(one, other)
        # An app may keep the error of an attempt that failed beside the status that prevailed.
        return [] if named and decisive - wrong else sorted(wrong)

    if arrivals.persists(undecided, *alone, one, other):
        path = undecided()[0]
        arrivals.fail(
            f"{dotted(path)} is {arrivals.state(one).get(path)!r:.60} after {arrivals.told(one)}, and "
            f"{arrivals.state(other).get(path)!r:.60} after {arrivals.told(other)}: what came last prevails",
            one,
            other,
        )


def _fallback(trial: Trial) -> None:
    _both_kept(trial)
    arrivals = Arrivals(trial, *_OVER_WHATSAPP, *_OVER_SMS)
    _is_superseded(arrivals, (0, 1), (0, 2, 3))


def _both_kept(trial: Trial) -> None:
    """Fail if an app that keeps whatever comes in a list takes the second channel's event for a duplicate."""
    other = Step("sent", 12)
    arrivals = Arrivals(trial, _OVER_WHATSAPP[0], other, Step("delivered", 17, channel="whatsapp"))

    def lost() -> list[Path]:
        arrivals.learn((0,), (2,), (0, 1), (0, 2), (2, 0))
        return [
            path
            for path, count in arrivals.state((0, 1)).items()
            if path[-1:] == (COUNT,)
            and count == arrivals.state((0,)).get(path)
            # The list keeps whatever comes, what is late as well.
            and arrivals.state((0, 2)).get(path) == arrivals.state((2, 0)).get(path) != arrivals.state((2,)).get(path)
        ]

    if arrivals.persists(lost, (0,), (0, 1)):
        where = dotted(lost()[0][:-1])
        arrivals.fail(
            f"of {arrivals.told((0, 1))}, {where} keeps the first, and takes the second for a duplicate of it", (0, 1)
        )


def _ties(trial: Trial) -> None:
    arrivals = Arrivals(trial, *(Step(step.status) for step in (_SENT, _DELIVERED, _VERIFIED)))
    AnyOrder(arrivals).check(sorted(permutations(arrivals.full), reverse=True)[:-1])


def _following(trial: Trial, *before: Step, last: tuple[Step, ...]) -> Arrivals:
    """Make a course of some steps after others, of which those are left out that the receiver does not want."""
    return Arrivals(trial, *(step for step in before if trial.ticks(step.status)), *last)


def _supersedes(trial: Trial, *steps: Step) -> None:
    """Fail if the last step has no effect after the one before it."""
    arrivals = _following(trial, *steps[:-2], last=steps[-2:])
    *before, earlier, later = arrivals.full
    _is_superseded(arrivals, (*before, earlier), (*before, later))


def _is_superseded(arrivals: Arrivals, earlier: Order, later: Order) -> None:
    """Fail if the state that some steps lead to is not superseded by that which others lead to, after them."""
    both = tuple(sorted({*earlier, *later}))
    trial = arrivals.trial

    def stuck() -> bool:
        arrivals.learn(earlier, later, both)
        decisive, _ = arrivals.telling(later, [earlier])
        if decisive:
            return not decisive - arrivals.differing(later, both)
        return bool(arrivals.differing(earlier, later)) and not arrivals.differing(earlier, both)

    if arrivals.persists(stuck, earlier, later, both):
        arrivals.fail(
            f"{arrivals.told(both)}, in this order, left the state as {arrivals.told(earlier)} did: "
            f"{arrivals.steps[both[-1]]} had no effect",
            both,
        )
    if arrivals.stays(lambda: not any(arrivals.differing((), order) for order in (earlier, later))):
        trial.inconclusive(f"{arrivals.told(both)}: nothing of them is seen in what `observe` returns")


_ORDER_WHY = (
    "Callbacks arrive out of order: one waits for its retry while the next is delivered, two travel over different "
    "connections to different workers. "
)
_RANK = Fix(
    "Give the statuses ranks along a message's way, and let none take the place of one further along. Lock the "
    "message's row while you compare.",
    """\
RANK = {"plan": 0, "target_valid": 1, "sent_failed": 2, "sent": 3, "delivered_failed": 4, "delivered": 5,
        "verified_timeout": 6, "verified_failed": 7, "verified": 8}
with database.transaction():
    row = database.get_or_create_locked(message_id)  # SELECT … FOR UPDATE
    if RANK.get(status, -1) > RANK.get(row.status, -1):
        row.update(status)
$ok""",
)
_check = partial(Check, need="probe", severity=Severity.MAJOR, source="?", fix=_RANK)

ORDERING = (
    _check(
        id="C06",
        name="reorder-pair",
        title="A late `sent` does not take `delivered` back",
        why=_ORDER_WHY + "A receiver that keeps what came last shows a message as sent that was delivered.",
        stimulus="`delivered`, and then `sent`, which was reported three seconds earlier.",
        expected="The state as after `sent`, `delivered`, or as after `delivered` alone; no 5xx.",
        severity=Severity.BLOCKER,
        work=_reorder_pair,
    ),
    _check(
        id="C07",
        name="all-permutations",
        title="Every order of a message's events leads to one state",
        why=_ORDER_WHY + "There are 24 orders of four events, and a bug may need a certain one.",
        stimulus="Every order of plan, sent, delivered_failed, and of plan, sent, delivered, verified.",
        expected="One final state. What comes late may be entered or left out; it changes nothing else.",
        work=_all_permutations,
    ),
    _check(
        id="C08",
        name="gap",
        title="A status is accepted of which nothing came before",
        why="Only ticked events are sent, and what was given up never comes. A receiver that allows no status without "
        "the one before it stays behind for ever.",
        stimulus="`delivered` alone, and `verified` alone.",
        expected="Acknowledged, with an effect; unless the app makes nothing of the status at all.",
        work=_gap,
    ),
    _check(
        id="C09",
        name="late-after-terminal",
        title="`verified` stays when `delivered` comes late, and supersedes it in order",
        why=_ORDER_WHY + "The official SDK calls both `delivered` and `verified` terminal, and yet the one follows the "
        "other: a receiver that takes no more after a terminal status loses `verified`, one that takes any terminal "
        "status for the last loses it again.",
        stimulus="`verified` and then `delivered`; `delivered` and then `verified`.",
        expected="The state as after `verified`.",
        source="K",
        work=_late_after_terminal,
    ),
    _check(
        id="C10",
        name="retry-code",
        title="The right code after a wrong one counts",
        why="A user who mistypes the code enters it again. A receiver that takes `verified_failed` for the end keeps "
        "out a user whom EngageLab has verified.",
        stimulus="`verified_failed`, and then `verified`.",
        expected="The state as after `verified`; failed attempts may be kept beside it.",
        work=_retried_code,
    ),
    _check(
        id="C11",
        name="conflict",
        title="Reports that contradict each other lead to one state",
        why="`delivered` and `delivered_failed` of one message contradict each other, and no document says which of "
        "them counts. Whichever a receiver takes, it must not be a matter of which came last.",
        stimulus="`delivered` and `delivered_failed`, in both orders.",
        expected="The same status after both.",
        severity=Severity.MINOR,
        work=_conflict,
    ),
    _check(
        id="C14",
        name="fallback-channel",
        title="What comes over the second channel is not lost behind the first",
        why="When WhatsApp fails, SMS takes over, under the same message's id: there are two `sent`, and a `delivered` "
        "after a `delivered_failed`. A receiver that knows events by id and status takes the second `sent` for a "
        "duplicate; one that takes failures for the end never sees the message delivered.",
        stimulus="`sent` and `delivered_failed` over WhatsApp, `sent` and `delivered` over SMS.",
        expected="The message is delivered; an app that lists events has those of both channels.",
        severity=Severity.MINOR,
        source="D",
        work=_fallback,
    ),
    _check(
        id="C15",
        name="itime-ties",
        title="Events of the same second are ordered by what they say",
        why="`itime` and `msg_time` are whole seconds, and several statuses can be reached within one. A receiver that "
        "orders by time alone keeps whichever came first, or last.",
        stimulus="`sent`, `delivered` and `verified`, all of the same second, in every order.",
        expected="One final state, that of `verified`.",
        severity=Severity.MINOR,
        work=_ties,
    ),
)

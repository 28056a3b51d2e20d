"""Family C, order: does a message end in the right state, in every order of its events?"""

from __future__ import annotations

from functools import partial
from itertools import permutations

from engagelab_mock.checks.check import Check, Fix, Severity
from engagelab_mock.checks.orderings import Convergence, Order, Orderings
from engagelab_mock.checks.trial import Trial
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.state import COUNT, Path, dotted

#: A user enters a wrong code, and then the right one.
_WRONG_CODE_FIRST = "plan-sent+2-delivered+3-verified_failed+10-verified+5"
#: Two contradictory reports.
_CONTRADICTORY = "plan-sent+2-delivered+3-delivered_failed+3%5012"
#: `sent` over two channels, and a status that comes after both.
_TWO_CHANNELS = "sent/whatsapp-sent/sms+10-delivered/whatsapp+5"
_SAME_SECOND = "sent-delivered-verified"

#: After this time, in seconds, no more orders are tried, because the receiver or the probe is slow.
_ENOUGH = 6.0
#: How many orders are delivered before their states are read.
_CHUNK = 6


def _reorder_pair(trial: Trial) -> None:
    late: Order = ("delivered", "sent")
    Convergence(Orderings(trial, "verified", *late), late).check([late])


def _all_permutations(trial: Trial) -> None:
    wanted = {
        "delivered_failed": _ticked(trial, "plan", "sent", "delivered_failed"),
        "verified": _ticked(trial, "plan", "sent", "delivered", "verified"),
    }
    traces = {scenario: labels for scenario, labels in wanted.items() if len(labels) > 1}
    if not traces:
        trial.skip("the receiver's settings do not tick two statuses of one message")
    unseen, tried = [], 0
    for scenario, labels in traces.items():
        orderings = Orderings(trial, scenario, *labels)
        slow = trial.context.profile.lag > trial.context.profile.answer
        convergence = Convergence(orderings, *(_other_orders(orderings) if slow else []))
        if convergence.unseen is not None:
            unseen.append(convergence.unseen)
        else:
            tried += _try_orders(trial, orderings, convergence)
    if len(unseen) == len(traces):
        raise unseen[-1]
    if not tried:
        trial.out_of_time()


def _try_orders(trial: Trial, orderings: Orderings, convergence: Convergence) -> int:
    """Try the orders for which there is time, and return their number."""
    orders, profile = _other_orders(orderings), trial.context.profile
    end = stopwatch() + max(_ENOUGH, 0.6 * trial.time_left())
    usual = len(orderings.in_order) * profile.answer
    # If the app works after its answer, most of the time is waiting. Otherwise it is sending.
    chunk = len(orders) if profile.lag > profile.answer else max(1, min(_CHUNK, int(1 / max(usual, 0.01))))
    tried = 0
    while tried < len(orders):
        if stopwatch() > end or trial.time_left() < chunk * usual + 2 * profile.lag:
            trial.warn(
                f"there was only time for {tried} of the {len(orders)} orders of {', '.join(orderings.in_order)}: "
                "give more, with `timeout=` or --total"
            )
            break
        convergence.check(orders[tried : tried + chunk])
        tried += len(orders[tried : tried + chunk])
    orderings.point_out(orderings.in_order, *orders[: min(tried, 1)])
    return tried


def _gap(trial: Trial) -> None:
    wanted = _ticked(trial, "delivered", "verified")
    if not wanted:
        trial.skip("the receiver's settings tick neither delivered nor verified")
    sent = {}
    for status in wanted:
        orderings = Orderings(trial, "verified", *_ticked(trial, "plan", "sent"), status)
        single = orderings.schedule((status,))
        message = trial.message()
        for attempt in trial.play(single, message):
            trial.expect_accepted(attempt, f"{status} without the statuses before it", single)
        sent[status] = message, orderings, single
    unseen = [status for status in sent if not trial.await_effect(sent[status][0])]
    for status in unseen:
        message, orderings, single = sent[status]
        before = orderings.in_order[:-1]
        # An app may remove the data of a finished message. Then its state is the same as before all events.
        orderings.learn((), before, orderings.in_order)
        if orderings.differing(before, orderings.in_order) and orderings.differing((), orderings.in_order):
            trial.show(message)
            trial.fail(
                f"{status} alone was acknowledged and had no effect; after {', '.join(before)} it has an effect", single
            )
    if len(unseen) == len(wanted):
        trial.not_applicable(f"`observe` shows no effect of {' and '.join(unseen)}, even in order")


def _late_after_terminal(trial: Trial) -> None:
    orderings = Orderings(trial, "verified", *_ticked(trial, "sent"), "delivered", "verified")
    *before, delivered, verified = orderings.in_order
    late = (*before, verified, delivered)
    convergence = Convergence(orderings, late, (*before, delivered))
    # Do this first, because the in-order state is only right if `verified` counts in it.
    _expect_superseded(orderings, (*before, delivered), (*before, verified))
    convergence.check([late])


def _retried_code(trial: Trial) -> None:
    labels = (*_ticked(trial, "plan", "sent", "delivered"), "verified_failed", "verified")
    orderings = Orderings(trial, _WRONG_CODE_FIRST, *labels)
    *before, failed, verified = orderings.in_order
    _expect_superseded(orderings, (*before, failed), (*before, verified))


def _conflict(trial: Trial) -> None:
    labels = (*_ticked(trial, "plan", "sent"), "delivered", "delivered_failed")
    orderings = Orderings(trial, _CONTRADICTORY, *labels)
    *before, delivered, failed = orderings.in_order
    one, other = (*before, delivered, failed), (*before, failed, delivered)
    alone: list[Order] = [(*before, delivered), (*before, failed)]

    def undecided() -> list[Path]:
        orderings.learn(*alone, one, other)
        ways = [orderings.telling(alone[0], alone[1:]), orderings.telling(alone[1], alone[:1])]
        decisive, named = ways[0][0] & ways[1][0], ways[0][1] and ways[1][1]
        wrong = decisive & orderings.differing(one, other)
        # An app may keep the error of a failed attempt in addition to the status that prevailed.
        return [] if named and decisive - wrong else sorted(wrong)

    if orderings.persists(undecided, *alone, one, other):
        path = undecided()[0]
        orderings.fail(
            f"{dotted(path)} is {orderings.state(one).get(path)!r:.60} after {', '.join(one)}, and "
            f"{orderings.state(other).get(path)!r:.60} after {', '.join(other)}: the last event prevails",
            one,
            other,
        )


def _fallback(trial: Trial) -> None:
    _expect_both_kept(trial)
    labels = ("sent/whatsapp", "delivered_failed", "sent/sms", "delivered")
    orderings = Orderings(trial, "fallback", *labels)
    _expect_superseded(orderings, labels[:2], (labels[0], *labels[2:]))


def _expect_both_kept(trial: Trial) -> None:
    """Fail if an app that keeps every event in a list regards the second channel's event as a duplicate."""
    orderings = Orderings(trial, _TWO_CHANNELS)
    first, second, later = orderings.in_order

    def lost() -> list[Path]:
        orderings.learn((first,), (second,), (later,), (first, second), (first, later), (later, first))
        told_apart = {path[:-1] for path in orderings.differing((first,), (second,))}
        return [
            path
            for path, count in orderings.state((first, second)).items()
            # A list of statuses without channels, such as a set, does not keep two equal entries.
            if path[-1:] == (COUNT,)
            and any(where[: len(path) - 1] == path[:-1] for where in told_apart)
            and count == orderings.state((first,)).get(path)
            # The list keeps every event, including a late one.
            and orderings.state((first, later)).get(path)
            == orderings.state((later, first)).get(path)
            != orderings.state((later,)).get(path)
        ]

    if orderings.persists(lost, (first,), (first, second)):
        where = dotted(lost()[0][:-1])
        reason = f"after {first}, {second}, {where} only has the first event: the second was taken for a duplicate"
        orderings.fail(reason, (first, second))


def _ties(trial: Trial) -> None:
    orderings = Orderings(trial, _SAME_SECOND)
    orders = _other_orders(orderings)
    Convergence(orderings, *orders).check(orders)


def _ticked(trial: Trial, *statuses: str) -> tuple[str, ...]:
    """Return the statuses that the receiver subscribes to."""
    return tuple(status for status in statuses if trial.ticks(status))


def _other_orders(orderings: Orderings) -> list[Order]:
    """Return every order except the one in which the events happened, the most unusual first."""
    return list(permutations(orderings.in_order))[:0:-1]


def _expect_superseded(orderings: Orderings, earlier: Order, later: Order) -> None:
    """Fail if the later events have no effect after the earlier ones."""
    both = tuple(label for label in orderings.in_order if label in {*earlier, *later})

    def stuck() -> bool:
        orderings.learn((), earlier, later, both)
        decisive, _ = orderings.telling(later, [earlier])
        if decisive:
            # The state after both may also be different, such as a text of all events.
            unchanged = decisive - orderings.differing(earlier, both)
            return bool(unchanged) and not decisive - orderings.differing(later, both)
        return bool(orderings.differing(earlier, later)) and not orderings.differing(earlier, both)

    if orderings.persists(stuck, earlier, later, both):
        came_to = "was refused" if both[-1] in orderings.refused(both) else "had no effect"
        orderings.fail(
            f"{', '.join(both)}, in this order, left the same state as {', '.join(earlier)}: {both[-1]} {came_to}",
            both,
        )
    if unseen := orderings.unseen(earlier, later):
        raise unseen


_ORDER_WHY = (
    "Callbacks arrive out of order: one waits for its retry while the next is delivered, or two travel over different "
    "connections to different workers. "
)
_RANK = Fix(
    "Rank the statuses by their place in a message's life. Never replace a status by one of lower rank. Lock the "
    "message's row while you compare.",
    """\
RANK = {"plan": 0, "target_valid": 1, "target_invalid": 2, "sent_failed": 3, "sent": 4, "delivered_failed": 5,
        "delivered": 6, "verified_timeout": 7, "verified_failed": 8, "verified": 9}
with database.transaction():
    row = database.get_or_create_locked(message_id)  # SELECT … FOR UPDATE
    if RANK.get(status, -1) > RANK.get(row.status, -1):
        row.update(status)
$ok""",
    section="Status",
)
_check = partial(Check, need="probe", severity=Severity.MAJOR, source="?", fix=_RANK)

ORDERING = (
    _check(
        id="C06",
        name="reorder-pair",
        title="A late `sent` does not replace `delivered`",
        why=_ORDER_WHY + "A receiver that keeps the last status it got shows a delivered message as sent.",
        stimulus="`delivered`, and then `sent`, which was reported three seconds earlier.",
        expected="The state as after `sent`, `delivered`, or as after `delivered` alone; no 5xx.",
        severity=Severity.BLOCKER,
        work=_reorder_pair,
    ),
    _check(
        id="C07",
        name="all-permutations",
        title="Every order of a message's events leads to one state",
        why=_ORDER_WHY + "Four events can arrive in 24 orders, and a bug may need a certain one.",
        stimulus="Every order of plan, sent, delivered_failed, and of plan, sent, delivered, verified.",
        expected="One final state. A late event may be recorded or ignored; it changes nothing else.",
        work=_all_permutations,
    ),
    _check(
        id="C08",
        name="gap",
        title="A status is accepted without the statuses before it",
        why="Only ticked events are sent, and a callback that was given up never comes. A receiver that requires the "
        "statuses to follow each other without a gap never updates such a message again.",
        stimulus="`delivered` alone, and `verified` alone.",
        expected="Acknowledged, with an effect, unless the app never uses the status.",
        work=_gap,
    ),
    _check(
        id="C09",
        name="late-after-terminal",
        title="`verified` stays when `delivered` comes late, and replaces it in order",
        why=_ORDER_WHY + "The official SDK calls both `delivered` and `verified` terminal, but one follows the other. "
        "A receiver that accepts nothing after a terminal status loses `verified`. One that lets any terminal status "
        "replace another loses it when `delivered` comes late.",
        stimulus="`verified` and then `delivered`; `delivered` and then `verified`.",
        expected="The state as after `verified`.",
        source="K",
        work=_late_after_terminal,
    ),
    _check(
        id="C10",
        name="retry-code",
        title="The right code counts after a wrong one",
        why="A user who mistypes the code enters it again. A receiver that treats `verified_failed` as final locks out "
        "a user whom EngageLab has verified.",
        stimulus="`verified_failed`, and then `verified`.",
        expected="The state as after `verified`; failed attempts may be kept in addition.",
        work=_retried_code,
    ),
    _check(
        id="C11",
        name="conflict",
        title="Reports that contradict each other lead to one state",
        why="`delivered` and `delivered_failed` of one message contradict each other. The documents do not say which "
        "one counts. A receiver may choose either, but the choice must not depend on which came last.",
        stimulus="`delivered` and `delivered_failed`, in both orders.",
        expected="The same status after both.",
        severity=Severity.MINOR,
        work=_conflict,
    ),
    _check(
        id="C14",
        name="fallback-channel",
        title="Events of the second channel are not lost after those of the first",
        why="When WhatsApp fails, SMS takes over with the same message id. There are two `sent`, and a `delivered` "
        "after a `delivered_failed`. A receiver that identifies events by id and status takes the second `sent` for a "
        "duplicate. One that treats failures as final never sees the message delivered.",
        stimulus="`sent` and `delivered_failed` over WhatsApp, `sent` and `delivered` over SMS.",
        expected="The message is delivered; an app that lists events has those of both channels.",
        severity=Severity.MINOR,
        source="D",
        work=_fallback,
    ),
    _check(
        id="C15",
        name="itime-ties",
        title="Events of the same second are ordered by their status",
        why="`itime` and `msg_time` are whole seconds, and a message can reach several statuses within one second. A "
        "receiver that orders by time alone keeps the first one that arrives, or the last.",
        stimulus="`sent`, `delivered` and `verified`, all of the same second, in every order.",
        expected="One final state, that of `verified`.",
        severity=Severity.MINOR,
        work=_ties,
    ),
)

"""Family C, isolation: does each message have its own state, even if it has much in common with another?"""

from __future__ import annotations

from typing import Any

from engagelab_mock.checks.check import Check, Fix, Severity
from engagelab_mock.checks.orderings import Order, Orderings
from engagelab_mock.checks.profile import describe
from engagelab_mock.checks.trial import Trial
from engagelab_mock.explore.state import MISSING, Path, State, differing, dotted, names, state_of, told_at
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.status import Status

#: The data that two messages may share, and the arguments of a message with such data.
_SHARED = {"recipient": ["to"], "custom_args": ["custom_args"], "recipient and custom_args": ["to", "custom_args"]}
#: How many seconds pass before each event: the other checks send no events in these seconds.
_SECONDS = 41


def _isolation(trial: Trial) -> None:
    orderings = _two_states(trial)
    for what, shared in _SHARED.items():
        # Some differences depend on the moment, so try it again before the check fails.
        if (
            _mixed_up(orderings, shared)
            and (found := _mixed_up(orderings, shared))
            and not (_counts(orderings) and not _mixed_up(orderings, shared, totals=True))
        ):
            trial.fail(f"of two messages with the same {what}, {found}")


def _two_states(trial: Trial) -> Orderings:
    """Return the orders of `sent` and a later status that changes the state again.

    Fail if only the first message that has these events gets its own state.
    """
    known = ("verified", "delivered", "delivered_failed")
    for last in [each for each in known if trial.ticks(each)] or known[:1]:
        reason = "%5012" if Status(last).failure else ""
        orderings = Orderings(trial, f"plan-sent+{_SECONDS}-{last}+{_SECONDS}{reason}", "sent", last)
        early, both = orderings.in_order[:1], orderings.in_order
        orderings.learn((), early, early, both, both)
        for order, before in ((early, ()), (both, early)):
            _expect_kept(orderings, order, before)
        if orderings.differing(early, both):
            return orderings
    trial.not_applicable("`observe` shows no effect of verified, delivered or delivered_failed after sent")


def _expect_kept(orderings: Orderings, order: Order, before: Order) -> None:
    """Fail if the last event of an order had an effect for the first message that had it, but for no other."""
    status = orderings.status(order[-1])

    def lost() -> list[Path]:
        first, *others = orderings.states(order)
        without = orderings.states(before)[0]
        return [
            path
            for path in sorted(set.intersection(*(differing(first, other) for other in others)))
            if all(_misses(path, status, first, other, without) for other in others)
        ]

    if orderings.persists(lost, order):
        path = lost()[0]
        first, *_, other = orderings.states(order)
        orderings.fail(
            f"of two messages that had {', '.join(order)} in the same second, the second has not its own state: "
            f"{dotted(path)} is {told_at(other, path)}; it should be {told_at(first, path)}",
            order,
        )


def _misses(path: Path, status: str, first: State, other: State, without: State) -> bool:
    """Tell whether a leaf shows an event in the first state, and does not show it in the other."""
    value, got, missing = (state.get(path, MISSING) for state in (first, other, without))
    return (names(value, status) and not names(got, status)) or (value != missing and got == missing)


def _number(value: Any) -> float:
    """Return a number that a state shows; 0 if it shows none."""
    return value if type(value) in {int, float} else 0


def _counts(orderings: Orderings) -> bool:
    """Tell whether the state only shows numbers, which may be totals of a recipient."""
    state = orderings.state(orderings.in_order)
    return all(type(state.get(path)) in {int, float} for path in _decisive(orderings))


def _decisive(orderings: Orderings) -> set[Path]:
    """Return the leaves that tell the last event from the first."""
    both, early = orderings.in_order, orderings.in_order[:1]
    return orderings.telling(both, [early])[0] or orderings.differing(early, both)


def _mixed_up(orderings: Orderings, shared: list[str], *, totals: bool = False) -> str:
    """Say which of two messages that share data has not the same state as alone; empty if both have it.

    With `totals`, each of them should have the sum of both instead.
    """
    trial, both, early = orderings.trial, orderings.in_order, orderings.in_order[:1]
    data = {"to": trial.context.new_recipient(), "custom_args": {"order": trial.engagelab._engine.generate.nonce()}}
    given: dict[str, Any] = {name: data[name] for name in shared}
    decisive = _decisive(orderings)

    def due(path: Path, order: Order, other: Order) -> Any:
        value = orderings.state(order).get(path, MISSING)
        if not totals:
            return value
        mine, others, neither = (_number(orderings.state(each).get(path)) for each in (order, other, ()))
        return mine + others - neither

    def wrong(message: Message, order: Order, other: Order) -> str:
        state = state_of(trial.glance(message), message)
        misses = sorted(path for path in decisive if state.get(path, MISSING) != due(path, order, other))
        if len(misses) < len(decisive):
            return ""  # the app may show the recipient's data next to the message's state
        got, right = state.get(misses[0], MISSING), due(misses[0], order, other)
        return f"{dotted(misses[0])} is {got!r:.60} after {', '.join(order)}; it should be {right!r:.60}"

    def send(message: Message, order: Order) -> None:
        for attempt in trial.play(orderings.schedule(order), message):
            if attempt.response is not None and attempt.response.status in {401, 403}:
                trial.inconclusive(f"a valid callback: {describe(attempt)}")

    first = trial.message(**given)
    send(first, both)
    trial.context.settle()
    second = trial.message_with(f"the same {' and '.join(given)} as another", **given)
    kept = not wrong(first, both, ())  # sending the second may have replaced the state of the first
    for order in (early, both):
        send(second, order[-1:])
        trial.context.settle()
        if found := wrong(second, order, both):
            return f"the second has not its own state: {found}"
        found = wrong(first, both, order)
        if kept and found and not (wrong(first, (), order) and wrong(first, early, order)):
            return f"the first lost its state when the second had {order[-1]}: {found}"
    return ""


ISOLATION = (
    Check(
        id="C16",
        name="isolation",
        title="Messages that differ only in their id have separate states",
        why="A user asks for a second code: two messages have the same recipient, template and custom_args. A "
        "receiver that keeps its state by one of these takes the second for verified, or for a duplicate.",
        stimulus="sent and a later status of two messages of the same template and second, one message after the "
        "other, with nothing else in common, and with the same recipient, the same custom_args, or both.",
        expected="Each message has the state that it has alone. Totals of a recipient are the sum of both.",
        severity=Severity.BLOCKER,
        need="probe",
        source="?",
        fix=Fix(
            "Keep the state of a message, and recognise its duplicates, by its message id. Store the recipient and "
            "your own reference next to it.",
            """\
for row in json.loads($body)["rows"]:
    message = database.get_or_create_locked(row["message_id"])  # never by row["to"] or custom_args
    message.update(row["status"]["message_status"])""",
            section="Status",
        ),
        work=_isolation,
    ),
)

"""Family C, unknown messages: is a callback about a message that the app does not know, or not yet, handled?"""

from __future__ import annotations

from functools import partial

from engagelab_mock.checks.check import Check, Fix, Severity
from engagelab_mock.checks.context import accepted, describe
from engagelab_mock.checks.finding import Change
from engagelab_mock.checks.orderings import Orderings
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.io import SYNC, run_sync
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.errors import ProbeFailed
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.explore.state import MISSING, differing, dotted, names, single, state_of

#: Response statuses that say that the message is unknown, and not that the sender is.
_UNKNOWN = frozenset({404, 410, 422})


def _unknown_id(trial: Trial) -> None:
    message = trial.message(prepared=False)
    attempt = trial.send(message)
    if accepted(attempt):
        return
    what = f"a callback about a message that the app did not send: {describe(attempt)}"
    status = attempt.response.status if attempt.response is not None else 0
    crashed = attempt.outcome is Outcome.APP_RAISED or status >= 500
    if trial.context.profile.refuses and not (crashed or status in _UNKNOWN):
        # The reason for the refusal need not be the id.
        trial.inconclusive(f"the receiver accepts no valid callback: {trial.context.profile.refuses}")
    # A schedule is always about messages that the app did not send.
    trial.fail(what, Schedule.of("verified", trial.context.profile.status))


def _early_race(trial: Trial) -> None:
    probe = trial.context.probe
    if probe.prepare is None:
        trial.inconclusive("the app cannot be told about a message: give `prepare`, which needs a test in pytest")
    status = trial.context.profile.status
    orderings = Orderings(trial, "verified", status)
    order = orderings.in_order
    orderings.learn((), order, order)
    message = trial.message(prepared=False)
    before = trial.context.look(message)
    event = trial.events(orderings.schedule(order), message)[status]
    early = trial.send(event)
    trial.expect_answer(early, "a callback about a message that the app is about to send")
    trial.settled([message])
    try:
        run_sync(probe.prepare_message(SYNC, message))
    except ProbeFailed as error:
        trial.inconclusive(
            f"{error.what:.150}, after a callback about the same message: "
            "can your code send a message that is already stored?"
        )
    if not accepted(early):
        # A refused callback is not lost: EngageLab sends it again later.
        trial.expect_accepted(trial.send(event), "the retry of a callback that came early")

    def wrong() -> str:
        due, initial = orderings.state(order), orderings.state(())
        state = state_of(trial.context.look(message), message)
        effects = differing(initial, due) - orderings.noise()
        naming = {path for path in single(effects) if names(due.get(path), status)}
        misses = sorted(path for path in naming or effects if state.get(path, MISSING) != due.get(path, MISSING))
        if not misses or len(misses) < len(naming):
            return ""
        path = misses[0]
        return f"{dotted(path)} is {state.get(path, MISSING)!r:.60}, and should be {due.get(path, MISSING)!r:.60}"

    if orderings.persists(wrong, order):
        trial.show(message, Change(before, trial.context.look(message)))
        trial.fail(f"{status} came before the app knew the message, and is lost: {wrong()}")


_KNOWN = Fix(
    "Store the callback's data under its message id, whether or not you know that id, and acknowledge. The code that "
    "sends messages must then add to a row that already exists.",
    """\
with database.transaction():
    row = database.get_or_create_locked(message_id)  # both here and where the message is sent
    row.update(status)
$ok""",
)
_check = partial(Check, severity=Severity.MAJOR, source="?", fix=_KNOWN)

UNKNOWN_MESSAGES = (
    _check(
        id="C12",
        name="unknown-id",
        title="A callback about an unknown message is acknowledged",
        why="One account can serve several apps, and staging as well as production, so callbacks come about messages "
        "that another system sent. A callback that is not acknowledged is sent again for days, and may turn the "
        "address abnormal.",
        stimulus="A valid callback about a message id that was never issued.",
        expected="A success, no 5xx.",
        need="http",
        work=_unknown_id,
        needs_valid=False,
    ),
    _check(
        id="C13",
        name="early-race",
        title="A callback that is faster than the API's answer is not lost",
        why="EngageLab may report on a message before the app has read and stored the id that the API returned. A "
        "receiver that updates a row by its id then updates nothing and acknowledges, and the event never comes again.",
        stimulus="A valid callback about a message; then `prepare`, which does what the app does when it has sent a "
        "message; and the callback once more if it was refused.",
        expected="The state as if the callback had come afterwards.",
        need="probe",
        work=_early_race,
    ),
)

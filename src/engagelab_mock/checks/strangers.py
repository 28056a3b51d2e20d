"""Family C, strangers: what becomes of a callback about a message that the app does not know, or not yet?"""

from __future__ import annotations

from functools import partial

from engagelab_mock.checks.arrivals import Arrivals
from engagelab_mock.checks.check import Check, Fix
from engagelab_mock.checks.context import accepted, describe
from engagelab_mock.checks.course import Step, schedule_of
from engagelab_mock.checks.evidence import Change
from engagelab_mock.checks.state import MISSING, differing, dotted, names, single, state_of
from engagelab_mock.checks.trial import Trial
from engagelab_mock.checks.verdict import Severity
from engagelab_mock.delivery.outcome import Outcome

#: What says that it is the message that is unknown, and not the sender.
_UNKNOWN = frozenset({404, 410, 422})


def _unknown_id(trial: Trial) -> None:
    message = trial.message(prepared=False)
    attempt = trial.send(message)
    if accepted(attempt):
        return
    what = f"a callback about a message that the app has not sent: {describe(attempt)}"
    status = attempt.response.status if attempt.response is not None else 0
    crashed = attempt.outcome is Outcome.APP_RAISED or status >= 500
    if trial.context.standing.refuses and not (crashed or status in _UNKNOWN):
        # Whatever it was, it need not be the id.
        trial.inconclusive(f"the receiver accepts no valid callback: {trial.context.standing.refuses}")
    # A schedule is always about messages that the app has not sent.
    trial.fail(what, schedule_of([Step(trial.context.standing.status)], [0]))


def _early_race(trial: Trial) -> None:
    prepare = trial.context.hooks.prepare
    if prepare is None:
        trial.inconclusive(
            "nothing says how the app comes to know a message that it sends: give `prepare`, "
            "which takes a test in pytest"
        )
    status = trial.context.standing.status
    arrivals = Arrivals(trial, Step(status))
    arrivals.learn((), (0,))
    arrivals.learn((0,), anew=True)
    message = trial.message(prepared=False)
    before = trial.context.look(message)
    early = trial.send(trial.event(message, status))
    trial.survived(early, "a callback about a message that the app is about to send")
    trial.settled([message])
    try:
        prepare(message)
    except Exception as error:
        trial.inconclusive(
            f"`prepare` raised {type(error).__name__}: {error!s:.100}, after a callback about the same message: "
            "does what sends a message cope with one that is there already?"
        )
    if not accepted(early):
        # A refusal is no loss: it would be sent again, later.
        trial.accepted(trial.send(trial.event(message, status)), "the retry of a callback that came early")

    def wrong() -> str:
        due, initial = arrivals.state((0,)), arrivals.state(())
        state = state_of(trial.context.look(message), message)
        effects = differing(initial, due) - arrivals.noise()
        naming = {path for path in single(effects) if names(due.get(path), status)}
        misses = sorted(path for path in naming or effects if state.get(path, MISSING) != due.get(path, MISSING))
        if not misses or len(misses) < len(naming):
            return ""
        path = misses[0]
        return f"{dotted(path)} is {state.get(path, MISSING)!r:.60}, and not {due.get(path, MISSING)!r:.60}"

    if arrivals.persists(wrong, (0,)):
        trial.show(message, Change(before, trial.context.look(message)))
        trial.fail(f"{status} came before the app knew the message, and is lost: {wrong()}")


_KNOWN = Fix(
    "Enter what a callback says under its message's id, whether or not you know that id, and acknowledge; let what "
    "sends messages add to what is there already.",
    """\
with database.transaction():
    row = database.get_or_create_locked(message_id)  # both here and where the message is sent
    row.update(status)
$ok""",
)
_check = partial(Check, severity=Severity.MAJOR, source="?", fix=_KNOWN)

STRANGERS = (
    _check(
        id="C12",
        name="unknown-id",
        title="A callback about an unknown message is acknowledged",
        why="One account has several apps, and staging beside production: callbacks come about messages that were sent "
        "elsewhere. What is not acknowledged is sent again for days, and may make the address count as abnormal.",
        stimulus="A valid callback about a message id that was never issued.",
        expected="A success, no 5xx.",
        need="http",
        work=_unknown_id,
        needs_valid=False,
    ),
    _check(
        id="C13",
        name="early-race",
        title="A callback that is faster than the answer of the API is not lost",
        why="EngageLab may report on a message before the app has read, and stored, the id that the API returned. A "
        "receiver that updates a row by its id updates none, acknowledges, and never hears of it again.",
        stimulus="A valid callback about a message, then what the app does when it has sent one, which is `prepare`; "
        "and the callback once more if it was refused.",
        expected="The state as if the callback had come afterwards.",
        need="probe",
        work=_early_race,
    ),
)

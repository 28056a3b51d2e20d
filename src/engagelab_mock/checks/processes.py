"""Family C, processes: what the app forgets in a restart, and facts that one worker process does not know."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from engagelab_mock.checks.check import Check, Ended, Fix, Judgement, Severity
from engagelab_mock.checks.duplicates import Once
from engagelab_mock.checks.finding import Change
from engagelab_mock.checks.orderings import Orderings
from engagelab_mock.checks.profile import LOOK, WORKER, accepted, describe, worker_of
from engagelab_mock.checks.stimulus import again
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.delivery.io import SYNC, run_sync
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.delivery.outcome import Outcome, TransportFailure
from engagelab_mock.delivery.transport.wire import wait_for
from engagelab_mock.errors import ProbeFailed
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.state import Path, Snapshot, differing, dotted, state_of, told_at
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.signature import TOLERANCE
from engagelab_mock.protocol.status import Status

#: How long the app may take until it answers after `restart` has returned, in seconds.
RESTART_LIMIT = 30.0
#: The longest pause between two tries, in seconds.
_LONGEST_PAUSE = 0.5
#: How long one connection is watched while the app is restarted, in seconds. A server that handles one connection at a
#: time can do nothing else meanwhile.
_WATCHED = 0.5
#: How many copies are sent in a round, how many at most, and how many rounds until each worker has had a copy.
COPIES, _MOST_COPIES, _ROUNDS = 12, 36, 4
#: How many callbacks are sent before the app is killed, and how many messages get two statuses over new connections.
QUEUED, _MESSAGES = 20, 24
#: Each callback has its own connection, and pauses in the middle of its body. A worker that handles one request at a
#: time waits for the rest, so the other workers get the other connections.
_HELD = (fault("new_connection"), fault("slow_body", pieces=2, pause=0.03))


class _Watch:
    """Watch, while the app is restarted, if its server closes connections or refuses them: then it has ended."""

    def __init__(self, trial: Trial) -> None:
        self._transport: Any = trial.receiver.transport
        self._over = threading.Event()
        #: Whether the server has ended.
        self.ended = False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        begun = threading.Event()
        thread = threading.Thread(target=self._run, args=[begun], daemon=True)
        thread.start()
        begun.wait(_WATCHED)
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _run(self, begun: threading.Event) -> None:
        while not (self.ended or self._over.is_set()):
            try:
                with self._transport.open(_WATCHED) as connection:
                    begun.set()
                    self.ended = self._closes(connection)
            except TransportFailure as failure:
                self.ended = failure.outcome is Outcome.REFUSED
                self._over.wait(LOOK)
        begun.set()

    def _closes(self, connection: socket.socket) -> bool:
        """Tell whether the server closes a connection on which nothing is sent."""
        end = stopwatch() + _WATCHED
        while True:
            last = self._over.is_set() or stopwatch() >= end
            if wait_for(connection, LOOK):
                try:
                    return not connection.recv(1)
                except TimeoutError:
                    return False  # it was not the end, but something of TLS
                except OSError:
                    return True
            if last:
                return False


def _restart(trial: Trial) -> bool:
    """Restart the app, wait until it answers, and tell whether something shows that it was restarted."""
    context = trial.context
    before, context.workers = context.workers, set()
    watch, started = _Watch(trial), stopwatch()
    with watch():
        run_sync(context.probe.restart_app(SYNC))
    with context.apart():
        _await_answer(trial)
    trial.seconds += stopwatch() - started
    return watch.ended or bool(before and context.workers and not before & context.workers)


def _await_answer(trial: Trial) -> None:
    """Wait until the app accepts a valid callback again. Raise `ProbeFailed` if it does not."""
    context, pause = trial.context, LOOK
    message, end = context.new_message(), stopwatch() + RESTART_LIMIT
    while (attempt := context.send_valid(message, context.profile.status)) and not accepted(attempt):
        if stopwatch() >= end:
            raise ProbeFailed(
                f"after it, the receiver accepted no callback within {RESTART_LIMIT:g} s: {describe(attempt)}",
                where="restart",
                hint="it must end the app, start it again at the same address, and return once it answers",
            )
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _expect_restarted(trial: Trial, restarted: bool) -> None:
    if not restarted:
        trial.inconclusive(
            "nothing shows that `restart` ended the app: connections stayed open, new ones were accepted, and "
            f"{WORKER} in the answers did not change. It must end all processes of the app at once, as kill -9 does"
        )


def _duplicate_after_restart(trial: Trial) -> None:
    once = Once.of_all(trial)
    messages = {status: trial.message() for status in once.visible}
    for status, message in messages.items():
        once.again(message, f"a valid callback of {status}", once.schedule(1, status), status=status)
    trial.context.settle()
    first = {status: trial.glance(message) for status, message in messages.items()}
    restarted = _restart(trial)
    for status, message in messages.items():
        kept, now = state_of(first[status], message), state_of(_await_state(trial, first[status], message), message)
        for path in sorted(differing(kept, now) - trial.context.profile.shared):
            trial.show(message)
            was, is_now = told_at(kept, path), told_at(now, path)
            trial.fail(f"after a restart, {dotted(path)} is {is_now}; before it was {was}")
    for status, message in messages.items():
        once.again(message, _AGAIN.format(status), status=status)
    trial.context.settle()
    for status, message in messages.items():
        once.check(message, _AGAIN.format(status), status=status, first=first[status], settled=True)
    _expect_restarted(trial, restarted)


def _await_state(trial: Trial, wanted: Snapshot, message: Message) -> Snapshot:
    """Return the state of a message once it is the wanted one; an app may still be reading its data."""
    end = stopwatch() + trial.context.patience
    while trial.context.changed(wanted, now := trial.glance(message), message) and stopwatch() < end:
        time.sleep(LOOK)
    return now


def _queue_after_restart(trial: Trial) -> None:
    trial.expect_own_state()
    before = {message: trial.glance(message) for message in [trial.context.new_message() for _ in range(QUEUED)]}
    profile, last = trial.context.profile, [*before][-1]
    if not all(accepted(trial.send(each)) for each in before):
        trial.inconclusive("not all callbacks before the restart were accepted")
    # A look takes time in which the app works, so there is only one, and only if the app works after its answer.
    looks = profile.lag or trial.context.probe.wait_idle is not None
    waits = bool(looks) and not _has_changed(trial, before[last], last)
    restarted = _restart(trial)
    trial.context.settle()
    missing = [each for each in before if not _comes(trial, before[each], each, 0.0)]
    # Wait only for the first: if the app needs more time than usual, the others have their effects meanwhile.
    patience = [trial.context.patience, *[0.0] * len(missing)]
    lost = [each for each, wait in zip(missing, patience, strict=False) if not _comes(trial, before[each], each, wait)]
    if lost:
        trial.show(lost[-1], Change(before[lost[-1]], trial.context.look(lost[-1])))
        trial.fail(f"{len(lost)} of {QUEUED} acknowledged callbacks were lost when the app was killed after its answer")
    _expect_restarted(trial, restarted)
    if profile.lag and not waits:
        trial.inconclusive("the app had done all its work before it was killed: nothing shows that its queue is kept")


def _has_changed(trial: Trial, before: Snapshot, message: Message) -> bool:
    """Tell whether a state has changed, without waiting for the work that the app does after its answer."""
    now = Snapshot(message.id, run_sync(trial.context.probe.look(SYNC, message.id)))
    return trial.context.changed(before, now, message)


def _comes(trial: Trial, before: Snapshot, message: Message, patience: float) -> bool:
    return trial.context.changed(before, trial.context.look_for_change(before, message, patience), message)


def _replay_after_restart(trial: Trial) -> None:
    once = Once(trial)
    message, used, other = trial.message(), trial.message(), trial.message()
    attempt, header_of = trial.send(once.event(message)), trial.send(used)
    trial.expect_accepted(attempt)
    once.learn()
    first = trial.glance(message)
    # B17 requires it of an app that is not restarted.
    remembers = not accepted(trial.send(other, again(header_of))) and not any(trial.effects(other))
    restarted = _restart(trial)
    if remembers:
        other, what = trial.message(), "another body with a signature that was used before a restart"
        second = trial.send(other, again(header_of))
        trial.expect_no_effect(second, other, what)
        trial.expect_answer(second, what)
    second, what = trial.resend(attempt, message), "the same request, sent again after a restart"
    once.check(message, what, first=first)
    trial.expect_answer(second, what)
    _expect_restarted(trial, restarted)


def _every_worker(trial: Trial) -> None:
    once = Once(trial)
    once.learn()
    message = trial.message()
    sent = _copies(trial, once, message)
    while len(sent) < _MOST_COPIES and 0 < len(_workers(sent)) < max(2, len(trial.context.workers)):
        sent += _copies(trial, once, message)
    workers = _workers(sent)
    by = f", answered by {len(workers)} workers" if workers else ""
    try:
        once.check(message, f"{len(sent)} copies of {once.statuses[0]}, each over a new connection{by}")
    except Ended as ended:
        if ended.judgement is Judgement.FAIL and len(workers) != 1:
            _expect_an_end(trial, once, message)
            raise
    if len(workers) != 1 and trial.ticks(Status.SENT) and trial.ticks(Status.DELIVERED):
        _late_in_any_worker(trial)
    if not workers:
        trial.inconclusive(f"the answers do not show which worker gave them: let each have a header {WORKER}")
    if len(workers) == 1:
        trial.inconclusive(f"only one worker answered {len(sent)} new connections: {WORKER} was always the same")


def _copies(trial: Trial, once: Once, message: Message) -> list[Attempt]:
    """Send copies of an event, one after the other, each over a new connection; return their attempts.

    With most of them go callbacks about other messages. These keep workers busy, and change whose turn it is if a
    proxy gives the connections to its servers in turn.
    """
    sent = []
    for number in range(COPIES):
        others = [[trial.event(trial.context.new_message())] for _ in range(number % 4)]
        *_, attempt = trial.send_together([*others, [once.event(message)]], *_HELD)
        trial.expect_answer(attempt, "a copy of an event over a new connection")
        sent.append(attempt)
    return sent


def _expect_an_end(trial: Trial, once: Once, message: Message) -> None:
    """End the check if more and more copies of an event have effects: that is not because of the workers."""
    for _ in range(_ROUNDS):
        before = trial.look(message)
        _copies(trial, once, message)
        if not trial.context.changed(before, trial.look(message), message):
            return
    trial.inconclusive(f"each copy of {once.statuses[0]} has an effect, in any worker: C01 checks that")


def _workers(attempts: Sequence[Attempt]) -> set[str]:
    return {worker for attempt in attempts if (worker := worker_of(attempt))}


def _late_in_any_worker(trial: Trial) -> None:
    """Fail if a late status replaces a later one for some messages only: those of a worker that does not know it."""
    orderings = Orderings(trial, "verified", Status.SENT, Status.DELIVERED)
    early, last = orderings.in_order
    orderings.learn((early,), (last,), orderings.in_order, *[orderings.in_order] * 2, again=True)
    messages = [trial.message() for _ in range(_MESSAGES)]
    for label in (last, early):
        events = [[trial.events(orderings.schedule((label,)), message)[label]] for message in messages]
        for attempt in trial.send_together(events, *_HELD):
            trial.expect_answer(attempt, f"{label} over a new connection")
        trial.context.settle()
    right, wrong = orderings.state(orderings.in_order), orderings.state((early,))
    paths = sorted(differing(right, wrong) & {*right} - orderings.noise())

    def replaced() -> list[tuple[Path, list[Message]]]:
        """Return the leaves that have the value of the early status for some messages only, with these messages."""
        states = [(message, state_of(trial.glance(message), message)) for message in messages]
        found = [(path, [each for each, state in states if state.get(path) == wrong.get(path)]) for path in paths]
        return [(path, some) for path, some in found if 0 < len(some) < len(messages)]

    if not orderings.stays(replaced):
        return
    for path, some in replaced():
        trial.show(some[-1])
        trial.fail(
            f"{last} and then {early}, each over a new connection: {dotted(path)} is {wrong.get(path)!r:.60} for "
            f"{len(some)} of {len(messages)} messages, and {right[path]!r:.60} for the others"
        )


_AGAIN = "{} sent again after a restart, newly signed"
_RESTARTS = "Apps are restarted at each deployment, after a crash, and by servers that renew their workers. "
_STORED = Fix(
    "Keep the keys of events and the states in the database, in one transaction. Do not use a variable of the process.",
    """\
with database.transaction():
    if database.insert_if_new(message_id, status, channel, error_code):  # INSERT … ON CONFLICT DO NOTHING
        have_the_effect(message_id, status)
$ok""",
    section="Store",
)
_QUEUE = Fix(
    "Store the callback before you acknowledge it: in the database, or in a queue that keeps its jobs on disk. A "
    "thread, a list, or a background task of the framework loses its unfinished work when the process ends.",
    own_flask='with database.transaction():\n    database.insert("callbacks", request.get_data())\nreturn "", 200',
    own_django="with transaction.atomic():\n    Callback.objects.create(body=request.body.decode())\n"
    "return HttpResponse()",
    own_fastapi='body = await request.body()\nawait database.insert("callbacks", body)\nreturn Response()',
    section="Store",
)
_NONCES = Fix(
    f"Keep the nonces for {2 * TOLERANCE} seconds in the database or in Redis, and the keys of events in the database.",
    """\
digest = hashlib.sha256($body).hexdigest()
if redis.set(f"nonce:{nonce}", digest, nx=True, get=True, ex=600) not in (None, digest):
    $refuse_401""",
    section="Store",
)
_SHARED = Fix(
    "Decide by the rows in the database, read in the same transaction. Do not use a variable or a cache that each "
    "worker process has for itself. To name the worker in its answers, add a header "
    f"`{WORKER}` with the process id.",
    own_flask="with database.transaction():\n    status = database.status_for_update(message_id)\n"
    f'return "", 200, {{"{WORKER}": str(os.getpid())}}',
    own_django="with transaction.atomic():\n    message = Message.objects.select_for_update().get(pk=id)\n"
    f'return HttpResponse(headers={{"{WORKER}": str(os.getpid())}})',
    own_fastapi="async with session.begin():\n    message = await session.get(Message, id, with_for_update=True)\n"
    f'return Response(headers={{"{WORKER}": str(os.getpid())}})',
)
_check = partial(
    Check,
    need="probe",
    severity=Severity.BLOCKER,
    source="?",
    transports=("http",),
    unless="in process, the app's process is the one that checks it",
)

PROCESSES = (
    _check(
        id="B27",
        name="restart-replay",
        title="The same request has no second effect after a restart",
        why=_RESTARTS + "A receiver that keeps nonces in memory forgets them then. A request that an attacker has "
        "recorded is accepted once more, while its timestamp is accepted.",
        stimulus="A valid callback; after a restart of the app, the same bytes once more. If the receiver has refused "
        "another body with the same header before, also another body.",
        expected="One effect; no effect of another body, if it was refused before the restart.",
        severity=Severity.MAJOR,
        needs_signature=True,
        needs_restart=True,
        fix=_NONCES,
        work=_replay_after_restart,
    ),
    _check(
        id="C25",
        name="restart-duplicate",
        title="An event from before a restart is still known after it",
        why=_RESTARTS + "A retry can come days later, to another process. A receiver that keeps events or states in "
        "memory has the effect again, or has lost the state.",
        stimulus="A valid callback of each status that has an effect; after a restart of the app, the same events once "
        "more, newly signed.",
        expected="The same states after the restart; one effect.",
        needs_restart=True,
        fix=_STORED,
        work=_duplicate_after_restart,
    ),
    _check(
        id="C26",
        name="restart-queue",
        title="An acknowledged callback is not lost when the app is killed",
        why=_RESTARTS + "EngageLab does not send an acknowledged callback again. A receiver that acknowledges first "
        "and keeps its work in memory loses all that it has not done.",
        stimulus=f"{QUEUED} valid callbacks, and a restart of the app right after the last answer.",
        expected="Each has its effect, at the latest after the restart.",
        needs_restart=True,
        fix=_QUEUE,
        work=_queue_after_restart,
    ),
    _check(
        id="C27",
        name="every-worker",
        title="All worker processes know what one of them has received",
        why="A server has several worker processes, and each new connection can reach another one. A receiver that "
        "keeps events or states in memory knows in each worker only what that worker has received.",
        stimulus=f"At least {COPIES} copies of one event, in turn, and for {_MESSAGES} messages `delivered` and then "
        "a late `sent`: each callback newly signed and over a new connection, most of them at once.",
        expected=f"One effect; `sent` has the same result for all messages. The answers name at least two workers, in "
        f"a header `{WORKER}`.",
        fix=_SHARED,
        work=_every_worker,
    ),
)

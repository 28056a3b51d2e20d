"""Workers: forked processes that play schedules ahead of the exploration, each with the app's data to itself.

The exploration decides which schedules are played, and judges each of them in the same order as without workers. So
the verdict, the token and the counts do not depend on the number of workers. A worker only plays what will be needed.
A forked process has a copy of the app and of its state in memory. Data in a file or on a server would be shared, so
`in_worker` gives each worker its own, and `start` checks that no process sees what another one does.
"""

from __future__ import annotations

import contextlib
import io as streams
import os
import pickle
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from engagelab_mock.delivery.io import SYNC, Io, run_sync
from engagelab_mock.delivery.model import Attempt, Response
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.errors import StateNotSettled, UsageError
from engagelab_mock.explore.baseline import whole
from engagelab_mock.explore.crash import can_fork
from engagelab_mock.explore.played import Played, Record
from engagelab_mock.explore.player import Player
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.explore.switchpoints import SwitchPoints
from engagelab_mock.explore.together import check_in_process

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

#: The greatest number of workers.
MOST_WORKERS = 64
#: How long a worker may take for one schedule, in seconds.
_LIMIT = 60.0
_COPIED = "threads and open connections are not copied into a worker: let in_worker start and open them again"
_SEPARATE = "in_worker=use_database: a function that gets the number of the worker, and gives that process its own data"


class InOrder:
    """Iterate over schedules, and show those that come next.

    >>> plan = InOrder(map(Schedule.parse, ["eg1:plan", "eg1:sent"]))
    >>> next(iter(plan)), list(plan.upcoming())
    (<Schedule eg1:plan>, [<Schedule eg1:sent>])
    """

    def __init__(self, plan: Iterable[Schedule]) -> None:
        self._left = iter(plan)
        self._next: deque[Schedule] = deque()

    def __iter__(self) -> Iterator[Schedule]:
        while self._next or self._fetch():
            yield self._next.popleft()

    def upcoming(self) -> Iterator[Schedule]:
        """Yield the next schedules, and make them only when they are asked for."""
        place = 0
        while place < len(self._next) or self._fetch():
            yield self._next[place]
            place += 1

    def _fetch(self) -> bool:
        found = next(self._left, None)
        if found is not None:
            self._next.append(found)
        return found is not None


class _Worker:
    """Hold one worker process, and the schedule that it plays."""

    def __init__(self, number: int, connection: Connection, process: BaseProcess) -> None:
        self.number = number
        self.connection = connection
        self.process = process
        self.plays: Schedule | None = None

    def ask(self, schedule: Schedule | None, ids: Iterable[str] = ()) -> None:
        """Let it play a schedule; with None, tell whether the state is still that after its last schedule."""
        self.plays = schedule
        with contextlib.suppress(BrokenPipeError):  # its end is noticed when its answer is read
            self.connection.send_bytes(pickle.dumps((None if schedule is None else schedule.token, [*ids])))

    def answer(self) -> Any:
        """Return its answer, or raise `UsageError` if it has ended or takes too long."""
        schedule, self.plays = self.plays, None
        doing = "started" if schedule is None else f"played {schedule}"
        try:
            if not self.connection.poll(_LIMIT):
                raise UsageError(
                    f"worker {self.number} did not answer within {_LIMIT:g} s, while it {doing}",
                    where="workers",
                    hint=f"does the app wait for a thread? {_COPIED}",
                )
            return pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            self.process.join(1)
            code = self.process.exitcode
            ended = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
            raise UsageError(
                f"worker {self.number} {ended} while it {doing}",
                where="workers",
                hint="the result would be incomplete: explore again, with workers=1 to see whether the app ends itself",
            ) from None


class Workers:
    """Play schedules: in worker processes those that were announced with `ahead`, in this process all others."""

    def __init__(
        self,
        player: Player,
        receiver: Receiver,
        points: SwitchPoints,
        number: int = 1,
        in_worker: Callable[[int], object] | None = None,
    ) -> None:
        self._player = player
        self._receiver = receiver
        self._points = points
        self._number = number
        self._in_worker = in_worker
        self._workers: list[_Worker] = []
        self._next: deque[Schedule] = deque()
        #: The worker that plays a schedule, until it has answered, and the answers that are not used yet.
        self._playing: dict[Schedule, _Worker] = {}
        self._answers: dict[Schedule, tuple[int, Any]] = {}
        #: Why all schedules are played in this process, although there should be workers.
        self.note = ""

    def check(self, io: Io) -> None:
        """Raise `UsageError` if this app cannot be copied into workers."""
        if self._number == 1:
            return
        check_in_process(self._receiver, where="workers")
        if io is not SYNC:
            hint = "call explore in a test that is not async, or give workers=1"
            raise UsageError("a running event loop cannot be copied into a worker", where="workers", hint=hint)
        if self._player.probe.observe is None:
            raise UsageError(
                "without observe, nothing shows whether the workers share the app's data",
                where="workers",
                hint="Receiver.wsgi(app, observe=lambda message_id: Message.get(message_id).status)",
            )
        if not can_fork():
            self._stop_using("this system cannot fork")

    def _stop_using(self, why: str) -> None:
        self._number, self.note = 1, f"all schedules were played in one process: {why}"

    async def ahead(self, io: Io, upcoming: Iterable[Schedule]) -> None:
        """Let the workers play these schedules, the first ones first. The first call starts the workers."""
        __tracebackhide__ = True
        if self._number == 1 or not self._player.sent:
            return
        chosen = [*islice(upcoming, 4 * self._number)]
        if not self._workers and chosen:
            await self._start(io, chosen[0])
        self._next = deque(each for each in chosen if each not in self._playing and each not in self._answers)
        for worker in self._workers:
            if worker.plays is None or worker.connection.poll():
                self._continue(worker)

    async def play(self, io: Io, schedule: Schedule) -> Played:
        """Return the playing of a schedule by a worker; play it in this process if no worker does."""
        __tracebackhide__ = True
        while schedule in self._playing:
            for worker in self._ready(self._playing[schedule]):
                self._continue(worker)
        if schedule not in self._answers:
            return await self._player.play(io, schedule)
        number, answer = self._answers.pop(schedule)
        if isinstance(answer, str):
            # An error of the app or of a function of the user is raised again here, with its cause and its traceback.
            await self._player.play(io, schedule)
            what = f"worker {number} could not play {schedule}, and this process could: {answer}"
            raise UsageError(what, where="workers", hint=_COPIED)
        return self._received(schedule, *answer)

    def _ready(self, needed: _Worker) -> list[_Worker]:
        from multiprocessing.connection import wait  # only workers need it

        busy = {worker.connection: worker for worker in self._workers if worker.plays is not None}
        return [busy[each] for each in wait(list(busy), _LIMIT)] or [needed]  # type: ignore[index]  # its own type is wide

    def _continue(self, worker: _Worker) -> None:
        """Take the answer of a worker, if it has one, and give it the next schedule."""
        done = worker.plays
        if done is not None:
            self._answers[done] = (worker.number, worker.answer())
            del self._playing[done]
        if self._next:
            schedule = self._next.popleft()
            self._playing[schedule] = worker
            worker.ask(schedule, self._player.ids_of(schedule))

    def _received(self, schedule: Schedule, sent: int, called: set[str], content: tuple[Any, ...]) -> Played:
        """Return a playing as if this process had played it."""
        player = self._player
        player.sent += sent
        self._points.called |= called
        messages, initial, records, traces = content
        played = Played(schedule, self._receiver, messages, initial, [], observed=True, traces=traces)
        for step, events, delivery, attempt, after in records:
            delivery.receiver = self._receiver
            before = played.final
            # An unchanged state is the same object. Some copies of numbers and texts are not.
            after = before if type(after) is type(before) and after == before else after
            played.records.append(Record(step, events, delivery, attempt, before, after))
        return played

    # The processes.

    async def _start(self, io: Io, schedule: Schedule) -> None:
        """Fork the workers, and check that none of the processes sees what another one does."""
        __tracebackhide__ = True
        player, every = self._player, whole(schedule.lifecycles)
        here = await player.play(io, every)
        if not player.new_messages and (not here.changed or here.final == here.initial):
            self._stop_using(f"{every} leaves no trace that shows whether processes share the app's data")
            return
        for number in range(1, self._number + 1):
            self._workers.append(self._forked(number))
        for worker in self._workers:
            if not self._received(every, *self._ask(worker, every)).changed:
                raise UsageError(
                    f"worker {worker.number} played {every}, and the state did not change, as it does in this process",
                    where="workers",
                    hint="does in_worker make the tables of its database, and does the app use it?",
                )
        if player.new_messages:
            return  # each schedule is about new messages, so it does not matter whether the data are shared
        # Another process may have reset the data meanwhile.
        await player.play(io, every)
        beginning = Schedule(every.lifecycles, ())
        for place, worker in enumerate(self._workers):
            self._ask(worker, beginning)
            for other in self._workers[place + 1 :]:
                if not self._ask(other, None):
                    raise self._shared(f"worker {other.number}", worker)
            try:
                await player.check_settled(io)
            except StateNotSettled:
                raise self._shared("this process", worker) from None

    def _ask(self, worker: _Worker, schedule: Schedule | None) -> Any:
        worker.ask(schedule, () if schedule is None else self._player.ids_of(schedule))
        answer = worker.answer()
        if isinstance(answer, str):
            raise UsageError(f"worker {worker.number} failed when it started: {answer}", where="workers", hint=_COPIED)
        return answer

    def _shared(self, who: str, worker: _Worker) -> UsageError:
        return UsageError(
            f"the processes share the app's data: {who} sees what worker {worker.number} does",
            where="workers",
            hint=_SEPARATE if self._in_worker is None else "in_worker must give each worker its own data",
        )

    def _forked(self, number: int) -> _Worker:
        from multiprocessing import get_context  # only workers need it

        context = get_context("fork")
        ours, theirs = context.Pipe()
        inherited = [worker.connection for worker in self._workers] + [ours]
        process = context.Process(target=self._serve, args=(number, theirs, inherited), daemon=True)
        with warnings.catch_warnings():
            # Other threads are not copied. `in_worker` starts those again that the app needs.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        theirs.close()
        return _Worker(number, ours, process)

    def _serve(self, number: int, connection: Connection, inherited: list[Connection]) -> None:
        """Play what is asked for, in the forked process."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches this process as well; the first one ends it
        for each in inherited:
            each.close()
        player, failed = self._player, ""
        # The loop in which another thread runs the app's lifespan is not in this process.
        transport = self._receiver.transport
        vars(transport).update({"_hosted": None} if transport.name == "asgi" else {})
        player.branch(number)
        try:
            if self._in_worker is not None:
                self._in_worker(number)
        except BaseException as error:
            failed = f"in_worker raised {_told(error)}"
        with contextlib.suppress(EOFError, OSError):
            while True:
                token, ids = pickle.loads(connection.recv_bytes())
                try:
                    answer = failed or (run_sync(self._settled()) if token is None else self._played(token, ids))
                    content = _pickled(answer)
                except BaseException as error:
                    content = pickle.dumps(_told(error))
                connection.send_bytes(content)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(0)

    async def _settled(self) -> bool:
        try:
            await self._player.check_settled(SYNC)
        except StateNotSettled:
            return False
        return True

    def _played(self, token: str, ids: list[str]) -> tuple[Any, ...]:
        player, schedule = self._player, Schedule.parse(token)
        player.use_ids(schedule, ids)
        sent = player.sent
        played = run_sync(player.play(SYNC, schedule))
        records = [(each.step, each.events, each.delivery, each.attempt, each.after) for each in played.records]
        content = (played.messages, played.initial, records, played.traces)
        return player.sent - sent, self._points.called, content

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.process.close()
            worker.connection.close()
        self._workers.clear()
        self._playing.clear()


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip()


def _pickled(answer: Any) -> bytes:
    """Return an answer as bytes. The receiver stays in each process; the states must arrive as they are."""
    stream = streams.BytesIO()
    pickler = pickle.Pickler(stream)
    pickler.dispatch_table = {
        Receiver: lambda receiver: (_nothing, ()),
        msgspec.UnsetType: lambda unset: (msgspec.UnsetType, ()),  # else all modules are searched for it, each time
        Attempt: lambda attempt: attempt.__reduce__() if attempt.exception is not None else _whole(attempt),
        Response: lambda response: response.__reduce__() if response.raised is not None else _whole(response),
    }
    pickler.dump(answer)
    return stream.getvalue()


def _nothing() -> None:
    return None


def _whole(struct: msgspec.Struct) -> tuple[Any, ...]:
    return type(struct), tuple(getattr(struct, name) for name in struct.__struct_fields__)

"""Small receivers whose handlers say where another callback may come in between, in threads and in an event loop."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import msgspec

from engagelab_mock import Receiver, StatusEvent, decode
from engagelab_mock.server.loopback import LoopbackServer
from tests.checks.receivers.concurrent import Together
from tests.checks.receivers.correct import ALONG

#: A handler. It yields where another callback may come in between, and returns the status of its answer.
Handler = Generator[None, None, int]


class Row(msgspec.Struct, frozen=True):
    message_id: str
    status: str
    itime: int


class Shop:
    """Keep each event of a message once, and count all of them; a mutant yields between a read and a write."""

    def __init__(self) -> None:
        self.events: dict[str, list[Row]] = {}
        self.total = 0

    def handle(self, rows: list[Row]) -> Handler:
        yield
        for row in rows:
            self.apply(row)
        return 200

    def apply(self, row: Row) -> None:
        if row not in self.events.setdefault(row.message_id, []):
            self.events[row.message_id].append(row)
            self.total += 1

    def observe(self, message_id: str) -> Any:
        return sorted(row.status for row in self.events.get(message_id, ()))

    def observe_account(self) -> Any:
        return {"name": "shop", "events": self.total}

    def wsgi(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        handler = self.handle(_rows(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))))
        status = None
        while status is None:
            status = _go_on(handler)
            if status is None:
                Together.meet()
                time.sleep(0)
        Together.finish()
        start_response(f"{status} Answer", [("Content-Length", "0")])
        return [b""]

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        handler = self.handle(_rows((await receive())["body"]))
        while (status := _go_on(handler)) is None:
            for _ in range(5):
                await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


def _go_on(handler: Handler) -> int | None:
    """Return the status of the answer, or None if another callback may come in between."""
    try:
        next(handler)
    except StopIteration as done:
        answered: int = done.value
        return answered
    return None


def _rows(body: bytes) -> list[Row]:
    events = decode(body).rows if body not in {b"", b"{}"} else ()
    return [Row(event.message_id, event.name, event.itime) for event in events if isinstance(event, StatusEvent)]


@contextmanager
def reach(shop: Shop, transport: str, **probe: Any) -> Iterator[Receiver]:
    """Put a shop behind a transport."""
    probe = {"observe": shop.observe, "observe_account": shop.observe_account, **probe}
    if transport == "wsgi":
        yield Receiver.wsgi(shop.wsgi, "/engagelab", **probe)
    elif transport == "asgi":
        yield Receiver.asgi(shop.asgi, "/engagelab", lifespan=False, **probe)
    else:
        with LoopbackServer(shop.wsgi) as server:
            yield Receiver.http(f"{server.url}/engagelab", **probe)


# --- Right, but unusual


class OneAtATime(Shop):
    """Serialise all callbacks."""

    busy = False

    def handle(self, rows: list[Row]) -> Handler:
        while self.busy:
            yield
        self.busy = True
        yield
        yield from super().handle(rows)
        self.busy = False
        return 200


class BusyAnswers503(Shop):
    """Answer 503 while another callback is handled, so that it comes again."""

    busy = False
    status = 503

    def handle(self, rows: list[Row]) -> Handler:
        if self.busy:
            return self.status
        self.busy = True
        yield
        yield from super().handle(rows)
        self.busy = False
        return 200


class BusyAnswers409(BusyAnswers503):
    status = 409


class Queues(Shop):
    """Put callbacks into a queue, and answer at once; the worker runs whenever the state is read."""

    room = 10_000

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[list[Row]] = []

    def handle(self, rows: list[Row]) -> Handler:
        yield
        if len(self.jobs) < self.room:
            self.jobs.append(rows)
            return 200
        return self.full()

    def full(self) -> int:
        return 503

    def work(self) -> None:
        while self.jobs:
            for row in self.jobs.pop(0):
                self.apply(row)

    def observe(self, message_id: str) -> Any:
        self.work()
        return super().observe(message_id)

    def observe_account(self) -> Any:
        self.work()
        return super().observe_account()


class Appends(Shop):
    """Append to a log of all messages, and show a message's part with numbers; the total is the log's length."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Row] = []

    def apply(self, row: Row) -> None:
        if row not in self.log:
            self.log.append(row)

    def observe(self, message_id: str) -> Any:
        return [{"number": n, "status": r.status} for n, r in enumerate(self.log) if r.message_id == message_id]

    def observe_account(self) -> Any:
        return [row.message_id for row in self.log]


class Upserts(Shop):
    """Keep the status of the highest rank, which the database compares; the account has no totals but a name."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: dict[str, str] = {}

    def apply(self, row: Row) -> None:
        old = self.statuses.get(row.message_id, "plan")
        self.statuses[row.message_id] = max(old, row.status, key=ALONG.__getitem__)

    def observe(self, message_id: str) -> Any:
        return self.statuses.get(message_id)

    def observe_account(self) -> Any:
        return dict(Counter(self.statuses.values()))


class RetriesDeadlocks(Shop):
    """Lock row after row, and answer 503 if the database ends the transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.owners: dict[str, object] = {}
        self.wanted: dict[object, str] = {}

    def handle(self, rows: list[Row]) -> Handler:
        me = object()
        for row in rows:
            while self.owners.get(row.message_id, me) is not me:
                self.wanted[me] = row.message_id
                if self.waits_for_itself(me):
                    self.end(me)
                    return self.dead()
                yield
            self.wanted.pop(me, None)
            self.owners[row.message_id] = me
            yield
        for row in rows:
            self.apply(row)
        self.end(me)
        return 200

    def dead(self) -> int:
        return 503

    def end(self, me: object) -> None:
        self.wanted.pop(me, None)
        self.owners = {id: owner for id, owner in self.owners.items() if owner is not me}

    def waits_for_itself(self, me: object) -> bool:
        owner: object = me
        while owner in self.wanted:
            owner = self.owners.get(self.wanted[owner])
            if owner is me:
                return True
        return False


# --- Wrong


class LockedIsAnswered200(BusyAnswers503):
    """Log "database is locked", and answer 200."""

    status = 200


class QueueDrops(Queues):
    """Drop what its queue has no room for, and answer 200."""

    room = 20

    def full(self) -> int:
        return 200


class ForgetsTheCredit(Shop):
    """Keep the status in any case, and give the credit only if the account is not locked."""

    def __init__(self) -> None:
        super().__init__()
        self.credits: Counter[str] = Counter()
        self.locked = False

    def handle(self, rows: list[Row]) -> Handler:
        for row in rows:
            self.apply(row)
        if not self.locked:
            self.locked = True
            yield
            self.credits.update(row.message_id for row in rows)
            self.locked = False
        return 200

    def observe(self, message_id: str) -> Any:
        return {"events": super().observe(message_id), "credits": self.credits[message_id]}


class WritesBack(Shop):
    """Read the events of a message, and write them back with the new one."""

    def handle(self, rows: list[Row]) -> Handler:
        for row in rows:
            known = [*self.events.get(row.message_id, ())]
            yield
            self.total += row not in known
            self.events[row.message_id] = [*known, row] if row not in known else known
        return 200


class DeadlocksAnswer500(RetriesDeadlocks):
    def dead(self) -> int:
        return 500


class DeadlocksAnswer200(RetriesDeadlocks):
    def dead(self) -> int:
        return 200


class AddsToTheTotal(Shop):
    """Read the total, and write it back with one more."""

    counted = frozenset({"sent", "delivered", "verified", "verified_failed"})

    def handle(self, rows: list[Row]) -> Handler:
        new = [row for row in rows if row not in self.events.get(row.message_id, ())]
        total = self.total
        yield from super().handle(rows)
        self.total = total + sum(row.status in self.counted for row in new)
        return 200


class AddsToTheCredits(AddsToTheTotal):
    """Count the verified alone."""

    counted = frozenset({"verified"})


class TakesFromTheBalance(AddsToTheTotal):
    """Show a balance that becomes less, as a text."""

    def observe_account(self) -> Any:
        return {"balance": Decimal(1000) - Decimal("0.005") * self.total}

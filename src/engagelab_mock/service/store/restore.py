"""Restoring an engine from a store, to continue where another process ended or was killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from engagelab_mock import errors
from engagelab_mock.clock.real import LiveClock, Setting
from engagelab_mock.delivery.model import Delivery, DeliveryOptions, Refusal
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.retry import RetryPolicy
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.generate import Generator
from engagelab_mock.messages.template import Template
from engagelab_mock.protocol.callback import decode
from engagelab_mock.service.messages import Accepted
from engagelab_mock.service.rules import StoredRule
from engagelab_mock.service.scheduler import Kind
from engagelab_mock.service.sending import Sending
from engagelab_mock.service.store.ledger import DELIVERY, PLANNED, REFUSAL, WEBHOOK, Ledger, by_age, is_over
from engagelab_mock.service.store.records import (
    StoredCallback,
    StoredDelivery,
    StoredFault,
    StoredReceiver,
    StoredRefusal,
)

if TYPE_CHECKING:
    from engagelab_mock.engagelab import EngageLab
    from engagelab_mock.service.engine import Engine
    from engagelab_mock.service.store.sqlite import SqliteStore


def restore(engagelab: EngageLab, store: SqliteStore) -> None:
    """Load a store into a new EngageLab, and write all later changes to that store.

    Overdue callbacks are sent at once. Retries continue by their policy, and attempts keep their numbers. Attempts that
    were under way when the process ended stay in the journal as `pending`, and are made again. Ids are drawn from
    another seed at each start, so that none is used twice.

    >>> import tempfile
    >>> from engagelab_mock import EngageLab
    >>> from engagelab_mock.service.store.sqlite import SqliteStore
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     for _ in range(2):
    ...         with SqliteStore(f"{directory}/mock.sqlite") as store, EngageLab() as engagelab:
    ...             restore(engagelab, store)
    ...             run = engagelab.send("+6591234567", scenario="sent_failed")
    ...             engagelab.journal.statuses
    ['plan', 'sent_failed']
    ['plan', 'sent_failed', 'plan', 'sent_failed']
    """
    engine = engagelab._engine
    with store.transaction():
        start = (store.load_setting("starts", int) or 0) + 1
        store.save_setting("starts", start)
        if start > 1:
            engine.generate = Generator.seeded(engine.seed, "start", start)
            engine.api_generate = Generator.seeded(engine.seed, "api", "start", start)
            engine.nonce_seed = f"{engine.nonce_seed}:{start}"
        if isinstance(engine.clock, LiveClock):
            _continue_clock(engine.clock, store)
        ledger = Ledger(store, engine.clock.time, start=start, keep=engine.journal.limit)
        engine.ledger = ledger
        _restore_webhook(engine, ledger)
        _restore_api(engine, store)
        sendings = _Sendings(engine)
        work = _restore_journal(engine, ledger, sendings)
        work += _planned(store, sendings)
        # In the same order as in the other process. Callbacks that are due at the same time keep their stored order.
        for _, _, resume in sorted(work, key=lambda each: each[:2]):
            resume()
        engine.journal.keeper = ledger


def _continue_clock(clock: LiveClock, store: SqliteStore) -> None:
    """Set the clock as if it had run since the other process ended; a frozen clock shows the same time as then."""
    setting = store.load_setting("clock", Setting)
    if setting is not None:
        speed = clock.speed
        clock.setting = setting
        clock.speed = speed

    def save(changed: Setting) -> None:
        store.save_setting("clock", changed)

    save(clock.setting)
    clock.on_change = save


def _restore_webhook(engine: Engine, ledger: Ledger) -> None:
    """Use the receiver that the app set; forget it if this process started with receivers."""
    stored = ledger.store.load_setting(WEBHOOK, StoredReceiver | None)
    if stored is None:
        return
    if engine.receivers:
        ledger.store.save_setting(WEBHOOK, None)
    else:
        engine.receivers.append(stored.restored())


def _restore_api(engine: Engine, store: SqliteStore) -> None:
    """Restore the templates, rules and messages of the REST API."""
    engine.store = store
    for template in store.load("template", Template):
        engine.templates.adopt(template)
    for rule in store.load("rule", StoredRule):
        engine.rules.adopt(rule.restored())
    for accepted in store.load("message", Accepted):
        engine.messages.adopt(accepted)


class _Sendings:
    """Make one sending for each combination of message and delivery options that has pending callbacks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sendings: dict[bytes, Sending] = {}

    def of(
        self, message_id: str, retry: tuple[float, ...], faults: tuple[StoredFault, ...], total: int | None
    ) -> Sending:
        """Return the sending of a message, made at the first call."""
        key = msgspec.json.encode((message_id, retry, faults, total))
        sending = self._sendings.get(key)
        if sending is None:
            # No failure is raised, because the test that made the call ended with the other process.
            options = DeliveryOptions(False, RetryPolicy(retry), StoredFault.restored(faults), total)
            sending = self._sendings[key] = self._engine.sending_with(options, message_id)
            if message_id:
                self._engine.messages.adopt_sending(message_id, sending)
        return sending


#: A pending callback: when it is due, its order among those due at the same time, and the call that schedules it.
Work = tuple[float, int, Callable[[], None]]
#: The order of callbacks: those that were off the agenda, then those that were on it, then those added later.
_BEGUN, _PLANNED, _RETRY = range(3)


def _planned(store: SqliteStore, sendings: _Sendings) -> Iterator[Work]:
    """Return the callbacks that were not due when the other process ended."""
    for callback in store.load(PLANNED, StoredCallback):
        sending = sendings.of(callback.message_id, callback.retry, callback.faults, callback.total)
        kind: Kind = "expiry" if callback.expiry else "event"
        resume = partial(sending.resume, callback.at, decode(callback.events).rows, callback.key, kind=kind)
        yield callback.at, _PLANNED, resume


def _restore_journal(engine: Engine, ledger: Ledger, sendings: _Sendings) -> list[Work]:
    """Enter the stored deliveries and refusals in the journal, in order, and return the open deliveries."""
    find_receiver = _receiver_finder(engine)
    work: list[Work] = []
    entries: list[tuple[float, list[int], Delivery | Refusal]] = []
    for stored in ledger.store.load(DELIVERY, StoredDelivery):
        delivery = stored.restored(find_receiver(stored.receiver))
        if delivery.attempts:
            entries.append((delivery.attempts[0].at, by_age(stored.key), delivery))
        if is_over(delivery):
            delivery.given_up = bool(delivery.events) and not delivery.acknowledged
            ledger.count_closed(DELIVERY, delivery.key)
        else:
            sending = sendings.of(stored.message_id, stored.retry, stored.faults, None)
            at, order = _due(stored, delivery, engine.clock.time())
            work.append((at, order, partial(sending.retry, delivery, at)))
    for refusal in ledger.store.load(REFUSAL, StoredRefusal):
        entries.append((refusal.at, by_age(refusal.key), Refusal(refusal.at, _error(refusal))))
        ledger.count_closed(REFUSAL, refusal.key)
    entries.sort(key=lambda entry: entry[:2])
    engine.journal.entries.extend(entry for _, _, entry in entries)
    return work


def _due(stored: StoredDelivery, delivery: Delivery, now: float) -> tuple[float, int]:
    """Return when the next attempt of a delivery is due, and its order; an unfinished attempt keeps its time."""
    last = delivery.attempts[-1] if delivery.attempts else None
    if last is None or last.outcome is Outcome.PENDING:
        return (now if stored.due is None else stored.due), _BEGUN
    ended = last.at if stored.ended is None else stored.ended
    return ended + (delivery.retry.wait_after(last.number) or 0.0), _RETRY


def _receiver_finder(engine: Engine) -> Callable[[StoredReceiver], Receiver]:
    """Return a function that finds the engine's receiver at the same address, or else restores the stored one."""
    known = {(receiver.transport.name, receiver.address): receiver for receiver in engine.receivers}

    def find(stored: StoredReceiver) -> Receiver:
        where = (stored.transport, stored.address)
        if where not in known:
            known[where] = stored.restored()
        return known[where]

    return find


def _error(refusal: StoredRefusal) -> EngageLabMockError:
    """Return the error of a refusal, with its class and attributes, without calling the class's constructor."""
    found = getattr(errors, refusal.error, None)
    kind = found if isinstance(found, type) and issubclass(found, EngageLabMockError) else EngageLabMockError
    error = kind.__new__(kind)
    EngageLabMockError.__init__(error, refusal.what, where=refusal.where, hint=refusal.hint)
    vars(error).update(refusal.attributes)
    return error

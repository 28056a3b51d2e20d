"""Going on where another process was, however it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from engagelab_mock import errors
from engagelab_mock.clock.real import LiveClock, Setting
from engagelab_mock.delivery.model import Delivery, Refusal
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.retry import RetryPolicy
from engagelab_mock.delivery.schedule import Planned
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.generate import Generator
from engagelab_mock.messages.template import Template
from engagelab_mock.protocol.callback import decode
from engagelab_mock.service.messages import Accepted
from engagelab_mock.service.play import Manner, Play
from engagelab_mock.service.rules import KeptRule
from engagelab_mock.service.store.ledger import DELIVERY, PLANNED, REFUSAL, Ledger, is_over, ordinal
from engagelab_mock.service.store.records import (
    KeptDelivery,
    KeptFault,
    KeptPlan,
    KeptReceiver,
    KeptRefusal,
    KeptWebhook,
)

if TYPE_CHECKING:
    from engagelab_mock.service.engagelab import EngageLab
    from engagelab_mock.service.store.sqlite import SqliteStore


def restore(engagelab: EngageLab, store: SqliteStore) -> None:
    """Fill an EngageLab that has done nothing yet from a store, and have the store keep what it does from now on.

    What is overdue goes out at once; retries go on by their policy, with the numbers their attempts have. Attempts
    that were under way when the process ended stay in the journal as `pending`, and are made again. Ids are drawn anew,
    so that none comes twice.

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
    with store.transaction():
        start = (store.recall("starts", int) or 0) + 1
        store.remember("starts", start)
        if start > 1:
            engagelab.generate = Generator.seeded(engagelab.seed, "start", start)
            engagelab.draw = Generator.seeded(engagelab.seed, "api", "start", start)
        if isinstance(engagelab.clock, LiveClock):
            _continue_clock(engagelab.clock, store)
        ledger = Ledger(store, engagelab.clock.time, start=start, keep=engagelab.journal.limit)
        engagelab.ledger = ledger
        _restore_webhook(engagelab, ledger)
        _restore_api(engagelab, store)
        plays = _Plays(engagelab)
        _restore_journal(engagelab, ledger, plays)
        for plan in store.load(PLANNED, KeptPlan):
            play = plays.of(plan.message_id, plan.retry, plan.faults, plan.total)
            play.resume(Planned(plan.at, decode(plan.events).rows), plan.key, afterwards=plan.afterwards)
        engagelab.journal.keeper = ledger


def _continue_clock(clock: LiveClock, store: SqliteStore) -> None:
    """Go on as if the clock had run meanwhile, or had stood where it was frozen."""
    setting = store.recall("clock", Setting)
    if setting is not None:
        speed = clock.speed
        clock.setting = setting
        clock.speed = speed

    def remember(changed: Setting) -> None:
        store.remember("clock", changed)

    remember(clock.setting)
    clock.on_change = remember


def _restore_webhook(engagelab: EngageLab, ledger: Ledger) -> None:
    """Let the receiver that the app set itself be the one, unless others are configured than were then."""
    ledger.configured = tuple(receiver.address for receiver in engagelab.receivers)
    kept = ledger.store.recall("webhook", KeptWebhook)
    if kept is not None and kept.configured == ledger.configured:
        engagelab.receiver = kept.receiver.restored()


def _restore_api(engagelab: EngageLab, store: SqliteStore) -> None:
    """Let the REST API know the templates, rules and messages that it knew."""
    engagelab.store = store
    for template in store.load("template", Template):
        engagelab.templates.adopt(template)
    for rule in store.load("rule", KeptRule):
        engagelab.rules.adopt(rule.restored())
    for accepted in store.load("message", Accepted):
        engagelab.accepted.adopt(accepted)


class _Plays:
    """Make one play for each message, and manner, that something is left of."""

    def __init__(self, engagelab: EngageLab) -> None:
        self._engagelab = engagelab
        self._plays: dict[bytes, Play] = {}

    def of(self, message_id: str, retry: tuple[float, ...], faults: tuple[KeptFault, ...], total: int | None) -> Play:
        """Return the play of a message."""
        key = msgspec.json.encode((message_id, retry, faults, total))
        play = self._plays.get(key)
        if play is None:
            # There is no line of a test any more at which what is given up could be raised.
            manner = Manner(False, RetryPolicy(retry), KeptFault.restored(faults), total)
            play = self._plays[key] = self._engagelab.begin_in(manner, message_id)
            if message_id:
                self._engagelab.adopt_play(message_id, play)
        return play


def _restore_journal(engagelab: EngageLab, ledger: Ledger, plays: _Plays) -> None:
    """Enter what happened in the journal, in order, and put what is not over on the clock."""
    receiver = _receivers(engagelab)
    entries: list[tuple[float, list[int], Delivery | Refusal]] = []
    for kept in ledger.store.load(DELIVERY, KeptDelivery):
        delivery = kept.restored(receiver(kept.receiver))
        if delivery.attempts:
            entries.append((delivery.attempts[0].at, ordinal(kept.key), delivery))
        if is_over(delivery):
            delivery.given_up = bool(delivery.events) and not delivery.acknowledged
            ledger.retire(DELIVERY, delivery.key)
        else:
            play = plays.of(kept.message_id, kept.retry, kept.faults, None)
            play.retry(delivery, _due(kept, delivery, engagelab.clock.time()))
    for refusal in ledger.store.load(REFUSAL, KeptRefusal):
        entries.append((refusal.at, ordinal(refusal.key), Refusal(refusal.at, _error(refusal))))
        ledger.retire(REFUSAL, refusal.key)
    entries.sort(key=lambda entry: entry[:2])
    engagelab.journal.entries.extend(entry for _, _, entry in entries)


def _due(kept: KeptDelivery, delivery: Delivery, now: float) -> float:
    """Return when the next attempt of a delivery is due: at once, if the last one never ended."""
    last = delivery.attempts[-1] if delivery.attempts else None
    if last is None or last.outcome is Outcome.PENDING:
        return now
    return (last.at if kept.ended is None else kept.ended) + (delivery.retry.wait_after(last.number) or 0.0)


def _receivers(engagelab: EngageLab) -> Callable[[KeptReceiver], Receiver]:
    """Return what finds the receiver at an address: as it is set up now, or else as it was."""
    known = {(receiver.transport.name, receiver.address): receiver for receiver in engagelab.receivers}

    def find(kept: KeptReceiver) -> Receiver:
        where = (kept.transport, kept.address)
        if where not in known:
            known[where] = kept.restored()
        return known[where]

    return find


def _error(refusal: KeptRefusal) -> EngageLabMockError:
    kind = getattr(errors, refusal.error, None)
    error = EngageLabMockError(refusal.what, where=refusal.where, hint=refusal.hint)
    if isinstance(kind, type) and issubclass(kind, EngageLabMockError):
        error.__class__ = kind
    return error

"""What a receiver makes of sums of money: are they kept as they came?"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from engagelab_mock.checks.likeness import Reference
from engagelab_mock.checks.state import state_of, values
from engagelab_mock.checks.trial import Trial
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.status import Status

COST = Decimal("0.005")
BALANCE = -0.005
#: What two channels of one message cost; as floating-point numbers they add up to 0.30000000000000004.
_PARTS = {"whatsapp": Decimal("0.1"), "sms": Decimal("0.2")}
#: As part of a number, what another may be off and still be meant to be it.
_DRIFT = Decimal("1e-6")


def money(trial: Trial) -> None:
    """Fail if a negative balance is not accepted, or a cost is rounded, or off by what binary fractions are."""
    _send_balance(trial)
    free = Reference(trial, partial(_send_costs, trial, {"sms": None}))
    shown = _numbers(free.news(free.reached(partial(_send_costs, trial, {"sms": COST}))))
    both = trial.message()
    _send_costs(trial, _PARTS, both)
    sums = _numbers(values(state_of(trial.look(both), both)))
    for exact in (COST, *_PARTS.values(), sum(_PARTS.values(), Decimal())):
        for number in (*shown, *sums):
            if number != exact and abs(number - exact) <= _DRIFT * exact:
                trial.fail(f"a cost of {exact} came to be {number}")
    if any(_is_scaled(number, COST) for number in shown):
        return
    rounded = next((number for number in shown if abs(number) < 1), None)
    if rounded is not None:
        trial.fail(f"a cost of {COST} came to be {rounded}")
    trial.inconclusive("what `observe` returns does not show what a message cost")


def _send_balance(trial: Trial) -> None:
    at = trial.engagelab.clock.time()
    event = trial.engagelab.account.notification("insufficient_balance", at=at, remain_balance=BALANCE)
    if trial.receiver.settings.wants(event):
        trial.accepted(trial.send(event), f"a balance of {BALANCE}")


def _send_costs(trial: Trial, costs: Mapping[str, Decimal | None], message: Message) -> None:
    for channel, cost in costs.items():
        event = trial.event(message, Status.SENT, channel=channel, cost=None if cost is None else float(cost))
        trial.accepted(trial.send(event), "a valid callback" if cost is None else f"a cost of {cost}")


def _numbers(found: list[Any]) -> list[Decimal]:
    return [number for value in found if (number := _number(value)) is not None]


def _number(value: Any) -> Decimal | None:
    """Return a number, however an app writes it: as such, as text, or as the text that Python has for a Decimal."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    text = str(value).removeprefix("Decimal('").removesuffix("')")
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _is_scaled(number: Decimal, exact: Decimal) -> bool:
    """Tell whether a number is the exact one, or so many thousandths or millionths of its unit.

    >>> _is_scaled(Decimal(5000), Decimal("0.005")), _is_scaled(Decimal("0.01"), Decimal("0.005"))
    (True, False)
    """
    return number.normalize().as_tuple().digits == exact.normalize().as_tuple().digits

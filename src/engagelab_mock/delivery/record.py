"""What happened, as JSON: one object an attempt, or a refused input."""

from __future__ import annotations

from typing import Any

from engagelab_mock.delivery.model import Attempt, Delivery, Refusal
from engagelab_mock.delivery.outcome import hint_for


def attempt_record(delivery: Delivery, attempt: Attempt) -> dict[str, Any]:
    """Describe one attempt; an address validation is a delivery without events."""
    callback = attempt.callback
    recipients = [to for event in delivery.events if (to := getattr(event, "to", None))]
    return {
        "type": "attempt" if delivery.events else "validation",
        "at": attempt.at,
        "statuses": delivery.statuses,
        "message_id": delivery.message_id or None,
        "to": recipients[0] if recipients else None,
        "receiver": delivery.receiver.address,
        "number": attempt.number,
        "http_status": attempt.response.status if attempt.response else None,
        "acknowledged": attempt.acknowledged,
        "elapsed_ms": round(attempt.elapsed * 1000, 3),
        "outcome": str(attempt.outcome),
        "error": attempt.error or None,
        "hint": None if attempt.acknowledged else hint_for(delivery) or None,
        "headers": dict(callback.headers.pairs),
        "body": callback.body.decode("utf-8", "replace"),
    }


def refusal_record(refusal: Refusal) -> dict[str, Any]:
    """Describe an input that could not be used."""
    error = refusal.error
    return {
        "type": "refusal",
        "at": refusal.at,
        "error": type(error).__name__,
        "message": f"{error.where}: {error.what}" if error.where else error.what,
        "hint": error.hint or None,
    }


def records(entry: Delivery | Refusal) -> list[dict[str, Any]]:
    """Describe an entry of the journal."""
    if isinstance(entry, Refusal):
        return [refusal_record(entry)]
    return [attempt_record(entry, attempt) for attempt in tuple(entry.attempts)]

"""EngageLab OTP on your own machine.

Importing this package imports nothing but this module: every name is loaded when it is first used (PEP 562).
`__init__.pyi` lists the names for type checkers.
"""

from __future__ import annotations

__version__ = "0.1.0"

_HOMES = {
    "checks.catalogue": "CHECKS",
    "checks.check": "Check Judgement Severity",
    "checks.finding": "Exchange Finding Report",
    "checks.runner": "CheckOptions",
    "clock": "Clock SystemClock VirtualClock",
    "clock.real": "LiveClock",
    "delivery.faults.catalogue": "FAULTS fault",
    "delivery.faults.fault": "Fault",
    "delivery.journal": "Filters Journal",
    "delivery.model": "Attempt Delivery Refusal Response Run",
    "delivery.outcome": "Outcome",
    "delivery.probe": "ProbeOptions",
    "delivery.receiver": "Receiver ReceiverOptions",
    "delivery.recorder": "Received Recorder",
    "delivery.retry": "RetryPolicy",
    "engagelab": "EngageLab",
    "errors": "EngageLabMockError HiddenState IllegalTransition InvalidBody InvalidDelay InvalidRecipient "
    "InvalidSettings InvalidTape NotAcknowledged NothingObserved NothingReceived ProbeFailed ReceiverFellShort "
    "ScheduleFailed StateNotSettled UnknownName UsageError",
    "explore.exploration": "Exploration Failure Merging Violation",
    "explore.invariants": "Invariant converges eventually exactly_once idempotent never_regresses",
    "explore.options": "ExploreOptions",
    "explore.played": "Played Record",
    "explore.schedule": "Schedule Step",
    "explore.schedules": "AT_LEAST_ONCE Schedules schedules",
    "explore.snapshots": "SnapshotOptions django_savepoints sqlalchemy_savepoints sqlite_snapshots",
    "explore.tape": "Tape",
    "explore.tape.file": "TapeEntry TapeProblem",
    "faker_provider": "EngageLabProvider",
    "generate": "Generator",
    "integrations.interception": "Interception",
    "integrations.time_travel": "freezegun_clock time_machine_clock",
    "load.run": "LoadOptions",
    "load.summary": "LoadSummary",
    "messages.account": "Account",
    "messages.catalogue": "CATALOGUE",
    "messages.message": "Message",
    "messages.sandbox": "MAGIC Magic",
    "messages.scenario": "INFERRED START Scenario Transition TransitionGraph",
    "messages.template": "CodeConfig Template",
    "protocol.callback": "Callback Envelope Headers callback_schema decode encode",
    "protocol.errorcodes": "ERROR_CODES ErrorCode",
    "protocol.events": "DIALECTS Dialect Event NotificationEvent ResponseEvent StatusEvent SystemEvent UnknownEvent",
    "protocol.settings": "CallbackSettings",
    "protocol.signature": "Reason Signature Verdict parse sign verify",
    "protocol.status": "Channel Status",
    "server.running": "ApiServer",
    "service.accept": "DeliverOptions SendOptions",
    "service.inbox": "Inbox InboxMessage",
    "service.rest.exchange": "ApiAnswer ApiError ApiRequest ApiSettings",
    "service.rules": "Rule",
}


def _homes() -> dict[str, str]:
    return {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names.split()}


#: Star import loads every name.
__all__ = [*_homes()]


def __getattr__(name: str) -> object:
    home = _homes().get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

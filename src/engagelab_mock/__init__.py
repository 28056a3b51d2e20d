"""EngageLab OTP on your own machine.

Importing this package imports nothing but this module: every name is loaded when it is first used (PEP 562).
`__init__.pyi` lists the names for type checkers.
"""

from __future__ import annotations

__version__ = "0.1.0"

_HOMES = {
    "checks.catalogue": "CHECKS",
    "checks.check": "Check",
    "checks.checking": "CheckOptions",
    "checks.engagelab": "EngageLab",
    "checks.evidence": "Exchange",
    "checks.finding": "Finding",
    "checks.report": "Report",
    "checks.verdict": "Judgement Severity",
    "clock": "Clock SystemClock VirtualClock",
    "clock.live": "LiveClock",
    "delivery.fault.catalogue": "FAULTS fault",
    "delivery.fault.model": "Fault",
    "delivery.filters": "Filters",
    "delivery.journal": "Journal",
    "delivery.model": "Attempt Delivery Refusal Response Run",
    "delivery.outcome": "Outcome",
    "delivery.receiver": "Receiver ReceiverOptions",
    "delivery.recorder": "Received Recorder",
    "delivery.retry": "RetryPolicy",
    "errors": "EngageLabMockError IllegalTransition InvalidBody InvalidDelay InvalidRecipient InvalidSettings "
    "InvalidTape NotAcknowledged NothingReceived ReceiverFellShort ScheduleFailed UnknownName UsageError",
    "explore.exploration": "Exploration Failure",
    "explore.plan": "ExploreOptions",
    "explore.invariants": "Invariant converges eventually exactly_once idempotent never_regresses",
    "explore.played": "Played Record",
    "explore.schedule": "Schedule Step",
    "explore.schedules": "AT_LEAST_ONCE Schedules schedules",
    "explore.violation": "Violation",
    "explore.tape.entry": "TapeEntry",
    "explore.tape.reading": "TapeProblem",
    "explore.tape.tape": "Tape",
    "faker_provider": "EngageLabProvider",
    "generate": "Generator",
    "intercept": "Interception",
    "lifecycle.account": "Account",
    "lifecycle.catalogue": "CATALOGUE",
    "lifecycle.graph": "INFERRED START TransitionGraph",
    "lifecycle.message": "Message",
    "lifecycle.sandbox": "MAGIC Magic",
    "lifecycle.scenario": "Scenario Transition",
    "lifecycle.template": "CodeConfig Template",
    "protocol.callback": "Callback Envelope decode encode",
    "protocol.channel": "Channel",
    "protocol.dialect": "DIALECTS Dialect",
    "protocol.errorcodes": "ERROR_CODES ErrorCode",
    "protocol.events": "Event NotificationEvent ResponseEvent StatusEvent SystemEvent UnknownEvent",
    "protocol.headers": "Headers",
    "protocol.schema": "callback_schema",
    "protocol.settings": "CallbackSettings",
    "protocol.signature": "Reason Signature Verdict parse sign verify",
    "protocol.status": "Status",
    "server.running": "ApiServer",
    "service.inbox": "Inbox InboxMessage",
    "service.options": "DeliverOptions SendOptions",
    "service.rest.exchange": "ApiAnswer ApiError ApiRequest",
    "service.rest.settings": "ApiSettings",
    "service.rules": "Rule",
}


def _homes() -> dict[str, str]:
    return {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    home = _homes().get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*_homes(), "__version__"])

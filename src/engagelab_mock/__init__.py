"""EngageLab OTP on your own machine.

Importing this package imports nothing but this module: every name is loaded when it is first used (PEP 562).
`__init__.pyi` lists the names for type checkers.
"""

from __future__ import annotations

__version__ = "0.1.0"

_HOMES = {
    "checks.catalogue": "CHECKS",
    "checks.check": "Check",
    "checks.evidence": "Exchange",
    "checks.finding": "Finding",
    "checks.report": "Report",
    "checks.verdict": "Judgement Severity",
    "clock": "Clock SystemClock VirtualClock",
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
    "NotAcknowledged ReceiverFellShort UnknownName UsageError",
    "faker_provider": "EngageLabProvider",
    "generate": "Generator",
    "lifecycle.account": "Account",
    "lifecycle.catalogue": "CATALOGUE",
    "lifecycle.graph": "INFERRED START TransitionGraph",
    "lifecycle.message": "Message",
    "lifecycle.scenario": "Scenario Transition",
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
    "service.checking": "CheckOptions",
    "service.engagelab": "EngageLab",
    "service.options": "DeliverOptions SendOptions",
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

"""What EngageLab would not accept: refused at the caller's line, entered in the journal, and never sent."""

from __future__ import annotations

from typing import Any

import pytest

from engagelab_mock import (
    EngageLab,
    IllegalTransition,
    InvalidDelay,
    InvalidRecipient,
    InvalidSettings,
    Receiver,
    Recorder,
    Scenario,
    Transition,
    UnknownName,
    UsageError,
)

UNENCODABLE: dict[str, Any] = {"order": object()}


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"to": "nobody"}, InvalidRecipient, "'nobody' is not an E.164 phone number"),
        ({"to": "+65 9123 4567"}, InvalidRecipient, "did you mean '+6591234567'?"),
        ({"to": "user@"}, InvalidRecipient, "'user@' is not an e-mail address"),
        ({"to": 6591234567}, InvalidRecipient, "a recipient is a string"),
        ({"scenario": "verfied"}, UnknownName, "did you mean 'verified'?"),
        ({"scenario": ["plan", "snet"]}, UnknownName, "did you mean 'sent'?"),
        ({"scenario": ["plan", "verified"]}, IllegalTransition, "'verified' cannot follow 'plan'"),
        ({"scenario": 7}, UsageError, "a scenario is a name, a Scenario or a list of statuses, not 7"),
        ({"channel": "pigeon"}, UnknownName, "unknown channel 'pigeon'"),
        ({"channel": ["sms"]}, UnknownName, "unknown channel ['sms']"),
        ({"custom_args": UNENCODABLE}, UsageError, "custom_args: cannot be written as JSON"),
        ({"custom_args": "order=7"}, UsageError, "custom_args: an object is needed, not 'order=7'"),
    ],
)
def test_an_unacceptable_message_is_refused_at_the_callers_line(
    arguments: dict[str, Any], error: type[UsageError], told: str
) -> None:
    recorder = Recorder()
    with EngageLab(Receiver.wsgi(recorder)) as engagelab:
        with pytest.raises(error) as caught:
            engagelab.send(**arguments)
        [refusal] = engagelab.journal.refusals
        assert refusal.error is caught.value
        assert refusal.at == engagelab.clock.time()
        assert len(engagelab.journal) == 1
    assert told in str(caught.value)
    assert recorder.received == []
    # The engine's own frames are few, and hidden from pytest's report.
    assert len(caught.traceback) <= 5
    assert len(caught.traceback.filter(caught)) == 1
    assert caught.value.__cause__ is None


@pytest.mark.asyncio
async def test_asend_refuses_alike() -> None:
    with EngageLab() as engagelab:
        with pytest.raises(InvalidRecipient) as caught:
            await engagelab.asend("nobody")
        assert engagelab.journal.refusals[0].error is caught.value
    assert len(caught.traceback.filter(caught)) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"body": "xml"}, UnknownName, "unknown ping body 'xml'"),
        ({"content_type": "a/b\r\nX-Evil: 1"}, InvalidSettings, "cannot stand in a header"),
    ],
)
def test_a_ping_that_cannot_be_sent_is_refused(arguments: dict[str, Any], error: type[UsageError], told: str) -> None:
    with EngageLab() as engagelab:
        with pytest.raises(error) as caught:
            engagelab.validate_address(**arguments)
        assert [refusal.error for refusal in engagelab.journal.refusals] == [caught.value]
    assert told in str(caught.value)


def test_arguments_that_an_engine_refuses() -> None:
    with pytest.raises(UnknownName, match="unknown dialect '2023'"):
        EngageLab(dialect="2023")
    with pytest.raises(InvalidDelay, match="code_ttl"):
        EngageLab(code_ttl=-1)


@pytest.mark.parametrize("after", [-1, float("nan"), float("inf"), "2"])
def test_a_delay_that_cannot_pass_is_refused_before_anything_is_sent(after: Any) -> None:
    with pytest.raises(InvalidDelay, match="scenario 'mine', step 1"):
        Scenario("mine").then("plan", after=after)
    with pytest.raises(InvalidDelay, match="scenario 'mine', step 2"):
        Scenario("mine", graph=None, transitions=(Transition("plan"), Transition("sent", after=after)))

"""Strategies draw valid data; the `nearly_` strategies draw data that is refused."""

from __future__ import annotations

import json
import time

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagelab_mock import (
    CATALOGUE,
    Callback,
    EngageLab,
    Event,
    Fault,
    InvalidRecipient,
    Message,
    Receiver,
    Scenario,
    Schedule,
    Status,
    decode,
    encode,
    verify,
)
from engagelab_mock import strategies as drawn
from engagelab_mock.protocol.callback import callback_schema
from tests.receivers.gallery.stacks import shop

NOW = 1_700_000_000
PROPERTY = settings(derandomize=True, max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@PROPERTY
@given(drawn.messages(), drawn.statuses(), drawn.channels())
def test_the_engine_accepts_drawn_messages_and_statuses(message: Message, status: Status, channel: str) -> None:
    with EngageLab() as engagelab:
        run = engagelab.send(message.to, channel=channel, custom_args=message.custom_args, scenario=["plan"])
    assert run.acknowledged
    assert run.message.custom_args == message.custom_args
    [row] = decode(encode([message.event(status, at=message.accepted)])).rows
    assert row.name == status


@PROPERTY
@given(drawn.nearly_recipients())
def test_an_almost_valid_recipient_is_refused(to: str) -> None:
    with EngageLab() as engagelab, pytest.raises(InvalidRecipient):
        engagelab.send(to)


@PROPERTY
@given(drawn.nearly_statuses())
def test_an_almost_valid_status_is_refused(status: str) -> None:
    assert status not in list(Status)


@PROPERTY
@given(drawn.events() | drawn.unknown_events())
def test_events_are_equal_after_encoding_and_decoding(event: Event) -> None:
    assert decode(encode([event])).rows == (event,)


@PROPERTY
@given(st.lists(drawn.events(), max_size=2))
def test_bodies_match_the_schema(events: list[Event]) -> None:
    jsonschema.validate(json.loads(encode(events)), callback_schema())


@PROPERTY
@given(drawn.signature_headers("acme", "s3cret", now=NOW), drawn.nearly_signature_headers("acme", "s3cret", now=NOW))
def test_genuine_headers_verify_and_almost_genuine_ones_do_not(genuine: str, nearly: str) -> None:
    assert verify(genuine, username="acme", secret="s3cret", now=NOW)
    assert not verify(nearly, username="acme", secret="s3cret", now=NOW)


@PROPERTY
@given(st.data())
def test_the_correct_receiver_handles_every_body_and_header(data: st.DataObject) -> None:
    now = time.time()
    genuine = drawn.signature_headers("acme", "s3cret", now=now, tolerance=200)
    with shop("flask") as opened:
        header = data.draw(genuine | drawn.nearly_signature_headers("acme", "s3cret", now=now))
        body = data.draw(drawn.bodies() | drawn.nearly_bodies())
        assert opened.orders.receive(header, body) in {200, 400, 401}


@PROPERTY
@given(drawn.callbacks("acme", "s3cret", now=NOW))
def test_callbacks_are_signed_and_whole(callback: Callback) -> None:
    assert verify(callback.headers["X-CALLBACK-ID"], username="acme", secret="s3cret", now=NOW)
    assert decode(callback.body).rows == callback.events


@PROPERTY
@given(drawn.scenarios(), drawn.scenarios(graph=None))
def test_scenarios_can_be_sent(legal: Scenario, any_: Scenario) -> None:
    with EngageLab(code_ttl=None) as engagelab:
        for scenario in (legal, any_):
            assert engagelab.send(scenario=scenario).statuses == scenario.statuses


def test_legal_scenarios_cover_fallbacks() -> None:
    found: set[tuple[str, ...]] = set()

    @settings(derandomize=True, max_examples=120, deadline=None)
    @given(drawn.scenarios())
    def collect(scenario: Scenario) -> None:
        found.add(tuple(scenario.statuses))

    collect()
    assert any("delivered_failed" in each and each.index("delivered_failed") < len(each) - 1 for each in found)
    assert any(each[-1:] == ("verified",) for each in found)


@PROPERTY
@given(drawn.faults(transport="wsgi"))
def test_faults_fit_their_transport(drawn_fault: Fault) -> None:
    with EngageLab(Receiver.recording()) as engagelab:
        engagelab.send(scenario=["plan"])
        engagelab.send(scenario=["plan"], fault=drawn_fault, check=False)


@PROPERTY
@given(drawn.schedules(faults="at-least-once", delays=True))
def test_schedules_can_be_written_read_and_played(schedule: Schedule) -> None:
    assert Schedule.parse(schedule.token) == schedule
    with EngageLab() as engagelab:
        assert engagelab.play(schedule).acknowledged
    assert all(CATALOGUE[scenario.name] for scenario in schedule.lifecycles)

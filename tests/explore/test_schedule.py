"""Tokens can be printed and read; an error has the place in the token."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given

from engagelab_mock import CATALOGUE, Scenario, Schedule, Step, UsageError
from engagelab_mock.explore.schedule import tidy
from tests.explore import strategies


@strategies.PROPERTY
@given(strategies.schedules())
def test_a_printed_token_can_be_read(schedule: Schedule) -> None:
    token = str(schedule)
    assert Schedule.parse(token) == schedule
    assert str(Schedule.parse(token)) == token
    assert hash(Schedule.parse(token)) == hash(schedule)


@strategies.PROPERTY
@given(strategies.schedules())
def test_a_token_is_one_word_of_printable_ascii(schedule: Schedule) -> None:
    token = str(schedule)
    assert token.isascii()
    assert token.isprintable()
    assert shlex.split(shlex.quote(token)) == [token]
    assert not set(token) & set(" \"'`$&|;<>(){}[]\\?^")


def test_the_token_of_the_documentation() -> None:
    schedule = Schedule.parse("eg1:plan,delivered!ackloss,sent*2@+3.1s")
    assert schedule.lifecycles == (CATALOGUE["verified"],)
    assert schedule.steps == (
        Step(("plan",)),
        Step(("delivered",), fault="ack_lost"),
        Step(("sent",), repeat=2, delay=3.1),
    )
    assert str(schedule) == "eg1:plan,delivered!ackloss,sent*2@+3.1s"


@pytest.mark.parametrize(
    ("typed", "printed"),
    [
        ("eg1:verified:plan,sent", "eg1:plan,sent"),
        ("eg1:plan~ackloss,sent=2@3.1", "eg1:plan!ackloss,sent*2@+3.1s"),
        ("eg1:sent@+3s!lost*2", "eg1:sent*2!lost@+3s"),
        ("eg1:plan#1,sent!ack_lost", "eg1:plan,sent!ackloss"),
        ("  eg1:plan\n", "eg1:plan"),
        ("eg1:fallback:sent.2", "eg1:sent/sms"),
        ("eg1:fallback:sent.2+delivered/sms", "eg1:sent/sms+delivered"),
        ("eg1:delivered:plan,sent", "eg1:delivered:plan,sent"),
        ("eg1:verified,fallback:plan,sent/sms#2", "eg1:verified,fallback:plan,sent/sms#2"),
    ],
)
def test_a_typed_token_is_read(typed: str, printed: str) -> None:
    assert str(Schedule.parse(typed)) == printed


@pytest.mark.parametrize(
    ("token", "where", "said"),
    [
        ("plan,sent", "at character 1", "does not start with 'eg1:'"),
        ("", "at character 1", "a token looks like"),
        ("eg2:plan", "at character 1", "this version of engagelab-mock reads eg1"),
        ("eg1:plan,delivred", "at character 10", "did you mean 'delivered'?"),
        ("eg1:plan+snt", "at character 10", "did you mean 'sent'?"),
        ("eg1:verfied:plan", "at character 5", "did you mean 'verified'?"),
        ("eg1:verified,fallbak:plan", "at character 14", "did you mean 'fallback'?"),
        ("eg1:fallback:plan,sent", "at character 19", "use sent/whatsapp or sent/sms"),
        ("eg1:plan!ackls", "at character 9", "did you mean 'ackloss'?"),
        ("eg1:plan,sent*0", "at character 14", "delivered at least once"),
        ("eg1:plan,sent*2*3", "at character 16", "a second repeat"),
        ("eg1:plan,sent!lost!lost", "at character 19", "a second fault"),
        ("eg1:plan,,sent", "at character 10", "unknown event ''"),
        ("eg1:plan,sent@soon", "at character 14", "after the events, write !fault, *times, @+seconds"),
        ("eg1:plan,sent*99999", "at character 14", "'*99999' cannot be read"),
        ("eg1:plan-foo:plan", "step 1", "unknown status 'foo'"),
        ("eg1:plan,sent#2", "at character 10", "unknown event 'sent#2'"),
        (7, "token", "not 7"),
    ],
)
def test_an_error_has_the_place_in_the_token(token: Any, where: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Schedule.parse(token)
    assert where in str(caught.value)
    assert said in str(caught.value)


def test_statuses_that_occur_twice_have_different_labels() -> None:
    labels = Schedule.of(
        "fallback_exhausted", "sent/whatsapp", "sent/sms", "sent/voice", "delivered_failed/sms", "delivered_failed.3"
    ).events
    assert labels == [
        "sent/whatsapp",
        "sent/sms",
        "sent/voice",
        "delivered_failed/sms",
        "delivered_failed/voice",
    ]
    tries = Scenario("tries", graph=None).then("verified_failed").then("verified_failed", after=9).then("verified")
    assert str(Schedule.of(tries, "verified_failed.2")) == (
        "eg1:verified_failed-verified_failed+9-verified:verified_failed.2"
    )


def test_a_users_scenario_is_spelt_in_full() -> None:
    scenario = (
        Scenario("mine", graph=None)
        .then("sent", channel="whatsapp", after=2.5)
        .then("sent_failed", error=5012, message="no-go")
    )
    schedule = Schedule.of(scenario, "sent_failed")
    assert str(schedule) == "eg1:sent/whatsapp+2.5-sent_failed%5012=no%2Dgo:sent_failed"
    [read] = Schedule.parse(str(schedule)).lifecycles
    assert read.transitions == scenario.transitions


def test_a_single_status_is_not_the_lifecycle_of_its_name() -> None:
    own = Schedule.of(Scenario("mine", graph=None).then("verified"), "verified")
    assert str(own) == "eg1:verified+0:verified"
    assert len(Schedule.parse(str(own)).lifecycles[0].transitions) == 1


def test_equal_steps_in_a_row_become_one_repeated_step() -> None:
    plan, sent = Step(("plan",)), Step(("sent",))
    assert tidy([plan, plan, sent, plan]) == (Step(("plan",), repeat=2), sent, plan)
    late = Step(("plan",), delay=1)
    assert tidy([plan, late]) == (plan, late)
    together = Step(("plan",), beside=(("plan",),))
    assert tidy([together, plan, plan]) == (together, Step(("plan",), repeat=2))


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([Step(())], "at least one event"),
        ([Step(("plan",), repeat=0)], "delivered at least once"),
        ([Step(("plan",), delay=-1.0)], "delay"),
        (["plam"], "did you mean 'plan'?"),
    ],
)
def test_a_wrong_step_raises(steps: list[Any], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        Schedule.of("verified", *steps)


def test_a_schedule_made_by_hand_is_checked() -> None:
    with pytest.raises(UsageError, match="the label is 'sent/sms'"):
        Schedule((CATALOGUE["fallback"],), (Step(("sent.2",)),))
    with pytest.raises(UsageError, match=r"use Schedule\.of, which takes any scenario"):
        Schedule((Scenario("mine", graph=None).then("plan"),), ())

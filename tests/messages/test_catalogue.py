"""The built-in scenarios, spelt out."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from engagelab_mock import CATALOGUE, INFERRED, IllegalTransition, Message, Scenario, UnknownName, UsageError
from engagelab_mock.messages.catalogue import scenario


class Course(NamedTuple):
    statuses: str
    channels: str
    error_codes: tuple[int, ...] = ()


#: Per scenario: its statuses, the channel of each when the default is SMS ("-" for none), and what its failures report.
COURSES = {
    "verified": Course("plan sent delivered verified", "- sms sms sms"),
    "delivered": Course("plan sent delivered", "- sms sms"),
    "sent_failed": Course("plan sent_failed", "- sms", (5001,)),
    "delivered_failed": Course("plan sent delivered_failed", "- sms sms", (5012,)),
    "verified_failed": Course("plan sent delivered verified_failed", "- sms sms sms"),
    "verified_timeout": Course("plan sent delivered verified_timeout", "- sms sms sms"),
    "target_invalid": Course("plan target_invalid", "- -", (5011,)),
    "fallback": Course(
        "plan sent delivered_failed sent delivered verified", "- whatsapp whatsapp sms sms sms", (5012,)
    ),
    "fallback_exhausted": Course(
        "plan sent delivered_failed sent delivered_failed sent delivered_failed",
        "- whatsapp whatsapp sms sms voice voice",
        (5012, 5012, 5012),
    ),
    "read": Course("plan sent delivered read", "- whatsapp whatsapp whatsapp"),
    "lost": Course("", ""),
}


def test_the_catalogue_is_complete_and_named_by_its_keys() -> None:
    assert list(CATALOGUE) == list(COURSES)
    assert all(known.name == name for name, known in CATALOGUE.items())


@pytest.mark.parametrize("name", COURSES)
def test_a_built_in_scenario_takes_its_course(name: str) -> None:
    known, course = CATALOGUE[name], COURSES[name]
    steps = list(known.steps("sms"))
    assert known.statuses == course.statuses.split()
    assert [step.channel or "-" for step in steps] == course.channels.split()
    assert tuple(step.error_code for step in steps if step.error_code) == course.error_codes


@pytest.mark.parametrize("name", COURSES)
def test_a_built_in_scenario_is_described_legal_and_never_goes_back_in_time(name: str) -> None:
    known = CATALOGUE[name]
    assert len(known.description) > 10
    assert known.graph is INFERRED
    assert Scenario("again", transitions=known.transitions, graph=INFERRED).statuses == known.statuses
    assert all(step.after >= 0 for step in known.transitions)
    assert known.duration <= 300, "a code is good for five minutes"


@pytest.mark.parametrize("name", COURSES)
def test_failures_and_only_failures_report_an_error_with_its_text(name: str) -> None:
    message = Message(id="1", to="+6591234567")
    for step in CATALOGUE[name].steps("sms"):
        status = message.event(step.status, at=0, error_code=step.error_code).status
        failed = step.status in {"sent_failed", "delivered_failed", "target_invalid"}
        assert bool(status.error_code) is failed
        assert bool(status.error_detail) is failed


def test_read_stands_in_no_other_scenario() -> None:
    assert [name for name, known in CATALOGUE.items() if "read" in known.statuses] == ["read"]


def test_the_code_of_verified_timeout_expires_five_minutes_after_acceptance() -> None:
    assert CATALOGUE["verified_timeout"].duration == 300


def test_the_fallback_keeps_the_guides_example_timing() -> None:
    times, now = [], 0.0
    for step in CATALOGUE["fallback"].transitions:
        now += step.after
        times.append(now)
    assert times == [0, 0, 8, 10, 15, 30]


def test_a_scenario_is_found_by_name_or_taken_as_it_is() -> None:
    own = Scenario("own").then("plan")
    assert scenario("fallback") is CATALOGUE["fallback"]
    assert scenario(own) is own


@pytest.mark.parametrize("statuses", [["plan", "sent", "delivered"], ("plan", "sent", "delivered")])
def test_a_list_of_statuses_is_a_scenario_one_second_apart(statuses: list[str]) -> None:
    made = scenario(statuses)
    assert (made.name, made.statuses) == ("plan,sent,delivered", ["plan", "sent", "delivered"])
    assert [step.after for step in made.transitions] == [0, 1, 1]
    assert scenario([]).statuses == []


@pytest.mark.parametrize(
    ("name", "hint"), [("verfied", "'verified'"), ("sent_fail", "'sent_failed'"), ("fall_back", "'fallback'")]
)
def test_a_misspelt_scenario_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UnknownName, match=f"--scenario: unknown scenario '{name}'") as caught:
        scenario(name, where="--scenario")
    assert f"did you mean {hint}?" in caught.value.hint
    assert caught.value.hint.endswith(f"Known: {', '.join(sorted(COURSES))}")


def test_a_list_with_a_misspelt_or_illegal_status_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown status 'sennt'"):
        scenario(["plan", "sennt"])
    with pytest.raises(IllegalTransition, match="'verified' cannot follow 'plan'"):
        scenario(["plan", "verified"])


@pytest.mark.parametrize("chosen", [None, 7, {"plan"}, True])
def test_an_invalid_scenario_is_refused(chosen: object) -> None:
    with pytest.raises(UsageError, match="a scenario is a name, a Scenario or a list of statuses, not"):
        scenario(chosen)  # type: ignore[arg-type]

"""Faults together, faults on some callbacks only, and the meaning of a failure once a fault is declared."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engagelab_mock import EngageLab, NotAcknowledged, Outcome, Receiver, fault
from tests.peers import Peer, answer, answering


def bodies(engagelab: EngageLab) -> list[bytes]:
    return [attempt.callback.body for attempt in engagelab.journal.attempts]


def test_faults_of_several_stages_strike_in_the_order_of_the_stages() -> None:
    with Peer(answering(answer())) as peer:
        receiver = Receiver.http(peer.url, username="acme", secret="s3cret")
        with EngageLab(receiver) as engagelab:
            # Given the other way round: the rows are made before the body, the body before its compression.
            run = engagelab.send("+6591234567", scenario=["plan"], fault=["http_1_0", "bom", "tampered_body", "stale"])
    [request] = peer.requests
    assert request.startswith(b"POST / HTTP/1.0\r\n")
    body = request.partition(b"\r\n\r\n")[2]
    assert body.startswith(b"\xef\xbb\xbf{")
    assert json.loads(body)["rows"][0]["to"] == "+19999999999"
    [attempt] = run.deliveries[0].attempts
    assert [str(each) for each in attempt.faults] == [
        "http_1_0",
        "bom",
        "tampered_body(to='+19999999999')",
        "stale(by=360)",
    ]


def test_faults_of_one_stage_strike_in_the_order_given() -> None:
    with EngageLab() as engagelab:
        engagelab.send("+6591234567", scenario=["plan"], fault=["unknown_status", fault("unknown_status", status="z")])
        [body] = bodies(engagelab)
    assert json.loads(body)["rows"][0]["status"]["message_status"] == "z"


@pytest.mark.parametrize(
    "order", [["lowercase_headers", "missing_signature"], ["missing_signature", "truncated_signature"]]
)
def test_a_fault_finds_the_signature_after_any_other_fault(order: list[str]) -> None:
    with EngageLab() as engagelab:
        run = engagelab.send("+6591234567", scenario=["plan"], fault=order)
    assert "x-callback-id" not in run.deliveries[0].callback.headers


def test_a_fault_strikes_the_callbacks_and_attempts_it_is_limited_to() -> None:
    with EngageLab() as engagelab:
        run = engagelab.send(
            "+6591234567", scenario="delivered", retry=[1], fault=fault("stale", by=900, on="delivered", attempts=1)
        )
    plan, sent, delivered = run.deliveries
    assert [attempt.faults for delivery in (plan, sent) for attempt in delivery.attempts] == [(), ()]
    assert [attempt.outcome for attempt in delivered.attempts] == [Outcome.NOT_200, Outcome.ACKNOWLEDGED]
    assert [[str(each) for each in attempt.faults] for attempt in delivered.attempts] == [["stale(by=900)"], []]
    assert run.acknowledged


def test_a_fault_strikes_an_event_about_the_account() -> None:
    with EngageLab() as engagelab:
        spoilt = fault("missing_signature", on=["insufficient_balance", "uplink_message"])
        [struck] = engagelab.notify("insufficient_balance", fault=spoilt)
        [other] = engagelab.notify("template_audit_result", fault=spoilt)
    assert (struck.acknowledged, other.acknowledged) == (False, True)


def test_a_fault_object_can_be_varied_further() -> None:
    late = fault("stale", by=900, on="sent", attempts=2)
    later = fault(late, by=1800)
    assert (later.options, later.on, later.attempts) == ({"by": 1800}, ("sent",), 2)
    assert fault(late, on="plan", attempts=1).on == ("plan",)


@pytest.mark.parametrize(("seed", "same"), [(1, True), (2, False)])
def test_the_seed_decides_where_the_json_is_cut(seed: int, same: bool) -> None:
    def cuts(seed: int) -> list[int]:
        with EngageLab(seed=seed) as engagelab:
            engagelab.send("+6591234567", fault="truncated_json")
            return [len(body) for body in bodies(engagelab)]

    assert (cuts(1) == cuts(seed)) is same
    assert len(set(cuts(1))) > 1


# --- What a failure means


def test_a_failure_that_was_asked_for_does_not_raise() -> None:
    with EngageLab() as engagelab:
        run = engagelab.send("+6591234567", fault="wrong_secret")
    assert [delivery.outcome for delivery in run.deliveries] == [Outcome.NOT_200] * 4


def test_check_raises_all_the_same() -> None:
    with EngageLab() as engagelab, pytest.raises(NotAcknowledged, match="answered 401"):
        engagelab.send("+6591234567", fault="wrong_secret", check=True)


def failing_at(number: int) -> Receiver:
    """Answer 500 to one request, counted from 1, and 200 to the others."""
    requests: list[object] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        requests.append(environ)
        start_response("500 Oops" if len(requests) == number else "200 OK", [])
        return []

    return Receiver.wsgi(app, username="acme", secret="s3cret")


def test_a_callback_that_no_fault_struck_must_be_acknowledged() -> None:
    with EngageLab(failing_at(2)) as engagelab, pytest.raises(NotAcknowledged, match="sent was not acknowledged"):
        engagelab.send("+6591234567", fault=fault("stale", on="plan"))


def test_a_retry_that_no_fault_struck_must_be_acknowledged() -> None:
    lost = fault("ack_lost", attempts=1)
    with EngageLab(failing_at(2)) as engagelab, pytest.raises(NotAcknowledged, match="plan was not acknowledged"):
        engagelab.send("+6591234567", scenario=["plan"], retry=[1], fault=lost)


def test_duplicates_count_as_one_attempt_of_the_retry_ladder() -> None:
    with EngageLab(failing_at(1)) as engagelab:
        run = engagelab.send(
            "+6591234567", scenario=["plan"], retry=[60, 600], fault=fault("duplicate", copies=3, attempts=1)
        )
    [delivery] = run.deliveries
    times = [attempt.at - delivery.attempts[0].at for attempt in delivery.attempts]
    assert times == [0, 0, 0, 60]
    assert [attempt.number for attempt in delivery.attempts] == [1, 1, 1, 2]
    assert delivery.acknowledged


# --- A wrong total


def test_a_total_can_be_wrong_without_a_fault() -> None:
    with EngageLab() as engagelab:
        [delivery] = engagelab.send("+6591234567", scenario="delivered", batch="all", total=2).deliveries
    envelope = json.loads(delivery.callback.body)
    assert (envelope["total"], len(envelope["rows"])) == (2, 3)


@pytest.mark.parametrize(("struck", "total"), [("unknown_fields", 2), ("wrong_total", 3), ("null_section", 3)])
def test_a_fault_of_the_rows_starts_from_the_total_that_was_given(struck: str, total: int) -> None:
    with EngageLab() as engagelab:
        [delivery] = engagelab.send(
            "+6591234567", scenario="delivered", batch="all", total=2, fault=struck, check=False
        ).deliveries
    assert json.loads(delivery.callback.body)["total"] == total

"""A fault that is misspelt or cannot be applied is refused at its line, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import FAULTS, EngageLab, Receiver, UnknownName, UsageError, fault

OVER_HTTP = [known.name for known in FAULTS.values() if known.transports == {"http"}]
ABOUT_THE_SIGNATURE = [known.name for known in FAULTS.values() if known.needs_signature]


def refused(call: Callable[[], object]) -> UsageError:
    """Return the error; it shows at the caller's own line."""
    with pytest.raises(UsageError) as caught:
        call()
    visible = [entry.path for entry in caught.traceback.filter(caught)]
    assert visible[-1] == Path(__file__)
    return caught.value


@pytest.mark.parametrize(
    ("name", "hint"),
    [("stail", "did you mean 'stale'?"), ("truncated_jsn", "did you mean 'truncated_json'?"), (7, "Known: ack_lost")],
)
def test_a_misspelt_fault(name: Any, hint: str) -> None:
    with EngageLab() as engagelab:
        error = refused(lambda: engagelab.send("+6591234567", fault=[name]))
        assert isinstance(error, UnknownName)
        assert hint in str(error)
        assert [refusal.error for refusal in engagelab.journal.refusals] == [error]
        engagelab.journal.assert_nothing_sent()


def test_a_value_that_is_not_a_fault() -> None:
    with EngageLab() as engagelab:
        nothing: Any = 7
        assert "not 7" in str(refused(lambda: engagelab.send("+6591234567", fault=nothing)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"bye": 900}, "did you mean 'by'?"),
        ({"on": "delivred"}, "did you mean 'delivered'?"),
        ({"on": ["sent", "insufficient_balanc"]}, "did you mean 'insufficient_balance'?"),
        ({"attempts": 0}, "attempts is a number from 1, not 0"),
        ({"attempts": True}, "attempts is a number from 1, not True"),
        ({"by": -1}, "by cannot be -1"),
        ({"by": "900"}, "by cannot be '900'"),
        ({"by": float("nan")}, "by cannot be nan"),
        ({"by": float("inf")}, "by cannot be inf"),
    ],
)
def test_arguments_of_a_fault(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        fault("stale", **arguments)
    assert "fault 'stale'" in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("truncated_signature", "digits", 64),
        ("truncated_signature", "digits", 1.5),
        ("duplicated_signature", "forged_first", "yes"),
        ("malformed_signature", "value", "a\r\nX-Evil: 1"),
        ("other_username", "username", ""),
        ("tampered_body", "to", 6591234567),
        ("wrong_total", "off_by", 0),
        ("huge_body", "size", -1),
        ("deep_body", "depth", None),
        ("slow_body", "pieces", 0),
        ("slow_body", "pause", -0.1),
        ("give_up", "after", "soon"),
        ("expect_continue", "wait", 1e9),
        ("duplicate", "copies", 1),
        ("duplicate", "copies", 10_000),
    ],
)
def test_values_that_an_option_cannot_have(name: str, option: str, value: object) -> None:
    arguments: dict[str, Any] = {option: value}
    with pytest.raises(UsageError) as caught:
        fault(name, **arguments)
    assert f"fault {name!r}: {option} cannot be" in str(caught.value)


@pytest.mark.parametrize("known", FAULTS.values(), ids=str)
def test_every_default_is_a_value_that_the_option_can_have(known: Any) -> None:
    assert fault(known.name, **known.options) == known


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nothing is sent")


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    raise AssertionError("nothing is sent")


@pytest.mark.parametrize("name", OVER_HTTP)
@pytest.mark.parametrize("transport", ["wsgi", "asgi"])
def test_a_fault_of_the_connection_is_refused_in_process(name: str, transport: str) -> None:
    receivers = {
        "wsgi": Receiver.wsgi(wsgi_app, username="acme", secret="s3cret"),
        "asgi": Receiver.asgi(asgi_app, username="acme", secret="s3cret"),
    }
    with EngageLab(receivers[transport]) as engagelab:
        error = refused(lambda: engagelab.send("+6591234567", fault=name))
        assert str(error) == (
            f"fault: the {transport} transport cannot send the fault {name!r}\n"
            "  hint: use Receiver.http(…): a call in process uses no connection"
        )
        assert [refusal.error for refusal in engagelab.journal.refusals] == [error]
        engagelab.journal.assert_nothing_sent()
        assert engagelab.pending == []


@pytest.mark.parametrize("name", ABOUT_THE_SIGNATURE)
def test_a_fault_of_the_signature_needs_a_signature(name: str) -> None:
    with EngageLab(Receiver.http("http://127.0.0.1:1/")) as engagelab:
        error = refused(lambda: engagelab.notify("insufficient_balance", fault=name))
        assert f"the fault {name!r} changes the signature, but this receiver's callbacks are not signed" in str(error)
        assert [refusal.error for refusal in engagelab.journal.refusals] == [error]
        engagelab.journal.assert_nothing_sent()
        assert engagelab.pending == []


@pytest.mark.parametrize("name", ["replayed_nonce", "replayed_header"])
def test_there_must_be_something_to_replay(name: str) -> None:
    with EngageLab() as engagelab:
        error = refused(lambda: engagelab.send("+6591234567", fault=name))
        assert f"fault {name!r}: this receiver has not acknowledged a signed callback yet" in str(error)
        assert [refusal.error for refusal in engagelab.journal.refusals] == [error]
        engagelab.journal.assert_nothing_sent()
        # Nothing of that message is left to be sent when time passes.
        assert engagelab.pending == []
        engagelab.send("+6591234567", scenario=["plan"])
        assert engagelab.send("+6591234567", scenario=["plan"], fault=name).deliveries[0].attempts[0].faults


@pytest.mark.asyncio
async def test_there_must_be_something_to_replay_in_an_event_loop() -> None:
    with EngageLab() as engagelab:
        with pytest.raises(UsageError, match="nothing to replay") as caught:
            await engagelab.asend("+6591234567", fault="replayed_nonce")
        assert [refusal.error for refusal in engagelab.journal.refusals] == [caught.value]
        assert engagelab.pending == []


def test_only_genuine_signatures_are_replayed() -> None:
    def accepting(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    with EngageLab(Receiver.wsgi(accepting, username="acme", secret="s3cret")) as engagelab:
        assert engagelab.send("+6591234567", scenario=["plan"], fault="missing_signature").acknowledged
        refused(lambda: engagelab.send("+6591234567", fault="replayed_header"))
        [genuine] = engagelab.send("+6591234567", scenario=["plan"]).deliveries
        engagelab.send("+6591234567", scenario=["plan"], fault="malformed_signature")
        [replayed] = engagelab.send("+6591234567", scenario=["plan"], fault="replayed_header").deliveries
    assert replayed.callback.headers["X-CALLBACK-ID"] == genuine.callback.headers["X-CALLBACK-ID"]

"""The exception tree: what went wrong, where, and the next step."""

from __future__ import annotations

import inspect

import pytest

from engagelab_mock import (
    EngageLab,
    EngageLabMockError,
    NotAcknowledged,
    Receiver,
    UnknownName,
    UsageError,
    errors,
)
from engagelab_mock.errors import did_you_mean

ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_can_be_caught_as_one(kind: type[Exception]) -> None:
    assert issubclass(kind, EngageLabMockError)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        ("InvalidBody", ValueError),
        ("InvalidRecipient", UsageError),
        ("InvalidSettings", UsageError),
        ("InvalidDelay", UsageError),
        ("IllegalTransition", UsageError),
        ("UnknownName", UsageError),
        ("UsageError", ValueError),
        ("NotAcknowledged", AssertionError),
    ],
)
def test_each_error_is_also_of_its_usual_kind(kind: str, builtin: type[Exception]) -> None:
    assert issubclass(getattr(errors, kind), builtin)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "no receiver"),
        ({"where": "send"}, "send: no receiver"),
        ({"hint": "pass one"}, "no receiver\n  hint: pass one"),
        (
            {"where": "send", "hint": "pass one", "detail": "POST /"},
            "send: no receiver\n  hint: pass one\n\nPOST /",
        ),
    ],
)
def test_the_text_holds_only_the_given_parts(parts: dict[str, str], text: str) -> None:
    error = EngageLabMockError("no receiver", **parts)
    assert str(error) == text
    assert (error.what, error.where, error.hint) == ("no receiver", parts.get("where", ""), parts.get("hint", ""))


def test_an_unknown_name_is_met_with_the_nearest_and_all_others() -> None:
    error = UnknownName("channel", "whatsap", ["whatsapp", "sms"], where="send", hint="Names are lower-case.")
    assert str(error) == (
        "send: unknown channel 'whatsap'\n  hint: did you mean 'whatsapp'? Known: sms, whatsapp Names are lower-case."
    )
    assert (error.noun, error.name) == ("channel", "whatsap")


def test_an_unknown_name_like_no_other_is_met_with_the_list() -> None:
    assert str(UnknownName("channel", "pigeon", ["sms"])) == "unknown channel 'pigeon'\n  hint: Known: sms"


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("delivred", "did you mean 'delivered'?"),
        ("DELIVERED", "did you mean 'delivered'?"),
        ("xyzzy", ""),
        ("", ""),
    ],
)
def test_a_suggestion_is_made_only_when_something_is_near(name: str, suggestion: str) -> None:
    assert did_you_mean(name, ["sent", "delivered"]) == suggestion


def test_not_acknowledged_carries_its_delivery() -> None:
    receiver = Receiver.recording().with_settings(secret="wrong")
    with EngageLab(receiver) as engagelab, pytest.raises(NotAcknowledged) as caught:
        engagelab.send("+6591234567")
    assert caught.value.delivery is engagelab.journal.deliveries[0]
    assert not caught.value.delivery.acknowledged

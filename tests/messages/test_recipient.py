"""Recipients: E.164 numbers and e-mail addresses are taken as they are, and everything else is refused with a hint."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagelab_mock import InvalidRecipient
from engagelab_mock.messages.message import check_recipient, is_email
from tests.protocol.strategies import PROPERTY


@given(st.integers(1_000_000, 999_999_999_999_999))
@PROPERTY
def test_plus_and_7_to_15_digits_is_a_number(digits: int) -> None:
    assert check_recipient(f"+{digits}") == f"+{digits}"
    assert not is_email(f"+{digits}")


@given(st.emails())
@PROPERTY
def test_an_e_mail_address_is_accepted(address: str) -> None:
    assert check_recipient(address) == address
    assert is_email(address)


@pytest.mark.parametrize("address", ["a@example.com", "first.last+tag@mail.example.co.uk", "ü@example.com"])
def test_usual_e_mail_addresses_are_accepted(address: str) -> None:
    assert check_recipient(address) == address


NOT_NUMBERS = [
    ("006591234567", "did you mean '+6591234567'?"),
    ("+65 9123 4567", "did you mean '+6591234567'?"),
    ("+1 (212) 555-0100", "did you mean '+12125550100'?"),
    ("+65.9123.4567", "did you mean '+6591234567'?"),
    ("+6591234567\n", "did you mean '+6591234567'?"),
    ("", "E.164 is '+', the country code and the number, 7 to 15 digits in all"),
    ("+", "7 to 15 digits in all"),
    ("+659123", "7 to 15 digits in all"),
    ("+1234567890123456", "7 to 15 digits in all"),
    ("+06591234567", "7 to 15 digits in all"),
    ("++6591234567", "7 to 15 digits in all"),
    ("tel:+6591234567", "7 to 15 digits in all"),
    ("+65912E4567", "7 to 15 digits in all"),
    ("+٦٥٩١٢٣٤٥٦٧", "7 to 15 digits in all"),
    ("\uff0b6591234567", "7 to 15 digits in all"),
]


@pytest.mark.parametrize(("to", "hint"), NOT_NUMBERS)
def test_an_invalid_number_is_refused_with_a_hint(to: str, hint: str) -> None:
    with pytest.raises(InvalidRecipient, match=r"is not an E\.164 phone number") as caught:
        check_recipient(to)
    assert hint in caught.value.hint
    assert str(caught.value).startswith(f"to: {to!r} is not")


@pytest.mark.parametrize("to", ["91234567", "13800138000", "9123 4567", "(0)91234567", "6591234567", "0091"])
def test_no_number_is_suggested_that_may_be_of_another_country(to: str) -> None:
    with pytest.raises(InvalidRecipient) as caught:
        check_recipient(to)
    assert caught.value.hint.startswith("E.164 is '+', the country code and the number")


@pytest.mark.parametrize(
    "to",
    [
        "@",
        "@example.com",
        "user@",
        "user@localhost",
        "user@@example.com",
        "a b@example.com",
        "user@example..com",
        "user@-example.com",
        "user@example.com\n",
        "User <user@example.com>",
        "a@example.com,b@example.com",
        "\x00@example.com",
        "\ud800@example.com",
        "x" * 65 + "@example.com",
        "x@" + "a." * 130 + "com",
    ],
)
def test_an_invalid_e_mail_address_is_refused_with_a_hint(to: str) -> None:
    with pytest.raises(InvalidRecipient, match="is not an e-mail address") as caught:
        check_recipient(to)
    assert caught.value.hint == "it should look like 'user@example.com'"


@pytest.mark.parametrize("to", [None, 6591234567, b"+6591234567", ["+6591234567"]])
def test_a_value_that_is_not_a_string_is_refused(to: object) -> None:
    with pytest.raises(InvalidRecipient, match="a recipient is a string"):
        check_recipient(to)  # type: ignore[arg-type]


def test_the_error_names_the_place_of_the_recipient() -> None:
    with pytest.raises(InvalidRecipient, match=r"^--to: '1'"):
        check_recipient("1", where="--to")


@given(st.text(st.characters(), max_size=20))
@PROPERTY
def test_any_text_is_accepted_unchanged_or_refused(to: str) -> None:
    try:
        assert check_recipient(to) is to
    except InvalidRecipient as error:
        assert error.hint  # noqa: PT017 - either outcome is right, the property is that no third one exists

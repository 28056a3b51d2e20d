"""The error codes of the REST API and of failed messages."""

from __future__ import annotations

import pytest
from engagelab_otp import EngagelabError

from engagelab_mock import ERROR_CODES, UnknownName
from engagelab_mock.protocol.errorcodes import error_code

HTTP_STATUSES = {
    **{1000: 500, 2001: 401, 2002: 401, 2004: 403},
    **dict.fromkeys([3001, 3002, 3003, 3004, 4001], 400),
    **dict.fromkeys([5001, *range(5011, 5021)], 400),
    # In no table, but handled by clients of the real service.
    **dict.fromkeys([3005, 3013, 6001, 6003, 6006, 6007], 400),
}


def test_every_code_answers_with_its_http_status() -> None:
    assert {code: entry.http_status for code, entry in ERROR_CODES.items()} == HTTP_STATUSES


def test_every_code_has_another_text_and_a_source() -> None:
    assert all(entry.code == code and entry.source in {"S", "D", "C"} for code, entry in ERROR_CODES.items())
    assert len({entry.message for entry in ERROR_CODES.values()} - {""}) == len(ERROR_CODES)


def test_the_document_s_own_error_keeps_its_words() -> None:
    assert (error_code(5001).message, error_code(5001).source) == ("sender config is invalid", "S")


def test_codes_seen_only_in_clients_say_so() -> None:
    seen = {code for code, entry in ERROR_CODES.items() if entry.source == "C"}
    assert seen == {3005, 3013, 6001, 6003, 6006, 6007}


@pytest.mark.parametrize("code", sorted(ERROR_CODES))
def test_retryable_agrees_with_the_official_sdk(code: int) -> None:
    assert ERROR_CODES[code].retryable is EngagelabError("", code=code).retryable


@pytest.mark.parametrize(("code", "hint"), [(50011, "did you mean '5011'?"), ("5001", "'5001'"), (True, "Known: 1000")])
def test_unknown_code_is_refused_with_the_known_ones(code: int, hint: str) -> None:
    with pytest.raises(UnknownName, match="unknown error code") as caught:
        error_code(code, where="step 2")
    assert str(caught.value).startswith(f"step 2: unknown error code {code!r}")
    assert hint in caught.value.hint


def test_a_value_that_is_not_a_number_is_refused_alike() -> None:
    with pytest.raises(UnknownName, match="unknown error code"):
        error_code([5001])  # type: ignore[arg-type]

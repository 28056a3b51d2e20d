"""Headers: a mapping without regard to case that keeps what was sent."""

from __future__ import annotations

import pytest

from engagelab_mock import Headers

HEADERS = Headers([("Content-Type", "application/json"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("X", "")])


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
def test_a_header_is_found_in_any_case(name: str) -> None:
    assert HEADERS[name] == "application/json"
    assert name in HEADERS
    assert HEADERS.get(name) == "application/json"


def test_a_repeated_header_gives_its_first_value_and_all_of_them() -> None:
    assert HEADERS["Set-Cookie"] == "a=1"
    assert HEADERS.get_all("SET-COOKIE") == ["a=1", "b=2"]


def test_what_was_not_sent_is_not_there() -> None:
    assert "X-CALLBACK-ID" not in HEADERS
    assert HEADERS.get("X-CALLBACK-ID") is None
    assert HEADERS.get_all("X-CALLBACK-ID") == []
    with pytest.raises(KeyError, match="X-CALLBACK-ID"):
        HEADERS["X-CALLBACK-ID"]


def test_names_stand_once_in_the_order_and_spelling_of_their_first_use() -> None:
    assert list(HEADERS) == ["Content-Type", "Set-Cookie", "X"]
    assert len(HEADERS) == 3
    assert dict(HEADERS) == {"Content-Type": "application/json", "Set-Cookie": "a=1", "X": ""}


def test_pairs_keep_everything_in_order() -> None:
    assert HEADERS.pairs == (
        ("Content-Type", "application/json"),
        ("Set-Cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("X", ""),
    )


def test_equal_pairs_make_equal_headers() -> None:
    assert Headers(HEADERS.pairs) == HEADERS
    assert hash(Headers(HEADERS.pairs)) == hash(HEADERS)
    assert Headers(reversed(HEADERS.pairs)) != HEADERS
    assert dict(HEADERS) != HEADERS


def test_headers_show_their_pairs() -> None:
    assert repr(Headers([("A", "1")])) == "Headers([('A', '1')])"
    assert not Headers()

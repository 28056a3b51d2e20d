"""Strategies for whole callbacks: the signature, the body, both; and what is nearly one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from engagelab_mock.protocol.callback import Callback, Headers, decode, encode
from engagelab_mock.protocol.signature import HEADER, sign, verify
from engagelab_mock.strategies.message import events, unknown_events

_NONCES = st.integers(0, 10**12 - 1).map(lambda number: f"{number:012d}")


def signature_headers(username: str, secret: str, *, now: float, tolerance: int = 300) -> st.SearchStrategy[str]:
    """Draw a genuine `X-CALLBACK-ID`, signed at most `tolerance` seconds before or after `now`, in Unix seconds.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
    ... @given(signature_headers("acme", "s3cret", now=1700000000))
    ... def test(drawn):
    ...     assert verify(drawn, username="acme", secret="s3cret", now=1700000000)
    >>> test()
    """
    ages = st.integers(-tolerance + 1, tolerance - 1)
    return st.builds(
        lambda age, nonce: sign(username, secret, timestamp=int(now) + age, nonce=nonce).header, ages, _NONCES
    )


def nearly_signature_headers(username: str, secret: str, *, now: float) -> st.SearchStrategy[str]:
    """Draw an `X-CALLBACK-ID` that is not genuine by one thing: a part, the secret, the time, its form.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
    ... @given(nearly_signature_headers("acme", "s3cret", now=1700000000))
    ... def test(drawn):
    ...     assert not verify(drawn, username="acme", secret="s3cret", now=1700000000)
    >>> test()
    """
    genuine = signature_headers(username, secret, now=now, tolerance=10)
    late = st.sampled_from([-86_400, -600, 600, 86_400]).map(lambda by: now + by)
    others = late.flatmap(lambda then: signature_headers(username, secret, now=then, tolerance=10))
    forged = signature_headers(username, f"{secret}x", now=now, tolerance=10)
    impostors = signature_headers(f"{username}x", secret, now=now, tolerance=10)
    broken = st.builds(lambda header, change: str(change(header)), genuine, st.sampled_from(_BREAKS))
    return st.one_of(forged, impostors, others, broken).filter(
        lambda header: not verify(header, username=username, secret=secret, now=now)
    )


def bodies(*, most: int = 4) -> st.SearchStrategy[bytes]:
    """Draw a body of up to `most` rows, of any kind, also of kinds that no document names.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
    ... @given(bodies())
    ... def test(drawn):
    ...     assert decode(drawn).total == len(decode(drawn).rows)
    >>> test()
    """
    return st.lists(events() | unknown_events(), max_size=most).map(encode)


@st.composite
def nearly_bodies(draw: st.DrawFn) -> bytes:
    """Draw a body with one thing wrong: a key gone, null or of another type, a row that is none, half of it missing.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
    ... @given(nearly_bodies())
    ... def test(drawn):
    ...     assert isinstance(drawn, bytes)
    >>> test()
    """
    rows: list[Any] = json.loads(encode(draw(st.lists(events(), min_size=1, max_size=3))))["rows"]
    envelope: dict[str, Any] = {"total": len(rows), "rows": rows}
    wrong = draw(st.sampled_from(["torn", "envelope", "row", "key"]))
    if wrong == "torn":
        whole = json.dumps(envelope).encode()
        return whole[: draw(st.integers(1, len(whole) - 1))]
    if wrong == "envelope":
        envelope[draw(st.sampled_from(["total", "rows"]))] = draw(_WRONG)
    elif wrong == "row":
        rows.insert(draw(st.integers(0, len(rows))), draw(_WRONG))
    else:
        _spoil(draw, draw(st.sampled_from(rows)))
    return json.dumps(envelope).encode()


def callbacks(username: str = "", secret: str = "", *, now: float = 0.0) -> st.SearchStrategy[Callback]:
    """Draw a callback as it goes out: genuine, and signed where there are a username and a secret.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
    ... @given(callbacks("acme", "s3cret", now=1700000000))
    ... def test(drawn):
    ...     assert HEADER in drawn.headers
    >>> test()
    """
    signatures = signature_headers(username, secret, now=now).map(lambda header: [(HEADER, header)])
    signed: st.SearchStrategy[list[tuple[str, str]]] = signatures if username else st.just([])
    return st.builds(
        lambda body, pairs: Callback(Headers([("Content-Type", "application/json"), *pairs]), body, decode(body).rows),
        bodies(),
        signed,
    )


_BREAKS: list[Callable[[str], str]] = [
    lambda header: "",
    lambda header: header.rpartition(";")[0],
    lambda header: header.partition(";")[2],
    lambda header: header[:-1],
    lambda header: header[:-32],
    lambda header: header.replace(";", ","),
    lambda header: header.replace("=", ":"),
    lambda header: header.replace("signature=", "signature=é"),
    lambda header: header.replace("timestamp=1", "timestamp=1."),
    lambda header: header.replace("nonce=", "nonce=9"),
    lambda header: f"{header};{header}",
]
_WRONG: st.SearchStrategy[Any] = st.sampled_from([None, "", "rows", 0, -1, 1.5, True, [], {}, [None], {"rows": None}])


def _spoil(draw: st.DrawFn, row: dict[str, Any]) -> None:
    """Take out, or put something wrong in the place of, one key of a row, at any depth."""
    places = list(_places(row))
    inner, key = draw(st.sampled_from(places))
    if draw(st.booleans()):
        del inner[key]
    else:
        inner[key] = draw(_WRONG)


def _places(value: Any) -> list[tuple[dict[str, Any], str]]:
    if not isinstance(value, dict):
        return []
    return [(value, key) for key in value] + [place for inner in value.values() for place in _places(inner)]

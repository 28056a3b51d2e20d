"""Strategies for scenarios, faults, schedules and whole callbacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from engagelab_mock.delivery.faults.catalogue import FAULTS
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.explore.lifecycle import labels_of, lifecycle
from engagelab_mock.explore.schedule import Schedule, Step, tidy
from engagelab_mock.explore.schedules import FaultsChoice, LifecycleChoice, check_faults
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.scenario import INFERRED, START, Scenario, TransitionGraph
from engagelab_mock.protocol.callback import Callback, Headers, decode, encode
from engagelab_mock.protocol.signature import HEADER, sign, verify
from engagelab_mock.protocol.status import Channel
from engagelab_mock.strategies.message import channels, events, statuses, unknown_events

#: Delays in seconds.
_DELAYS = st.sampled_from([0.0, 1.0, 60.0, 3600.0])


@st.composite
def scenarios(draw: st.DrawFn, *, graph: TransitionGraph | None = INFERRED, most: int = 6) -> Scenario:
    """Draw a scenario of up to `most` statuses that the graph allows; with `graph=None`, of any statuses.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
    ... @given(scenarios())
    ... def test(drawn):
    ...     assert drawn.statuses[:1] in ([], ["plan"])
    >>> test()
    """
    scenario = Scenario("drawn", graph=graph)
    last, used = START, [str(Channel.SMS)]
    for _ in range(draw(st.integers(0, most))):
        if graph is None:
            scenario = scenario.then(draw(statuses()), after=draw(_DELAYS), channel=draw(st.none() | channels()))
            continue
        following = graph.next_after(last)
        if not following:
            break
        status = draw(st.sampled_from(following))
        fallback = last in {"sent_failed", "delivered_failed"}
        left = [channel for channel in Channel if channel not in used]
        if fallback and not left:
            break
        channel = draw(st.sampled_from(left)) if fallback else None
        first = [str(Channel.SMS)] if not scenario.transitions else []
        used += [str(channel)] if channel else first
        named = used[-1] if status in {"sent", "sent_failed"} else None
        scenario = scenario.then(status, after=draw(_DELAYS), channel=named)
        last = status
    return scenario


def faults(*, transport: str = "http") -> st.SearchStrategy[Fault]:
    """Draw a fault that a transport can express: "http" can express all, "wsgi" and "asgi" those without a socket.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
    ... @given(faults(transport="wsgi"))
    ... def test(drawn):
    ...     assert "wsgi" in drawn.transports
    >>> test()
    """
    return st.sampled_from([fault for fault in FAULTS.values() if transport in fault.transports])


@st.composite
def schedules(
    draw: st.DrawFn,
    *lifecycles: LifecycleChoice,
    faults: FaultsChoice = None,
    batches: bool = True,
    delays: bool = False,
    most: int = 12,
) -> Schedule:
    """Draw up to `most` deliveries of the events of these lifecycles, one message each; default: a built-in one.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
    ... @given(schedules("verified", most=5))
    ... def test(drawn):
    ...     assert drawn.deliveries <= 5
    >>> test()
    """
    chosen = lifecycles or (draw(st.sampled_from([name for name in CATALOGUE if CATALOGUE[name].transitions])),)
    scenarios_ = tuple(lifecycle(each) for each in chosen)
    drawn = draw(st.lists(steps(scenarios_, check_faults(faults), batches=batches, delays=delays), max_size=most))
    return Schedule(scenarios_, tidy(drawn))


def steps(
    lifecycles: Sequence[Scenario], faults: Sequence[str], *, batches: bool, delays: bool
) -> st.SearchStrategy[Step]:
    """Draw one delivery of events of these lifecycles.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
    ... @given(steps([CATALOGUE["verified"]], [], batches=False, delays=False))
    ... def test(drawn):
    ...     assert len(drawn.events) == 1
    >>> test()
    """
    labels = labels_of(lifecycles).all
    carried = st.lists(st.sampled_from(labels), min_size=1, max_size=3 if batches else 1).map(tuple)
    return st.builds(
        Step, events=carried, fault=st.sampled_from(["", *faults]), delay=_DELAYS if delays else st.just(0.0)
    )


_NONCES = st.integers(0, 10**12 - 1).map(lambda number: f"{number:012d}")


def signature_headers(username: str, secret: str, *, now: float, tolerance: int = 300) -> st.SearchStrategy[str]:
    """Draw a genuine `X-CALLBACK-ID`, signed less than `tolerance` seconds before or after `now`, in Unix seconds.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
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
    """Draw an `X-CALLBACK-ID` with one mistake: in a part, the secret, the time or the form.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
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
    """Draw a body of up to `most` rows, of any kind, including kinds that no document names.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
    ... @given(bodies())
    ... def test(drawn):
    ...     assert decode(drawn).total == len(decode(drawn).rows)
    >>> test()
    """
    return st.lists(events() | unknown_events(), max_size=most).map(encode)


@st.composite
def nearly_bodies(draw: st.DrawFn) -> bytes:
    """Draw a body with one mistake: a key that is missing or has a wrong value, a row that is not one, half a body.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
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
        _break_a_key(draw, draw(st.sampled_from(rows)))
    return json.dumps(envelope).encode()


def callbacks(username: str = "", secret: str = "", *, now: float = 0.0) -> st.SearchStrategy[Callback]:
    """Draw a genuine callback, signed if there are a username and a secret.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
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


def _break_a_key(draw: st.DrawFn, row: dict[str, Any]) -> None:
    """Remove one key of a row, at any depth, or give it a wrong value."""
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

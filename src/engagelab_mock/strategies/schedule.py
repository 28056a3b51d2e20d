"""Strategies for scenarios, faults and schedules."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from engagelab_mock.delivery.fault.catalogue import FAULTS
from engagelab_mock.delivery.fault.model import Fault
from engagelab_mock.explore.lifecycle import labels_of, lifecycle
from engagelab_mock.explore.schedule import Schedule, Step, tidy
from engagelab_mock.explore.schedules import FaultsChoice, LifecycleChoice, check_faults
from engagelab_mock.lifecycle.catalogue import CATALOGUE
from engagelab_mock.lifecycle.graph import INFERRED, START, TransitionGraph
from engagelab_mock.lifecycle.scenario import Scenario
from engagelab_mock.protocol.channel import Channel
from engagelab_mock.strategies.message import channels, statuses

#: Seconds, most often none.
_DELAYS = st.sampled_from([0.0, 1.0, 60.0, 3600.0])


@st.composite
def scenarios(draw: st.DrawFn, *, graph: TransitionGraph | None = INFERRED, most: int = 6) -> Scenario:
    """Draw a course of up to `most` statuses that the graph allows, or of any with `graph=None`.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
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
    """Draw a fault that a transport can express: "http" all of them, "wsgi" and "asgi" those without a wire.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
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
    """Draw up to `most` deliveries of the events of these lifecycles, one message each, or of a built-in one.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
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
    >>> @settings(max_examples=3, database=None)
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

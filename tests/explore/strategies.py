"""Hypothesis strategies for schedules and their parts."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from engagelab_mock import CATALOGUE, FAULTS, Channel, Scenario, Schedule, Status, Step
from engagelab_mock.explore.lifecycle import labels_of, lifecycle

#: The same examples each time, however long one takes on a busy machine.
PROPERTY = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])

delays = st.one_of(
    st.just(0.0), st.floats(min_value=0, max_value=1e9, allow_nan=False), st.integers(0, 10**6).map(float)
)


@st.composite
def own_lifecycles(draw: st.DrawFn) -> Scenario:
    """Draw a scenario as a user may write it: any order, any channel, any delay, any error."""
    scenario = Scenario("own", graph=None)
    for _ in range(draw(st.integers(0, 4))):
        scenario = scenario.then(
            draw(st.sampled_from(Status)),
            after=draw(delays),
            channel=draw(st.none() | st.sampled_from(Channel)),
            error=draw(st.none() | st.sampled_from([0, 5001, 5012])),
            message=draw(st.none() | st.text("a-%=,: é中", max_size=6)),
        )
    return lifecycle(scenario)


lifecycles = st.sampled_from(list(CATALOGUE.values())) | own_lifecycles()


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Draw any schedule, of one message or several."""
    scenarios = tuple(draw(st.lists(lifecycles, min_size=1, max_size=3)))
    labels = labels_of(scenarios).all
    if not labels:
        return Schedule(scenarios, ())
    steps = st.builds(
        Step,
        events=st.lists(st.sampled_from(labels), min_size=1, max_size=3).map(tuple),
        fault=st.sampled_from(["", *FAULTS]),
        repeat=st.integers(1, 20),
        delay=delays,
    )
    return Schedule(scenarios, tuple(draw(st.lists(steps, max_size=5))))

"""A tape as a schedule: the messages on it as lifecycles, and its callbacks as steps, to be played and reduced."""

from __future__ import annotations

from collections.abc import Sequence

from engagelab_mock.errors import UnknownName
from engagelab_mock.explore.lifecycle import labels_of, lifecycle
from engagelab_mock.explore.schedule import Schedule, Step, tidy
from engagelab_mock.explore.tape.entry import TapeEntry
from engagelab_mock.lifecycle.catalogue import CATALOGUE
from engagelab_mock.lifecycle.scenario import Scenario
from engagelab_mock.protocol.channel import Channel
from engagelab_mock.protocol.events import StatusEvent

#: What tells one event of a message from another.
_Key = tuple[str, str, int]


def schedule_of(entries: Sequence[TapeEntry]) -> Schedule:
    """Return a schedule that delivers what was taped, in that order, as often, and with those gaps.

    Only statuses that EngageLab has are in it: what else was taped, `Tape.replay` sends.

    >>> schedule_of([])
    <Schedule eg1::>
    """
    events: dict[str, dict[_Key, StatusEvent]] = {}
    for entry in entries:
        for event in entry.events:
            if isinstance(event, StatusEvent) and _step(Scenario("", graph=None), event, 0, "") is not None:
                events.setdefault(event.message_id, {}).setdefault(_key(event), event)
    ordered = {
        message_id: sorted(known, key=lambda key: known[key].status.status_data.msg_time)
        for message_id, known in events.items()
    }
    scenarios = tuple(_scenario([events[message_id][key] for key in keys]) for message_id, keys in ordered.items())
    labels = {place: label for label, place in labels_of(scenarios).places.items()}
    places = {
        (message_id, key): labels[message, index]
        for message, (message_id, keys) in enumerate(ordered.items())
        for index, key in enumerate(keys)
    }
    steps = []
    last: float | None = None
    for entry in entries:
        found = [
            places.get((event.message_id, _key(event))) for event in entry.events if isinstance(event, StatusEvent)
        ]
        if carried := tuple(label for label in found if label is not None):
            gap = 0.0 if last is None else max(0.0, round(entry.at - last, 3))
            steps.append(Step(carried, delay=gap))
            last = entry.at
    return Schedule(scenarios, tidy(steps))


def _key(event: StatusEvent) -> _Key:
    data = event.status.status_data
    return event.name, data.current_send_channel, data.msg_time


def _scenario(events: Sequence[StatusEvent]) -> Scenario:
    """Return the lifecycle that one message's events make, by its usual name if it has one."""
    scenario = Scenario("", graph=None)
    moment = events[0].status.status_data.msg_time
    for event in events:
        data = event.status.status_data
        scenario = _step(scenario, event, data.msg_time - moment, data.current_send_channel) or scenario
        moment = data.msg_time
    steps = list(scenario.steps(Channel.SMS))
    for known in CATALOGUE.values():
        if list(known.steps(Channel.SMS)) == steps:
            return known
    return lifecycle(scenario)


def _step(scenario: Scenario, event: StatusEvent, after: float, channel: str) -> Scenario | None:
    """Return the scenario with the event's step; None for a status or a channel that EngageLab does not have."""
    for code in (event.status.error_code or None, None):
        try:
            return scenario.then(event.name, after=after, channel=channel or None, error=code)
        except UnknownName:
            continue
    return None

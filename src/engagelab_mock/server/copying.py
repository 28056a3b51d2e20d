"""What happened, as text to copy: a pytest test, a command for a shell, or a token."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from engagelab_mock.config import SETTINGS
from engagelab_mock.delivery.faults.catalogue import FAULTS
from engagelab_mock.delivery.receiver import SANDBOX_SECRET
from engagelab_mock.delivery.render import shown_headers
from engagelab_mock.errors import IllegalTransition
from engagelab_mock.explore.lifecycle import labels_of, lifecycle, lifecycle_with
from engagelab_mock.explore.schedule import Schedule, Step, tidy
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.catalogue import scenario as find_scenario
from engagelab_mock.messages.scenario import Scenario, Transition
from engagelab_mock.protocol.events import Event, StatusEvent
from engagelab_mock.protocol.status import Channel
from engagelab_mock.server.app import Call
from engagelab_mock.server.operations import answers
from engagelab_mock.server.watching import NO_CALLBACK, NO_MESSAGE, deliveries_of, find_callback, find_message
from engagelab_mock.service.rest.exchange import ApiError

if TYPE_CHECKING:
    from engagelab_mock.delivery.faults.fault import Fault
    from engagelab_mock.delivery.model import Delivery
    from engagelab_mock.delivery.receiver import Receiver
    from engagelab_mock.messages.message import Message

#: A copied test reads the secret from the same variable as the command line.
_SECRET, _AUTHORIZATION = SETTINGS["secret"].environment, SETTINGS["authorization"].environment
_NO_EVENT = {409: "3003: it carries no status of a message, so neither a test nor a token can send it."}


class CopyQuery(msgspec.Struct, forbid_unknown_fields=True):
    """What to copy it as."""

    form: Annotated[
        Literal["pytest", "curl", "token"],
        Meta(description="A test for pytest, a command for a shell, or a token for engagelab-mock send --replay."),
    ] = "pytest"


class Copied(msgspec.Struct):
    """Text to paste."""

    form: Literal["pytest", "curl", "token"]
    text: str


@answers(
    "GET",
    "/_mock/messages/{message_id}/copy",
    "Copy the callbacks of a message as a test, a command or a token that sends the same again",
    "The text.",
    query=CopyQuery,
    refused={**NO_MESSAGE, **_NO_EVENT},
)
def copy_message(call: Call) -> Copied:
    """Copy the callbacks of a message as a test, a command or a token that sends the same again."""
    accepted = find_message(call)
    deliveries = deliveries_of(call.engagelab._engine, accepted.message.id)
    schedule = schedule_of(deliveries)
    form = call.query.form
    if form == "token":
        return Copied(form, schedule.token)
    if form == "curl":
        body = _request(accepted.message, schedule, deliveries)
        url = f"{call.request.host_url}_mock/send"
        token = "-H 'Authorization: Bearer TOKEN' " if call.request.headers.get("Authorization") else ""
        return Copied(form, f"curl {token}-d {shlex.quote(json.dumps(body))} {url}\n")
    return Copied(form, _test(f"message_{accepted.message.id}", schedule, deliveries[0].receiver, ()))


@answers(
    "GET",
    "/_mock/callbacks/{callback}/copy",
    "Copy one callback as a test, a command or a token that sends the same again",
    "The text.",
    query=CopyQuery,
    refused={**NO_CALLBACK, **_NO_EVENT},
)
def copy_callback(call: Call) -> Copied:
    """Copy one callback as a test, a command or a token that sends the same again."""
    delivery = find_callback(call)
    form = call.query.form
    if form == "curl":
        return Copied(form, _curl(delivery))
    schedule = schedule_of([delivery])
    if form == "token":
        return Copied(form, schedule.token)
    name = f"{'_'.join(delivery.statuses)}_{delivery.message_id}"
    return Copied(form, _test(name, schedule, delivery.receiver, delivery.attempts[-1].faults))


def _request(message: Message, schedule: Schedule, deliveries: Sequence[Delivery]) -> dict[str, Any]:
    """Return the body of a call of POST /_mock/send that sends the same statuses."""
    body: dict[str, Any] = {"to": message.to, "template": message.template_key, "scenario": _statuses(schedule)}
    events = [event for delivery in deliveries for event in delivery.events if isinstance(event, StatusEvent)]
    channels = {event.status.status_data.current_send_channel for event in events} - {""}
    if len(channels) == 1:
        body["channel"] = channels.pop()
    if message.custom_args:
        body["custom_args"] = message.custom_args
    try:
        find_scenario(body["scenario"])
    except IllegalTransition:
        body["any_order"] = True
    return body


def _statuses(schedule: Schedule) -> list[str]:
    """Return the statuses in the order in which they are sent; a label may have a channel or a number as well."""
    return [re.split(r"[/.]", label)[0] for label in schedule.events]


def schedule_of(deliveries: Sequence[Delivery], later: Sequence[Sequence[Event]] = ()) -> Schedule:
    """Return the schedule that delivers the same events to one receiver, in this order, and then the later ones.

    Raises `ApiError` if there is no status of a message among them.
    """
    mine = [each for each in deliveries if each.receiver is deliveries[0].receiver]
    sent = [(each.events, [fault.name for fault in each.attempts[0].faults]) for each in mine]
    callbacks: list[tuple[Sequence[Event], list[str]]] = [*sent, *((each, []) for each in later)]
    events: dict[tuple[str, str, int, int], StatusEvent] = {}
    for event in (event for carried, _ in callbacks for event in carried):
        if isinstance(event, StatusEvent):
            events.setdefault(_key(event), event)
    if not events:
        raise ApiError(3003, "it carries no status of a message; copy it as curl", http_status=409)
    ordered = sorted(events.values(), key=lambda event: event.itime)
    chosen = _lifecycle(ordered)
    labels = dict(zip(map(_key, ordered), labels_of([chosen]).all, strict=False))
    steps = []
    for carried, faults in callbacks:
        named = tuple(labels[_key(event)] for event in carried if isinstance(event, StatusEvent))
        fault = next((name for name in faults if name in FAULTS), "")
        if named:
            steps.append(Step(named, fault=fault))
    return Schedule((chosen,), tidy(steps))


def _key(event: StatusEvent) -> tuple[str, str, int, int]:
    return event.name, event.status.status_data.current_send_channel, event.status.error_code, event.itime


def _lifecycle(events: Sequence[StatusEvent]) -> Scenario:
    """Return the built-in scenario that begins with these events, or a new one."""
    channels = [event.status.status_data.current_send_channel for event in events]
    told = [(event.name, event.status.error_code) for event in events]
    for scenario in CATALOGUE.values():
        default = next(filter(None, channels), Channel.SMS)
        steps = list(scenario.steps(default))[: len(events)]
        if [(step.status, step.error_code) for step in steps] == told and [step.channel for step in steps] == channels:
            return scenario
    transitions = []
    for index, event in enumerate(events):
        after = event.itime - events[index - 1].itime if index else 0
        error = event.status.error_code
        transitions.append(Transition(event.name, float(after), channels[index] or None, error))
    return lifecycle(Scenario("copied", transitions=tuple(transitions), graph=None))


def _test(name: str, schedule: Schedule, receiver: Receiver, faults: Sequence[Fault]) -> str:
    """Return a test that sends the schedule; a receiver must refuse a callback whose signature is wrong."""
    wrong = [fault for fault in faults if fault.family == "signature"]
    lines: list[str] = []
    if receiver.transport.name == "http":
        lines = _fixture(receiver, ["Receiver", "fault"] if wrong else ["Receiver"])
    elif wrong:
        lines = ["from engagelab_mock import fault", "", ""]
    named = re.sub(r"\W", "_", name, flags=re.ASCII)
    lines.append(f"def test_{named}(engagelab):")
    if wrong:
        options = ", ".join([repr(wrong[0].name), *(f"{key}={value!r}" for key, value in wrong[0].options.items())])
        status = _statuses(schedule)[0]
        usual = lifecycle_with(status)
        scenario = usual.name if usual.name in CATALOGUE else usual.statuses
        lines += [
            f"    run = engagelab.send(scenario={scenario!r}, fault=fault({options}, on={status!r}), check=False)",
            f"    refused = [each for each in run.deliveries if each.statuses == [{status!r}]]",
            '    assert not any(each.acknowledged for each in refused), "the signature is wrong"',
        ]
    else:
        lines.append(f"    engagelab.play({schedule.token!r})")
    return "\n".join(lines) + "\n"


def _fixture(receiver: Receiver, names: list[str]) -> list[str]:
    """Return the lines of a fixture for a receiver that is reached by its URL; a secret comes from the environment."""
    settings, given = receiver.settings, [repr(receiver.address)]
    if settings.signs:
        secret = repr(settings.secret) if settings.secret == SANDBOX_SECRET else f'os.environ["{_SECRET}"]'
        given += [f"username={settings.username!r}", f"secret={secret}"]
    if settings.authorization:
        given.append(f'authorization=os.environ["{_AUTHORIZATION}"]')
    call = f"    return Receiver.http({', '.join(given)})"
    imports = ["import pytest", f"from engagelab_mock import {', '.join(names)}"]
    if "os.environ" in call:
        imports = ["import os", "", *imports]
    return [*imports, "", "", "@pytest.fixture", "def engagelab_receiver():", call, "", ""]


def _curl(delivery: Delivery) -> str:
    """Return a command that sends the last request again, with its signature, as long as that is not too old."""
    attempt = delivery.attempts[-1]
    parts = ["curl", "-i", "-X", attempt.method]
    for name, value in shown_headers(delivery, attempt):
        parts += ["-H", shlex.quote(f"{name}: {value}")]
    body = attempt.callback.body.decode("utf-8", "replace")
    return " ".join([*parts, "--data-binary", shlex.quote(body), shlex.quote(delivery.receiver.address)]) + "\n"

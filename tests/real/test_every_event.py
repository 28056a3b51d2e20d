"""Every event identifier, sent in the one line that the reference shows, decoded by the vendor's own SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import engagelab_otp
import pytest
from jsonschema import Draft202012Validator

from engagelab_mock import Delivery, EngageLab, Receiver, Run, Status, VirtualClock
from engagelab_mock.protocol.event_table import EVENTS, Field, KnownEvent, Made
from engagelab_mock.server.loopback import LoopbackServer
from tests.patience import PATIENCE
from tests.real.flask_receiver import FlaskReceiver

#: What the SDK makes of each kind.
CLASSES: dict[str, type[Any]] = {
    "status": engagelab_otp.MessageStatusEvent,
    "notification": engagelab_otp.NotificationEvent,
    "response": engagelab_otp.UplinkEvent,
    "system_event": engagelab_otp.SystemEvent,
}
#: Every event identifier that the documents name, put down here once more: the table must not lose one.
NAMED = {
    *("plan", "target_valid", "target_invalid", "sent", "sent_failed", "delivered", "delivered_failed"),
    *("verified", "verified_failed", "verified_timeout", "read"),
    *("insufficient_balance", "insufficient_verification_rate", "template_audit_result", "uplink_message"),
    *("account_login", "key_manage", "template_manage", "api_call", "msg_history"),
}
SCHEMA = Draft202012Validator(
    json.loads(files("engagelab_mock.protocol").joinpath("callback.schema.json").read_text(encoding="utf-8"))
)

every_event = pytest.mark.parametrize("known", EVENTS.values(), ids=EVENTS)


@pytest.fixture(params=["in process", "over a socket"])
def receiver(request: pytest.FixtureRequest, flask: FlaskReceiver) -> Iterator[Receiver]:
    if request.param == "in process":
        yield Receiver.wsgi(flask.app, "/engagelab", username="acme", secret="s3cret")
        return
    with LoopbackServer(flask.app) as server:
        yield Receiver.http(f"{server.url}/engagelab", username="acme", secret="s3cret", limit=PATIENCE)


@pytest.fixture
def flask() -> FlaskReceiver:
    return FlaskReceiver()


def say(call: str, engagelab: EngageLab) -> Delivery:
    """Run a line of the reference, and return the delivery that carries the event of this line."""
    done: Run | list[Delivery] = eval(call, {"engagelab": engagelab})
    deliveries = done.deliveries if isinstance(done, Run) else done
    assert all(delivery.acknowledged for delivery in deliveries)
    return deliveries[-1]


def stands_in(row: Any, field: Field) -> Any:
    """Return the value of a field in a row; raise `KeyError` if it is absent."""
    for name in field.section.split(".") if field.section else ():
        row = row[name]
    return row[field.key or field.name]


def test_the_table_has_every_event_identifier() -> None:
    assert set(EVENTS) == NAMED
    assert {known.name for known in EVENTS.values() if known.kind == "status"} == set(Status)


@every_event
def test_the_one_line_sends_an_event_that_the_sdk_decodes(
    known: KnownEvent, receiver: Receiver, flask: FlaskReceiver
) -> None:
    with EngageLab(receiver) as engagelab:
        delivery = say(known.call, engagelab)
    [row] = json.loads(delivery.callback.body)["rows"]
    event: Any = flask.events[-1]
    assert type(event) is CLASSES[known.kind]
    assert event.raw == row
    assert (event.server, event.timestamp) == ("otp", row["itime"])
    if known.kind == "status":
        assert (event.status, event.message_id, event.to) == (known.name, row["message_id"], "+6591234567")
        assert event.template_key == engagelab.account.template_key
        assert event.business_id == engagelab.account.business_id
        assert event.current_send_channel == row["status"]["status_data"]["current_send_channel"]
        assert event.msg_time <= event.timestamp
        assert event.billing == row["status"].get("billing")
        assert event.error_code == row["status"]["error_code"]
        assert bool(event.error_message) is (known.name in {"target_invalid", "sent_failed", "delivered_failed"})
    else:
        assert event.event == known.name
        section = row[known.kind]
        assert (
            event.data
            == section[{"notification": "notification_data", "response": "response_data"}.get(known.kind, "data")]
        )
    if known.kind == "response":
        assert (event.message_id, event.business_id) == ("0", "0")


@every_event
def test_the_callback_fits_the_schema_and_names_no_field_that_the_table_lacks(known: KnownEvent) -> None:
    with EngageLab() as engagelab:
        body = json.loads(say(known.call, engagelab).callback.body)
    SCHEMA.validate(body)
    [row] = body["rows"]
    allowed = {f"{field.section}.{field.key or field.name}".lstrip(".") for field in known.fields}
    assert set(leaves(row)) - allowed - FRAME == set()


#: The rest of every row: the keys that identify it, and the fields inside its objects.
FRAME = {
    *("server", "itime", "notification.event", "response.event", "system_event.event"),
    *("status.message_status", "status.status_data.message_id"),
    *("status.billing.cost", "status.billing.currency", "status.error_detail.message", "system_event.data.msg_history"),
}


def leaves(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else name)
    else:
        yield path


account_events = pytest.mark.parametrize(
    "known",
    [known for known in EVENTS.values() if known.kind != "status"],
    ids=[known.name for known in EVENTS.values() if known.kind != "status"],
)


@account_events
def test_defaults_are_those_of_the_table(known: KnownEvent) -> None:
    with EngageLab() as engagelab:
        row = json.loads(send_bare(known, engagelab).callback.body)["rows"][0]
        own = {
            Made.BUSINESS_ID: engagelab.account.business_id,
            Made.ORG_ID: engagelab.account.org_id,
            Made.TEMPLATE_KEY: engagelab.account.template_key,
        }
    for field in known.fields:
        if field.default is Made.FAIL_REASON or not isinstance(field.default, (str, int, float)):
            with pytest.raises(KeyError):
                stands_in(row, field)
        elif isinstance(field.default, Made):
            value = stands_in(row, field)
            assert field.accepts(value)
            assert value == own.get(field.default, value)
            assert value
        else:
            assert stands_in(row, field) == field.default


def send_bare(known: KnownEvent, engagelab: EngageLab, **fields: Any) -> Delivery:
    """Send an event with no field but those given."""
    if known.kind == "notification":
        [delivery] = engagelab.notify(known.name, **fields)
    elif known.kind == "response":
        [delivery] = engagelab.uplink(fields.pop("sender", "+6591234567"), **{"body": "STOP"} | fields)
    else:
        [delivery] = engagelab.system_event(known.name, **fields)
    return delivery


VALUES: dict[str, Any] = {"string": "given", "number": 7.25, "string or integer": 3}


@account_events
def test_every_field_of_the_table_can_be_given_and_stands_in_its_section(known: KnownEvent) -> None:
    given = {
        field.name: "+447700900123" if field.name == "sender" else VALUES[field.type]
        for field in known.fields
        if not field.choices and field.name != "fail_reason"
    }
    with EngageLab() as engagelab:
        body = send_bare(known, engagelab, **given, vendor_may_add={"this": [1]}).callback.body
    SCHEMA.validate(json.loads(body))
    [row] = json.loads(body)["rows"]
    fields = [field for field in known.fields if field.name in given]
    assert {field.name: stands_in(row, field) for field in fields} == given
    # A field that no document names goes next to the event's own fields, and is accepted.
    [event] = engagelab_otp.WebhookVerifier("acme", "s3cret").parse_events(body)
    assert type(event) is CLASSES[known.kind]
    extra = Field(name="vendor_may_add", section=known.own_section)
    assert stands_in(row, extra) == {"this": [1]}


@pytest.mark.asyncio
@account_events
async def test_the_async_twin_sends_the_same(known: KnownEvent) -> None:
    with (
        EngageLab(clock=VirtualClock(1_700_000_000)) as engagelab,
        EngageLab(clock=VirtualClock(1_700_000_000)) as twin,
    ):
        sent = send_bare(known, engagelab)
        if known.kind == "notification":
            [asent] = await twin.anotify(known.name)
        elif known.kind == "response":
            [asent] = await twin.auplink("+6591234567", body="STOP")
        else:
            [asent] = await twin.asystem_event(known.name)
    assert asent.callback.body == sent.callback.body
    assert asent.acknowledged
    assert twin.journal.statuses == engagelab.journal.statuses == [known.name]


def test_every_kind_in_one_callback(receiver: Receiver, flask: FlaskReceiver) -> None:
    with EngageLab(receiver) as engagelab:
        account, now = engagelab.account, engagelab.clock.time()
        plan = engagelab.send("+6591234567", scenario=["plan"]).events[0]
        low = account.notification("insufficient_balance", at=now)
        stop = account.uplink("+6591234567", body="STOP", at=now)
        login = account.system_event("account_login", at=now)
        flask.events.clear()
        [delivery] = engagelab.deliver([login, stop, plan, low])
    assert json.loads(delivery.callback.body)["total"] == 4
    assert [type(event) for event in flask.events] == [
        CLASSES[kind] for kind in ("system_event", "response", "status", "notification")
    ]

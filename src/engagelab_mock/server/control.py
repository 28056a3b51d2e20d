"""The control API under /_mock, for what the vendor has no API for: one function for each call, and their list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec
from msgspec import UNSET
from werkzeug import Request, Response

from engagelab_mock import __version__
from engagelab_mock.clock import VirtualClock
from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.delivery.io import SYNC, run_sync
from engagelab_mock.delivery.journal import Filters, Journal, check_filters, fits
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.render import attempt_record, records
from engagelab_mock.errors import EngageLabMockError, did_you_mean
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.server import schemas
from engagelab_mock.server.app import DOCUMENT, Call, Nothing, Operation, fit, json_response
from engagelab_mock.service.inbox import Inbox as MessagesOf
from engagelab_mock.service.rest.exchange import ApiError

if TYPE_CHECKING:
    from engagelab_mock.server.app import ServerApp

_LINES = "application/x-ndjson"
#: How often a client that waits is checked. A follower gets an empty line: only writing shows that it has gone.
_HEARTBEAT = 1.0
#: The seconds in each unit by which the clock is advanced.
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}
#: How many of the pending callbacks are listed.
_LISTED = 100


def answer_control(app: ServerApp, request: Request) -> Response:
    """Answer a call of the control API, or raise `ApiError` for one that does not exist."""
    method = "GET" if request.method == "HEAD" else request.method
    fitting = [(each, named) for each in CONTROL if (named := fit(each.path, request.path)) is not None]
    for operation, named in fitting:
        if operation.method == method and operation.work is not None:
            body = None if operation.body is None else schemas.read_body(request, operation.body)
            answer = operation.work(Call(app, request, body, schemas.read_query(request, operation.query), named))
            return answer if isinstance(answer, Response) else json_response(answer, operation.status)
    if fitting:
        allowed = ", ".join(sorted({operation.method for operation, _ in fitting}))
        message = f"{request.path[:100]} takes {allowed}, not {request.method[:20]}"
        raise ApiError(3002, message, http_status=405, headers=(("Allow", allowed),))
    safe = list(dict.fromkeys(operation.path for operation in CONTROL if not operation.forgets))
    # All paths begin alike, so only a high similarity counts. No guess is made that could forget something.
    nearest = did_you_mean(request.path[:100], [operation.path for operation in CONTROL], cutoff=0.8)
    if method == "DELETE" or not any(f"'{path}'" in nearest for path in safe):
        nearest = f"there are {', '.join(safe)}; {DOCUMENT} describes all calls"
    raise ApiError(4001, f"there is no {request.path[:100]!r}; {nearest}", http_status=404)


def ready(call: Call) -> schemas.Ready:
    """Ask whether the server answers requests."""
    return schemas.Ready("ready", __version__)


def reset(call: Call) -> schemas.Ready:
    """Forget everything that happened and was set up; receivers and clock stay."""
    call.engagelab.reset()
    return ready(call)


def list_scenarios(call: Call) -> list[schemas.Scenario]:
    """List the built-in scenarios."""
    return [
        schemas.Scenario(
            scenario.name,
            scenario.description,
            [str(status) for status in scenario.statuses],
            [transition.after for transition in scenario.transitions],
            [transition.channel for transition in scenario.transitions],
            [transition.error_code for transition in scenario.transitions],
        )
        for scenario in CATALOGUE.values()
    ]


def read_inboxes(call: Call) -> schemas.Inboxes:
    """Read the messages of all recipients."""
    engine = call.engagelab._engine
    engine.outbox.settle_quietly()
    return schemas.Inboxes([_message(each) for each in MessagesOf(engine, None)])


def read_inbox(call: Call) -> schemas.Inbox:
    """Read the messages of one recipient; with `wait`, wait that many seconds for the first."""
    to, app = call.named["to"], call.app
    notify = call.engagelab._engine.scheduler.notify
    try:
        inbox = MessagesOf(call.engagelab._engine, to)
    except EngageLabMockError as error:
        raise call.refused(error) from None
    deadline = stopwatch() + call.query.wait
    app.on_close(notify)
    try:
        while True:
            wait = min(_HEARTBEAT, max(0.0, deadline - stopwatch()))
            # Failures of callbacks are for the test, and not for this client.
            arrived = run_sync(inbox.arrived(SYNC, wait, stopped=lambda: app.closed, quietly=True))
            if arrived or wait < _HEARTBEAT or app.closed or call.client_has_gone():
                break
    finally:
        app.forget(notify)
    messages = [_message(each) for each in arrived]
    latest = messages[-1] if messages else None
    return schemas.Inbox(to, latest.code if latest else None, latest.text if latest else None, messages)


def _message(message: Any) -> schemas.InboxMessage:
    return schemas.InboxMessage(**{name: getattr(message, name) for name in schemas.InboxMessage.__struct_fields__})


def read_clock(call: Call) -> schemas.Clock:
    """Read the clock."""
    clock = call.engagelab.clock
    virtual = _virtual(call)
    pending = clock.pending
    return schemas.Clock(
        kind="virtual" if virtual else "live",
        time=clock.time(),
        frozen=virtual or bool(getattr(clock, "frozen", False)),
        speed=None if virtual else getattr(clock, "speed", 1.0),
        pending=len(pending),
        next=[schemas.Pending(timer.at, timer.label) for timer in pending[:_LISTED]],
    )


def freeze_clock(call: Call) -> schemas.Clock:
    """Stop the clock; a virtual clock does not run anyway."""
    if not _virtual(call):
        call.engagelab.clock.freeze()
    return read_clock(call)


def resume_clock(call: Call) -> schemas.Clock:
    """Let the clock run again."""
    _live(call).resume()
    return read_clock(call)


def set_speed(call: Call) -> schemas.Clock:
    """Let the clock run faster or slower."""
    clock = _live(call)
    try:
        clock.speed = call.body.speed
    except EngageLabMockError as error:
        raise call.refused(error) from None
    return read_clock(call)


def advance_clock(call: Call) -> schemas.Clock:
    """Move the clock forward; a virtual clock sends what falls due before the answer."""
    given = {name: amount for name, amount in msgspec.structs.asdict(call.body).items() if amount is not UNSET}
    if not given:
        raise ApiError(3002, 'seconds, minutes, hours or days is required, such as {"minutes": 5}')
    try:
        call.engagelab._engine.advance_quietly(sum(_SECONDS[name] * amount for name, amount in given.items()))
    except EngageLabMockError as error:
        raise call.refused(error) from None
    return read_clock(call)


def _virtual(call: Call) -> bool:
    return isinstance(call.engagelab.clock, VirtualClock)


def _live(call: Call) -> Any:
    if _virtual(call):
        hint = "POST /_mock/clock/advance moves it; engagelab-mock serve has a clock that runs"
        raise ApiError(3003, f"this clock is virtual: it stands still until it is advanced; {hint}", http_status=409)
    return call.engagelab.clock


def list_rules(call: Call) -> schemas.Rules:
    """List the rules in force."""
    return schemas.Rules([_rule(rule) for rule in call.engagelab.rules])


def add_rule(call: Call) -> schemas.Rule:
    """Add a rule: a scenario or an error for some calls."""
    try:
        return _rule(call.engagelab.rule(**msgspec.structs.asdict(call.body)))
    except EngageLabMockError as error:
        raise call.refused(error) from None


def remove_rules(call: Call) -> schemas.Rules:
    """Cancel every rule."""
    for rule in list(call.engagelab.rules):
        rule.cancel()
    return schemas.Rules([])


def remove_rule(call: Call) -> schemas.Rule:
    """Cancel one rule."""
    for rule in list(call.engagelab.rules):
        if rule.id == call.named["id"]:
            rule.cancel()
            return _rule(rule)
    raise ApiError(4001, f"there is no rule {call.named['id'][:100]!r}", http_status=404)


def _rule(rule: Any) -> schemas.Rule:
    return schemas.Rule(**{name: getattr(rule, name) for name in schemas.Rule.__struct_fields__})


def play_scenario(call: Call) -> schemas.Sent:
    """Send a message's callbacks, without a call by the app."""
    given = {name: value for name, value in msgspec.structs.asdict(call.body).items() if value is not None}
    try:
        if isinstance(given.get("fault"), list):
            given["fault"] = [fault(name) for name in given["fault"]]
        run = call.engagelab.begin_send(**given)
    except EngageLabMockError as error:
        raise call.refused(error) from None
    call.engagelab._engine.outbox.settle_quietly()
    return schemas.Sent(
        run.message_id,
        run.to,
        run.scenario.name,
        [str(status) for status in run.scenario.statuses],
        [schemas.SentDelivery(each.statuses, each.outcome, len(each.attempts)) for each in run.deliveries],
    )


def read_journal(call: Call) -> Response:
    """Read what happened, and follow what happens."""
    given = {name: value for name, value in msgspec.structs.asdict(call.query).items() if value is not UNSET}
    limit: int | None = given.pop("limit", None)
    follow: float | str | None = given.pop("follow", None)
    filters: Any = given
    call.engagelab._engine.outbox.settle_quietly()
    journal = call.engagelab._engine.journal
    try:
        check_filters(filters, journal.statuses)
    except EngageLabMockError as error:
        raise call.refused(error) from None
    lines: bytes | Iterator[bytes]
    if follow is None:
        lines = b"".join(map(_line, _records_of(journal, filters)[-(limit or 0) :]))
    else:
        seconds = float(schemas.FOLLOW_LIMIT) if isinstance(follow, str) else follow
        lines = _Follower(call.app, journal, filters).lines(limit, seconds)
    return Response(lines, mimetype=_LINES)


class _Follower:
    """Listen to the journal while a client reads."""

    def __init__(self, app: ServerApp, journal: Journal, filters: Filters) -> None:
        self._app = app
        self._journal = journal
        self._filters = filters
        self._news: SimpleQueue[tuple[Delivery, Attempt] | None] = SimpleQueue()

    def end(self) -> None:
        """Send nothing more."""
        self._news.put(None)

    def lines(self, limit: int | None, seconds: float) -> Iterator[bytes]:
        """Yield the lines of what happened, and then of what happens."""
        deadline = stopwatch() + seconds
        self._journal.listeners.append(self._heard)
        self._app.on_close(self.end)
        try:
            seen, past = self._past()
            yield b"".join(map(_line, past[-(limit or 0) :])) or b"\n"
            beat = stopwatch() + _HEARTBEAT
            while (now := stopwatch()) < deadline:
                line = b"\n"
                if now < beat:
                    try:
                        news = self._news.get(timeout=min(deadline, beat) - now)
                    except Empty:
                        continue
                    if news is None:
                        return
                    if news[1] in seen or not fits(news[0], self._filters):
                        continue
                    line = _line(attempt_record(*news))
                yield line
                beat = stopwatch() + _HEARTBEAT
        finally:
            self._journal.listeners.remove(self._heard)
            self._app.forget(self.end)

    def _heard(self, delivery: Delivery, attempt: Attempt) -> None:
        self._news.put((delivery, attempt))

    def _past(self) -> tuple[set[Attempt], list[dict[str, Any]]]:
        """Return the completed attempts, and the records of everything: the listener may still hear of the former."""
        # The attempts and not their ids: a journal with a limit frees attempts, and ids of those come again.
        seen: set[Attempt] = set()
        past: list[dict[str, Any]] = []
        for entry in self._journal:
            if not isinstance(entry, Delivery):
                past.extend([] if self._filters else records(entry))
            elif fits(entry, self._filters):
                done = [attempt for attempt in tuple(entry.attempts) if attempt.outcome is not Outcome.PENDING]
                seen.update(done)
                past.extend(attempt_record(entry, attempt) for attempt in done)
        return seen, past


def _records_of(journal: Journal, filters: Filters) -> list[dict[str, Any]]:
    entries = (entry for entry in journal if not filters or (isinstance(entry, Delivery) and fits(entry, filters)))
    return [record for entry in entries for record in records(entry)]


def _line(record: dict[str, Any]) -> bytes:
    return msgspec.json.encode(record) + b"\n"


def _operation(method: str, path: str, work: Callable[[Call], Any], answer: str, **more: Any) -> Operation:
    """Describe a call by the function that answers it: its name, the first line of its docstring, and its result."""
    first, *others = work.__name__.split("_")
    summary = (work.__doc__ or "").partition("\n")[0].removesuffix(".")
    content = more.pop("content", None) or get_type_hints(work)["return"]
    name = first + "".join(map(str.title, others))
    return Operation(method, path, name, summary, answer, content, work=work, **more)


_NO_BODY = {"body": Nothing, "body_required": False}
_LIVE_ONLY = {"refused": {409: "3003: the clock is virtual, and does not run."}}
_CLOCK = "The clock afterwards."
#: Every call of the control API.
CONTROL = (
    _operation("GET", "/_mock/readyz", ready, "It does.", guarded=False),
    _operation("POST", "/_mock/reset", reset, "Everything is forgotten.", forgets=True, **_NO_BODY),
    _operation(
        "GET",
        "/_mock/journal",
        read_journal,
        "JSON Lines; while nothing happens, an empty line each second.",
        content=schemas.Record,
        media_type=_LINES,
        query=schemas.JournalQuery,
    ),
    _operation("GET", "/_mock/inbox", read_inboxes, "Every message, oldest first."),
    _operation("GET", "/_mock/inbox/{to}", read_inbox, "The latest code, and every message.", query=schemas.InboxQuery),
    _operation("GET", "/_mock/clock", read_clock, "The clock."),
    _operation("POST", "/_mock/clock/advance", advance_clock, _CLOCK, body=schemas.Advance, example={"minutes": 5}),
    _operation("POST", "/_mock/clock/freeze", freeze_clock, _CLOCK, **_NO_BODY),
    _operation("POST", "/_mock/clock/resume", resume_clock, _CLOCK, **_NO_BODY, **_LIVE_ONLY),
    _operation(
        "POST", "/_mock/clock/speed", set_speed, _CLOCK, body=schemas.Speed, example={"speed": 60}, **_LIVE_ONLY
    ),
    _operation("GET", "/_mock/scenarios", list_scenarios, "Every scenario."),
    _operation("GET", "/_mock/rules", list_rules, "The rules, oldest first."),
    _operation(
        "POST",
        "/_mock/rules",
        add_rule,
        "The rule, which is in force.",
        status=201,
        body=schemas.NewRule,
        example={"to": "+6591234567", "error": 5011, "times": 1},
    ),
    _operation("DELETE", "/_mock/rules", remove_rules, "An empty list.", forgets=True, **_NO_BODY),
    _operation(
        "DELETE",
        "/_mock/rules/{id}",
        remove_rule,
        "The rule, which is no longer in force.",
        refused={404: "4001: there is no such rule."},
        forgets=True,
        **_NO_BODY,
    ),
    _operation(
        "POST",
        "/_mock/send",
        play_scenario,
        "The message; in virtual time its callbacks have been sent.",
        body=schemas.NewSend,
        body_required=False,
        example={"to": "+6591234567", "scenario": "fallback"},
    ),
)

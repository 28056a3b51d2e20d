"""Public errors and results can be pickled and deep-copied, with any objects of the app in them."""

from __future__ import annotations

import copy
import importlib
import inspect
import multiprocessing
import pickle
import pkgutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import engagelab_mock
from engagelab_mock import (
    CHECKS,
    FAULTS,
    EngageLab,
    EngageLabMockError,
    Fault,
    InvalidTape,
    Journal,
    LoadSummary,
    NotAcknowledged,
    ProbeFailed,
    Receiver,
    ReceiverFellShort,
    ScheduleFailed,
    Tape,
    UnknownName,
    UsageError,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: Public classes whose objects hold threads, sockets, an app, a clock or functions: they are never copied.
LIVE = {
    *("Account", "ApiServer", "Clock", "EngageLab", "EngageLabProvider", "Inbox", "Interception"),
    *("LiveClock", "Recorder", "Schedules", "SystemClock", "VirtualClock"),
}
#: The base class of events, of which there are no objects.
ABSTRACT = {"Event"}


class Odd(Exception):
    """An exception that pickles and cannot be unpickled."""

    def __init__(self, what: str, *, code: int) -> None:
        super().__init__(what)
        self.code = code


class Held:
    """A state that cannot be pickled, as an app's database object."""

    def __init__(self, status: str | None) -> None:
        self.status = status
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: object) -> Held:
        return Held(self.status)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and other.status == self.status

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Held({self.status!r})"


class App:
    """An app that keeps the status that came last, and raises for "delivered"."""

    def __init__(self) -> None:
        self.status: str | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        [row] = msgspec.json.decode(environ["wsgi.input"].read())["rows"]
        self.status = row["status"]["message_status"]
        if self.status == "delivered":
            raise Odd("the database is gone", code=7)
        start_response("200 OK", [])
        return []

    def observe(self, message_id: str) -> Any:
        return Held(self.status)


def failing() -> EngageLab:
    """Return an EngageLab with the app, in which nothing that belongs to the app can be pickled."""
    app = App()
    return EngageLab(Receiver.wsgi(app, username="acme", secret="s3cret", observe=app.observe))


def error_of(work: Callable[[], object]) -> Any:
    """Return the error that a call raises."""
    try:
        work()
    except EngageLabMockError as error:
        return error
    raise AssertionError("it raises nothing")


def unreadable(message_id: str) -> Any:
    """Return a state that cannot be copied."""
    return (each for each in [message_id])


def results(folder: Path) -> Iterator[Any]:
    """Make objects of every public class that is a result or a value."""
    engagelab = failing()
    run = engagelab.send(check=False)
    yield from (run, run.message, run.scenario, *run.scenario.transitions, engagelab.journal)
    yield from (run.deliveries[0], run.deliveries[0].retry, run.deliveries[0].receiver, *run.events)
    raised = next(attempt for attempt in engagelab.journal.attempts if attempt.exception)
    assert isinstance(raised.exception, Odd)
    yield from (raised, raised.callback, raised.callback.headers)
    response = run.deliveries[0].attempts[0].response
    assert response is not None
    yield from (response, msgspec.structs.replace(response, raised=raised.exception))
    yield LoadSummary(url="http://127.0.0.1:5000/", outcomes={"acknowledged": 4})
    error_of(lambda: engagelab.send("nobody"))
    yield from engagelab.journal.refusals
    exploration = engagelab.explore("delivered", check=False, merge=True)
    failure = exploration.failures[0]
    yield from (
        exploration,
        exploration.merging,
        failure,
        failure.violation,
        failure.played,
        failure.played.records[-1],
    )
    yield from (failure.schedule, failure.schedule.steps[0])
    report = engagelab.check(only=["A0*"])
    yield from (report, *report.findings, report.findings[0].check, *report.findings[0].exchanges)
    yield from bundled(folder)


def bundled(folder: Path) -> Iterator[Any]:
    """Make the objects for which the bundled receiver is needed, or none."""
    with EngageLab() as engagelab:
        engagelab.send()
        [recorder] = [receiver.recorder for receiver in engagelab.receivers]
        assert recorder is not None
        received = recorder.received[0]
        yield from (received, received.verdict, engagelab_mock.decode(received.body))
        yield engagelab_mock.sign("acme", "s3cret", timestamp=1, nonce="2")
        yield engagelab.inbox()[0]
        engagelab.notify("insufficient_balance")
        engagelab.system_event("account_login")
        engagelab.uplink("+6591234567", body="STOP")
        yield from engagelab.journal.events
        yield from engagelab_mock.decode(b'{"total": 1, "rows": [{"odd": 1}]}').rows
        yield engagelab.rule("+6591234567", error=5013)
        yield engagelab.receivers[0].settings
        yield engagelab_mock.ApiRequest("GET", "/v1/messages")
        yield engagelab_mock.ApiAnswer(200, b"{}", after=lambda: None)
        file = folder / "tape.jsonl"
        head = '{"type":"engagelab-tape","version":1,"started":0,"sanitised":true}'
        entry = '{"at":1,"method":"POST","path":"/","headers":[],"body":"{}"}'
        file.write_text(f"{head}\n{entry}\n{{")
        tape = engagelab.tape(str(file), strict=False)
        yield from (tape, *tape.entries, *tape.problems)
    code = engagelab_mock.CodeConfig()
    yield from (code, engagelab_mock.Template(template_id="t", send_channel_strategy="sms", verify_code_config=code))
    yield from (engagelab_mock.fault("stale", by=900), *FAULTS.values(), *CHECKS.values())
    yield from (engagelab_mock.INFERRED, engagelab_mock.ApiSettings(), engagelab_mock.Generator.seeded(7))
    for table in (engagelab_mock.DIALECTS, engagelab_mock.ERROR_CODES, engagelab_mock.MAGIC, engagelab_mock.CATALOGUE):
        yield from table.values()


#: Every class that must be copied: all public ones, apart from names and the types of keyword arguments.
RESULTS = {
    name
    for name, kind in inspect.getmembers(engagelab_mock, inspect.isclass)
    if not issubclass(kind, (Enum, BaseException)) and not hasattr(kind, "__total__")
} - (LIVE | ABSTRACT)


def copies(value: Any) -> list[Any]:
    """Return a value as another process gets it, and a deep copy of it."""
    return [pickle.loads(pickle.dumps(value)), copy.deepcopy(value)]


def differences(one: Any, other: Any, where: str, seen: dict[int, Any]) -> Iterator[str]:
    """Yield the differences of a copy. A value that cannot be copied equals its text."""
    if isinstance(one, (Odd, Held)):
        text = f"Odd: {one}" if isinstance(one, Odd) else repr(one)
        if text != str(other):
            yield f"{where}: {other!r} stands for {one!r}"
    elif type(one) is not type(other):
        yield f"{where}: {type(one)} became {type(other)}"
    elif isinstance(one, Mapping) and not hasattr(one, "pairs"):
        yield from differences(list(one.items()), list(other.items()), where, seen)
    elif isinstance(one, (list, tuple)):
        if len(one) != len(other):
            yield f"{where}: {len(one)} became {len(other)}"
        for number, pair in enumerate(zip(one, other, strict=False)):
            yield from differences(*pair, f"{where}[{number}]", seen)
    elif id(one) in seen:
        return
    elif (fields := contents(one)) is not None:
        seen[id(one)] = one
        yield from differences(fields, contents(other), where, seen)
    elif one != other:
        yield f"{where}: {one!r} became {other!r}"


def contents(value: Any) -> dict[str, Any] | None:
    """Return what an object consists of; None for a plain value."""
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__ if name not in {"after", "on_change"}}
    if isinstance(value, Receiver):
        return {"settings": value.settings, "address": value.address, "limit": value.limit, "state": value.state}
    if isinstance(value, Journal):
        return {"entries": list(value), "limit": value.limit}
    if isinstance(value, Tape):
        return {"head": value.head, "entries": value.entries, "problems": value.problems}
    if isinstance(value, engagelab_mock.Generator):
        return {"random": value.random.getstate()}
    if isinstance(value, BaseException):
        return {"args": value.args, **value.__dict__}
    return None


def test_every_public_result_can_be_pickled_and_copied(tmp_path: Path) -> None:
    seen = set()
    for value in results(tmp_path):
        seen.add(type(value).__name__)
        for copied in copies(value):
            assert list(differences(value, copied, type(value).__name__, {})) == []
    # A class that is missing here is new: make an object of it in `results`, or say that it is live.
    assert RESULTS - seen == set()


def test_a_copy_knows_that_a_state_did_not_change() -> None:
    engagelab = failing()
    played = engagelab.play("eg1:plan*2,sent")
    for copied in copies(played):
        assert copied.changed
        assert [each.after is each.before for each in copied.records] == [False, True, False]
    for copied in copies(engagelab.journal):
        assert len({id(each.receiver) for each in copied.deliveries}) == 1


def errors() -> Iterator[type[BaseException]]:
    """Find every exception of the package."""
    for module in pkgutil.walk_packages(engagelab_mock.__path__, "engagelab_mock."):
        # Importing Locust makes all blocking calls of this process cooperative.
        if not module.name.endswith(("__main__", "locust", "locust_load", "locust_stats")):
            for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                if issubclass(kind, BaseException) and kind.__module__ == module.name:
                    yield kind


@pytest.mark.slow
def test_every_error_of_the_package_can_be_pickled_and_copied() -> None:
    found = list(errors())
    assert {EngageLabMockError, NotAcknowledged, engagelab_mock.ApiError} <= {*found}
    for kind in found:
        # Without its constructor, because a new error may want arguments that this test does not know.
        error = kind.__new__(kind, "what is wrong")
        error.__dict__["hint"] = "do this"
        error.add_note("a note")
        if issubclass(kind, EngageLabMockError):
            error.__dict__["lock"] = threading.Lock()
        for copied in copies(error):
            assert type(copied) is kind
            assert copied.args == error.args
            assert vars(copied)["hint"] == "do this"
            assert copied.__notes__ == ["a note"]


def raised(folder: Path) -> Iterator[EngageLabMockError]:
    """Raise each error that has more than a text."""
    engagelab = failing()
    yield error_of(engagelab.send)
    yield error_of(lambda: engagelab.explore("delivered"))
    yield error_of(lambda: engagelab.check(only=["A0*"]).assert_none("info"))
    yield error_of(lambda: engagelab.check(observe=unreadable))
    yield error_of(lambda: engagelab.send(scenario="verfied"))
    yield UnknownName("thing", threading.Lock(), ["lock"])
    yield engagelab_mock.ApiError(4001, headers=(("X-Y", "z"),))
    file = folder / "tape.jsonl"
    file.write_text('{"type":"engagelab-tape","version":1,"started":0,"sanitised":true}\n{"type"')
    yield error_of(lambda: engagelab.tape(str(file)))


def raise_it(number: int, folder: Path) -> None:
    """Raise one of these errors, in another process."""
    raise list(raised(folder))[number]


def text_of(error: BaseException) -> str:
    """Return the text of an error, without what differs between two runs."""
    return str(error).partition("\n\n")[0]


@pytest.mark.slow
def test_errors_and_results_come_back_from_other_processes(tmp_path: Path) -> None:
    expected = list(raised(tmp_path))
    kinds = [NotAcknowledged, ScheduleFailed, ReceiverFellShort, ProbeFailed, UnknownName, UnknownName]
    assert [type(error) for error in expected] == [*kinds, engagelab_mock.ApiError, InvalidTape]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for number, error in enumerate(expected):
            with pytest.raises(type(error)) as caught:
                pool.submit(raise_it, number, tmp_path).result(60)
            if "lock" not in str(error):
                assert text_of(caught.value) == text_of(error)
            for name, value in vars(error).items():
                assert type(getattr(caught.value, name)).__name__ in {type(value).__name__, "str"}


def test_an_error_keeps_its_delivery_and_its_cause() -> None:
    error = error_of(failing().send)
    assert isinstance(error.__cause__, Odd)
    for copied in copies(error):
        assert str(copied) == str(error)
        assert copied.delivery.statuses == ["delivered"]
        assert [str(attempt.outcome) for attempt in copied.delivery.attempts] == ["app_raised"]
        assert repr(copied.delivery.attempts[0].exception) == "RuntimeError('Odd: the database is gone')"
        assert str(copied.__cause__) == "Odd: the database is gone"


def test_a_receiver_from_another_process_says_that_its_app_is_not_here() -> None:
    receiver = failing().receivers[0]
    [elsewhere, same] = copies(receiver)
    assert same is receiver
    assert copy.copy(receiver).transport is receiver.transport
    assert (elsewhere.address, elsewhere.settings, elsewhere.observe) == (receiver.address, receiver.settings, None)
    with EngageLab(elsewhere) as engagelab, pytest.raises(UsageError, match="is in another process"):
        engagelab.send()


def test_a_receiver_with_a_url_works_in_another_process() -> None:
    receiver = Receiver.http("https://shop.example/cb", username="acme", secret="s3cret", limit=None, tls_verify=False)
    [copied, _] = copies(receiver)
    assert (copied.address, copied.limit, copied.transport.tls_verify) == (receiver.address, None, False)
    with EngageLab(pickle.loads(pickle.dumps(Receiver.http("http://127.0.0.1:1/")))) as engagelab:
        assert engagelab.send(check=False).deliveries[0].outcome is engagelab_mock.Outcome.REFUSED


def test_a_tape_from_another_process_cannot_be_replayed(tmp_path: Path) -> None:
    file = tmp_path / "tape.jsonl"
    file.write_text('{"type":"engagelab-tape","version":1,"started":0,"sanitised":true}\n')
    with EngageLab() as engagelab:
        [elsewhere, same] = copies(engagelab.tape(str(file)))
        assert same.replay() == []
    with pytest.raises(UsageError, match="a tape from another process") as caught:
        elsewhere.replay()
    assert "open the file again" in caught.value.hint


def test_a_fault_of_ones_own_keeps_its_name() -> None:
    [known] = [each for each in FAULTS.values() if each.name == "stale"]
    mine = msgspec.structs.replace(known, name="mine", work=lambda draft, by: None)
    for copied in copies(mine):
        assert isinstance(copied, Fault)
        assert (str(copied), copied.options) == (str(mine), mine.options)


@pytest.mark.slow
def test_errors_are_reported_by_workers_of_xdist(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import threading
        from engagelab_mock import EngageLab, Receiver, UnknownName

        def test_delivery(engagelab):
            EngageLab(Receiver.http("http://127.0.0.1:1/")).send()

        def test_name(engagelab):
            raise UnknownName("thing", threading.Lock(), ["lock"])

        def test_schedule(engagelab):
            engagelab.explore("plan", invariants=[lambda played: "wrong"])
        """
    )
    outcome = pytester.runpytest_subprocess("-n", "1", "-p", "no:cacheprovider", "-p", "no:schemathesis")
    outcome.assert_outcomes(failed=3)
    outcome.stdout.fnmatch_lines_random(
        ["*NotAcknowledged: plan was not*", "*UnknownName: unknown thing*", "*ScheduleFailed*"]
    )

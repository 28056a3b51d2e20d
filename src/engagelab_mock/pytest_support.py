"""What the marker, the command line and the ini file say for one test, in that order of precedence."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from engagelab_mock.checks.engagelab import EngageLab
from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import journal_table
from engagelab_mock.delivery.retry import retry_policy
from engagelab_mock.delivery.schedule import check_batch
from engagelab_mock.delivery.transport.base import split_address
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError
from engagelab_mock.messages.catalogue import CATALOGUE, scenario
from engagelab_mock.protocol.dialect import DIALECTS, dialect
from engagelab_mock.protocol.event_table import EVENTS
from engagelab_mock.protocol.events import Event
from engagelab_mock.protocol.recipient import check_recipient
from engagelab_mock.protocol.status import Channel

if TYPE_CHECKING:
    from engagelab_mock.explore.exploration import Exploration
    from engagelab_mock.explore.explorer import Listener


#: What the marker takes: defaults for `send`, the receiver's settings, and the engine's own.
SEND_ARGUMENTS = ("scenario", "to", "template", "channel", "custom_args", "retry", "batch", "fault", "check")
CREDENTIALS = ("username", "secret", "authorization")
ENGINE_ARGUMENTS = ("dialect", "code_ttl")
API_ARGUMENTS = ("dev_key", "dev_secret", "strict_templates", "callback_before_response")
MARKER_ARGUMENTS = (*SEND_ARGUMENTS, "url", *CREDENTIALS, "seed", *ENGINE_ARGUMENTS, *API_ARGUMENTS)

_GIVEN = pytest.StashKey[tuple[dict[str, Any], dict[str, str]]]()
#: How many attempts a failing test's report shows.
_REPORTED = 100
_PACKAGE = os.path.dirname(__file__) + os.sep


class TestSettings:
    """Merge one test's markers (function over class over module), options and ini keys, and build from them."""

    __test__ = False

    def __init__(self, item: pytest.Item) -> None:
        self._explicit, self._ini = _given(item.config)
        # Not the item's own id: xdist appends the group to it under --dist=loadgroup, and the data must not change.
        self._test = f"{item.parent.nodeid}::{item.name}" if item.parent else item.nodeid
        self._marked: dict[str, Any] = {}
        for mark in reversed(list(item.iter_markers("engagelab"))):
            self._marked.update(mark.kwargs)
        if self._marked:
            self._explicit = self._explicit | self._marked
        self._receivers: list[Receiver] = []
        self._config = item.config
        self._replaying: str | None = item.config.getoption("engagelab_replay")
        self._engagelab: EngageLab | None = None
        #: Kept from before anything is built, so that what could not be built is in it.
        self.journal = Journal()

    def default_receiver(self) -> Receiver:
        """Make the receiver used when a project overrides none."""
        given: dict[str, Any] = {name: value for name in CREDENTIALS if (value := self._setting(name)) is not None}
        url = self._setting("url")
        with self._refusals():
            if url is not None:
                return Receiver.http(url, **given)
            if "username" in given or "secret" in given:
                # The bundled receiver's own credentials are a pair; half of it is no use to the other half.
                given = {"username": "", "secret": ""} | given
            return Receiver.recording(**given)

    @contextmanager
    def build(self, given: Receiver | Sequence[Receiver]) -> Iterator[EngageLab]:
        """Make the engine; what the marker and the command line say of receivers goes over what their fixture says."""
        with self._refusals():
            receivers = [given] if isinstance(given, Receiver) else given
            if not isinstance(receivers, (list, tuple)) or not all(isinstance(each, Receiver) for each in receivers):
                raise UsageError(
                    f"the engagelab_receiver fixture returned {given!r}, which is no Receiver",
                    hint="return Receiver.wsgi(app, path=…), Receiver.asgi(app, path=…) or Receiver.http(url)",
                )
            if len(receivers) != 1 and self._explicit.get("url") is not None:
                raise UsageError(
                    f"one url does not say where {len(receivers)} receivers are",
                    where="url",
                    hint="leave --engagelab-url and the marker's url out, or have engagelab_receiver return one",
                )
            self._receivers = [self._override(receiver) for receiver in receivers]
            engagelab = EngageLab(
                self._receivers,
                seed=f"{self._seed}:{self._test}",
                defaults={name: self._marked[name] for name in SEND_ARGUMENTS if name in self._marked},
                journal=self.journal,
                **{name: self._marked[name] for name in ENGINE_ARGUMENTS if name in self._marked},
                **self._api(),
            )
            engagelab.replaying = self._replaying
            engagelab.progress = progress_of(self._config)
        self._engagelab = engagelab
        with engagelab:
            yield engagelab

    def raise_late(self) -> None:
        """Send what the app's own calls still have to bring, and fail the test for what is not acknowledged."""
        if self._engagelab is None:
            return
        try:
            self._engagelab.settle()
        except EngageLabMockError as error:
            # It was no line of the test's that sent it.
            raise pytest.fail.Exception(f"{type(error).__name__}: {error}", pytrace=False) from None

    def _api(self) -> dict[str, Any]:
        given = {name: self._marked[name] for name in API_ARGUMENTS if name in self._marked}
        if not given:
            return {}
        from engagelab_mock.service.rest.exchange import ApiSettings  # few tests have any

        return {"api": ApiSettings(**given)}

    def report(self) -> str:
        """Describe for a failing test who was sent what, and how to have the same data again."""
        if "seed" in self._marked:
            seed = f"seed: {self._seed}, from the marker"
        else:
            seed = f"seed: {self._seed} (the same data again: --engagelab-seed={shlex.quote(self._seed)})"
        receivers = [f"receiver: {_describe(receiver)}" for receiver in self._receivers]
        return "\n".join([*receivers, journal_table(self.journal, most=_REPORTED), *self._schedule(), seed])

    def _schedule(self) -> list[str]:
        """Say which schedule was played last, and how it is played again."""
        played = self._engagelab.played if self._engagelab is not None else None
        if played is None:
            return []
        return [f"schedule: {played} (this one again: --engagelab-replay={shlex.quote(str(played))})"]

    @property
    def _seed(self) -> str:
        seed = self._setting("seed")
        return "0" if seed is None else str(seed)

    def _override(self, receiver: Receiver) -> Receiver:
        if not self._explicit and not self._ini:
            return receiver
        own = {name: getattr(receiver.settings, name) for name in CREDENTIALS}
        wanted = {}
        for name, value in own.items():
            explicit = self._explicit.get(name)
            # The ini file speaks for a whole project: it only fills in what the fixture leaves open.
            wanted[name] = (value or self._ini.get(name) or "") if explicit is None else explicit
        url = self._explicit.get("url")
        if url is not None and url != receiver.address:
            return Receiver.http(
                url,
                **wanted,
                limit=receiver.limit,
                signature_clock=receiver.signature_clock,
                skew=receiver.skew,
                observe=receiver.observe,
                events=receiver.settings.events,
            )
        return receiver if wanted == own else receiver.with_settings(**wanted)

    def _setting(self, name: str) -> Any:
        explicit = self._explicit.get(name)
        return self._ini.get(name) if explicit is None else explicit

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except EngageLabMockError as error:
            self.journal.refuse(error, at=time.time())
            # No line of the test's is to blame, and no line of ours would help: the message is all there is to show.
            raise pytest.fail.Exception(f"{type(error).__name__}: {error}", pytrace=False) from None


def _given(config: pytest.Config) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what the command line says and what the ini file says, looked up once a session."""
    if _GIVEN not in config.stash:
        names = ("url", *CREDENTIALS, "seed")
        options = {name: config.getoption(f"--engagelab-{name}") for name in names}
        keys = {name: config.getini(f"engagelab_{name}") for name in names}
        config.stash[_GIVEN] = (
            {name: value for name, value in options.items() if value is not None},
            {name: value for name, value in keys.items() if value},
        )
    return config.stash[_GIVEN]


def marker_problems(items: Iterable[pytest.Item]) -> str:
    """Describe every marker argument that cannot be used, and the nearest that can; return nothing if all is well."""
    tests: dict[str, list[str]] = {}
    for item in items:
        for mark in item.iter_markers("engagelab"):
            try:
                _check_mark(mark)
            except EngageLabMockError as error:
                tests.setdefault(str(error), []).append(item.nodeid)
    return "\n".join(f"{_name(nodeids)}: {problem}" for problem, nodeids in tests.items())


def keep_replayed(config: pytest.Config, items: list[pytest.Item], token: str) -> str:
    """Deselect the tests that have another schedule than the token's as a parameter; return what is wrong with it."""
    from engagelab_mock.explore.schedule import Schedule

    try:
        wanted = Schedule.parse(token)
    except EngageLabMockError as error:
        return f"--engagelab-replay: {error}"
    kept: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        callspec = getattr(item, "callspec", None)
        given = [value for value in callspec.params.values() if isinstance(value, Schedule)] if callspec else []
        (kept if not given or wanted in given else others).append(item)
    if others and not kept:
        return f"--engagelab-replay: no test has {token} as a parameter"
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = kept
    return ""


def progress_of(config: pytest.Config) -> Listener | None:
    """Return what shows on the terminal, past pytest's capturing, how far an exploration has got; -v asks for it."""
    terminal = sys.__stderr__
    capture = config.pluginmanager.get_plugin("capturemanager")
    if config.get_verbosity() < 1 or hasattr(config, "workerinput") or terminal is None or not terminal.isatty():
        return None

    def show(exploration: Exploration, over: bool) -> None:
        from engagelab_mock.explore.explorer import progress_line

        with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
            terminal.write("\r\x1b[2K" + ("" if over else progress_line(exploration)))
            terminal.flush()

    return show


def end_at_caller(error: BaseException | None) -> None:
    """Cut this package's frames out of an error's traceback, and its causes': it is about the line that called us."""
    seen: list[int] = []
    while error is not None and id(error) not in seen:
        seen.append(id(error))
        error.__traceback__ = _foreign(error.__traceback__)
        entry = error.__traceback__
        while entry is not None:
            entry.tb_next = _foreign(entry.tb_next)
            entry = entry.tb_next
        error = error.__cause__


def _foreign(entry: TracebackType | None) -> TracebackType | None:
    """Return the first entry that is not of this package."""
    while entry is not None and entry.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        entry = entry.tb_next
    return entry


def _name(nodeids: list[str]) -> str:
    others = len(nodeids) - 1
    return nodeids[0] + (f" and {others} more" if others else "")


def _describe(receiver: Receiver) -> str:
    settings = receiver.settings
    name = f"{settings.description}, " if settings.description else ""
    how = "" if receiver.transport.name == "http" else f" (in process, {receiver.transport.name})"
    identity = f"signed as {settings.username!r}" if settings.signs else "unsigned"
    also = " with Authorization" if settings.authorization else ""
    ticked = f", gets {', '.join(settings.events)}" if settings.events else ""
    state = ", abnormal" if receiver.state == "abnormal" else ""
    return f"{name}{receiver.address}{how}, {identity}{also}{ticked}{state}"


def _check_mark(mark: pytest.Mark) -> None:
    where = "engagelab marker"
    if mark.args:
        first = mark.args[0]
        guess = f"did you mean scenario={first!r}?" if first in list(CATALOGUE) else "write it as name=value"
        raise UsageError(f"takes keyword arguments only, not {first!r}", where=where, hint=guess)
    for name, value in mark.kwargs.items():
        if name not in MARKER_ARGUMENTS:
            raise UnknownName("argument", name, MARKER_ARGUMENTS, where=where)
        if name == "scenario":
            scenario(value, where=where)
        elif name == "channel" and value not in list(Channel):
            raise UnknownName("channel", value, Channel, where=where)
        elif name == "dialect":
            dialect(value, where=where)
        elif name == "retry":
            retry_policy(value, where=where)
        elif name == "batch" and value != "all":
            check_batch(value)
        elif name == "fault":
            from engagelab_mock.delivery.faults.catalogue import faults  # few markers name one

            faults(value)
        elif name == "to":
            check_recipient(value, where=where)
        elif name == "url":
            split_address(value, where=where)
        elif name == "code_ttl" and value is not None:
            check_delay(value, where=where)
        elif name in {"dev_key", "dev_secret"}:
            _check_kind(name, value, str, "a string")
        elif name in {"strict_templates", "callback_before_response"}:
            _check_kind(name, value, bool, "True or False")


def _check_kind(name: str, value: object, kind: type, described: str) -> None:
    if not isinstance(value, kind):
        raise UsageError(f"{name} is {described}, not {value!r}", where="engagelab marker")


#: What `run.statuses` and `journal.statuses` can hold.
_NAMES = frozenset({*EVENTS, *(known.sent_failed for known in DIALECTS.values())})


def explain(left: object, right: object) -> list[str] | None:
    """Return the lines that explain `left == right`, or None when neither is ours.

    >>> explain(["plan", "sent"], ["plan", "delivered"])[1:]
    ['first difference at index 1: sent, not delivered', '  plan', '- delivered', '+ sent']
    """
    if isinstance(left, Event) and isinstance(right, Event):
        return _events(left, right)
    if _is_sequence(left) and _is_sequence(right):
        return _sequences(left, right)
    return None


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) and each in _NAMES for each in value)


def _sequences(left: Any, right: Any) -> list[str]:
    got: Sequence[str] = left
    wanted: Sequence[str] = right
    common = 0
    while common < min(len(got), len(wanted)) and got[common] == wanted[common]:
        common += 1
    here = got[common] if common < len(got) else "nothing"
    there = wanted[common] if common < len(wanted) else "the end"
    return [
        f"{' → '.join(got)} == {' → '.join(wanted)}",
        f"first difference at index {common}: {here}, not {there}",
        *(f"  {status}" for status in got[:common]),
        *(f"- {status}" for status in wanted[common:]),
        *(f"+ {status}" for status in got[common:]),
    ]


def _events(left: Event, right: Event) -> list[str]:
    if type(left).__name__ != type(right).__name__:
        return [f"{left.name} ({left.kind}) == {right.name} ({right.kind})", "the events are of different kinds"]
    # What is no JSON can stand in an event all the same, and an explanation that raises is none.
    got = dict(_fields(msgspec.to_builtins(left, enc_hook=repr), ""))
    wanted = dict(_fields(msgspec.to_builtins(right, enc_hook=repr), ""))
    lines = [f"{left.name} == {right.name}, two events of kind {left.kind}"]
    for path in [*got, *(path for path in wanted if path not in got)]:
        if got.get(path, _ABSENT) != wanted.get(path, _ABSENT):
            lines.append(f"{path}: {_show(got, path)} != {_show(wanted, path)}")
    return lines


_ABSENT = object()


def _fields(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _fields(inner, f"{path}.{name}" if path else name)
    else:
        yield path, value


def _show(fields: dict[str, Any], path: str) -> str:
    return repr(fields[path]) if path in fields else "absent"


_MODULE = Path(__file__).with_name("pytest_checks.py")
_RECEIVER, _CHECK_OPTIONS = "engagelab_receiver", "engagelab_check_options"


class CheckCollection:
    """Add a test for each check, once for each `engagelab_receiver` that is overridden, or for the plugin's own."""

    def __init__(self) -> None:
        self._places: list[pytest.Collector] = []

    def pytest_collectstart(self, collector: pytest.Collector) -> None:
        """Take note of where tests can stand."""
        if isinstance(collector, (pytest.Directory, pytest.Module)):
            self._places.append(collector)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Add the tests, before others choose among all there are."""
        found: dict[Any, pytest.Collector] = {}
        own = False
        # The topmost of those who see a receiver is where it is, as far as anybody is concerned; unless there are
        # options further down.
        for place in sorted(
            self._places, key=lambda node: (not _is_overridden(node, _CHECK_OPTIONS), len(node.listchain()))
        ):
            overridden = _is_overridden(place, _RECEIVER) or _is_overridden(place, _CHECK_OPTIONS)
            if overridden and not own:
                own, found = True, {}
            if overridden or not (own or found):
                found.setdefault(_fixture(place, _RECEIVER), place)
        for place in found.values():
            items += _items(place)


def _is_overridden(node: pytest.Collector, name: str) -> bool:
    """Tell whether a test of this node would get another fixture than the plugin's own."""
    module: str = _fixture(node, name).__module__
    return module != "engagelab_mock.pytest_plugin"


def _fixture(node: pytest.Collector, name: str) -> Any:
    """Return the function of the fixture that a test of this node would get."""
    definitions = node.session._fixturemanager.getfixturedefs(name, node)
    assert definitions, "the plugin has one"
    return definitions[-1].func


def _items(place: pytest.Collector) -> list[pytest.Item]:
    prefix = f"{place.nodeid}::" if place.nodeid not in {"", "."} else ""
    module = pytest.Module.from_parent(place, path=_MODULE, nodeid=f"{prefix}engagelab-check")
    return [item for item in module.collect() if isinstance(item, pytest.Item)]

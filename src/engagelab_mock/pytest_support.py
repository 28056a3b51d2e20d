"""One test's settings, from the marker, the command line and the ini file, in that order of precedence."""

from __future__ import annotations

import functools
import os
import shlex
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest

from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.receiver import OWN_OPTIONS, Receiver
from engagelab_mock.delivery.render import journal_table
from engagelab_mock.delivery.retry import retry_policy
from engagelab_mock.delivery.transport import split_address
from engagelab_mock.engagelab import EngageLab
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError
from engagelab_mock.messages.catalogue import CATALOGUE, scenario
from engagelab_mock.messages.message import check_recipient
from engagelab_mock.messages.scenario import check_batch
from engagelab_mock.protocol.events import dialect
from engagelab_mock.protocol.status import Channel

if TYPE_CHECKING:
    from engagelab_mock.explore.exploration import Exploration, Listener


#: The arguments of the marker: defaults for `send`, the receiver's settings, and the engine's own.
SEND_ARGUMENTS = ("scenario", "to", "template", "channel", "custom_args", "retry", "batch", "fault", "check")
CREDENTIALS = ("username", "secret", "authorization")
ENGINE_ARGUMENTS = ("dialect", "code_ttl")
API_FLAGS = ("strict_templates", "strict_content_type", "callback_before_response")
API_ARGUMENTS = ("dev_key", "dev_secret", *API_FLAGS)
MARKER_ARGUMENTS = (*SEND_ARGUMENTS, "url", *CREDENTIALS, "seed", *ENGINE_ARGUMENTS, *API_ARGUMENTS)

#: How many attempts a failing test's report shows.
_REPORTED = 100
#: How many frames of an app's traceback are shown, the innermost ones.
_APP_FRAMES = 3
_PACKAGE = os.path.dirname(__file__) + os.sep


class TestSettings:
    """Merge a test's markers (function over class over module), options and ini keys, and build objects from them."""

    __test__ = False

    def __init__(self, item: pytest.Item) -> None:
        self._session = _session_settings(item.config)
        self._test, self._marked = self._session.test_settings(item)
        given = self._session.options
        self._explicit = given | self._marked if self._marked else given
        self._overrides = bool(self._explicit or self._session.ini)
        seed = self._setting("seed") if self._overrides else None
        self._seed = "0" if seed is None else str(seed)
        self.receivers: list[Receiver] = []
        self.engagelab: EngageLab | None = None
        #: It exists before any other object is built, so it can keep the errors of building them.
        self.journal = Journal()

    def default_receiver(self) -> Receiver:
        """Return the receiver of a project that overrides none."""
        if not self._overrides:
            return Receiver.recording()
        given: dict[str, Any] = {name: value for name in CREDENTIALS if (value := self._setting(name)) is not None}
        url = self._setting("url")
        try:
            if url is not None:
                return Receiver.http(url, **given)
            if "username" in given or "secret" in given:
                # The bundled receiver's username and secret are a pair: half of one pair does not fit half of another.
                given = {"username": "", "secret": ""} | given
            return Receiver.recording(**given)
        except EngageLabMockError as error:
            raise self._failed(error) from None

    def build(self, given: Receiver | Sequence[Receiver]) -> EngageLab:
        """Return the engine; the marker and the command line override the settings of the fixture's receivers."""
        try:
            # Most tests have one receiver, and its settings are not overridden.
            plain = isinstance(given, Receiver) and not self._overrides
            self.receivers = [given] if plain else self._checked(given)  # type: ignore[list-item]
            engagelab = EngageLab(
                self.receivers,
                seed=f"{self._seed}:{self._test}",
                nonce_seed=self._setting("nonce_seed") if self._overrides else None,
                journal=self.journal,
                **(self._arguments() if self._marked else {}),
            )
        except EngageLabMockError as error:
            raise self._failed(error) from None
        session = self._session
        if session.replaying is not None or session.progress is not None:
            engagelab._engine.exploring.replaying = session.replaying
            engagelab._engine.exploring.progress = session.progress
        self.engagelab = engagelab
        return engagelab

    def settle(self) -> None:
        """Send the callbacks that the app's calls left pending; fail the test if one is not acknowledged."""
        if self.engagelab is None:
            return
        try:
            self.engagelab.settle()
        except EngageLabMockError as error:
            # No line of the test sent the callback.
            raise pytest.fail.Exception(f"{type(error).__name__}: {error}", pytrace=False) from None

    def close(self) -> None:
        """Close the engine. If the app's lifespan failed, fail the test and show the app's frames."""
        if self.engagelab is None:
            return
        try:
            self.engagelab.close()
        except EngageLabMockError as error:
            cause = error.__cause__
            # Without this, the frames of pytest and of this package would hide the app's frames.
            shown = traceback.format_exception(cause, limit=-_APP_FRAMES) if cause is not None else []
            notes = getattr(error, "__notes__", [])
            text = "\n".join([f"{type(error).__name__}: {error}", *notes, "", "".join(shown)]).rstrip()
            raise pytest.fail.Exception(text, pytrace=False) from None

    def report(self) -> str:
        """Describe a failing test's receivers and deliveries, and how to get the same data again."""
        if "seed" in self._marked:
            seed = f"seed: {self._seed}, from the marker"
        else:
            seed = f"seed: {self._seed} (the same data again: --engagelab-seed={shlex.quote(self._seed)})"
        receivers = [f"receiver: {describe(receiver)}" for receiver in self.receivers]
        judged = self._judged()
        table = [journal_table(self.journal, most=_REPORTED)] if self.journal or not judged else []
        return "\n".join([*receivers, *table, *judged, *self._schedule(), seed])

    def _judged(self) -> list[str]:
        """Describe the explorations and the checks. The journal has at most one failed schedule of theirs."""
        if self.engagelab is None:
            return []
        state = self.engagelab._engine.exploring
        lines = [repr(exploration)[1:-1] for exploration in state.explorations]
        for report in state.reports:
            counts = ", ".join(f"{count} {verdict}" for verdict, count in report.summary().items() if count)
            lines.append(f"check of {report.address}: {counts}")
        if state.reports:
            from engagelab_mock.checks.findings_text import exchanges_table  # few failing tests have run checks

            lines += exchanges_table(state.reports[-1].findings, _REPORTED)
        return lines

    def _schedule(self) -> list[str]:
        """Describe the schedule that was played last, and how to play it again."""
        played = self.engagelab._engine.exploring.played if self.engagelab is not None else None
        if played is None:
            return []
        return [f"schedule: {played} (this one again: --engagelab-replay={shlex.quote(str(played))})"]

    def _arguments(self) -> dict[str, Any]:
        """Return the marker's arguments for the engine."""
        marked = self._marked
        arguments: dict[str, Any] = {name: marked[name] for name in ENGINE_ARGUMENTS if name in marked}
        arguments["defaults"] = {name: marked[name] for name in SEND_ARGUMENTS if name in marked}
        api = {name: marked[name] for name in API_ARGUMENTS if name in marked}
        if api:
            from engagelab_mock.service.rest.exchange import ApiSettings  # few tests have any

            arguments["api"] = ApiSettings(**api)
        return arguments

    def _checked(self, given: Receiver | Sequence[Receiver]) -> list[Receiver]:
        """Return the fixture's receivers with their settings overridden, or raise `UsageError`."""
        receivers = [given] if isinstance(given, Receiver) else given
        if not isinstance(receivers, (list, tuple)) or not all(isinstance(each, Receiver) for each in receivers):
            raise UsageError(
                f"the engagelab_receiver fixture returned {given!r}, which is not a Receiver",
                hint="return Receiver.wsgi(app, path=…), Receiver.asgi(app, path=…) or Receiver.http(url)",
            )
        if len(receivers) != 1 and self._explicit.get("url") is not None:
            raise UsageError(
                f"one url cannot be the address of {len(receivers)} receivers",
                where="url",
                hint="drop --engagelab-url and the marker's url, or have engagelab_receiver return one receiver",
            )
        return [self._override(receiver) for receiver in receivers] if self._overrides else list(receivers)

    def _override(self, receiver: Receiver) -> Receiver:
        own = {name: getattr(receiver.settings, name) for name in CREDENTIALS}
        wanted: dict[str, Any] = {}
        for name, value in own.items():
            explicit = self._explicit.get(name)
            # The ini file is for a whole project, so it only adds settings that the fixture does not set.
            wanted[name] = (value or self._session.ini.get(name) or "") if explicit is None else explicit
        url = self._explicit.get("url")
        if url is not None and url != receiver.address:
            kept: dict[str, Any] = {name: getattr(receiver, name) for name in OWN_OPTIONS}
            return Receiver.http(url, **wanted, **kept, events=receiver.settings.events)
        return receiver if wanted == own else receiver.with_settings(**wanted)

    def _setting(self, name: str) -> Any:
        explicit = self._explicit.get(name)
        return self._session.ini.get(name) if explicit is None else explicit

    def _failed(self, error: EngageLabMockError) -> BaseException:
        """Enter an error in the journal; return the exception that fails the test with only the error's message."""
        self.journal.refuse(error, at=time.time())
        # No line of the test is at fault, and a line of this package would not help.
        return pytest.fail.Exception(f"{type(error).__name__}: {error}", pytrace=False)


class _SessionSettings:
    """Hold the data that all tests of a session share: options, ini keys, and the marks of the current module."""

    def __init__(self, config: pytest.Config) -> None:
        names = ("url", *CREDENTIALS, "seed", "nonce_seed")
        options = {name: config.getoption(f"engagelab_{name}") for name in names}
        keys = {name: config.getini(f"engagelab_{name}") for name in names}
        self.options = {name: value for name, value in options.items() if value is not None}
        self.ini = {name: value for name, value in keys.items() if value}
        self.replaying: str | None = config.getoption("engagelab_replay")
        self.progress = progress_of(config)
        self._parent: object = None
        self._prefix = ""
        self._inherited: dict[str, Any] = {}

    def test_settings(self, item: pytest.Item) -> tuple[str, dict[str, Any]]:
        """Return a test's name and the arguments of its markers."""
        if item.parent is None:
            return item.nodeid, _arguments_of(item.iter_markers())
        # Most tests follow another test of the same module or class, whose marks are read once.
        if item.parent is not self._parent:
            self._parent = item.parent
            self._prefix = f"{item.parent.nodeid}::"
            self._inherited = _arguments_of(item.parent.iter_markers())
        marked = self._inherited
        if item.own_markers:
            marked = marked | _arguments_of(item.own_markers)
        # Not the item's id: xdist appends the group to it under --dist=loadgroup, and the data must not change.
        return self._prefix + item.name, marked


@functools.lru_cache(maxsize=2)
def _session_settings(config: pytest.Config) -> _SessionSettings:
    """Return a session's settings; if a test runs pytest itself, two sessions alternate."""
    return _SessionSettings(config)


def _arguments_of(marks: Iterable[pytest.Mark]) -> dict[str, Any]:
    """Return the arguments of the engagelab marks; the first mark has priority."""
    arguments: dict[str, Any] = {}
    for mark in reversed([mark for mark in marks if mark.name == "engagelab"]):
        arguments.update(mark.kwargs)
    return arguments


def check_collected(config: pytest.Config, items: list[pytest.Item], marked: Iterable[pytest.Item]) -> None:
    """Raise `UsageError` for a wrong marker argument or token, and deselect the tests that are not to be replayed."""
    token: str | None = config.getoption("engagelab_replay")
    problems = marker_problems(marked) or (keep_replayed(config, items, token) if token is not None else "")
    if not problems:
        return
    workeroutput = getattr(config, "workeroutput", None)
    if workeroutput is None:
        raise pytest.UsageError(problems)
    # A worker's output is lost, and xdist reports a worker that raises as crashed: the controller must raise the error.
    workeroutput["engagelab_problems"] = problems
    items.clear()


def marker_problems(items: Iterable[pytest.Item]) -> str:
    """Describe every wrong marker argument, with the nearest right one; return an empty string if all are right."""
    tests: dict[str, list[str]] = {}
    for item in items:
        for mark in item.iter_markers("engagelab"):
            try:
                _check_mark(mark)
            except EngageLabMockError as error:
                tests.setdefault(str(error), []).append(item.nodeid)
    return "\n".join(f"{_name(nodeids)}: {problem}" for problem, nodeids in tests.items())


def keep_replayed(config: pytest.Config, items: list[pytest.Item], token: str) -> str:
    """Deselect tests whose schedule parameter is not the token's schedule; return the problem with the token."""
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
    """Return a function that shows an exploration's progress despite pytest's capturing, on a terminal and with -v."""
    terminal = sys.__stderr__
    capture = config.pluginmanager.get_plugin("capturemanager")
    if config.get_verbosity() < 1 or hasattr(config, "workerinput") or terminal is None or not terminal.isatty():
        return None

    def show(exploration: Exploration, over: bool) -> None:
        from engagelab_mock.explore.exploration import progress_line

        with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
            terminal.write("\r\x1b[2K" + ("" if over else progress_line(exploration)))
            terminal.flush()

    return show


def end_at_caller(error: BaseException | None) -> None:
    """Remove this package's frames from the tracebacks of an error and its causes, so they end at the caller's line."""
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
    """Return the first traceback entry that is not in this package."""
    while entry is not None and entry.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        entry = entry.tb_next
    return entry


def _name(nodeids: list[str]) -> str:
    others = len(nodeids) - 1
    return nodeids[0] + (f" and {others} more" if others else "")


def describe(receiver: Receiver) -> str:
    """Return a receiver's address, identity and events in words."""
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
        elif name in API_FLAGS:
            _check_kind(name, value, bool, "True or False")


def _check_kind(name: str, value: object, kind: type, described: str) -> None:
    if not isinstance(value, kind):
        raise UsageError(f"{name} is {described}, not {value!r}", where="engagelab marker")

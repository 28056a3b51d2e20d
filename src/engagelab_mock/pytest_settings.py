"""What the marker, the command line and the ini file say for one test, in that order of precedence."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import journal_table
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError
from engagelab_mock.lifecycle.catalogue import scenario
from engagelab_mock.protocol.channel import Channel
from engagelab_mock.protocol.dialect import dialect
from engagelab_mock.protocol.recipient import check_recipient
from engagelab_mock.service.engagelab import EngageLab

#: What the marker takes: defaults for `send`, the receiver's settings, and the engine's own.
SEND_ARGUMENTS = ("scenario", "to", "template", "channel", "custom_args", "check")
RECEIVER_ARGUMENTS = ("url", "username", "secret", "authorization")
ENGINE_ARGUMENTS = ("seed", "dialect", "code_ttl")

_KEY = pytest.StashKey["TestSettings"]()


class TestSettings:
    """Merge one test's markers (function over class over module), options and ini keys, and build from them."""

    __test__ = False

    def __init__(self, item: pytest.Item) -> None:
        self._config = item.config
        self._nodeid = item.nodeid
        self._marked: dict[str, object] = {}
        for mark in reversed(list(item.iter_markers("engagelab"))):
            self._marked.update(mark.kwargs)
        #: Kept from before anything is built, so that what could not be built is in it.
        self.journal = Journal()
        base = self._option("seed") or "0"
        self.seed = self._marked.get("seed", base)

    def default_receiver(self) -> Receiver:
        """Make the receiver used when a project overrides none."""
        given = {name: value for name in RECEIVER_ARGUMENTS if (value := self._setting(name))}
        with self._refusals():
            return _receiver(given)

    @contextmanager
    def build(self, receiver: Receiver) -> Iterator[EngageLab]:
        """Make the engine; what the marker and the command line say of the receiver goes over what its fixture says."""
        with self._refusals():
            if not isinstance(receiver, Receiver):
                raise UsageError(
                    f"the engagelab_receiver fixture returned {receiver!r}, which is no Receiver",
                    hint="return Receiver.wsgi(app, path=…), Receiver.asgi(app, path=…) or Receiver.http(url)",
                )
            engagelab = EngageLab(
                self._override(receiver),
                seed=f"{self.seed}:{self._nodeid}",
                dialect=self._marked.get("dialect", "2023-03"),  # type: ignore[arg-type]
                code_ttl=self._marked.get("code_ttl", 300.0),  # type: ignore[arg-type]
                defaults={name: self._marked[name] for name in SEND_ARGUMENTS if name in self._marked},
                journal=self.journal,
            )
        with engagelab:
            yield engagelab

    def _override(self, receiver: Receiver) -> Receiver:
        over = {name: value for name in RECEIVER_ARGUMENTS if (value := self._explicit(name)) is not None}
        if not over:
            return receiver
        url = over.pop("url", None)
        if url is not None and url != receiver.address:
            kept = receiver.settings
            given = {"username": kept.username, "secret": kept.secret, "authorization": kept.authorization}
            return _receiver({**given, **over, "url": url})
        return receiver.with_settings(**over)

    def _option(self, name: str) -> str | None:
        value = self._config.getoption(f"--engagelab-{name}")
        return str(value) if value is not None else self._config.getini(f"engagelab_{name}") or None

    def _explicit(self, name: str) -> object:
        """Return what the marker or the command line says, leaving out the ini file."""
        return self._marked.get(name, self._config.getoption(f"--engagelab-{name}"))

    def _setting(self, name: str) -> object:
        return self._marked.get(name, self._option(name))

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except EngageLabMockError as error:
            self.journal.refuse(error, at=time.time())
            raise


def settings_of(item: pytest.Item) -> TestSettings:
    """Return a test's settings, the same object each time."""
    if _KEY not in item.stash:
        item.stash[_KEY] = TestSettings(item)
    return item.stash[_KEY]


def check_markers(items: Sequence[pytest.Item]) -> None:
    """Raise `pytest.UsageError` naming every marker argument that cannot be used, and the nearest that can."""
    problems = []
    for item in items:
        for mark in item.iter_markers("engagelab"):
            try:
                _check_mark(mark)
            except EngageLabMockError as error:
                problems.append(f"{item.nodeid}: {error}")
    if problems:
        raise pytest.UsageError("\n".join(dict.fromkeys(problems)))


def report_section(item: pytest.Item) -> list[tuple[str, str]]:
    """Return the section that a failing test's report gets, if the test got as far as to have settings."""
    settings = item.stash.get(_KEY, None)
    if settings is None:
        return []
    seed = f"seed: {settings.seed} (the same data again: --engagelab-seed={settings.seed})"
    return [("EngageLab deliveries", f"{journal_table(settings.journal)}\n{seed}")]


def _check_mark(mark: pytest.Mark) -> None:
    where = "engagelab marker"
    if mark.args:
        raise UsageError(f"takes keyword arguments only, not {mark.args[0]!r}", where=where, hint="scenario=…?")
    known = (*SEND_ARGUMENTS, *RECEIVER_ARGUMENTS, *ENGINE_ARGUMENTS)
    for name, value in mark.kwargs.items():
        if name not in known:
            raise UnknownName("argument", name, known, where=where)
        if name == "scenario":
            scenario(value, where=where)
        elif name == "channel" and value not in set(Channel):
            raise UnknownName("channel", value, Channel, where=where)
        elif name == "dialect":
            dialect(value, where=where)
        elif name == "to":
            check_recipient(value, where=where)
        elif name == "code_ttl" and value is not None:
            check_delay(value, where=where)


def _receiver(given: dict[str, object]) -> Receiver:
    url = given.pop("url", None)
    if url is not None:
        return Receiver.http(str(url), **given)  # type: ignore[arg-type]
    return Receiver.recording(**given)  # type: ignore[arg-type]

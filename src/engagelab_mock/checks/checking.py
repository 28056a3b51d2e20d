"""Checking a receiver: the verb is EngageLab's, what it does is the checks' own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError
from engagelab_mock.eventloop import in_loop, to_thread
from engagelab_mock.service.core import Core, check_receivers

if TYPE_CHECKING:
    from engagelab_mock.checks.report import Report
    from engagelab_mock.checks.runner import Runner
    from engagelab_mock.messages.message import Message


class CheckOptions(TypedDict, total=False):
    """Say what is checked, and what helps to judge; every key can be left out."""

    #: Called with a message's id, returns what the receiver's app holds of it; without it, what is about effects is
    #: inconclusive. A `Receiver` can bring its own.
    observe: Callable[[str], Any] | None
    #: Called with each message before its callbacks, for apps that know only what they have sent themselves.
    prepare: Callable[[Message], object] | None
    #: Called with seconds, gives a context in which what the handler calls downstream stalls that long.
    stall: Callable[[float], AbstractContextManager[object]] | None
    #: How long an effect may follow its acknowledgement, in seconds: 2 unless given.
    patience: float
    #: The checks to run, by ids and names, with `*`; none is all.
    only: Sequence[str]
    #: The checks not to run.
    skip: Sequence[str]
    #: The least severity that is run.
    severity: str
    #: Why some failures do not count: reasons by id.
    suppress: Mapping[str, str] | None
    #: How long the whole run may take, in seconds: 120 unless given.
    timeout: float


class Checking(Core):
    """Judge a receiver."""

    def check(self, receiver: Receiver | None = None, **options: Unpack[CheckOptions]) -> Report:
        """Put a receiver, the first unless given, through the checks, and report.

        The options are those of `CheckOptions`. The checks have a journal and data of their own, other in every run.
        Raises a `UsageError` for what cannot be used.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     report = engagelab.check(only=["A*", "sig-missing"])
        >>> report.assert_none("major")
        """
        __tracebackhide__ = True
        runner, checked = self._check(receiver, options)
        if in_loop() and checked.transport.name == "asgi":
            hint = "`await engagelab.acheck(…)` calls it from a thread"
            what = "the app cannot be called synchronously from inside a running event loop"
            raise self._refused(UsageError(what, where="check", hint=hint))
        try:
            return runner.run()
        finally:
            if checked not in self.receivers:
                checked.close()

    async def acheck(self, receiver: Receiver | None = None, **options: Unpack[CheckOptions]) -> Report:
        """Do what `check` does, from a thread, leaving the running event loop free.

        An ASGI app is called in a loop, and with a lifespan, of that thread's own.

        >>> import asyncio
        >>> from engagelab_mock import EngageLab
        >>> asyncio.run(EngageLab().acheck(only=["A01"])).summary()["pass"]
        1
        """
        __tracebackhide__ = True
        runner, checked = self._check(receiver, options)

        def run() -> Report:
            try:
                return runner.run()
            finally:
                # What the thread has opened, the thread closes.
                checked.close()

        return await to_thread(run)

    def _check(self, receiver: Receiver | None, options: CheckOptions) -> tuple[Runner, Receiver]:
        from engagelab_mock.checks.context import Hooks
        from engagelab_mock.checks.runner import Runner
        from engagelab_mock.checks.selection import Selection

        __tracebackhide__ = True
        try:
            for name in options:
                if name not in CheckOptions.__annotations__:
                    raise UnknownName("argument", name, ["receiver", *CheckOptions.__annotations__], where="check")
            given: dict[str, Any] = {**options}
            choice = {name: given.pop(name) for name in ("only", "skip", "severity", "suppress") if name in given}
            [checked] = check_receivers([self.receiver if receiver is None else receiver], where="check")
            bound = {"timeout": given.pop("timeout")} if "timeout" in given else {}
            return Runner(checked, Hooks(**given), selection=Selection(**choice), **bound), checked
        except EngageLabMockError as error:
            raise self._refused(error) from None

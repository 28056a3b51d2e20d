"""Checking a receiver: the verb is EngageLab's, what it does is the checks' own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.service.core import Core, check_receivers

if TYPE_CHECKING:
    from engagelab_mock.checks.report import Report
    from engagelab_mock.lifecycle.message import Message


class Checking(Core):
    """Judge a receiver."""

    def check(
        self,
        receiver: Receiver | None = None,
        *,
        observe: Callable[[str], Any] | None = None,
        prepare: Callable[[Message], object] | None = None,
        stall: Callable[[float], AbstractContextManager[object]] | None = None,
        patience: float = 2.0,
        only: Sequence[str] = (),
        skip: Sequence[str] = (),
        severity: str = "info",
        suppress: Mapping[str, str] | None = None,
        timeout: float = 120.0,
    ) -> Report:
        """Put a receiver, the first unless given, through the checks, and report.

        `observe` returns the state of the receiver's app for a message's id: without it, what is about effects is
        inconclusive. `prepare` is called with each message before its callbacks, `stall` with seconds for a context in
        which what the handler calls downstream stalls; `patience` is how long an effect may follow its acknowledgement,
        in seconds. `only` and `skip` take ids and names, with `*`; `severity` is
        the least that is run; `suppress` holds reasons by id; `timeout` bounds the run, in seconds.

        The checks have a journal and data of their own, other in every run. Raises a `UsageError` for what cannot be
        used.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     report = engagelab.check(only=["A*", "sig-missing"])
        >>> report.assert_none("major")
        """
        __tracebackhide__ = True
        from engagelab_mock.checks.context import Hooks
        from engagelab_mock.checks.runner import Runner
        from engagelab_mock.checks.selection import Selection

        try:
            [checked] = check_receivers([self.receiver if receiver is None else receiver], where="check")
            selection = Selection(only=only, skip=skip, severity=severity, suppress=suppress)
            runner = Runner(checked, Hooks(observe, prepare, stall, patience), selection=selection, timeout=timeout)
        except EngageLabMockError as error:
            raise self._refused(error) from None
        return runner.run()

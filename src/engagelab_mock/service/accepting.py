"""What the REST API, rules and the inbox have in common: messages that were accepted, and their codes."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.service.account_events import AccountEvents

if TYPE_CHECKING:
    from engagelab_mock.service.inbox import Inbox
    from engagelab_mock.service.intake import Intake
    from engagelab_mock.service.messages import AcceptedMessages
    from engagelab_mock.service.options import ScenarioChoice
    from engagelab_mock.service.play import Play
    from engagelab_mock.service.rest.api import RestApi
    from engagelab_mock.service.rules import Rule, Rules
    from engagelab_mock.service.templates import Templates


class Accepting(AccountEvents):
    """Accept what the REST API is asked to send, and know what was sent to whom."""

    #: Made when it is first used.
    _intake: Intake | None = None

    @property
    def intake(self) -> Intake:
        """Return what keeps the messages that were accepted, and decides what becomes of them."""
        if self._intake is None:
            from engagelab_mock.service.intake import Intake  # whoever only sends does without

            with self.state:
                if self._intake is None:
                    self._intake = Intake(self)
        return self._intake

    @cached_property
    def api(self) -> RestApi:
        """Return the REST API, as a call: a request in, an answer out.

        >>> from engagelab_mock import ApiRequest, EngageLab
        >>> with EngageLab() as engagelab:
        ...     engagelab.api.handle(ApiRequest("GET", "/v1/template-configs")).status
        401
        """
        from engagelab_mock.service.rest.api import RestApi

        return RestApi(self)

    @property
    def rules(self) -> Rules:
        """Return the rules in force, oldest first."""
        return self.intake.rules

    @property
    def templates(self) -> Templates:
        """Return the templates that there are."""
        return self.intake.templates

    @property
    def accepted(self) -> AcceptedMessages:
        """Return the messages that were accepted, oldest first."""
        return self.intake.accepted

    def adopt_play(self, message_id: str, play: Play) -> None:
        """Have a message's play go on with what is entered of its code."""
        self.intake.adopt_play(message_id, play)

    def rule(
        self,
        to: str | None = None,
        template: str | None = None,
        *,
        call: str | None = None,
        scenario: ScenarioChoice | None = None,
        error: int | None = None,
        message: str = "",
        times: int | None = None,
    ) -> Rule:
        """Have what the app sends take a scenario, or its calls be answered an error, until the rule is cancelled.

        A rule applies to a recipient, to a template, to a call ("messages", "codes", "custom-messages",
        "verifications", "template-configs"), or, where one is left out, to all; the newest that fits wins, and `times`
        is how often it does. The sandbox's recipients go before any rule.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     blacklisted = engagelab.rule("+6591234567", error=5013)
        ...     flaky = engagelab.rule(call="verifications", error=1000, times=1)
        ...     undelivered = engagelab.rule(template="login", scenario="delivered_failed")
        ...     len(engagelab.rules)
        3
        """
        __tracebackhide__ = True
        try:
            with self.state:
                return self.rules.make(
                    to=to,
                    template=template,
                    call=call,
                    scenario=scenario,
                    error=error,
                    message=message,
                    times=times,
                )
        except EngageLabMockError as error_:
            raise self._refused(error_) from None

    def inbox(self, to: str | None = None) -> Inbox:
        """Return what a phone or a mailbox received, or all of them, oldest first.

        Settles before. `.code` and `.text` are the latest message's; `.wait()` waits for an app that sends from
        elsewhere. Codes of what `send` sent are there, too.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567", scenario="delivered")
        ...     message = engagelab.inbox("+6591234567")[-1]
        >>> message.channel, len(message.code), message.code in message.text
        ('sms', 6, True)
        """
        __tracebackhide__ = True
        return run_sync(self._inbox(SYNC, to))

    async def ainbox(self, to: str | None = None) -> Inbox:
        """Do what `inbox` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._inbox(ASYNC, to)

    async def _inbox(self, io: Io, to: str | None) -> Inbox:
        __tracebackhide__ = True
        try:
            inbox = self.inbox_as_it_is(to)
        except EngageLabMockError as error:
            raise self._refused(error) from None
        await self.settle_first(io)
        return inbox

    def inbox_as_it_is(self, to: str | None = None) -> Inbox:
        """Return an inbox with what has arrived so far, and have nothing happen."""
        from engagelab_mock.service.inbox import Inbox

        return Inbox(self, to)

    def audit_template(self, template_id: str, status: str, *, reason: str = "") -> list[Delivery]:
        """Set a template's status, "approved", "rejected" or "pending", and tell the receivers of it [X].

        >>> from engagelab_mock import ApiSettings, EngageLab
        >>> with EngageLab() as engagelab:
        ...     [delivery] = engagelab.audit_template("sandbox-otp-tpl", "rejected", reason="too short")
        >>> delivery.statuses
        ['template_audit_result']
        """
        __tracebackhide__ = True
        return run_sync(self._audit(SYNC, template_id, status, reason))

    async def aaudit_template(self, template_id: str, status: str, *, reason: str = "") -> list[Delivery]:
        """Do what `audit_template` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._audit(ASYNC, template_id, status, reason)

    async def _audit(self, io: Io, template_id: str, status: str, reason: str) -> list[Delivery]:
        __tracebackhide__ = True
        try:
            with self.state, self.store.transaction():
                self.templates.audit(template_id, status, reason)
        except EngageLabMockError as error:
            raise self._refused(error) from None
        fields = {"template_id": template_id, "status": status, "reason": reason}
        return await self._tell(io, self.account.notification, ("template_audit_result",), fields)

    def reset(self) -> None:
        """Forget messages, codes, rules, templates, the journal and what is still to be sent; clock and receivers stay.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567")
        ...     engagelab.reset()
        ...     len(engagelab.journal), len(engagelab.inbox())
        (0, 0)
        """
        with self.state, self.store.transaction():
            if self._deferred is not None:
                self._deferred.clear()
            self.sent.clear()
            if self._intake is not None:
                self._intake.clear()
            for timer in self.pending:
                timer.cancel()
            self._journal.clear()
            self.store.clear()

"""What was accepted: a message made of what was wanted, and what becomes of its code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engagelab_mock.clock import VirtualClock
from engagelab_mock.delivery.schedule import Planned, schedule
from engagelab_mock.generate import Generator
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.catalogue import scenario as find_scenario
from engagelab_mock.messages.message import Message
from engagelab_mock.messages.sandbox import sandbox_templates
from engagelab_mock.messages.scenario import Scenario, along, first_channel, timeline
from engagelab_mock.messages.template import CodeConfig, Rendered, Template
from engagelab_mock.protocol.events import StatusEvent
from engagelab_mock.protocol.recipient import is_email
from engagelab_mock.protocol.status import Status
from engagelab_mock.service.messages import Accepted, AcceptedMessages
from engagelab_mock.service.rest.exchange import ApiSettings
from engagelab_mock.service.rules import Rules
from engagelab_mock.service.templates import Templates

if TYPE_CHECKING:
    from engagelab_mock.service.core import Core
    from engagelab_mock.service.play import Play
    from engagelab_mock.service.rest.messages import Chosen, Wanted

Timed = Sequence[tuple[float, StatusEvent]]

#: How long the code of the sandbox's recipient is valid, in seconds [X].
_MAGIC_TTL = 300.0
_ARRIVED = frozenset({Status.DELIVERED, Status.READ})
_PLAIN = Template(template_id="", send_channel_strategy="sms", verify_code_config=CodeConfig())


class Intake:
    """Keep what was accepted, by whichever way, with the templates and rules that decide what becomes of it.

    Whoever calls it holds the engine's `state`, but for what only looks.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self.settings = core.api_settings or ApiSettings()
        ready = sandbox_templates(core.clock.time()) if self.settings.sandbox else ()
        self.templates = Templates(core.store, ready)
        self.rules = Rules(core.store)
        self.accepted = AcceptedMessages(core.store, core.keep)
        self._plays: dict[str, Play] = {}

    def accept(self, call: str, wanted: Wanted, chosen: Chosen) -> tuple[Accepted, Play]:
        """Make a message of what is wanted, and a play of what happens to it, which is held."""
        message = Message(
            id=self._new_id(),
            to=wanted.to,
            template_key=wanted.template_id,
            business_id=self._core.account.business_id,
            accepted=self._core.clock.time(),
            custom_args=wanted.custom_args,
        )
        scenario = self._course(wanted.to, chosen)
        channel = first_channel(scenario, chosen.channels)
        timed = timeline(message, scenario, channel, self._core.draw)
        template = chosen.template or _PLAIN
        code = self._code(wanted, chosen) if wanted.code is None else wanted.code
        accepted = Accepted(
            message=message,
            call=call,
            channel=channel,
            code=code,
            verifiable=call == "messages",
            expires=self._expiry(message, chosen),
        )
        if arrival := _arrival(timed):
            accepted.delivered, accepted.delivered_over = arrival
            _render(accepted, template.render(accepted.delivered_over, wanted.language, code, wanted.params))
        accepted.ending = _ending(timed)
        play = self._core.begin({}, message.id)
        play.plan(schedule(timed, batch=self._core.defaults.get("batch") or 1), held=True)
        if accepted.verifiable and accepted.expires is not None and timed and timed[-1][1].name in _ARRIVED:
            play.afterwards(_expired(accepted, timed), held=True)
        self.accepted.add(accepted)
        self.adopt_play(message.id, play)
        self._core.deferred.accept(play)
        return accepted, play

    def find(self, message_id: str) -> Accepted | None:
        """Return a message that was accepted, by whichever way."""
        self.take_in_sent()
        return self.accepted.find(message_id)

    def enter_code(self, accepted: Accepted, *, verified: bool) -> Play:
        """Have a code entered, right or wrong, and return the play that tells of it, held."""
        message = accepted.message
        play = self._plays.get(message.id)
        if play is None:
            play = self._core.begin({}, message.id)
            self.adopt_play(message.id, play)
        at = self._core.clock.time()
        if isinstance(self._core.clock, VirtualClock):
            # Nobody has let time pass yet for what comes before.
            at = max(at, play.until)
        status = Status.VERIFIED if verified else Status.VERIFIED_FAILED
        event = message.event(status, at=at, channel=accepted.delivered_over or accepted.channel)
        play.plan([Planned(at, (event,))], held=True)
        if verified:
            accepted.verified = True
            play.take_back_afterwards()
            self.accepted.keep(accepted)
        self._core.deferred.accept(play)
        return play

    def adopt_play(self, message_id: str, play: Play) -> None:
        """Keep the play of a message, for what is still to happen to it."""
        self._plays[message_id] = play
        while self._core.keep is not None and len(self._plays) > self._core.keep:
            self._plays.pop(next(iter(self._plays)))

    def take_in_sent(self, *, keep: bool = False) -> None:
        """Count what `send` sent among what was accepted, now that somebody asks for it."""
        if not self._core.sent:
            return
        with self._core.state:
            while self._core.sent:
                message, timed, play = self._core.sent.popleft()
                take_in = self.accepted.add if keep else self.accepted.adopt
                take_in(self._accepted_of(message, timed))
                self.adopt_play(message.id, play)

    def _accepted_of(self, message: Message, timed: Timed) -> Accepted:
        template = self.templates.find(message.template_key) or _PLAIN
        config = template.verify_code_config or CodeConfig()
        statuses = {event.name for _, event in timed}
        accepted = Accepted(
            message=message,
            call="send",
            channel=next((e.status.status_data.current_send_channel for _, e in timed if e.name != Status.PLAN), ""),
            code=config.draw(Generator.seeded(self._core.seed, "code", message.id)),
            verifiable=True,
            expires=None if self._core.code_ttl is None else message.accepted + self._core.code_ttl,
            verified=Status.VERIFIED in statuses,
            ending=_ending(timed),
        )
        if arrival := _arrival(timed):
            accepted.delivered, accepted.delivered_over = arrival
            _render(accepted, template.render(accepted.delivered_over, "default", accepted.code, {}))
        return accepted

    def _new_id(self) -> str:
        # Another process that had the same seed may have left messages in the store.
        while (drawn := self._core.draw.message_id()) in self.accepted:
            pass
        return drawn

    def _code(self, wanted: Wanted, chosen: Chosen) -> str:
        if chosen.magic is not None and chosen.magic.code:
            return chosen.magic.code
        config = None if chosen.template is None else chosen.template.verify_code_config
        return (config or CodeConfig()).draw(self._core.draw)

    def _expiry(self, message: Message, chosen: Chosen) -> float | None:
        if chosen.magic is not None and chosen.magic.code:
            return message.accepted + _MAGIC_TTL
        config = None if chosen.template is None else chosen.template.verify_code_config
        if config is not None:
            return message.accepted + 60 * config.verify_code_ttl
        return None if self._core.code_ttl is None else message.accepted + self._core.code_ttl

    def _course(self, to: str, chosen: Chosen) -> Scenario:
        """Return what happens to a message; of what we have ready, the channels are those of the template."""
        if chosen.magic is not None and chosen.magic.scenario is not None:
            scenario = chosen.magic.scenario
        else:
            usual = self._core.defaults.get("scenario")
            scenario = chosen.course or find_scenario("delivered" if usual is None else usual)
            if CATALOGUE.get(scenario.name) is not scenario:
                return scenario
        return along(scenario, chosen.channels) if chosen.template is not None or is_email(to) else scenario

    def clear(self) -> None:
        """Forget everything, and take off the clock what was to come of it."""
        for play in self._plays.values():
            play.take_back()
        self._plays.clear()
        self._core.sent.clear()
        self.accepted.clear()
        self.rules.clear()
        self.templates.clear()


def _arrival(timed: Timed) -> tuple[float, str] | None:
    """Return when, and over which channel, a message gets to its recipient."""
    for at, event in timed:
        if event.name in _ARRIVED:
            return at, event.status.status_data.current_send_channel
    return None


def _ending(timed: Timed) -> str:
    if not timed:
        return "lost"
    last = timed[-1][1]
    error = last.status.error_code
    return f"{last.name} ({error})" if error else last.name


def _render(accepted: Accepted, rendered: Rendered) -> None:
    accepted.text, accepted.subject, accepted.sender = rendered.text, rendered.subject, rendered.sender


def _expired(accepted: Accepted, timed: Timed) -> Planned:
    when = accepted.expires or 0.0
    channel = timed[-1][1].status.status_data.current_send_channel
    return Planned(when, (accepted.message.event(Status.VERIFIED_TIMEOUT, at=when, channel=channel),))

"""Shops that tempt the judge of a load: wrong ones that look right, and right ones that look wrong."""

from __future__ import annotations

import asyncio
from typing import Any

from engagelab_mock import StatusEvent
from tests.load.shop import Send, Shop


class Evicts(Shop):
    """Keep the states of the last messages only."""

    def effect(self, event: StatusEvent) -> None:
        super().effect(event)
        while len(self.states) > 10:
            del self.states[next(iter(self.states))]


class RefusesFirst(Shop):
    """Answer 500 to the first callbacks, in the middle of what is delivered before the load."""

    async def handle(self, event: StatusEvent, send: Send) -> None:
        if self.requests in {5, 6}:
            self.wrong.add(event.message_id)
            await self.answer(send, 500)
        else:
            await super().handle(event, send)


class RowTexts(Shop):
    """Show the status in a text that differs in each message, and lose some."""

    def effect(self, event: StatusEvent) -> None:
        if event.name != "verified" or not self.shows_bug(event.message_id):
            super().effect(event)

    def observe(self, message_id: str) -> Any:
        state = self.states.get(message_id)
        row = [*self.states].index(message_id) if state else 0
        return state and f"row {row}: {state['status']}"


class DropsHalf(Shop):
    """Forget `verified` of every second message, the first ones too."""

    every = 2

    def effect(self, event: StatusEvent) -> None:
        if event.name == "verified" and self.shows_bug(event.message_id):
            self.wrong.add(event.message_id)
        else:
            super().effect(event)


class DoublesLate(Shop):
    """Answer first; credit in half a second, and a duplicate again, later."""

    def apply(self, event: StatusEvent) -> None:
        new = self.is_new(event)
        if new or event.name == "verified":
            if not new:
                self.wrong.add(event.message_id)
            asyncio.get_running_loop().call_later(0.4 if new else 0.6, self.effect, event)


class CountsLate(Shop):
    """Answer first; apply the event and count the callback half a second later: that is right."""

    async def handle(self, event: StatusEvent, send: Send) -> None:
        await self.answer(send)
        asyncio.get_running_loop().call_later(0.5, self.count, event)

    def count(self, event: StatusEvent) -> None:
        self.apply(event)
        state = self.states[event.message_id]
        state["callbacks"] = state.get("callbacks", 0) + 1


class IsSlow(Shop):
    """Work only 2.5 s after the answer: that is right."""

    async def handle(self, event: StatusEvent, send: Send) -> None:
        await self.answer(send)
        asyncio.get_running_loop().call_later(2.5, self.apply, event)


class KeepsTransitions(Shop):
    """Keep a history of transitions, which an old event does not change, and rows with numbers: that is right."""

    def effect(self, event: StatusEvent) -> None:
        state = self.states.setdefault(event.message_id, {"status": "", "itime": 0, "history": [], "row": 0})
        state["row"] = state["row"] or f"row-{len(self.states)}"
        if self.is_later(event, state):
            state["history"].append({"status": event.name, "itime": event.itime})
            state["status"], state["itime"] = event.name, event.itime


class CountsChanges(Shop):
    """Number the versions of a state, of which an old event makes none: that is right, and looks as if it went back."""

    def effect(self, event: StatusEvent) -> None:
        super().effect(event)
        state = self.states[event.message_id]
        if state["status"] == event.name:
            state["version"] = state.get("version", 0) + 1


class KeepsVerified(Shop):
    """Keep nothing before `verified`, so that other messages have no state: that is right."""

    def effect(self, event: StatusEvent) -> None:
        if event.name == "verified":
            super().effect(event)


class CannotShow(Shop):
    """Fail to show a state, from the middle of the load on, or now and then."""

    def __init__(self, *, always: bool) -> None:
        super().__init__()
        self.always, self.looks = always, 0

    def observe(self, message_id: str) -> Any:
        self.looks += 1
        if self.requests > 100 and (self.always or self.looks % 20 == 0):
            raise RuntimeError("the database is gone")
        return super().observe(message_id)

"""The visible state misleads."""

from __future__ import annotations

import random
from typing import Any

from engagelab_mock import ProbeFailed, StateNotSettled, StatusEvent, idempotent, never_regresses
from tests.truth.blind.case import App, Cases, Reach, explore

blind = Cases()


@blind("explore", "the app works after its answer", StateNotSettled, "give wait_idle")
def _works_late(reach: Reach) -> None:
    """The work is done when the state is read for the third time, so that no test waits."""
    app, waiting = App(), list[StatusEvent]()
    looks = [0]

    class Late(App):
        def handle(self, event: StatusEvent) -> None:
            looks[0] = 0
            waiting.append(event)

    def observe(message_id: str) -> Any:
        looks[0] += 1
        while looks[0] > 2 and waiting:
            app.handle(waiting.pop(0))
        return app.observe(message_id)

    explore(reach(Late(), observe=observe))


@blind("explore", "the state changes on every read", StateNotSettled, "no callback was sent")
def _changes_on_read(reach: Reach) -> None:
    app, reads = App(), iter(range(100_000))
    explore(reach(app, observe=lambda message_id: {"read": next(reads), "row": app.observe(message_id)}))


@blind("explore", "no two messages ever have the same state", ProbeFailed, "entirely different values")
def _random_state(reach: Reach) -> None:
    app, draw = App(), random.Random(1)
    marks: dict[tuple[str, str], float] = {}

    def observe(message_id: str) -> Any:
        row = app.observe(message_id)
        return row and marks.setdefault((message_id, row["status"]), draw.random())

    explore(reach(app, observe=observe))


@blind("explore", "`reset` leaves rows", ProbeFailed, "reset")
def _reset_leaves_rows(reach: Reach) -> None:
    app = App()
    explore(reach(app, observe=app.observe, reset=lambda: None), invariants=[idempotent()], duplicates=0)


@blind("explore", "`reset` forgets the table of known events", ProbeFailed, "reset must empty every table")
def _reset_forgets(reach: Reach) -> None:
    class Once(App):
        def handle(self, event: StatusEvent) -> None:
            if (event.message_id, event.name) not in self.seen:
                self.seen.add((event.message_id, event.name))
                super().handle(event)

    app = Once()
    explore(reach(app, observe=app.observe, reset=app.reset), invariants=[never_regresses()])

"""There is nothing to judge."""

from __future__ import annotations

import time
from typing import Any

from engagelab_mock import (
    EngageLab,
    NothingObserved,
    ProbeFailed,
    UsageError,
    converges,
    exactly_once,
    idempotent,
    never_regresses,
    verify,
)
from tests.truth.blind.case import App, Cases, Reach, explore

blind = Cases()


class Verifies(App):
    """Refuse callbacks that are not signed, or were not signed within the last five minutes."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        header = environ.get("HTTP_X_CALLBACK_ID", "")
        if int(environ.get("CONTENT_LENGTH") or 0) and not verify(
            header, username="acme", secret="s3cret", now=time.time()
        ):
            start_response("401 Unauthorized", [("Content-Length", "0")])
            return [b""]
        return super().__call__(environ, start_response)


@blind("explore", "the receiver ticks none of the events", NothingObserved, "no callback was sent")
def _ticks_nothing(reach: Reach) -> None:
    explore(reach(App(), events=["uplink_message"]))


@blind("explore", "the scenario has no callbacks", NothingObserved, "no callback was sent")
def _no_callbacks(reach: Reach) -> None:
    explore(reach(App()), "lost")


@blind("explore", "the time was up at once", NothingObserved, "the time was up")
def _no_time(reach: Reach) -> None:
    explore(reach(App()), time_budget=0)


@blind("explore", "no state is one of those that the invariant knows", NothingObserved, "no state was in its order")
def _no_known_state(reach: Reach) -> None:
    app = App()
    receiver = reach(app, observe=lambda message_id: f"row {app.observe(message_id)}")
    explore(receiver, invariants=[never_regresses()])


@blind("replay", "no state is one of those that the invariant knows", NothingObserved, "no state was in its order")
def _replay_no_known_state(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=lambda message_id: f"row {app.observe(message_id)}")) as engagelab:
        engagelab.replay("eg1:verified,delivered", invariants=[never_regresses()])


@blind("play with invariants", "the same", NothingObserved, "no state was in its order")
def _play_no_known_state(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=lambda message_id: f"row {app.observe(message_id)}")) as engagelab:
        engagelab.play("eg1:verified,delivered", never_regresses())


@blind("explore", "no state has the part that is counted", NothingObserved, "no state had 'credts'")
def _no_such_count(reach: Reach) -> None:
    app = App()
    explore(reach(app, observe=app.observe), invariants=[exactly_once("credts")], duplicates=0)


@blind("explore", "no state has the part that is compared", NothingObserved, "no state had 'statsu'")
def _no_such_part(reach: Reach) -> None:
    app = App()
    explore(reach(app, observe=app.observe), invariants=[converges("statsu")], duplicates=0)


@blind("replay", "no state has the part that must not change twice", NothingObserved, "no state had 'statsu'")
def _replay_no_such_part(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=app.observe)) as engagelab:
        engagelab.replay("eg1:verified*2", invariants=[idempotent("statsu")])


@blind("replay", "the receiver ticks none of the events", NothingObserved, "no callback was sent")
def _replay_ticks_nothing(reach: Reach) -> None:
    with EngageLab(reach(App(), events=["uplink_message"])) as engagelab:
        engagelab.replay("eg1:verified")


@blind("play with invariants", "the receiver ticks none of the events", NothingObserved, "no callback was sent")
def _play_ticks_nothing(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=app.observe, events=["uplink_message"])) as engagelab:
        engagelab.play("eg1:verified", converges())


@blind("explore", "an invariant needs the state, and there is no `observe`", UsageError, "has no observe")
def _no_observe(reach: Reach) -> None:
    explore(reach(App()), invariants=[converges()])


@blind("check", "only checks of the state run, and there is no `observe`", NothingObserved, "nothing was judged")
def _check_without_observe(reach: Reach) -> None:
    with EngageLab(reach(App())) as engagelab:
        engagelab.check(only=["C06"]).assert_none("major")


@blind("check", "totals were asked for, and there is no `observe_account`", NothingObserved, "nothing was judged")
def _check_without_observe_account(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=app.observe)) as engagelab:
        engagelab.check(only=["C21"], patience=0.1).assert_none("major")


@blind("check", "`observe_account` returns the same for ever", NothingObserved, "nothing was judged")
def _check_account_never_changes(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=app.observe, observe_account=lambda: {"credits": 7})) as engagelab:
        engagelab.check(only=["C21"], patience=0.1).assert_none("major")


@blind("check", "only time was asked for, and the app's clock cannot be moved", NothingObserved, "nothing was judged")
def _check_without_time(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=app.status)) as engagelab:
        engagelab.check(only=["C22"], patience=0.1).assert_none("major")


@blind("check", "nothing shows that `set_time` moves the app's clock", NothingObserved, "nothing was judged")
def _check_another_clock(reach: Reach) -> None:
    app = App()
    with EngageLab(reach(app, observe=app.status, set_time=lambda now: None)) as engagelab:
        engagelab.check(only=["C22"], patience=0.1).assert_none("major")


@blind("check", "`set_time` does not move the clock by which the app verifies", ProbeFailed, "moved by an hour")
def _check_refused_by_another_clock(reach: Reach) -> None:
    app = Verifies()
    signed = {"username": "acme", "secret": "s3cret"}
    with EngageLab(reach(app, observe=app.status, set_time=lambda now: None, **signed)) as engagelab:
        engagelab.check(only=["C22"], patience=0.1)


@blind("check", "`skip` removes every check", UsageError, "no check is left")
def _check_nothing(reach: Reach) -> None:
    with EngageLab(reach(App())) as engagelab:
        engagelab.check(only=["A01"], skip=["A01"]).assert_none("major")

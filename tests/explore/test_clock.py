"""Explorations and checks use the clock that the engine was given: an app may read it, too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

from engagelab_mock import EngageLab, Receiver, SystemClock, VirtualClock, verify
from tests.explore.books import Books

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from engagelab_mock import Clock

START = 1_700_000_000


class OnTheClock(Books):
    """Refuse signatures and events that are old by the clock that the app is given."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.ages: list[float] = []

    def reached_by(self, **options: Any) -> Receiver:
        given: dict[str, Any] = {"username": "acme", "secret": "s3cret", "signature_clock": "virtual", **options}
        return Receiver.wsgi(self, observe=self.kept.get, **given)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        header, now = environ.get("HTTP_X_CALLBACK_ID", ""), self.clock.time()
        length = int(environ["CONTENT_LENGTH"])
        if length and not verify(header, username="acme", secret="s3cret", now=now):
            start_response("401 Unauthorized", [])
            return [b""]
        if not length:
            start_response("200 OK", [])
            return [b""]
        return super().__call__(environ, start_response)

    def apply(self, rows: list[Any]) -> None:
        self.ages += [self.clock.time() - row.itime for row in rows]
        super().apply(rows)


@pytest.mark.parametrize("reset", [True, False])
def test_explore_moves_the_clock_that_the_app_reads(reset: bool) -> None:
    clock = VirtualClock(START)
    app = OnTheClock(clock)
    with EngageLab(app.reached_by(), clock=clock) as engagelab:
        options: dict[str, Any] = {"reset": app.reset} if reset else {}
        found = engagelab.explore("verified", faults=["bad_gateway"], retry=[60, 600], merge=False, **options)
    assert found.ok
    assert clock.time() > START + 3600
    # Each schedule is about events that have just happened.
    assert max(app.ages) < 3600


def test_explore_signs_by_a_real_clock_and_does_not_wait_for_it() -> None:
    clock = SystemClock()
    app = OnTheClock(clock)
    with EngageLab(app.reached_by(), clock=clock) as engagelab:
        assert engagelab.explore("verified", faults=["bad_gateway"], retry=[600], reset=app.reset).ok


def test_an_app_on_the_wall_clock_never_sees_events_of_the_future() -> None:
    clock = VirtualClock(START)
    app = OnTheClock(SystemClock())
    with EngageLab(app.reached_by(signature_clock="wall"), clock=clock) as engagelab:
        engagelab.explore("verified", faults=["bad_gateway"], retry=[86_400], reset=app.reset)
    assert clock.time() > START + 86_400
    assert max(app.ages) - min(app.ages) < 60


def test_the_checks_sign_by_the_clock_that_the_app_reads() -> None:
    clock = VirtualClock(START)
    app = OnTheClock(clock)
    with EngageLab(app.reached_by(), clock=clock) as engagelab:
        report = engagelab.check(only=["A04", "B12", "B14", "C01"], patience=0.1)
    assert report.summary()["pass"] == 4

"""Over a socket, an app that works a moment after its answer can seem to work before it: it is judged all the same."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from engagelab_mock import Receiver
from engagelab_mock.checks.context import Context
from engagelab_mock.server.loopback import LoopbackServer
from tests.checks.receivers.correct import PATH, SETTINGS
from tests.checks.receivers.frameworks import on_flask
from tests.checks.serving import check, verdicts
from tests.truth.receivers.in_memory import AppendOnlyLog

pytestmark = pytest.mark.slow


class WorksAMomentLater(AppendOnlyLog):
    """Do the work of the first callback at once, and of all others a moment after the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = True

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        with self.lock:
            self.check_nonce(nonce, body)
            if self.first:
                self.first = False
                self.work(envelope)
                return
        threading.Timer(0.02, self.work_later, [envelope]).start()

    def work_later(self, envelope: dict[str, Any]) -> None:
        with self.lock:
            self.work(envelope)


class TakesAnyNonce(WorksAMomentLater):
    def check_nonce(self, nonce: str, body: bytes) -> None:
        pass


@pytest.mark.parametrize(("kind", "verdict"), [(WorksAMomentLater, "pass"), (TakesAnyNonce, "fail")])
def test_an_effect_that_comes_a_moment_after_the_answer_is_seen(kind: type[WorksAMomentLater], verdict: str) -> None:
    app = kind()
    with LoopbackServer(on_flask(app)) as server:
        receiver = Receiver.http(server.url + PATH, observe=app.observe, **SETTINGS)
        context = Context(receiver, patience=0.3)
        assert context.profile.lag == 0.0, "it seems to work before its answer"
        context.receiver.close()
        app.first = True
        assert verdicts(check(receiver, only=["B17"], patience=0.3)) == {"B17": verdict}

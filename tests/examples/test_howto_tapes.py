"""Recording what a receiver got, and sending it again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.receivers.gallery.flask_stack import FlaskShop

from engagelab_mock import EngageLab, InvalidTape, Receiver, Recorder, never_regresses
from engagelab_mock.server.loopback import LoopbackServer


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record a day with the command itself, in front of an app on a real socket."""
    path = tmp_path_factory.mktemp("tapes") / "day.jsonl"
    with LoopbackServer(Recorder()) as app:
        arguments = ["record", "--forward", f"{app.url}/engagelab", "--out", str(path), "--format", "json"]
        ours = signal.signal(signal.SIGINT, signal.default_int_handler)
        with subprocess.Popen(
            [sys.executable, "-m", "engagelab_mock", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as program:
            signal.signal(signal.SIGINT, ours)
            assert program.stdout is not None
            url = json.loads(program.stdout.readline())["url"]
            with EngageLab(Receiver.http(url, username="acme", secret="s3cret")) as engagelab:
                engagelab.send("+6591234567", custom_args={"customer": "Ann Lee"})
                engagelab.send("ann@acme.example", scenario="fallback")
            program.send_signal(signal.SIGINT)
            program.communicate(timeout=20)
    return path


@pytest.fixture
def shop() -> Iterator[FlaskShop]:
    made = FlaskShop()
    yield made
    made.close()


@pytest.fixture
def engagelab_receiver(shop: FlaskShop) -> Receiver:
    return shop.receiver


# [replay]
def test_yesterday_again(engagelab: EngageLab, tape: Path) -> None:
    deliveries = engagelab.tape(tape).replay()
    assert all(delivery.acknowledged for delivery in deliveries)


# [look]
def test_what_is_on_it(engagelab: EngageLab, tape: Path) -> None:
    taped = engagelab.tape(tape)
    assert taped.statuses[:4] == ["plan", "sent", "delivered", "verified"]
    assert taped.callbacks[0].answer is not None
    assert taped.callbacks[0].answer.status == 200
    assert "+6591234567" not in tape.read_text()


# [schedule]
def test_yesterday_in_every_small_variation(engagelab: EngageLab, shop: FlaskShop, tape: Path) -> None:
    schedule = engagelab.tape(tape).schedule
    engagelab.play(schedule, [never_regresses("status")])
    engagelab.explore(*schedule.lifecycles, invariants=[never_regresses("status")], reset=shop.reset, limit=50)


# [damaged]
def test_a_tape_that_was_broken_off(engagelab: EngageLab, tape: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(tape.read_bytes()[:-20])

    with pytest.raises(InvalidTape, match="line 11: the line is incomplete"):
        engagelab.tape(torn)
    taped = engagelab.tape(torn, strict=False)
    assert [problem.line for problem in taped.problems] == [11]
    assert len(taped.replay()) == 9


# [end]

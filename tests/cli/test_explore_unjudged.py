"""`explore` exits with 2 or 3 if nothing can be judged, and says what to do."""

from __future__ import annotations

import json
from typing import Any

import flask
import pytest

from engagelab_mock import EngageLab, Receiver
from engagelab_mock.cli import main
from engagelab_mock.cli.explore import exit_code_of
from tests.cli.conftest import Command, Explore
from tests.cli.exploring import Forgets, KeepsData, OnlyPrepared, Shop, served
from tests.receivers.racing import statuses

pytestmark = pytest.mark.slow


def test_without_observe_only_answers_are_judged(explore: Explore) -> None:
    with served(Shop()) as base:
        result = explore(base, "--scenario", "plan-sent", look=False, form="text")
    assert result.code == 0
    assert "judged by the answers alone" in result.out
    assert "--observe would judge the state of the app" in result.out


def test_the_time_can_be_up(explore: Explore) -> None:
    with served(Shop()) as base:
        result = explore(base, "--no-merge", "--time-budget", "0.2", form="text")
    assert result.code == 0
    assert "· Out of time after " in result.out
    assert "✓" not in result.out


def test_no_time_at_all_is_no_success(explore: Explore) -> None:
    with served(Shop()) as base:
        result = explore(base, "--no-merge", "--time-budget", "0.000001")
    assert result.code == 2
    assert "no callback was sent, so nothing was judged: the time was up" in result.err


@pytest.mark.parametrize(
    ("shop", "options", "kind", "message", "hint"),
    [
        (OnlyPrepared, (), "ProbeFailed", "answered 404", "give --prepare, if the app ignores messages"),
        (Forgets, (), "NothingObserved", "--observe: the receiver showed no effect", "give --prepare, if"),
        (KeepsData, (), "ProbeFailed", "--reset: ", "--reset must empty every table"),
        (
            Shop,
            ("--prepare", "BASE/broken"),
            "ProbeFailed",
            "--prepare: BASE/broken answered 500",
            "it must answer 200",
        ),
        (Shop, ("--reset", "BASE/nowhere"), "ProbeFailed", "--reset: BASE/nowhere answered 404", "the right address"),
        (Shop, ("--reset", "http://127.0.0.1:1/"), "ProbeFailed", "--reset: http://127.0.0.1:1/: connection", "does"),
        (Shop, ("--observe", "BASE/nowhere/{message_id}"), "ProbeFailed", "answered 404", "is this the address"),
        (Shop, ("--effect", "credts=verified"), "NothingObserved", "no state had 'credts'", "did you mean 'credits'?"),
        (Shop, ("--replay", "eg1:sent|sent@a2b"), "UsageError", "--replay: the order 'a2b' cannot", "leave the order"),
    ],
)
def test_what_cannot_be_judged_exits_2(
    shop: type[Shop], options: tuple[str, ...], kind: str, message: str, hint: str, explore: Explore
) -> None:
    with served(shop()) as base:
        result = explore(base, *[each.replace("BASE", base) for each in options])
    error = result.objects[-1]
    assert (result.code, error["type"], error["error"]) == (2, "error", kind)
    assert message.replace("BASE", base) in error["message"]
    assert hint in error["hint"]


def test_a_receiver_that_works_after_its_answer(explore: Explore) -> None:
    class Later(Shop):
        """Work once the state was looked at: each look without waiting comes too early."""

        def __init__(self) -> None:
            super().__init__()
            self.left: list[tuple[str, str]] = []

        def engagelab(self) -> str:
            self.left += statuses(flask.request.get_json(force=True, silent=True) or {"rows": []})
            return ""

        def state(self, message_id: str) -> Any:
            seen = json.dumps(self.orders.get(message_id))
            while self.left:
                self.apply(*self.left.pop(0))
            return seen

        def empty(self) -> None:
            super().empty()
            self.left.clear()

    with served(Later()) as base:
        assert explore(base, "--scenario", "plan-sent").code in {1, 2}
        assert explore(base, "--scenario", "plan-sent", "--wait-idle", "0.05").code == 0


def test_a_receiver_that_is_not_there_is_unreachable(closed_url: str, command: Command) -> None:
    result = command("explore", closed_url, "--format", "json")
    assert (result.code, result.objects[-1]["error"]) == (3, "Unreachable")
    assert "give --wait 10" in result.objects[-1]["hint"]


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (("--invariant", "never_regresses"), "--invariant: never_regresses() judges the", "--observe 'http://"),
        (("--merge",), "--merge: merge compares the states", "--observe 'http://"),
        (("--effect", "credits=verified"), "this receiver has effects, but no --observe", "--observe 'http://"),
        (("--concurrent", "2"), "judged by the app's state, and this receiver has no --observe", "--observe 'http://"),
        (("--concurrent", "4"), "--concurrent: concurrent is an integer from 2 to 3, not 4", ""),
        (("--duplicates", "-1"), "duplicates is an integer from 0, not -1", ""),
        (("--replay", "eg0:plan"), "--replay, at character 1: 'eg0:plan' does not", "this version of engagelab-mock"),
        (("--replay", "eg1:plan,delivred"), "unknown event 'delivred'", "did you mean 'delivered'?"),
        (("--faults", "acklos"), "unknown fault 'acklos'", "did you mean 'ackloss'?"),
    ],
)
def test_bad_input_that_needs_no_state(options: tuple[str, ...], message: str, hint: str, explore: Explore) -> None:
    with served(Shop()) as base:
        result = explore(base, *options, look=False)
    assert result.code == 2
    assert message in result.objects[-1]["message"]
    assert hint in result.objects[-1]["hint"]


def test_a_receiver_that_goes_away_while_it_is_explored_is_unreachable(closed_url: str) -> None:
    with EngageLab(Receiver.http(closed_url)) as engagelab:
        assert exit_code_of(engagelab.explore("plan-sent", check=False)) == 3


def test_the_address_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore"]) == 2
    assert "the address of the receiver to explore is missing" in capsys.readouterr().err

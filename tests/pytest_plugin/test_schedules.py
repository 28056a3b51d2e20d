"""Schedules in tests: named after their tokens, one of them chosen by its token, the same under xdist."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.pytest_plugin.conftest import LAST_WINS, QUICK, STRICT, Run

EXPLORING = """
    def test_exploring(engagelab):
        engagelab.explore("delivered", invariants=[converges()])
"""
LISTING = """
    @pytest.mark.parametrize("schedule", schedules("delivered"))
    def test_listing(engagelab, schedule):
        assert engagelab.play(schedule).final == "delivered"
"""


def failed(result: pytest.RunResult) -> list[str]:
    return re.findall(r"^FAILED test_inner.py::(\S+)", result.stdout.str(), re.MULTILINE)


def test_a_failure_shows_its_token(run: Run) -> None:
    result = run(EXPLORING, given=LAST_WINS)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">       engagelab.explore(*",
            "E       engagelab_mock.errors.ScheduleFailed: converges: after `sent`, expected 'delivered' *",
            "E       2  sent       200   'delivered'  'sent'       <-- here",
            "E       found by schedule 2 of 42, eg1:delivered:plan,delivered,sent, and reduced",
            "E       replay: eg1:delivered,sent",
            "E         pytest --engagelab-replay eg1:delivered,sent",
            "*- EngageLab deliveries -*",
            "2  sent *",
            "schedule: eg1:delivered,sent (this one again: --engagelab-replay=eg1:delivered,sent)",
        ]
    )


def test_tests_are_named_after_their_schedules_and_say_which_failed(run: Run) -> None:
    result = run(LISTING, given=LAST_WINS)
    result.assert_outcomes(passed=2, failed=4)
    assert failed(result)[0] == "test_listing[eg1:delivered:plan,delivered,sent]"
    result.stdout.fnmatch_lines(["schedule: eg1:delivered:plan,delivered,sent (this one again: *"])


@pytest.mark.parametrize(
    ("token", "outcomes"),
    [
        ("eg1:delivered:plan,delivered,sent", {"failed": 2, "deselected": 5}),
        ("eg1:delivered:plan~ackloss,sent,delivered", {"failed": 1, "deselected": 6}),
        ("eg1:delivered:plan,sent,delivered", {"passed": 2, "deselected": 5}),
    ],
)
def test_a_token_is_all_that_is_played(run: Run, token: str, outcomes: dict[str, int]) -> None:
    run(EXPLORING + LISTING, "--engagelab-replay", token, given=LAST_WINS).assert_outcomes(**outcomes)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("eg1:delivered:plan,delivred", "--engagelab-replay: token, at character 20: unknown event 'delivred'"),
        ("eg1:plan!ackloss", "--engagelab-replay: no test has eg1:plan!ackloss as a parameter"),
    ],
)
def test_an_invalid_token_ends_the_run(run: Run, token: str, said: str) -> None:
    result = run(LISTING, "--engagelab-replay", token, given=LAST_WINS)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


@pytest.mark.slow
def test_an_invalid_token_ends_the_run_of_workers(run: Run, pytester: pytest.Pytester) -> None:
    run(LISTING, "--collect-only", given=LAST_WINS)
    result = pytester.runpytest_subprocess(*STRICT, *QUICK, "-n2", "--engagelab-replay", "eg1:plam")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "did you mean 'plan'?" in result.stderr.str()
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


@pytest.mark.slow
def test_workers_find_the_same(run: Run, pytester: pytest.Pytester) -> None:
    alone = run(EXPLORING + LISTING, given=LAST_WINS)
    workers = pytester.runpytest_subprocess(*STRICT, *QUICK, "-n2")
    for result in (alone, workers):
        result.assert_outcomes(passed=2, failed=5)
    assert sorted(failed(alone)) == sorted(failed(workers))
    shown = [sorted(set(re.findall(r"replay: (\S+)", result.stdout.str()))) for result in (alone, workers)]
    assert shown == [["eg1:delivered,sent"]] * 2


#: Plays the token of the command line a hundred times, and prints how often it failed and how.
AGAIN = """
import sys
from engagelab_mock import EngageLab, Receiver, ScheduleFailed, decode
failures = []
for time in range(100):
    kept = {}
    def app(environ, start_response):
        for row in decode(environ["wsgi.input"].read()).rows:
            kept[row.message_id] = row.name
        start_response("200 OK", [])
        return [b""]
    with EngageLab(Receiver.wsgi(app, observe=kept.get), seed=time) as engagelab:
        try:
            engagelab.replay(sys.argv[1])
        except ScheduleFailed as failed:
            failures.append(str(failed))
print(len(failures), len(set(failures)), failures[0].splitlines()[0])
"""


def test_a_token_fails_100_times_of_100_in_a_new_process(run: Run) -> None:
    [token] = set(re.findall(r"replay: (\S+)", run(EXPLORING, given=LAST_WINS).stdout.str()))
    done = subprocess.run([sys.executable, "-c", AGAIN, token], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == (
        "100 1 converges: after `sent`, expected 'delivered' (the result of in-order delivery), got 'sent'\n"
    )


def test_progress_is_not_shown_without_a_terminal(run: Run) -> None:
    given = LAST_WINS.replace("kept[row.message_id] = row.name", "kept[row.message_id] = 'fine'")
    result = run(EXPLORING, "-v", given=given)
    result.assert_outcomes(passed=1)
    assert "schedules" not in result.stdout.str() + result.stderr.str()

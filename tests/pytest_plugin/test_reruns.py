"""A test that a plugin runs again starts as if it had never run, and shows only its last run."""

from __future__ import annotations

import re

import pytest

from tests.pytest_plugin.conftest import QUICK, STRICT, Run

#: Runs each test twice within its protocol, as plugins that run a failed test again do it.
TWICE = """
    from _pytest.runner import runtestprotocol

    def pytest_runtest_protocol(item, nextitem):
        for _ in range(2):
            item._initrequest()
            for report in runtestprotocol(item, nextitem=nextitem, log=False):
                item.ihook.pytest_runtest_logreport(report=report)
        return True
"""
TRIES = """
    tries = []

"""


@pytest.fixture
def twice(run: Run, pytester: pytest.Pytester) -> Run:
    pytester.makeconftest(TWICE)
    return run


def sections(result: pytest.RunResult) -> list[str]:
    """Return the text of each section "EngageLab deliveries"."""
    return re.findall(r"^-+ EngageLab deliveries -+\n(.*?)(?=^[-=_]{5})", result.stdout.str(), re.MULTILINE | re.DOTALL)


def test_everything_starts_afresh(twice: Run) -> None:
    text = """
        def test_it(engagelab):
            assert (len(engagelab.journal), len(engagelab.accepted), len(engagelab.inbox())) == (0, 0, 0)
            assert (engagelab.pending, len(engagelab.rules)) == ([], 0)
            engagelab.rule("+6591234567", error=5013)
            played = engagelab.play("eg1:plan")
            run = engagelab.send("+6591234567", scenario="delivered")
            assert engagelab.journal.statuses == ["plan", "plan", "sent", "delivered"]
            # The same seed makes the same data again.
            tries.append((played.messages[0].id, run.message_id, engagelab.inbox().code))
            assert len(set(tries)) == 1
    """
    twice(text, given=TRIES).assert_outcomes(passed=2)


def test_the_report_of_each_try_has_its_own_deliveries(twice: Run) -> None:
    text = """
        def test_it(engagelab):
            tries.append(engagelab)
            if len(tries) == 1:
                engagelab.play("eg1:plan")
                engagelab.send("+6591234567", scenario="delivered")
            else:
                engagelab.send("+6591234567", scenario=["plan", "sent_failed"])
            assert False
    """
    result = twice(text, given=TRIES)
    result.assert_outcomes(failed=2)
    first, second = sections(result)
    assert re.findall(r"^\d+ +(\w+)", first, re.MULTILINE) == ["plan", "plan", "sent", "delivered"]
    assert re.findall(r"^\d+ +(\w+)", second, re.MULTILINE) == ["plan", "sent_failed"]
    assert "schedule: eg1:plan " in first
    assert "schedule: " not in second


def test_a_try_that_fails_before_it_has_the_fixture_shows_nothing_of_the_one_before(twice: Run) -> None:
    text = """
        import pytest

        @pytest.fixture
        def broken():
            tries.append(1)
            if len(tries) == 2:
                raise RuntimeError("no database")

        def test_it(broken, engagelab):
            engagelab.send("+6591234567", scenario="delivered")
            assert False
    """
    result = twice(text, given=TRIES)
    result.assert_outcomes(failed=1, errors=1)
    assert len(sections(result)) == 1


def test_a_try_is_not_blamed_for_the_leftovers_of_the_one_before(twice: Run) -> None:
    text = """
        def test_it(request):
            tries.append(1)
            if len(tries) == 1:
                engagelab = request.getfixturevalue("engagelab")
                engagelab.receiver.recorder.answer = 500
                engagelab.begin_send("+6591234567")
                assert False
    """
    twice(text, given=TRIES).assert_outcomes(failed=1, passed=1)


@pytest.mark.parametrize("flaky", ["--reruns=1", "-p no:randomly"], ids=["option", "mark"])
def test_pytest_rerunfailures_starts_afresh(run: Run, pytester: pytest.Pytester, flaky: str) -> None:
    mark = "" if flaky.startswith("--") else "@pytest.mark.flaky(reruns=1)"
    text = f"""
        import pytest

        {mark}
        def test_it(engagelab):
            tries.append(1)
            engagelab.send("+6591234567", scenario=["plan"] if len(tries) == 1 else "delivered")
            assert (len(engagelab.journal), len(engagelab.accepted)) == (3, 1)

        {mark}
        def test_failing(engagelab):
            tries.append(1)
            engagelab.send("+6591234567", scenario=["plan", "sent_failed"])
            assert False
    """
    run(text, "--collect-only", given=TRIES)
    result = pytester.runpytest_inprocess(*STRICT, *QUICK, "-rR", *flaky.split())
    result.assert_outcomes(passed=1, failed=1)
    assert result.parseoutcomes()["rerun"] == 2
    assert [re.findall(r"^\d+ +(\w+)", section, re.MULTILINE) for section in sections(result)] == [
        ["plan", "sent_failed"]
    ]


@pytest.mark.slow
def test_a_plugin_may_run_tests_outside_of_the_protocol_hook(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtestloop(session):
            for item in session.items:
                runtestprotocol(item, log=True)
            return True
        """
    )
    run("def test_passes(): pass\ndef test_fails(): assert False\ndef test_it(engagelab): pass", "--collect-only")
    result = pytester.runpytest_subprocess(*STRICT, *QUICK)
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["the engagelab fixtures need a test that runs in the pytest_runtest_protocol hook"])

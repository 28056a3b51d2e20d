"""The output of a failing `==` of this package's types in pytest; that of other types is unchanged."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

from tests.pytest_plugin.conftest import Run

SEQUENCE = """
    def test_sequence(engagelab):
        run = engagelab.send("+6591234567", scenario="delivered_failed")
        assert run.statuses == ["plan", "sent", "delivered", "verified"]
"""


@pytest.mark.parametrize("level", ["-q", "-v", "-vv", "-vvv"])
def test_the_first_divergence_of_two_sequences_is_shown(run: Run, level: str) -> None:
    result = run(SEQUENCE, level)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*assert plan → sent → delivered_failed == plan → sent → delivered → verified",
            "E*first difference at index 2: delivered_failed, not delivered",
            "E*  plan",
            "E*  sent",
            "E*- delivered",
            "E*- verified",
            "E*+ delivered_failed",
        ]
    )


def test_the_differing_fields_of_two_events_are_shown(run: Run) -> None:
    result = run(
        """
        def test_events(engagelab):
            first, second = engagelab.send("+6591234567", scenario=["plan", "sent"]).events
            assert first == second
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*assert plan == sent, two events of kind status",
            "E*status.message_status: 'plan' != 'sent'",
            "E*status.status_data.current_send_channel: '' != 'sms'",
        ]
    )
    result.stdout.no_fnmatch_line("E*itime: * != *message_id*")


def test_other_comparisons_keep_pytests_explanation(run: Run) -> None:
    tests = """
        def test_list(engagelab):
            assert ["a", "b"] == ["a", "c"]

        def test_inequality(engagelab):
            statuses = engagelab.send("+6591234567", scenario=["plan"]).statuses
            assert statuses != ["plan"]
    """
    result, without = run(tests), run(tests.replace("engagelab", "pytestconfig").split("def test_ineq")[0])
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["E*At index 1 diff: 'b' != 'c'*", "E*assert ?'plan'? != ?'plan'?"])
    ours = [line for line in result.outlines if line.startswith("E ")][:4]
    assert ours == [line for line in without.outlines if line.startswith("E ")][:4]


def test_another_plugins_explanation_is_heard(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        class Stone:
            pass

        def pytest_assertrepr_compare(op, left, right):
            if isinstance(left, Stone):
                return ["two stones", "one is heavier"]
            if left == ["plan"]:
                return ["the project's own words"]
        """
    )
    result = run(
        """
        from conftest import Stone

        def test_stones(engagelab):
            assert Stone() == Stone()

        def test_statuses(engagelab):
            assert engagelab.send("+6591234567", scenario=["plan"]).statuses == ["sent"]
        """
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["E*two stones", "E*one is heavier", "E*the project's own words"])


@pytest.mark.slow
def test_who_does_not_use_the_fixture_does_not_load_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        dedent(
            """
            import sys

            def test_different():
                assert ["plan"] == ["sent"]

            def test_nothing_was_loaded():
                loaded = [name for name in sys.modules if name.startswith("engagelab_mock")]
                assert loaded == ["engagelab_mock", "engagelab_mock.pytest_plugin"]
            """
        )
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:faker", "-p", "no:hypothesispytest", "-p", "no:cacheprovider"]
    ran = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in ran.stdout
    assert "At index 0 diff: 'plan' != 'sent'" in ran.stdout

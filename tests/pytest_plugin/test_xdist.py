"""Under pytest-xdist: the same data, the same reports, and a misspelt marker that ends the run."""

from __future__ import annotations

import pytest

from tests.pytest_plugin.conftest import QUICK, STRICT, Run
from tests.pytest_plugin.test_seeds import DRAWING, parse

FAILING = """
    @pytest.mark.xdist_group("one")
    def test_d(draw):
        assert False
"""


@pytest.mark.slow
def test_the_workers_draw_the_same_data_and_send_the_same_report(run: Run, pytester: pytest.Pytester) -> None:
    alone = run(FAILING, "-rA", given=DRAWING)
    workers = pytester.runpytest_subprocess(*STRICT, *QUICK, "-rA", "-n2", "--dist=loadgroup")
    for result in (alone, workers):
        result.assert_outcomes(passed=4, failed=1)
        result.stdout.fnmatch_lines(["*- EngageLab deliveries -*", "1  plan*", "seed: 0 (the same data again: *"])
        assert result.stdout.str().count("EngageLab deliveries") == 1
    assert len(parse(alone.stdout.str())) == 5
    assert parse(workers.stdout.str()) == parse(alone.stdout.str())


def test_a_misspelt_marker_ends_the_run_with_its_message(pytester: pytest.Pytester) -> None:
    text = """
        import pytest

        @pytest.mark.parametrize("number", range(5))
        def test_before(number):
            raise RuntimeError("this must not run")

        @pytest.mark.engagelab(scenario="delivred")
        def test_it(engagelab):
            pass
    """
    pytester.makepyfile(test_inner=text)
    result = pytester.runpytest_subprocess(*STRICT, *QUICK, "-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes()
    result.stderr.fnmatch_lines(
        [
            "ERROR: test_inner.py::test_it: engagelab marker: unknown scenario 'delivred'",
            "  hint: did you mean 'delivered'[?] Known: *",
        ]
    )
    assert result.stderr.str().count("delivred") == 1
    for crash in ("INTERNALERROR", "Traceback", "this must not run"):
        assert crash not in result.stdout.str() + result.stderr.str()

"""`--engagelab-check`: a test for each check, in every place that has its own receiver."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from engagelab_mock import CHECKS
from tests.pytest_plugin.conftest import QUICK, STRICT, Run

RECEIVER = """
    import pytest
    from engagelab_otp import WebhookVerifier
    from flask import Flask
    from engagelab_mock import Receiver

    @pytest.fixture
    def engagelab_receiver():
        events = []
        app = Flask("receiver")
        view = WebhookVerifier("acme", "s3cret").flask_view(events.extend)
        app.add_url_rule("/engagelab", "engagelab", view, methods=["POST"])

        def observe(message_id):
            return [event.status for event in events if getattr(event, "message_id", None) == message_id]

        return Receiver.wsgi(app, "/engagelab", username="acme", secret="s3cret", observe=observe)
"""
ONE = """
    def test_it(engagelab):
        engagelab.send("+6591234567")
"""
#: What the SDK's own view fails among these.
SOME = "A01 or A03 or B04 or B07 or B09"


def test_there_is_a_test_for_each_check_of_the_fixture_s_receiver(run: Run) -> None:
    result = run(ONE, "--engagelab-check", "-k", SOME, given=RECEIVER)
    result.assert_outcomes(passed=2, failed=2, skipped=1, deselected=len(CHECKS) + 1 - 5)
    result.stdout.fnmatch_lines(
        [
            "A01 ping-empty (blocker): the empty, unsigned ping: answered 401 UNAUTHORIZED",
            "*FAILED test_inner.py::engagelab-check::test_receiver[[]B04-sig-nonascii-major[]]*",
        ]
    )
    assert "engagelab_mock/" not in re.sub(r"SKIPPED.*", "", result.stdout.str().partition("FAILURES")[2])


def test_without_the_option_there_are_no_checks(run: Run) -> None:
    run(ONE, given=RECEIVER).assert_outcomes(passed=1)


def test_the_ini_key_asks_for_them_as_well(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nengagelab_check = true\n")
    run(ONE, "-k", "A03", given=RECEIVER).assert_outcomes(passed=1, deselected=len(CHECKS))


def test_a_conftest_s_receiver_is_found_without_any_other_test(pytester: pytest.Pytester) -> None:
    pytester.mkdir("tests").joinpath("conftest.py").write_text(re.sub("^    ", "", RECEIVER, flags=re.MULTILINE))
    result = pytester.runpytest_inprocess(*STRICT, *QUICK, "--engagelab-check", "-k", SOME, "tests")
    result.assert_outcomes(passed=2, failed=2, skipped=1, deselected=len(CHECKS) - 5)


def test_the_bundled_receiver_is_checked_if_there_is_no_other(run: Run) -> None:
    result = run(ONE, "--engagelab-check", "-k", SOME)
    assert result.parseoutcomes().get("failed", 0) == 0


def test_each_different_receiver_gets_its_own_tests(pytester: pytest.Pytester) -> None:
    text = re.sub("^    ", "", RECEIVER + ONE, flags=re.MULTILINE)
    pytester.makepyfile(test_one=text, test_two=text.replace('"acme"', '"other"'))
    result = pytester.runpytest_inprocess(*STRICT, *QUICK, "--engagelab-check", "-k", "A03")
    result.assert_outcomes(passed=2, deselected=2 * len(CHECKS))


def test_a_suppressed_check_is_expected_to_fail(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nengagelab_check_suppress =\n    A01: the address was saved by hand\n")
    options = """
    @pytest.fixture
    def engagelab_check_options():
        return {"suppress": {"sig-nonascii": "a proxy drops such headers"}}
    """
    result = run(options + ONE, "--engagelab-check", "-rx", "-k", SOME, given=RECEIVER)
    result.assert_outcomes(passed=2, xfailed=2, skipped=1, deselected=len(CHECKS) + 1 - 5)
    result.stdout.fnmatch_lines(["XFAIL*B04*a proxy drops such headers*"])


ROOT = Path(__file__).parents[2]
#: The options that the documentation says to type.
DOCUMENTED = re.findall(
    r"^python -m pytest test_check\.py (.+)$", (ROOT / "docs/howto/check.md").read_text("utf-8"), re.MULTILINE
)
BLOCKERS = [check.id for check in CHECKS.values() if check.severity == "blocker"]


@pytest.mark.parametrize("line", DOCUMENTED)
def test_the_documented_line_selects_the_described_checks(run: Run, line: str) -> None:
    arguments = shlex.split(line)
    result = run(ONE, *arguments, "--collect-only", "-q")
    ids = re.findall(r"engagelab-check::test_receiver\[(\w+)-", result.stdout.str())
    assert ids == (BLOCKERS if "-k" in arguments else list(CHECKS))


def test_the_documented_line_runs_the_blockers(run: Run) -> None:
    [line] = [line for line in DOCUMENTED if "blocker" in line]
    arguments = shlex.split(line)
    result = run(ONE, *arguments)
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] + outcomes["skipped"] == len(BLOCKERS)
    assert outcomes["deselected"] == len(CHECKS) + 1 - len(BLOCKERS)


@pytest.mark.parametrize(
    ("arguments", "selected"),
    [
        (["-k", "engagelab-check"], len(CHECKS)),
        (["-k", "not engagelab-check"], 1),
        (["-k", "test_it or A03"], 2),
        (["-k", "nothing-like-it"], 0),
        (["-m", "nothing"], 0),
        (["--deselect", "test_inner.py::engagelab-check"], 1),
        (["--deselect", "test_inner.py::engagelab-check::test_receiver[A01-ping-empty-blocker]"], len(CHECKS)),
        ([], len(CHECKS) + 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_numbers_of_the_summary_add_up(run: Run, arguments: list[str], selected: int) -> None:
    pytest_ini = ["-o", "markers=nothing"]
    result = run(ONE, "--engagelab-check", *arguments, *pytest_ini, "--collect-only", given=RECEIVER)
    output = result.stdout.str()
    [collected] = re.findall(r"^collected (\d+) items(.*)$", output, re.MULTILINE)
    left_out = len(CHECKS) + 1 - selected
    assert collected == (str(len(CHECKS) + 1), f" / {left_out} deselected / {selected} selected" if left_out else "")
    assert not re.search(r"-\d+ (de)?selected|\(-\d+", output)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"obsreve": 1}, "did you mean 'observe'?"),
        ({"observe": 1}, "observe must be callable, 1 is not"),
        ({"suppress": {"A01": ""}}, "A01 is suppressed without a reason"),
    ],
    ids=["name", "hook", "reason"],
)
def test_options_that_cannot_be_used_are_told(given: object, told: str, run: Run) -> None:
    options = f"""
    import pytest

    @pytest.fixture
    def engagelab_check_options():
        return {given!r}
    """
    result = run(options + ONE, "--engagelab-check", "-k", "A01")
    result.assert_outcomes(failed=1, deselected=len(CHECKS))
    assert told in result.stdout.str()


@pytest.mark.slow
def test_they_are_spread_over_xdist_s_workers(run: Run) -> None:
    result = run(ONE, "--engagelab-check", "-k", SOME, "-n", "2", given=RECEIVER)
    result.assert_outcomes(passed=2, failed=2, skipped=1)
    assert not re.search(r"-\d+ (de)?selected", result.stdout.str())


def test_the_report_of_a_check_stands_at_the_caller_s_line(run: Run) -> None:
    test = """
    def test_conformance(engagelab):
        engagelab.check(only=["A01", "A03"]).assert_none("major")
    """
    result = run(test, given=RECEIVER)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>       engagelab.check(only=[[]"A01", "A03"[]]).assert_none("major")',
            "E *ReceiverFellShort: http://testserver/engagelab failed 1 check of severity major or worse",
            "E       A01 ping-empty (blocker): the empty, unsigned ping: answered 401 UNAUTHORIZED",
        ]
    )
    assert "engagelab_mock/" not in result.stdout.str().partition("FAILURES")[2]


def test_a_misspelt_check_fails_at_the_caller_s_line(run: Run) -> None:
    test = """
    def test_conformance(engagelab):
        engagelab.check(only=["A1"])
    """
    result = run(test)
    result.stdout.fnmatch_lines(
        ['>       engagelab.check(only=[[]"A1"[]])', "E *UnknownName: only: unknown check 'A1'"]
    )


def with_options(options: str) -> str:
    return f"""
    import pytest

    @pytest.fixture
    def engagelab_check_options():
        return {options}
    """


def test_if_the_state_shows_nothing_every_test_fails(run: Run) -> None:
    options = with_options('{"observe": lambda message_id: "?", "patience": 0.05}')
    result = run(options + ONE, "--engagelab-check", "-k", "A01 or A03", given=RECEIVER)
    result.assert_outcomes(failed=2, deselected=len(CHECKS) - 1)
    result.stdout.fnmatch_lines(["check: valid callbacks were acknowledged, but `observe` still returned '?'"])


def test_if_the_probe_fails_every_test_fails(run: Run) -> None:
    options = with_options('{"reset": lambda: 1 / 0}')
    result = run(options + ONE, "--engagelab-check", "-k", "A01 or A03", given=RECEIVER)
    result.assert_outcomes(failed=2, deselected=len(CHECKS) - 1)
    result.stdout.fnmatch_lines(["reset: reset raised ZeroDivisionError: division by zero"])


def test_a_check_that_cannot_be_made_needs_no_state(run: Run) -> None:
    options = with_options('{"observe": lambda message_id: "?", "patience": 0.05}')
    result = run(options + ONE, "--engagelab-check", "-k", "E01", given=RECEIVER)
    result.assert_outcomes(skipped=1, deselected=len(CHECKS))


def test_every_function_of_the_probe_is_called(run: Run) -> None:
    options = with_options('{"reset": lambda: print("RESET"), "wait_idle": lambda: print("IDLE")}')
    result = run(options + ONE, "--engagelab-check", "-k", "B16", "-rA", given=RECEIVER)
    assert {line for line in result.outlines if line in {"RESET", "IDLE"}} == {"RESET", "IDLE"}


def test_asynchronous_functions_are_awaited(run: Run) -> None:
    receiver = RECEIVER.replace("def observe", "async def observe")
    result = run(ONE, "--engagelab-check", "-k", "B01 or B16", given=receiver)
    result.assert_outcomes(passed=1, failed=1, deselected=len(CHECKS) - 1)
    result.stdout.fnmatch_lines(["B16 replay-exact (major): the same request a second time: *"])


def test_the_test_of_a_check_that_fails_itself_fails(run: Run) -> None:
    faulty = """
    import msgspec
    import pytest
    from engagelab_mock import CHECKS

    def work(trial):
        raise KeyError("learned")

    @pytest.fixture(autouse=True)
    def faulty(monkeypatch):
        monkeypatch.setitem(CHECKS, "A03", msgspec.structs.replace(CHECKS["A03"], work=work))
    """
    result = run(faulty + ONE, "--engagelab-check", "-k", "A03", given=RECEIVER)
    result.assert_outcomes(failed=1, deselected=len(CHECKS))
    result.stdout.fnmatch_lines(["A03 ping-signed (major): KeyError: 'learned' (test_inner.py, line *)"])

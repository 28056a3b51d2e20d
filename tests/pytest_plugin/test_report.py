"""The section "EngageLab deliveries" of a failing test's report."""

from __future__ import annotations

import re

import pytest

from tests.pytest_plugin.conftest import LAST_WINS, Run

TITLE = "EngageLab deliveries"


def section(result: pytest.RunResult) -> list[str]:
    """Return the lines of the only such section."""
    [start] = [number for number, line in enumerate(result.outlines) if TITLE in line]
    rest = result.outlines[start + 1 :]
    return rest[: next(number for number, line in enumerate(rest) if line.startswith(("=", "_", "-")))]


def test_it_lists_every_attempt_with_its_channel(run: Run) -> None:
    text = """
        def test_it(engagelab):
            engagelab.send("+6591234567", scenario="fallback")
            engagelab.validate_address()
            assert False
    """
    result = run(text)
    result.assert_outcomes(failed=1)
    receiver, head, *rows, seed = section(result)
    assert receiver == "receiver: http://testserver/engagelab (in process, wsgi), signed as 'sandbox_demo'"
    assert head.split() == ["#", "event", "to", "channel", "http", "outcome"]
    columns = [head.index(title) for title in ("event", "to", "channel", "http", "outcome")]
    assert [_cells(row, columns) for row in rows] == [
        ["1", "plan", "+6591234567", "", "200", "acknowledged"],
        ["2", "sent", "+6591234567", "whatsapp", "200", "acknowledged"],
        ["3", "delivered_failed", "+6591234567", "whatsapp", "200", "acknowledged"],
        ["4", "sent", "+6591234567", "sms", "200", "acknowledged"],
        ["5", "delivered", "+6591234567", "sms", "200", "acknowledged"],
        ["6", "verified", "+6591234567", "sms", "200", "acknowledged"],
        ["7", "ping", "", "", "200", "acknowledged"],
    ]
    assert seed == "seed: 0 (the same data again: --engagelab-seed=0)"


def _cells(row: str, columns: list[int]) -> list[str]:
    """Cut a row at the columns of the head; of the outcome leave the word."""
    ends = [*columns, len(row)]
    cells = [row[start:end].strip() for start, end in zip([0, *columns], ends, strict=True)]
    return [*cells[:-1], cells[-1].split(" in ")[0]]


def test_it_shows_refused_inputs_and_failures_in_the_order_of_time(run: Run) -> None:
    text = """
        import pytest

        def test_it(engagelab):
            engagelab.receiver.recorder.answer = 204
            with pytest.raises(ValueError):
                engagelab.send("+65 9123 4567")
            engagelab.send("+6591234567", scenario=["plan"], check=False)
            with pytest.raises(ValueError):
                engagelab.send(scenario="verfied")
            assert False
    """
    result = run(text)
    result.assert_outcomes(failed=1)
    _, head, *rows, _ = section(result)
    outcome = head.index("outcome")
    assert [row[:2] for row in rows] == ["1 ", "2 ", "3 "]
    assert rows[0][outcome:] == "not accepted: to: '+65 9123 4567' is not an E.164 phone number"
    assert rows[1][outcome:].startswith("not_200 in ")
    assert rows[1].endswith(": answered 204 No Content; only 200 acknowledges")
    assert rows[2][outcome:] == "not accepted: scenario: unknown scenario 'verfied'"


def test_it_names_the_address_and_the_identity_of_callbacks(run: Run) -> None:
    text = """
        import pytest
        from engagelab_mock import Receiver

        @pytest.fixture
        def engagelab_receiver():
            return Receiver.http("http://127.0.0.1:1/own", authorization="Bearer s3cret")

        def test_it(engagelab):
            engagelab.send()
    """
    result = run(text)
    assert section(result)[0] == "receiver: http://127.0.0.1:1/own, unsigned with Authorization"
    assert "Bearer s3cret" not in "\n".join(section(result))


def test_it_is_there_when_nothing_was_sent(run: Run) -> None:
    result = run("def test_it(engagelab): assert False")
    assert section(result)[1:] == ["nothing was sent", "seed: 0 (the same data again: --engagelab-seed=0)"]


def test_it_is_there_when_the_fixture_is_only_asked_for_by_name(run: Run) -> None:
    text = """
        def test_it(request):
            request.getfixturevalue("engagelab").send(scenario=["plan"])
            assert False
    """
    assert section(run(text))[2].startswith("1  plan ")


@pytest.mark.parametrize(
    ("fixture", "outcomes"),
    [
        ("engagelab.send(scenario=['plan']); raise RuntimeError; yield", {"errors": 1}),
        ("engagelab.send(scenario=['plan']); yield; raise RuntimeError", {"passed": 1, "errors": 1}),
    ],
)
def test_it_is_there_when_the_set_up_or_the_teardown_fails(run: Run, fixture: str, outcomes: dict[str, int]) -> None:
    text = f"""
        import pytest

        @pytest.fixture
        def broken(engagelab):
            {fixture}

        def test_it(broken):
            pass
    """
    result = run(text)
    result.assert_outcomes(**outcomes)
    assert section(result)[2].startswith("1  plan ")


def test_a_delivery_that_fails_during_teardown_fails_at_its_line(run: Run) -> None:
    text = """
        import pytest

        @pytest.fixture
        def late(engagelab):
            yield
            engagelab.receiver.recorder.answer = 503
            engagelab.send()

        def test_it(late):
            pass
    """
    result = run(text)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([">       engagelab.send()", "E*NotAcknowledged: plan was not acknowledged*"])
    assert " 503 " in section(result)[2]


@pytest.mark.parametrize(
    ("text", "outcomes"),
    [
        ("def test_it(engagelab): engagelab.send()", {"passed": 1}),
        ("def test_it(engagelab): engagelab.send(); pytest.skip()", {"skipped": 1}),
        ("@pytest.mark.xfail\ndef test_it(engagelab): engagelab.send(); assert False", {"xfailed": 1}),
        ("def test_it(): assert False", {"failed": 1}),
        ("@pytest.mark.engagelab(seed=1)\ndef test_it(): assert False", {"failed": 1}),
    ],
)
def test_it_is_not_there_for_tests_that_did_not_fail_or_did_not_use_it(
    run: Run, text: str, outcomes: dict[str, int]
) -> None:
    result = run(text, "-rA", "-v", given="import pytest\n")
    result.assert_outcomes(**outcomes)
    assert TITLE not in result.stdout.str()


def test_a_test_that_should_have_failed_and_passed_has_it(run: Run) -> None:
    text = """
        import pytest

        @pytest.mark.xfail(strict=True)
        def test_it(engagelab):
            engagelab.send(scenario=["plan"])
    """
    result = run(text)
    result.assert_outcomes(failed=1)
    assert section(result)[2].startswith("1  plan ")


@pytest.mark.parametrize(
    ("marker", "option", "line"),
    [
        ("", "--engagelab-seed=blue", "seed: blue (the same data again: --engagelab-seed=blue)"),
        ("", "--engagelab-seed=a b", "seed: a b (the same data again: --engagelab-seed='a b')"),
        ("@pytest.mark.engagelab(seed=7)", "--engagelab-seed=blue", "seed: 7, from the marker"),
    ],
)
def test_it_tells_how_to_have_the_same_data_again(run: Run, marker: str, option: str, line: str) -> None:
    result = run(f"{marker}\ndef test_it(engagelab): assert False", option, given="import pytest\n")
    assert section(result)[-1] == line


# ---- explorations and checks, whose deliveries are not in the journal ----


def events(lines: list[str]) -> list[str]:
    """Return the events of the rows of a table."""
    return [line.split()[1].rstrip(",") for line in lines if line.split()[0].isdecimal()]


@pytest.mark.parametrize(
    ("call", "sent"),
    [
        ("engagelab.explore('delivered', invariants=[converges()])", ["delivered", "sent"]),
        ("engagelab.replay('eg1:delivered,sent', invariants=[converges()])", ["delivered", "sent"]),
        ("engagelab.play('eg1:delivered,sent', [converges()])", ["delivered", "sent"]),
    ],
    ids=["explore", "replay", "play"],
)
def test_the_deliveries_of_the_schedule_that_failed_are_shown(run: Run, call: str, sent: list[str]) -> None:
    shown = section(run(f"def test_it(engagelab): {call}", given=LAST_WINS))
    # `play` and `replay` then enter the same events in order, to compare with.
    assert events(shown)[:2] == sent
    assert any(line.startswith("schedule: eg1:delivered,sent ") for line in shown)


@pytest.mark.parametrize("verb", ["engagelab.explore", "await engagelab.aexplore"])
def test_a_test_that_fails_after_a_green_exploration_says_how_much_was_played(run: Run, verb: str) -> None:
    text = f"""
        {"@pytest.mark.asyncio" if "await" in verb else ""}
        {"async " if "await" in verb else ""}def test_it(engagelab):
            {verb}("delivered", duplicates=0, invariants=[])
            {verb}("verified", duplicates=0, invariants=[])
            assert False
    """
    shown = section(run(text, given=LAST_WINS))
    assert shown[1:-1] == [
        "Exploration: 6 of 6 schedules, 18 deliveries, 3 states, no failure",
        "Exploration: 24 of 24 schedules, 96 deliveries, 4 states, no failure",
    ]


def test_callbacks_sent_next_to_an_exploration_are_shown_too(run: Run) -> None:
    text = """
        def test_it(engagelab):
            engagelab.send("+6591234567", scenario=["plan"])
            engagelab.explore("delivered", duplicates=0, invariants=[])
            assert False
    """
    shown = section(run(text, given=LAST_WINS))
    assert events(shown) == ["plan"]
    assert shown[-2] == "Exploration: 6 of 6 schedules, 18 deliveries, 3 states, no failure"


@pytest.mark.parametrize("verb", ["engagelab.check", "await engagelab.acheck"])
def test_the_exchanges_of_the_checks_that_failed_are_shown(run: Run, verb: str) -> None:
    text = f"""
        {"@pytest.mark.asyncio" if "await" in verb else ""}
        {"async " if "await" in verb else ""}def test_it(engagelab):
            report = {verb}(only=["B01", "A01", "A03"])
            report.assert_none("major")
    """
    app = LAST_WINS.replace("in decode(environ[", "in [] if environ['CONTENT_LENGTH'] == '0' else decode(environ[")
    shown = section(run(text, given=app))
    assert "nothing was sent" not in shown
    [head] = [number for number, line in enumerate(shown) if line.startswith("check of http://testserver/: ")]
    assert "1 fail" in shown[head]
    assert shown[head + 1].split() == ["check", "sent", "http", "outcome"]
    rows = shown[head + 2 : -1]
    assert rows
    assert {row.split()[0] for row in rows} == {"B01"}
    assert all(" 200 " in row for row in rows)


def test_the_last_exchanges_are_shown_if_no_check_failed(run: Run) -> None:
    text = """
        def test_it(engagelab):
            engagelab.check(only=["A01"])
            engagelab.check(only=["A01", "A03", "D08", "C07"])
            assert False
    """
    shown = section(run(text))
    heads = [number for number, line in enumerate(shown) if line.startswith("check of ")]
    assert len(heads) == 2
    assert heads[1] == heads[0] + 1
    rows = shown[heads[1] + 2 : -1]
    assert 2 <= len(rows) <= 100
    assert {row.split()[0] for row in rows} <= {"A01", "A03", "D08", "C07"}


def test_a_long_report_of_checks_is_cut(run: Run) -> None:
    shown = section(run("def test_it(engagelab): engagelab.check(); assert False"))
    rows = [line for line in shown if re.match(r"[A-E]\d\d +", line)]
    assert len(rows) == 100
    assert re.fullmatch(r"… \d+ more before these", shown[shown.index(rows[0]) - 1])


def test_neither_the_report_nor_junit_has_the_authorization(run: Run, pytester: pytest.Pytester) -> None:
    text = """
        from engagelab_mock import Receiver

        def test_it(engagelab):
            callback = engagelab.journal
            engagelab.receiver = Receiver.recording(authorization="Bearer " + "swen-fo"[::-1])
            engagelab.receiver.recorder.answer = 500
            try:
                engagelab.send("+6591234567")
            finally:
                headers, settings = engagelab.journal.deliveries[0].callback.headers, engagelab.receiver.settings
    """
    result = run(text, "--junitxml=junit.xml", "-o", "junit_logging=all", "--showlocals", "--capture=sys")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*Authorization: (as configured)", "headers *"])
    kept = (pytester.path / "junit.xml").read_text(encoding="utf-8")
    assert "Authorization: (as configured)" in kept
    assert "of-news" not in result.stdout.str() + kept

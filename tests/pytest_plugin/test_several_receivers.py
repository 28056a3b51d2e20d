"""An `engagelab_receiver` fixture that returns a list of receivers."""

from __future__ import annotations

import pytest

from tests.pytest_plugin.conftest import Run

TWO = """
    import pytest
    from engagelab_mock import Receiver, Recorder
    billing, audit = Recorder(), Recorder()

    @pytest.fixture
    def engagelab_receiver():
        return [
            Receiver.wsgi(billing, "/billing", description="billing", events=["notification"]),
            Receiver.wsgi(audit, "/audit", description="audit", username="acme", secret="s3cret"),
        ]
"""


def test_each_gets_the_events_it_ticked(run: Run) -> None:
    text = """
        def test_two(engagelab, engagelab_receiver):
            assert engagelab.receivers == engagelab_receiver
            engagelab.send("+6591234567", scenario=["plan"])
            engagelab.notify("insufficient_balance")
            assert [one.statuses for one in billing.received] == [["insufficient_balance"]]
            assert [one.statuses for one in audit.received] == [["plan"], ["insufficient_balance"]]
            assert "username=acme;" in audit.received[0].headers["X-CALLBACK-ID"]
            assert "X-CALLBACK-ID" not in billing.received[0].headers
    """
    run(text, given=TWO).assert_outcomes(passed=1)


def test_credentials_of_the_marker_hold_for_each(run: Run) -> None:
    text = """
        @pytest.mark.engagelab(username="other", secret="s", authorization="Bearer t")
        def test_two(engagelab):
            engagelab.notify("insufficient_balance")
            for recorder in (billing, audit):
                [received] = recorder.received
                assert "username=other;" in received.headers["X-CALLBACK-ID"]
                assert received.headers["Authorization"] == "Bearer t"
            assert [receiver.settings.events for receiver in engagelab.receivers] == [("notification",), ()]
    """
    run(text, given=TWO).assert_outcomes(passed=1)


def test_credentials_of_the_ini_file_replace_none_that_were_given(run: Run) -> None:
    text = """
        def test_two(engagelab):
            assert [receiver.settings.username for receiver in engagelab.receivers] == ["ours", "acme"]
    """
    run(text, "-o", "engagelab_username=ours", "-o", "engagelab_secret=s", given=TWO).assert_outcomes(passed=1)


@pytest.mark.parametrize("arguments", [["--engagelab-url=http://127.0.0.1:1/"], []])
def test_one_url_for_two_receivers_is_refused(run: Run, arguments: list[str]) -> None:
    mark = "" if arguments else '@pytest.mark.engagelab(url="http://127.0.0.1:1/")'
    text = f"""
        {mark}
        def test_two(engagelab):
            pass
    """
    result = run(text, *arguments, given=TWO)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*UsageError: url: one url cannot be the address of 2 receivers*"])


def test_the_report_of_a_failure_describes_every_receiver(run: Run) -> None:
    text = """
        def test_two(engagelab):
            audit.answer = 500
            engagelab.notify("insufficient_balance")
    """
    result = run(text, given=TWO)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*NotAcknowledged: insufficient_balance was not acknowledged by 'audit': answered 500*",
            "receiver: billing, http://testserver/billing (in process, wsgi), unsigned, gets notification",
            "receiver: audit, http://testserver/audit (in process, wsgi), signed as 'acme'",
            "#  event*receiver*",
            "1  insufficient_balance*billing*acknowledged*",
            "2  insufficient_balance*audit*500*",
        ]
    )


@pytest.mark.parametrize("returned", ["[billing]", "[None]", "(each for each in [])"])
def test_a_list_of_something_else_is_refused(run: Run, returned: str) -> None:
    text = f"""
        @pytest.fixture
        def engagelab_receiver():
            return {returned}

        def test_two(engagelab):
            pass
    """
    result = run(text, given=TWO)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*UsageError: the engagelab_receiver fixture returned*which is not a Receiver*"])


def test_no_receiver_is_an_account_that_has_none_yet(run: Run) -> None:
    text = """
        @pytest.fixture
        def engagelab_receiver():
            return []

        def test_none(engagelab):
            assert engagelab.send("+6591234567").deliveries == []
            assert engagelab.save_receiver(Receiver.wsgi(audit)).acknowledged
    """
    run(text, given=TWO).assert_outcomes(passed=1)
